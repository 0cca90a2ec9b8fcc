"""A node as a whole process: signals, limits of the system, the HTTP process beside it, and how it ends."""

import gc
import os
import resource
import signal
import socket
import sys
import time
from contextlib import ExitStack, suppress

from zdynamo.config import Config
from zdynamo.threads.beside import Beside, Command, listen
from zdynamo.threads.clock import TEST_CLOCK
from zdynamo.threads.log import Log, configure
from zdynamo.threads.router import NodeFailed
from zdynamo.threads.server import Server
from zdynamo.threads.settings import addresses_of

SWITCH_INTERVAL_S = 0.0005  # the GIL goes from hand to hand this often: threads here wait for each other all the time
FILES = 65_536  # descriptors wanted; a connection is one, and out of them ZeroMQ's I/O thread spins
GC_THRESHOLD = 50_000  # allocations between collections: messages are many, short-lived, and hold no cycles
ENDING = {signal.SIGINT, signal.SIGTERM}


def run_node(config: Config, http: Command | None = None) -> int:
    """One node in the foreground until SIGINT or SIGTERM; the exit code. `http`: starts the process that serves HTTP.

    Raises: ConfigError, StoreDamaged, StoreFull, StoreFailed if it cannot start.
    """
    configure(config.log)
    raise_file_limit()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with ExitStack() as stack:
        sockets: list[socket.socket] = []
        server = Server(config, bound=lambda: sockets.append(stack.enter_context(_listening(config))) if http else None)
        log = Log(config.node.name or server.addresses.client)
        if TEST_CLOCK in os.environ:
            log.note("warning", "clock.may_be_wrong", {"by_the_file": os.environ[TEST_CLOCK]})
        beside = Beside("http", http, sockets[0], log) if http else None
        wake = signals()
        server.start()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD)
        try:
            _run(server, beside, wake)
        except NodeFailed as failure:
            with suppress(OSError, ValueError):
                sys.stderr.write(f"zdynamo: {failure}\n")
                sys.stderr.flush()
            os._exit(1)  # nobody handles half a node: do not wait for threads that may never end
        log.note("info", "node.stopped", {})
    return 0


def signals() -> socket.socket:
    """A socket from which the numbers of signals can be read: what ends the process, and that a child has ended."""
    wake, poke = socket.socketpair()
    wake.setblocking(False)
    poke.setblocking(False)
    for number in (*ENDING, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(poke.detach(), warn_on_full_buffer=False)
    return wake


def is_ending(wake: socket.socket) -> bool:
    """Whether what has woken this process is to end it."""
    try:
        return not ENDING.isdisjoint(wake.recv(4096))
    except BlockingIOError:
        return False


def raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _run(server: Server, beside: Beside | None, wake: socket.socket) -> None:
    """Until it is told to end. Raises: NodeFailed."""
    if beside:
        beside.start()
    while not is_ending(wake):
        due_s = beside.due_s if beside else None
        server.wait(wake.fileno(), None if due_s is None else max(0.0, due_s - time.monotonic()))
        if beside:
            beside.look()
    if beside:
        beside.stop()
    server.stop()
    if beside:
        beside.reap()


def _listening(config: Config) -> socket.socket:
    """Raises: ConfigError."""
    host, _, port = addresses_of(config).http.rpartition(":")
    option, place = ("node.bind", config.node.bind) if config.node.bind else ("node.host", host)
    return listen(option, place, "node.http_port", int(port))
