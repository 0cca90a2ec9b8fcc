"""`python -m zdynamo` is `zdynamo`."""

from zdynamo.cli.main import run

run()
