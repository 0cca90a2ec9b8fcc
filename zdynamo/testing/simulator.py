"""A cluster on one thread: the same `Node.step` and `Membership.step` as in production, with virtual time.

Everything follows from the seed: delays, losses, duplicates, and what the nodes draw. The wire codec is in the loop.
"""

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random

from zdynamo import codec
from zdynamo.core.buckets import table_digest
from zdynamo.core.events import (
    Effect,
    Event,
    FromClient,
    FromPeer,
    Mailed,
    News,
    Noted,
    Now,
    Reply,
    Send,
    SendStranger,
    Tick,
    ViewChanged,
)
from zdynamo.core.membership import Membership
from zdynamo.core.membership_events import (
    AskSeed,
    Fail,
    Gossiped,
    Heard,
    Mail,
    MembershipEffect,
    MembershipEvent,
    NewView,
    Persist,
    Profile,
    Publish,
    SeedAnswered,
    Ticked,
)
from zdynamo.core.node import Node
from zdynamo.core.settings import NodeLimits, Rhythms
from zdynamo.messages import (
    Addresses,
    Bucket,
    ClientAnswer,
    ClientRequest,
    Constants,
    DescribeCluster,
    Refused,
    Topology,
    View,
)
from zdynamo.partition import HASH_VERSION
from zdynamo.testing.disk import Disk, SimulatedStore

START_WALL_MS = 1_800_000_000_000
SYNC_MS = 1_000  # between fsyncs
ASKING = b"\x00asking:"  # client identities of nodes that ask a seed start with this


@dataclass
class Network:
    """What happens to messages on their way. Chances are of each message."""

    delay_ms: tuple[int, int] = (1, 5)
    loss: float = 0.0
    duplication: float = 0.0
    cut: set[tuple[str, str]] = field(default_factory=set)  # (from, to): one way

    def isolate(self, name: str, others: Iterable[str]) -> None:
        for other in others:
            self.cut |= {(name, other), (other, name)}

    def heal(self) -> None:
        self.cut.clear()
        self.loss = self.duplication = 0.0


class SimulatedNode:
    """One node: the two pure cores, and what the threads do around them."""

    def __init__(self, simulation: "Simulation", name: str, disk: Disk, profile: Profile) -> None:
        self.simulation = simulation
        self.name = name
        self.disk = disk
        self.failed = ""
        self.view: View | None = None
        random = Random(simulation.random.getrandbits(64))
        now = simulation.now(name)
        self.node = Node(
            store=disk.store,
            limits=simulation.limits,
            random=random,
            now=now,
            had_data=bool(disk.kept.cluster),
            epoch=disk.kept.epoch,
            machine_boot=disk.machine_boot,
            place=disk.store.place if isinstance(disk.store, SimulatedStore) else "",
            buckets=simulation.buckets_of(name),
        )
        disk.store.commit()
        self.node.committed()
        self.membership = Membership(
            kept=disk.kept,
            profile=profile,
            rhythms=simulation.rhythms,
            random=random,
            now=now,
        )
        self._sync_due_ms = now.monotonic_ms + SYNC_MS

    def start(self) -> None:
        self.act(self.membership.start(self.simulation.now(self.name)))
        self.start_ticking()

    def step(self, event: Event) -> None:
        effects = self.node.step(event, self.simulation.now(self.name))
        self.disk.store.commit()
        self.node.committed()
        for effect in effects:
            self._carry_out(effect)

    def step_membership(self, event: MembershipEvent) -> None:
        self.act(self.membership.step(event, self.simulation.now(self.name)))

    def act(self, effects: list[MembershipEffect]) -> None:
        simulation = self.simulation
        for effect in effects:
            match effect:
                case Persist(kept):
                    self.disk.kept = kept
                case NewView(view):
                    self.view = view
                    self.step(ViewChanged(view))
                case Mail(to, message):
                    self.step(Mailed(to, message))
                case Publish(message):
                    simulation.publish(self.name, codec.encode(message))
                case AskSeed(address, cluster):
                    simulation.ask(self.name, address, cluster)
                case Noted():
                    simulation.note(self.name, effect)
                case Fail(reason):
                    self.failed = reason
                    simulation.kill(self.name)
                    return

    def _carry_out(self, effect: Effect) -> None:
        simulation = self.simulation
        match effect:
            case Send(to, message):
                address = self._address_of(to)
                if address:
                    simulation.send(self.name, address, codec.encode(self.node.frame(to, (message,))))
            case SendStranger(address, message):
                simulation.send(self.name, address, codec.encode(self.node.frame("", (message,))))
            case Reply(client, answer):
                simulation.answered(self.name, client, answer)
            case News(cluster, sender, message):
                self.step_membership(Heard(cluster, sender, message))
            case Noted():
                simulation.note(self.name, effect)

    def _address_of(self, node: str) -> str:
        members = self.view.members if self.view else ()
        return next((member.record.addresses.peer for member in members if member.record.id == node), "")

    def start_ticking(self) -> None:
        """Tick both cores as they come due, for as long as this process lives and is not paused."""
        simulation = self.simulation
        if simulation.nodes.get(self.name) is not self:
            return
        now_ms = simulation.now(self.name).monotonic_ms
        if now_ms >= self.membership.next_due_ms:
            self.step_membership(Ticked())
        due_ms = self.node.next_due_ms
        if due_ms is not None and now_ms >= due_ms:
            self.step(Tick())
        if now_ms >= self._sync_due_ms:
            self._sync_due_ms = now_ms + SYNC_MS
            self.disk.store.sync()
        simulation.at(simulation.time_ms + simulation.tick_ms, self.start_ticking)


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
        self.network = Network()
        self.time_ms = 0
        self.tick_ms = 10
        self.clock_skew_ms: dict[str, int] = {}
        self.buckets: tuple[Bucket, ...] = ()  # the table of every node that is started from now on
        self.other_buckets: dict[str, tuple[Bucket, ...]] = {}  # of nodes that have another table, by name
        self.nodes: dict[str, SimulatedNode] = {}
        self.disks: dict[str, Disk] = {}
        self.notes: list[tuple[int, str, Noted]] = []
        self._agenda: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._waiting: dict[bytes, Callable[[ClientAnswer], None]] = {}

    def start(self, name: str, *seeds: str, listen: bool = False) -> SimulatedNode:
        """Start a node, or start it again with what is on its disk. Its public address is `NAME:client`.

        `listen`: a node without seeds looks whether a cluster knows it before it founds one.
        """
        disk = self.disks.setdefault(name, Disk())
        addresses = tuple(f"{seed}:client" for seed in seeds)
        node = self.nodes[name] = SimulatedNode(
            self, name, disk, _profile(name, addresses, self, found=not seeds and not listen)
        )
        node.start()
        return node

    def buckets_of(self, name: str) -> tuple[Bucket, ...]:
        return self.other_buckets.get(name, self.buckets)

    def kill(self, name: str) -> None:
        """As by kill -9: what was committed stays."""
        self.nodes.pop(name, None)

    def stop(self, name: str) -> None:
        """In order: all is on disk, and says so."""
        node = self.nodes.pop(name)
        node.node.leaving()
        node.disk.store.commit()
        node.disk.store.sync()

    def cut_power(self, name: str) -> None:
        """What was not fsynced is gone, and the node's next process is in another boot of the machine."""
        self.kill(name)
        disk = self.disks[name]
        assert isinstance(disk.store, SimulatedStore)
        disk.store.cut_power()
        self.reboot(name)

    def reboot(self, name: str) -> None:
        """Kill the node; its next process is in another boot of the machine. The machine has written all to disk."""
        self.kill(name)
        self.disks[name].machine_boot = f"boot at {self.time_ms}"

    def lose_disk(self, name: str) -> None:
        self.disks.pop(name, None)

    def run(self, for_ms: int) -> None:
        """Let virtual time pass."""
        end_ms = self.time_ms + for_ms
        while self._agenda and self._agenda[0][0] <= end_ms:
            self.time_ms, _, action = heapq.heappop(self._agenda)
            action()
        self.time_ms = end_ms

    def run_until(self, condition: Callable[[], bool], at_most_ms: int = 60_000) -> None:
        """Raises: AssertionError if it does not come about in time."""
        end_ms = self.time_ms + at_most_ms
        while not condition():
            assert self.time_ms < end_ms, f"did not happen in {at_most_ms} ms (seed {self.seed})"
            self.run(self.tick_ms)

    def request(self, node: str, request: ClientRequest, then: Callable[[ClientAnswer], None]) -> None:
        """Send a client's request to a node; `then` gets the answer if one comes."""
        client = request.request
        self._waiting[client] = then
        frame = codec.encode([request])
        self.at(self.time_ms + self._delay_ms(), lambda: self._deliver_request(node, client, frame))

    def now(self, name: str) -> Now:
        return Now(self.time_ms, START_WALL_MS + self.time_ms + self.clock_skew_ms.get(name, 0))

    def at(self, time_ms: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (time_ms, next(self._order), action))

    def send(self, sender: str, address: str, frame: bytes) -> None:
        """Put a frame between peers on its way."""
        target = address.removesuffix(":peer")
        for delay_ms in self._fate(sender, target):
            self.at(self.time_ms + delay_ms, lambda: self._deliver(target, frame))

    def publish(self, sender: str, frame: bytes) -> None:
        for target in list(self.nodes):
            if target != sender:
                for delay_ms in self._fate(sender, target):
                    self.at(self.time_ms + delay_ms, lambda target=target: self._deliver_gossip(target, sender, frame))  # type: ignore[misc]

    def ask(self, sender: str, address: str, cluster: str) -> None:
        """A node asks a seed for its topology."""
        target = address.removesuffix(":client")
        request = DescribeCluster(self.random.getrandbits(128).to_bytes(16, "big"), cluster)
        client = ASKING + sender.encode()
        for delay_ms in self._fate(sender, target):
            self.at(self.time_ms + delay_ms, lambda: self._deliver_request(target, client, codec.encode([request])))

    def answered(self, node: str, client: bytes, answer: ClientAnswer) -> None:
        frame = codec.encode([answer])
        (answer,) = codec.decode_answers(frame)
        if client.startswith(ASKING):
            asker = client.removeprefix(ASKING).decode()
            for delay_ms in self._fate(node, asker):
                self.at(self.time_ms + delay_ms, lambda: self._deliver_seed_answer(asker, node, answer))
            return
        then = self._waiting.pop(answer.request, None)
        if then is not None:
            self.at(self.time_ms + self._delay_ms(), lambda: then(answer))

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

    def _fate(self, sender: str, target: str) -> list[int]:
        """The delays of each copy of a message that arrives."""
        network = self.network
        if (sender, target) in network.cut or self.random.random() < network.loss:
            return []
        copies = 2 if self.random.random() < network.duplication else 1
        return [self._delay_ms() for _ in range(copies)]

    def _delay_ms(self) -> int:
        return self.random.randint(*self.network.delay_ms)

    def _deliver(self, target: str, frame: bytes) -> None:
        node = self.nodes.get(target)
        if node is not None:
            node.step(FromPeer(codec.decode_frame(frame)))

    def _deliver_gossip(self, target: str, sender: str, frame: bytes) -> None:
        node = self.nodes.get(target)
        if node is None or node.view is None:
            return
        if any(member.record.name == sender for member in node.view.members):
            node.step_membership(Gossiped(codec.decode_gossip(frame)))

    def _deliver_request(self, target: str, client: bytes, frame: bytes) -> None:
        node = self.nodes.get(target)
        if node is not None:
            for request in codec.decode_requests(frame):
                node.step(FromClient(client, request))

    def _deliver_seed_answer(self, asker: str, seed: str, answer: ClientAnswer) -> None:
        node = self.nodes.get(asker)
        if node is not None and isinstance(answer, Topology | Refused):
            node.step_membership(SeedAnswered(f"{seed}:client", answer))


def _profile(name: str, seeds: tuple[str, ...], simulation: Simulation, *, found: bool) -> Profile:
    addresses = Addresses(f"{name}:client", f"{name}:peer", f"{name}:gossip", "")
    minimum = max(simulation.min_members, 2 if seeds else 1)
    return Profile(
        name=name,
        addresses=addresses,
        zone="",
        weight=1,
        seeds=seeds,
        found=found,
        buckets_digest=table_digest(simulation.buckets_of(name)),
        constants=Constants(simulation.partitions, simulation.n, HASH_VERSION, minimum, ""),
    )
