"""A `zdynamo local` in a process of its own, and its verbs."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.programs import ENVIRONMENT, zdynamo

WITHIN_SECONDS = 20.0


class Local:
    """A `zdynamo local --json` that has said it is ready."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        ready = json.loads(line)
        self.addresses: list[str] = ready["ready"]
        self.nodes: list[dict[str, Any]] = ready["nodes"]

    def run(self, *arguments: str, stdin: bytes = b"", node: int = 0) -> subprocess.CompletedProcess[bytes]:
        """A verb against one of the nodes, in this process."""
        return zdynamo(*arguments, stdin=stdin, ZDYNAMO_ADDRESS=self.addresses[node])

    def run_apart(self, *arguments: str, stdin: bytes = b"", node: int = 0) -> subprocess.CompletedProcess[bytes]:
        """A verb against one of the nodes, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "zdynamo", *arguments],
            env={**ENVIRONMENT, "ZDYNAMO_ADDRESS": self.addresses[node]},
            input=stdin,
            capture_output=True,
            timeout=WITHIN_SECONDS,
            check=False,
        )

    def json(self, *arguments: str, node: int = 0) -> Any:
        """What a verb that must succeed prints with `--json`."""
        done = self.run(*arguments, "--json", node=node)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @contextmanager
    def started(self, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """One more node, beside those that it has started itself."""
        command = [sys.executable, "-m", "zdynamo", "start", *flags]
        silent = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(command, env=ENVIRONMENT, **silent) as process:
            try:
                yield process
            finally:
                process.terminate()


@contextmanager
def local(*arguments: str, nodes: int = 3, http: bool = False) -> Iterator[Local]:
    command = [sys.executable, "-m", "zdynamo", "local", "--json", f"--nodes={nodes}", *arguments]
    environment = ENVIRONMENT if http else ENVIRONMENT | {"ZDYNAMO_NODE_HTTP": "off"}
    with tempfile.TemporaryDirectory() as folder:  # for logs, which a cluster that ends badly leaves behind
        process = subprocess.Popen(
            command, env=environment | {"TMPDIR": folder},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        with process:
            try:
                yield Local(process)
            finally:
                process.terminate()
                process.communicate(timeout=WITHIN_SECONDS)
