"""docs/quickstart.md, word for word but for the ports, with a real `zdynamo local` in terminal 1."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from killable import wait_until
from support.local import Local, local
from support.programs import ENVIRONMENT

from zdynamo.cli.cluster import free_ports

PAGE = Path(__file__).parent.parent.parent / "docs" / "quickstart.md"
BLOCK = re.compile(r"^```(bash|python|)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PORT = re.compile(r"\b74([012])(\d)\b")
PROGRAMS = ("bash", "curl", "pgrep", "sed")
VARIES = re.compile(r"\b[0-9a-f]{16}\b|\b\d+\.\d\b")
WITHIN_SECONDS = 20.0


@pytest.fixture
def first_port() -> int:
    return free_ports(3)


@pytest.fixture
def terminal_1(tmp_path: Path, first_port: int) -> Iterator[Local]:
    with local("--data", str(tmp_path / "data"), "--port", str(first_port), http=True) as started:
        yield started


def run(script: str, folder: Path, port: int) -> tuple[str, int]:
    """Its output and exit code. The shell reads it from its input: on a command line `pgrep` would find it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-e"],
        env={**ENVIRONMENT, "PATH": path, "ZDYNAMO_ADDRESS": f"127.0.0.1:{port}"},
        input=script, cwd=folder, capture_output=True, text=True, timeout=WITHIN_SECONDS, check=False,
    )  # fmt: skip
    return done.stdout, done.returncode


def alike(text: str) -> list[str]:
    """Without what differs from run to run, and however wide the columns are."""
    return [" ".join(VARIES.sub("0", line).split()) for line in text.splitlines()]


def does_as_it_says(block: str, folder: Path, port: int) -> bool:
    lines = block.splitlines(keepends=True)
    commands = "".join(line.removeprefix("$ ") for line in lines if line.startswith("$ "))
    expected = "".join(line for line in lines if not line.startswith("$ "))
    said, code = run(commands, folder, port)
    return code == 0 and alike(said) == alike(expected)


def prints_what_it_says(block: str, folder: Path, port: int) -> bool:
    said, _ = run(f"python3 - <<'END'\n{block}END\n", folder, port)
    return said.splitlines() == re.findall(r"print\(.*\)  # (.*)", block)


@pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason=f"needs {', '.join(PROGRAMS)}")
def test_every_command_does_what_the_page_says(terminal_1: Local, first_port: int, tmp_path: Path) -> None:
    page = PORT.sub(lambda port: str(first_port + 10 * int(port[1]) + int(port[2])), PAGE.read_text())
    start = f"$ zdynamo start --name b --port {first_port + 10} --data data/b\n"
    assert f"```\n{start}```" in page

    with ExitStack() as terminal_3:
        for kind, block in BLOCK.findall(page):
            if kind == "python":
                assert prints_what_it_says(block, tmp_path, first_port)
            elif kind == "bash" and block.startswith(("$ zdynamo members", "$ zdynamo get")):
                wait_until(partial(does_as_it_says, block, tmp_path, first_port))
            elif kind == "bash":
                assert does_as_it_says(block, tmp_path, first_port), block
            elif block == start:
                flags = ("--name", "b", "--port", str(first_port + 10), "--data", str(tmp_path / "data" / "b"))
                terminal_3.enter_context(terminal_1.started(*flags))
