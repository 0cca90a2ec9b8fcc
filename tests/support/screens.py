"""A verb on a terminal of 80 by 24."""

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager

from support.local import WITHIN_SECONDS
from support.programs import ENVIRONMENT

ROWS, COLUMNS = 24, 80
LEAVE_SCREEN = b"\x1b[?1049l"  # back to what the terminal has shown before


class Screen:
    """What a process on a terminal shows."""

    def __init__(self, process: subprocess.Popen[bytes], terminal: int) -> None:
        self.process = process
        self._terminal = terminal

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def read_until(self, wanted: bytes) -> bytes:
        """All that is shown up to then."""
        shown, end = b"", time.monotonic() + WITHIN_SECONDS
        while wanted not in shown:
            assert time.monotonic() < end, shown
            if select.select([self._terminal], [], [], 0.1)[0]:
                shown += os.read(self._terminal, 65536)
        return shown


@contextmanager
def terminal(address: str, *arguments: str) -> Iterator[Screen]:
    """A verb on a terminal, against the node at that address."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**ENVIRONMENT, "ZDYNAMO_ADDRESS": address, "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "zdynamo", *arguments]
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        try:
            yield Screen(process, ours)
        finally:
            process.kill()
            process.wait()
            os.close(theirs)
            os.close(ours)


def terminal_of(command: list[str]) -> str:
    """All that a command shows on a terminal until it ends."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, env=ENVIRONMENT, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        process.wait(WITHIN_SECONDS)
    shown = os.read(ours, 65536) if select.select([ours], [], [], 0)[0] else b""
    os.close(theirs)
    os.close(ours)
    return shown.decode()
