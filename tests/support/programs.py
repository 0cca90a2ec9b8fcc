"""The program `zdynamo` in this process: a verb is done before an interpreter of its own would have started."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import BytesIO, TextIOWrapper
from subprocess import CompletedProcess

from zdynamo.cli.main import main

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ZDYNAMO_")}


def zdynamo(*arguments: str, stdin: bytes = b"", **environment: str) -> CompletedProcess[bytes]:
    """What a verb that ends by itself says and how it ends. Verbs that run nodes need a process of their own."""
    output = TextIOWrapper(BytesIO(), "utf-8", "surrogateescape")
    errors = TextIOWrapper(BytesIO(), "utf-8", "backslashreplace")
    with redirect_stdout(output), redirect_stderr(errors), _given(stdin, {"COLUMNS": "80", **environment}):
        code = main(list(arguments))
    return CompletedProcess(arguments, code, _written(output), _written(errors))


def in_text(done: CompletedProcess[bytes]) -> CompletedProcess[str]:
    return CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


@contextmanager
def _given(stdin: bytes, environment: dict[str, str]) -> Iterator[None]:
    before, terminal = dict(os.environ), sys.stdin
    try:
        os.environ.clear()
        os.environ.update(ENVIRONMENT | environment)
        sys.stdin = TextIOWrapper(BytesIO(stdin), "utf-8")
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        sys.stdin = terminal


def _written(stream: TextIOWrapper) -> bytes:
    stream.flush()
    return stream.buffer.getvalue()  # type: ignore[attr-defined, no-any-return]
