"""A process kept running beside this one: started again when it ends by itself, with growing pauses.

Nobody waits for it. It has a socket that this process listens on, so that connections wait while there is none, and a
pipe on standard input, whose end tells it that this process is gone, however that came about.
"""

import contextlib
import errno
import signal
import socket
import subprocess
import time
from collections.abc import Callable

from zdynamo.errors import ConfigError
from zdynamo.threads.channel import numeric
from zdynamo.threads.log import Log

PAUSE_S = 0.2  # before it is started again; twice as long each time
PAUSE_MAX_S = 10.0
STEADY_S = 10.0  # what has run so long is started again after the shortest pause
STOP_S = 1.5  # that it has to end when it is told to; then it is killed
TAKEN_S = 1.0  # that a port may be taken by the process beside a node that was killed just now
LOOK_S = 0.05
BACKLOG = 1_024  # connections that wait to be accepted; beyond, clients try again by themselves

Command = Callable[[int], list[str]]  # by the descriptor that it is to serve


class Beside:
    """For one thread, which calls `look` when a child has ended (SIGCHLD) and when `due_s` has come."""

    def __init__(self, name: str, command: Command, listening: socket.socket, log: Log) -> None:
        """`name`: of its events in the log."""
        self._name = name
        self._command = command
        self._listening = listening
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._began_s = 0.0
        self._pause_s = PAUSE_S
        self.due_s: float | None = None  # when to look again, on the monotonic clock; None: when a child ends

    @property
    def pid(self) -> int | None:
        """None while there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """If there cannot be one now, there will be later."""
        self.due_s = None
        self._began_s = time.monotonic()
        fd = self._listening.fileno()
        try:
            self._process = subprocess.Popen(
                self._command(fd), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=(fd,), process_group=0
            )
        except OSError as error:
            self._start_later({"problem": error.strerror})
            return
        self._log.note("info", f"{self._name}.started", {"address": self._address, "pid": self._process.pid})

    def look(self) -> None:
        """Has it ended, or is it time to start it again?"""
        process = self._process
        if process is not None and process.poll() is not None:
            self._forget()
            self._start_later({"how": _how(process.returncode)})
        elif process is None and self.due_s is not None and self.due_s <= time.monotonic():
            self.start()

    def stop(self) -> None:
        """Tell it to end; `reap` waits."""
        self.due_s = None
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            _close(self._process)

    def reap(self) -> None:
        """After `stop`."""
        if self._process is None:
            return
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._forget()

    @property
    def _address(self) -> str:
        return ":".join(map(str, self._listening.getsockname()[:2]))

    def _start_later(self, why: dict[str, object]) -> None:
        now = time.monotonic()
        if now - self._began_s >= STEADY_S:
            self._pause_s = PAUSE_S
        self._log.note("warning", f"{self._name}.ended", {**why, "again_in_ms": round(self._pause_s * 1000)})
        self.due_s = now + self._pause_s
        self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)

    def _forget(self) -> None:
        if self._process is not None:
            _close(self._process)
            self._process = None


def listen(host_option: str, host: str, port_option: str, port: int) -> socket.socket:
    """A listening socket. Raises: ConfigError that names the option which is wrong."""
    place = "" if host == "*" else numeric(host_option, host)
    give_up_s = time.monotonic() + TAKEN_S
    while True:
        try:
            return socket.create_server((place, port), backlog=BACKLOG)
        except OSError as error:
            problem = error
        if problem.errno != errno.EADDRINUSE:
            option = host_option if problem.errno == errno.EADDRNOTAVAIL else port_option
            raise ConfigError(f"{option}: {host}:{port} cannot be listened on ({problem.strerror}): choose another")
        if time.monotonic() > give_up_s:
            raise ConfigError(
                f"{port_option}: {host}:{port} is in use by another process: stop it or choose another port"
            )
        time.sleep(LOOK_S)


def _close(process: "subprocess.Popen[bytes]") -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _how(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
