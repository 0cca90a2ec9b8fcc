"""A cluster on one thread: the same `Node.step` and `Membership.step` as in production, with virtual time.

Everything follows from the seed: delays, losses, duplicates, and what the nodes draw. The wire codec is in the loop.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random

from zdynamo import codec
from zdynamo.core.events import Noted, Now
from zdynamo.core.members.events import Profile
from zdynamo.core.members.joining import constants_for
from zdynamo.core.records.buckets import table_digest
from zdynamo.core.settings import NodeLimits, Rhythms
from zdynamo.messages import (
    Addresses,
    Bucket,
    ClientAnswer,
    ClientRequest,
    DescribeCluster,
    Gossip,
    PeerMessage,
    Refused,
    Topology,
)
from zdynamo.testing.agenda import Agenda
from zdynamo.testing.disk import Disk
from zdynamo.testing.network import Network
from zdynamo.testing.node import SimulatedNode

START_WALL_MS = 1_800_000_000_000
ASKING = b"\x00asking:"  # client identities of nodes that ask a seed start with this


class Simulation:
    """A cluster in virtual time."""

    def __init__(
        self, seed: int, *, n: int = 3, partitions: int = 16, min_members: int = 1, limits: NodeLimits | None = None
    ) -> None:
        self.random = Random(seed)
        self.seed = seed
        self.n = n
        self.partitions = partitions
        self.min_members = min_members
        self.limits = limits or NodeLimits(r=min(2, n), w=min(2, n))
        self.rhythms = Rhythms()
        self.tick_ms = 10  # between two looks of `run_until`
        self.clock_skew_ms: dict[str, int] = {}
        self.buckets: tuple[Bucket, ...] = ()  # the table of every node that is started from now on
        self.other_buckets: dict[str, tuple[Bucket, ...]] = {}  # of nodes that have another table, by name
        self.nodes: dict[str, SimulatedNode] = {}
        self.disks: dict[str, Disk] = {}
        self.make_disk: Callable[[str], Disk] = lambda name: Disk()
        self.notes: list[tuple[int, str, Noted]] = []
        self.ended: list[tuple[int, str, str]] = []  # when which node has ended by itself, and why
        self.messages: Counter[type[PeerMessage]] = Counter()  # between peers
        self.handed_on: Counter[bytes] = Counter()  # how often one node has handed a client's request to another
        self.spare_answers = 0  # to requests that had been answered before
        self._agenda = Agenda()
        self.network = Network(self._agenda, self.random)
        self.at = self._agenda.at
        self._gone: set[str] = set()  # machines without power: nobody is told that a connection has broken
        self._waiting: dict[bytes, Callable[[ClientAnswer], None]] = {}  # who has asked and has no answer yet
        self._answered: set[bytes] = set()
        self._asked = 0

    @property
    def time_ms(self) -> int:
        return self._agenda.time_ms

    # Nodes

    def start(self, name: str, *seeds: str, listen: bool = False) -> SimulatedNode:
        """Start a node, or start it again with what is on its disk. Its public address is `NAME:client`.

        `listen`: a node without seeds looks whether a cluster knows it before it founds one.
        Raises: StoreFull.
        """
        disk = self.disks.get(name)
        if disk is None:
            disk = self.disks[name] = self.make_disk(name)
        addresses = tuple(f"{seed}:client" for seed in seeds)
        self._gone.discard(name)
        node = SimulatedNode(self, name, disk, _profile(name, addresses, self, found=not seeds and not listen))
        self.nodes[name] = node
        node.start()
        return node

    def buckets_of(self, name: str) -> tuple[Bucket, ...]:
        return self.other_buckets.get(name, self.buckets)

    def kill(self, name: str) -> None:
        """As by kill -9: what was committed stays, and whoever is connected is told that the connection has broken."""
        node = self.nodes.pop(name, None)
        if node is None:
            return
        node.die()
        for other in list(self.nodes):
            self.network.carry(name, other, self._tell_lost, other, name)

    def stop(self, name: str) -> None:
        """In order: all is on disk, and says so."""
        node = self.nodes[name]
        node.node.leaving()
        node.disk.store.commit()
        node.disk.store.sync()
        self.kill(name)

    def cut_power(self, name: str, *, kept: int = 0) -> None:
        """What was not fsynced is gone, and the node's next process is in another boot of the machine.

        `kept`: commits since the last fsync that had reached the disk all the same.
        """
        self._power_off(name)
        self.disks[name].store.cut_power(kept)
        self.disks[name].machine_boot = f"boot at {self.time_ms}"

    def reboot(self, name: str) -> None:
        """Kill the node; its next process is in another boot of the machine. The machine has written all to disk."""
        self.kill(name)
        self.disks[name].machine_boot = f"boot at {self.time_ms}"

    def pause(self, name: str) -> None:
        """As by SIGSTOP: what arrives waits."""
        self.nodes[name].pause()

    def resume(self, name: str) -> None:
        """As by SIGCONT; nothing if the node has ended meanwhile."""
        if name in self.nodes and self.nodes[name].paused:
            self.nodes[name].resume()

    def lose_disk(self, name: str) -> None:
        self.disks.pop(name, None)

    def is_without_power(self, name: str) -> bool:
        return name in self._gone

    def _power_off(self, name: str) -> None:
        node = self.nodes.pop(name, None)
        if node is not None:
            node.die()
            self._gone.add(name)

    # Time

    def run(self, for_ms: int) -> None:
        """Let virtual time pass."""
        self._agenda.run_to(self.time_ms + for_ms)

    def run_until(self, condition: Callable[[], bool], at_most_ms: int = 60_000) -> None:
        """Raises: AssertionError if it does not come about in time."""
        end_ms = self.time_ms + at_most_ms
        while not condition():
            assert self.time_ms < end_ms, f"did not happen in {at_most_ms} ms (seed {self.seed})"
            self.run(self.tick_ms)

    def now(self, name: str) -> Now:
        time_ms = self._agenda.time_ms
        return Now(time_ms, START_WALL_MS + time_ms + self.clock_skew_ms.get(name, 0))

    # Messages

    def request(self, node: str, request: ClientRequest, then: Callable[[ClientAnswer], None]) -> None:
        """Send a client's request to a node; `then` gets the answer if one comes."""
        self._asked += 1
        client = self._asked.to_bytes(8, "big")
        self._waiting[client] = then
        self.at(self.network.delayed_ms(), self._deliver_request, node, client, codec.encode([request]))

    def send(self, sender: str, target: str, frame: bytes) -> None:
        """Put a frame between peers on its way."""
        if target not in self.nodes and target not in self._gone and (sender, target) not in self.network.cut:
            self._tell_lost(sender, target, full=True)  # nobody listens there
        elif not self.network.carry(sender, target, self._deliver, target, frame):
            self._tell_lost(sender, target, full=True)

    def publish(self, sender: str, message: Gossip) -> None:
        received = codec.decode_gossip(codec.encode(message))
        for target in self.nodes:
            if target != sender:
                self.network.carry(sender, target, self._deliver_gossip, target, sender, received)

    def ask(self, sender: str, address: str, cluster: str) -> None:
        """A node asks a seed for its topology."""
        target = address.removesuffix(":client")
        request = DescribeCluster(self.random.getrandbits(128).to_bytes(16, "big"), cluster)
        client = ASKING + sender.encode()
        self.network.carry(sender, target, self._deliver_request, target, client, codec.encode([request]))

    def answered(self, node: str, client: bytes, frame: bytes) -> None:
        """A node has answered whoever asked it."""
        for answer in codec.decode_answers(frame):
            if client.startswith(ASKING):
                asker = client.removeprefix(ASKING).decode()
                self.network.carry(node, asker, self._deliver_seed_answer, asker, node, answer)
            elif (then := self._waiting.pop(client, None)) is not None:
                self._answered.add(client)
                self.at(self.network.delayed_ms(), then, answer)
            elif client in self._answered:
                self.spare_answers += 1

    def note(self, name: str, noted: Noted) -> None:
        self.notes.append((self.time_ms, name, noted))

    def all_see(self, names: Iterable[str], state: str = "alive") -> bool:
        """Whether every running node lists exactly these as being in that state."""
        wanted = set(names)
        return all(
            node.view is not None
            and {member.record.name for member in node.view.members if member.state == state} == wanted
            for node in self.nodes.values()
        )

    def _tell_lost(self, name: str, peer: str, *, full: bool = False) -> None:
        if name in self.nodes:
            self.nodes[name].lose_peer(peer, full=full)

    def _deliver(self, target: str, frame: bytes) -> None:
        node = self.nodes.get(target)
        if node is not None:
            node.take_frame(frame)

    def _deliver_gossip(self, target: str, sender: str, message: Gossip) -> None:
        node = self.nodes.get(target)
        if node is not None:
            node.take_gossip(sender, message)

    def _deliver_request(self, target: str, client: bytes, frame: bytes) -> None:
        node = self.nodes.get(target)
        if node is not None:
            node.take_request(client, frame)
        else:
            self._waiting.pop(client, None)

    def _deliver_seed_answer(self, asker: str, seed: str, answer: ClientAnswer) -> None:
        node = self.nodes.get(asker)
        if node is not None and isinstance(answer, Topology | Refused):
            node.take_seed_answer(f"{seed}:client", answer)


def _profile(name: str, seeds: tuple[str, ...], simulation: Simulation, *, found: bool) -> Profile:
    addresses = Addresses(f"{name}:client", f"{name}:peer", f"{name}:gossip", "")
    return Profile(
        name=name,
        addresses=addresses,
        zone="",
        weight=1,
        seeds=seeds,
        found=found,
        buckets_digest=table_digest(simulation.buckets_of(name)),
        constants=constants_for(
            partitions=simulation.partitions, n=simulation.n, min_members=simulation.min_members, seeds=seeds
        ),
    )
