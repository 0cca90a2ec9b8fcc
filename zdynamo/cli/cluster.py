"""A cluster of node processes on this machine, for `local` and `bench`: start, wait, stop, and never an orphan.

Each node reads from a pipe that this process holds open: however this process ends, the pipe closes and the node stops.
"""

import os
import random
import signal
import socket
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from zdynamo.cli.ask import topology_of
from zdynamo.errors import RequestError, ZdynamoError

HOST = "127.0.0.1"
PORTS_PER_NODE = 10  # a node uses the first of them; the rest keeps the numbers round
PORTS_USED = 4  # for clients, peers, gossip and HTTP
NODES_MAX = len(string.ascii_lowercase)
POLL_SECONDS = 0.05
IDENTITY = "membership.json"  # in the folder of a node that belongs to a cluster
STOP_SECONDS = 10.0  # a node that has not stopped by then is killed


class ClusterFailed(ZdynamoError):
    """The cluster on this machine could not be started."""


class Child:
    """One node process."""

    def __init__(self, name: str, port: int, folder: Path) -> None:
        self.name = name
        self.port = port
        self.address = f"{HOST}:{port}"
        self.http = f"http://{HOST}:{port + 3}"
        self.data = folder / name
        self.log = folder / f"{name}.log"
        self.flags: list[str] = []  # at every start, beside those of that start
        self.environment: dict[str, str] = {}  # beside that of this process
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, flags: list[str]) -> None:
        """Start the process; its output goes to the log."""
        ports = [f"--{kind}port={self.port + step}" for step, kind in enumerate(("", "peer-", "gossip-", "http-"))]
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "zdynamo", "start", "--stop-with-stdin", "--name", self.name]
            self.process = subprocess.Popen(
                [*command, *ports, *self.flags, *flags],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
                process_group=0,  # Ctrl-C is for us; we tell the nodes
            )

    @property
    def ended(self) -> int | None:
        """The exit code, None while it runs."""
        return self.process.poll() if self.process else None

    def last_words(self) -> str:
        """The line of the log that says why the node ended."""
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        errors = [line.removeprefix("zdynamo: ") for line in lines if line.startswith("zdynamo: ")]
        return (errors or lines or ["it said nothing"])[-1]


class LocalCluster:
    """The processes, from start to stop. Use as a context manager: leaving it stops them all."""

    def __init__(
        self, *, nodes: int, port: int, folder: Path, memory: bool, flags: tuple[str, ...] = (), http: bool = False
    ) -> None:
        """`http`: serve it as well; without, less else runs beside what is measured."""
        names = string.ascii_lowercase[:nodes]
        self.children = [Child(name, port + PORTS_PER_NODE * at, folder) for at, name in enumerate(names)]
        self._memory = memory
        self._flags = list(flags) if http else [*flags, "--http=off"]
        self._min_members = nodes  # who joins after the first data would own nothing

    def __enter__(self) -> "LocalCluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def addresses(self) -> list[str]:
        """The public addresses."""
        return [child.address for child in self.children]

    def start(self) -> None:
        """Start all; the first founds the cluster if nobody has data yet, the others are seeded with it."""
        fresh = self._memory or not any((child.data / IDENTITY).exists() for child in self.children)
        first = self.children[0]
        for child in self.children:
            store = ["--memory"] if self._memory else ["--data", str(child.data)]
            joins = ["--seed", first.address] if child is not first else ["--found"] if fresh else []
            child.start([*store, *joins, f"--min-members={self._min_members}", *self._flags])

    def wait_ready(self, within_seconds: float | None = None) -> None:
        """Until every node lists all of them as alive. Raises: ClusterFailed if one ends before, or time is up."""
        give_up = time.monotonic() + within_seconds if within_seconds else None
        waiting = list(self.children)
        while waiting:
            waiting = [child for child in waiting if not self._sees_all(child)]
            for child, code in self.ended():  # looked at last: who answers at the address of one that ended is not it
                raise ClusterFailed(f"node {child.name} ended with {code}: {child.last_words()} (log: {child.log})")
            if give_up and waiting and time.monotonic() > give_up:
                logs = ", ".join(str(child.log) for child in waiting)
                raise ClusterFailed(f"not all nodes see each other after {within_seconds:.0f} s, look into {logs}")

    def ended(self) -> Iterator[tuple[Child, int]]:
        """The nodes that have ended by themselves, with their exit codes."""
        for child in self.children:
            if (code := child.ended) is not None:
                yield child, code

    def stop(self) -> None:
        """SIGTERM to all, then wait; Ctrl-C meanwhile, or too long a wait, kills."""
        running = [child.process for child in self.children if child.process and child.ended is None]
        try:
            for process in running:
                process.send_signal(signal.SIGTERM)
            give_up = time.monotonic() + STOP_SECONDS
            for process in running:
                process.wait(max(0.0, give_up - time.monotonic()))
        except (KeyboardInterrupt, subprocess.TimeoutExpired):
            for process in running:
                process.kill()
        for process in running:
            process.wait()
        for child in self.children:
            if child.process and child.process.stdin:
                child.process.stdin.close()

    def _sees_all(self, child: Child) -> bool:
        began = time.monotonic()
        try:
            members = topology_of(child.address, deadline_ms=200).members
        except RequestError:
            members = ()
        alive = {member.record.addresses.client for member in members if member.state == "alive"}
        if alive.issuperset(self.addresses):
            return True
        time.sleep(max(0.0, POLL_SECONDS - (time.monotonic() - began)))
        return False


def check_ports(nodes: int, port: int) -> None:
    """Raises: ClusterFailed unless a cluster from that port on finds all its ports free.

    At a taken one somebody else's cluster may answer as if it were ours.
    """
    for taken in (number for number in _ports(nodes, port) if not _is_free(number, after_another=True)):
        raise ClusterFailed(f"port {taken} on {HOST} is in use: choose other ports with --port, or stop what uses it")


def check_folders(nodes: int, folder: Path) -> None:
    """Raises: ClusterFailed if a node runs with one of them: its log is not ours to write to."""
    from zdynamo.threads.folder import in_use

    for name in string.ascii_lowercase[:nodes]:
        if in_use(folder / name):
            raise ClusterFailed(f"{folder / name} is in use by another node: stop it or choose another --data")


def free_ports(nodes: int) -> int:
    """A port from which on a cluster of that size finds all its ports free."""
    for _ in range(100):
        base = random.randrange(20_000, 32_000, PORTS_PER_NODE)  # below what systems hand out to outgoing connections
        if all(_is_free(port) for port in _ports(nodes, base)):
            return base
    raise ClusterFailed("no free ports found on this machine: stop something, or use --node with a running cluster")


def _ports(nodes: int, base: int) -> Iterator[int]:
    return (base + PORTS_PER_NODE * node + step for node in range(nodes) for step in range(PORTS_USED))


def _is_free(port: int, *, after_another: bool = False) -> bool:
    """`after_another`: connections that a cluster just stopped has left behind do not count, as for its nodes."""
    with socket.socket() as probe:
        if after_another and os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
