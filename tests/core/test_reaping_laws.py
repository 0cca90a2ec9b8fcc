"""What is removed stays removed: three owners, with and without two others that stand in for them, and a network that
delays, reorders and repeats as it likes. `ZDYNAMO_SEEDS` is how many runs there are of each; `.ci/run` has more."""

import os
from random import Random

import pytest
from support.nodes import CLUSTER, PARTITIONS, WALL_MS, member, request_id

from zdynamo import codec
from zdynamo.core.events import Effect, Event, FromClient, FromPeer, Now, Send, Tick, ViewChanged
from zdynamo.core.node import Node
from zdynamo.core.owners.layout import make_layout
from zdynamo.core.records.record import Clock, Record, covers, current, decode_record
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Constants,
    Delete,
    Frame,
    Get,
    HandOver,
    HoldReplica,
    LayoutMember,
    MemberView,
    Page,
    Put,
    ReplicaFetched,
    StoreReplica,
    View,
)
from zdynamo.partition import HASH_VERSION, storage_key
from zdynamo.testing.disk import SimulatedStore

OWNERS = "abc"
FIVE = "abcde"
LIMITS = NodeLimits(reap_interval_ms=100)
NAMES = [b"one", b"two"]
KEYS = [storage_key(b"default", name, PARTITIONS) for name in NAMES]
RECORDS = (StoreReplica, HoldReplica, HandOver, ReplicaFetched, Page)
CALM_STEPS = 50  # of two seconds, in which all that is deleted goes
SEEDS = int(os.environ.get("ZDYNAMO_SEEDS", "8"))
LATE = 0.05  # of the messages with records are held back, for as long as the whole run


class Owners:
    """Real nodes. `removed` holds the clock of everything that any of them has removed on proof."""

    def __init__(self, seed: int, names: str = OWNERS) -> None:
        self.random = Random(seed)
        self.names = names
        self.away: dict[str, set[str]] = {name: set() for name in names}  # whom each calls down
        self.now_ms = 1_000
        self.late_chance = LATE
        self.requests = 0
        self.opinions = 0
        self.epochs = dict.fromkeys(names, 0)
        self.boots = dict.fromkeys(names, "boot")
        self.disks = {name: SimulatedStore() for name in names}
        self.nodes: dict[str, Node] = {}
        self.on_the_way: list[tuple[str, Frame]] = []
        self.late: list[tuple[str, Frame]] = []
        self.removed: set[tuple[bytes, Clock]] = set()
        for name in names:
            self.start(name)
        while self.on_the_way:
            self.deliver(self.on_the_way)

    @property
    def now(self) -> Now:
        return Now(self.now_ms, WALL_MS + self.now_ms)

    def start(self, name: str) -> None:
        """Start a node, again if it runs: what it held in memory is gone."""
        self.nodes[name] = Node(
            store=self.disks[name],
            limits=LIMITS,
            random=Random(self.random.getrandbits(64)),
            now=self.now,
            had_data=self.epochs[name] > 0,
            epoch=self.epochs[name],
            machine_boot=self.boots[name],
        )
        self.disks[name].commit()
        self.nodes[name].committed()
        self.epochs[name] += 1
        for other in self.names:
            if other in self.nodes:
                self.step(other, ViewChanged(self.view(other)))

    def change_its_mind(self, name: str) -> None:
        """A node calls others down that it did not, or no longer does."""
        others = [other for other in self.names if other != name]
        self.away[name] = set(self.random.sample(others, self.random.choice((0, 0, 1, 2, 3, 4))))
        self.opinions += 1
        self.step(name, ViewChanged(self.view(name)))

    def cut_power(self, name: str) -> None:
        """What was not fsynced is gone."""
        self.disks[name].cut_power()
        self.boots[name] += "again"
        self.start(name)

    def lose_disk(self, name: str) -> None:
        self.disks[name] = SimulatedStore()
        self.start(name)

    def see_all(self, name: str) -> None:
        """A node calls nobody down any more."""
        if self.away[name]:
            self.away[name] = set()
            self.opinions += 1
            self.step(name, ViewChanged(self.view(name)))

    def view(self, me: str) -> View:
        records = {name: member(name, max(1, epoch)) for name, epoch in self.epochs.items()}
        return View(
            sum(self.epochs.values()) + self.opinions,
            CLUSTER,
            Constants(PARTITIONS, 3, HASH_VERSION, 3, "a"),
            records[me],
            tuple(
                MemberView(record, "down" if name in self.away[me] else "alive", 0.0)
                for name, record in records.items()
            ),
            make_layout(1, [LayoutMember(name, "", 1) for name in self.names]),
            0,
        )

    def step(self, name: str, event: Event) -> None:
        before, reaped = self.records(name), self.reaped(name)
        node, disk = self.nodes[name], self.disks[name]
        effects = node.step(event, self.now)
        disk.commit()
        node.committed()
        if self.reaped(name) > reaped:
            self.removed |= {(key, before[key].clock) for key in before.keys() - self.records(name).keys()}
        self.check(name)
        self.send(name, effects)

    def check(self, name: str) -> None:
        records = self.records(name)
        for key, clock in self.removed:
            for sibling in current(records[key]) if key in records else ():
                revived = not sibling.tombstone and covers(clock, sibling.dot)
                assert not revived, f"{name} holds what was deleted and removed"

    def calm_down(self) -> None:
        """From now on nothing is lost or late. What is on its way arrives."""
        self.late_chance = 0.0
        while self.late or self.on_the_way:
            self.deliver(self.late or self.on_the_way)

    def send(self, name: str, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                frame = codec.decode_frame(codec.encode(self.nodes[name].frame(effect.to, (effect.message,))))
                late = isinstance(effect.message, RECORDS) and self.random.random() < self.late_chance
                (self.late if late else self.on_the_way).append((effect.to, frame))

    def records(self, name: str) -> dict[bytes, Record]:
        held = {key: self.disks[name].get(key) for key in KEYS}
        return {key: decode_record(stored[8:]) for key, stored in held.items() if stored}

    def reaped(self, name: str) -> int:
        return self.nodes[name].counters["tombstones.reaped"]

    def ask(self, kind: type[Put | Delete | Get], name: bytes = b"") -> None:
        """A client asks any node something about that key, or about any."""
        name = name or self.random.choice(NAMES)
        self.requests += 1
        values = (b"%d" % self.requests, "") if kind is Put else ()
        request = kind(request_id(self.requests << 64), "", 1_000, "default", name, *values)  # type: ignore[arg-type]
        self.step(self.random.choice(self.names), FromClient(b"client", request))

    def deliver(self, box: list[tuple[str, Frame]]) -> None:
        """Any of these messages arrives; one in ten will arrive again."""
        if not box:
            return
        place = self.random.randrange(len(box))
        to, frame = box[place]
        if self.random.random() > 0.1:
            box.pop(place)
        self.step(to, FromPeer(frame))

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        for name in self.names:
            due_ms = self.nodes[name].next_due_ms
            if due_ms is not None and self.now_ms >= due_ms:
                self.step(name, Tick())


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_that_a_removed_record_covers_is_ever_stored_again(seed: int) -> None:
    owners = Owners(seed)
    random = owners.random

    for step in range(4_000):
        chance = random.random()
        if chance < 0.003:
            fault = random.choice((owners.start, owners.start, owners.cut_power, owners.lose_disk))
            fault(random.choice(OWNERS))
        elif chance < 0.02:
            owners.deliver(owners.late)
        elif chance < 0.12:
            owners.pass_time(random.choice((10, 100, 300)))
        elif chance < 0.25 and step % 200 < 20:
            owners.ask(random.choice((Put, Put, Delete, Delete, Delete, Get)))
        else:
            owners.deliver(owners.on_the_way)
    owners.calm_down()
    for _ in range(CALM_STEPS):
        if not any(owners.records(name) for name in OWNERS):
            break
        for name in NAMES:
            owners.ask(Delete, name)
        for _ in range(20):
            owners.pass_time(100)
            owners.calm_down()

    assert not any(owners.records(name) for name in OWNERS)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_that_a_removed_record_covers_is_ever_stored_again_by_those_who_stand_in(seed: int) -> None:
    """Each node has its own opinion of who is down, and changes it: any of them may hold anything for any other."""
    members = Owners(seed, FIVE)
    random = members.random

    for step in range(6_000):
        chance = random.random()
        if chance < 0.002:
            fault = random.choice((members.start, members.start, members.cut_power, members.lose_disk))
            fault(random.choice(FIVE))
        elif chance < 0.006:
            members.change_its_mind(random.choice(FIVE))
        elif chance < 0.008:
            for name in FIVE:
                members.see_all(name)
        elif chance < 0.03:
            members.deliver(members.late)
        elif chance < 0.13:
            members.pass_time(random.choice((10, 100, 300)))
        elif chance < 0.25 and step % 200 < 20:
            members.ask(random.choice((Put, Put, Put, Delete, Delete, Delete, Get)))
        else:
            members.deliver(members.on_the_way)
    for name in FIVE:
        members.see_all(name)
    members.calm_down()
    for _ in range(CALM_STEPS):
        if not any(members.records(name) or members.nodes[name]._state.hints.held for name in FIVE):
            break
        for name in NAMES:
            members.ask(Delete, name)
        for _ in range(20):
            members.pass_time(100)
            members.calm_down()

    assert not any(members.records(name) for name in FIVE)
    assert not any(node._state.hints.held for node in members.nodes.values())
