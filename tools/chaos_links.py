"""Who is where in a run with a relay, what a link may be like, and how the relay process is told.

Each node listens at a loopback address of its own and connects from it; what it advertises is an address of the relay.
Each client connects from an address of its own as well. So the relay knows both ends of every connection.
"""

import random
import subprocess
import sys
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from zdynamo.cli.cluster import ClusterFailed

PORT = 7400  # of every node: each has a host of its own
PORTS = 3  # for clients, peers and gossip
NODES_MAX = 100
ANSWER_SECONDS = 5.0  # that the relay has to obey
STOP_SECONDS = 2.0


class Rule(Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong with a link in one direction; the default is nothing."""

    cut: Literal["", "silent", "refused"] = ""
    """`silent`: bytes stand still and new connections hang, as when packets are dropped. `refused`: connections are
    reset, and new ones too."""
    latency_ms: float = 0.0
    jitter_ms: float = 0.0  # on top, evenly from 0
    bytes_per_s: float = 0.0  # of each connection; 0: as fast as it goes
    resets_per_s: float = 0.0  # on average, of each connection
    stalls_per_s: float = 0.0
    stall_ms: float = 0.0  # how long nothing moves: what a lost packet costs until it is sent again


class Link(Struct, frozen=True):
    """One direction between two places."""

    source: str
    target: str
    rule: Rule


class Door(Struct, frozen=True):
    """Where the relay listens for one port of a node, and where the node does."""

    node: str
    address: str
    target: str


class Setup(Struct, frozen=True):
    """The first line to the relay."""

    doors: list[Door]
    sources: dict[str, str]  # host to name of who connects from it
    seed: int = 0


class Order(Struct, frozen=True):
    """Every other line: all that is wrong from now on."""

    links: list[Link]


class Report(Struct):
    """The relay's answer to each line."""

    error: str = ""
    connections: int = 0  # open now
    carried_bytes: int = 0
    chunks: int = 0
    reset: int = 0  # connections, by a lossy or refused link
    held: int = 0  # connections that wait for a cut to heal


class Places:
    """The addresses of one run: a /24 of loopback, drawn at random so that runs do not meet."""

    def __init__(self, nodes: list[str], clients: int) -> None:
        assert len(nodes) <= NODES_MAX, f"at most {NODES_MAX} nodes, not {len(nodes)}"
        self.network = f"127.{random.randrange(64, 255)}.{random.randrange(256)}"
        self.nodes = nodes
        self.clients = [f"client-{number}" for number in range(clients)]

    def node(self, name: str) -> str:
        """The host that the node listens at and connects from."""
        return f"{self.network}.{1 + self.nodes.index(name)}"

    def advertised(self, name: str) -> str:
        """The host that others reach the node at: the relay."""
        return f"{self.network}.{101 + self.nodes.index(name)}"

    def client(self, name: str) -> str:
        """The host that the client connects from."""
        return f"{self.network}.{201 + self.clients.index(name)}"

    def setup(self, seed: int) -> Setup:
        doors = [
            Door(name, f"{self.advertised(name)}:{port}", f"{self.node(name)}:{port}")
            for name in self.nodes
            for port in range(PORT, PORT + PORTS)
        ]
        sources = {self.node(name): name for name in self.nodes}
        return Setup(doors, sources | {self.client(name): name for name in self.clients}, seed)


class Relay:
    """The relay process. It ends when this process does."""

    def __init__(self, setup: Setup) -> None:
        """Raises: ClusterFailed if it cannot listen."""
        program = Path(__file__).parent / "chaos_relay.py"
        self.process = subprocess.Popen(
            [sys.executable, str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us
        )
        try:
            self._tell(setup)
        except ClusterFailed:
            self.close()
            raise

    def set(self, links: list[Link]) -> Report:
        """These links are wrong from now on, and no others. Raises: ClusterFailed."""
        return self._tell(Order(links))

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _tell(self, line: Setup | Order) -> Report:
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(msgspec.json.encode(line) + b"\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer:
            raise ClusterFailed("the relay has ended")
        report = msgspec.json.decode(answer, type=Report)
        if report.error:
            raise ClusterFailed(f"the relay: {report.error}")
        return report
