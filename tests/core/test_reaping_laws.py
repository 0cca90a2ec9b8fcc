"""What is removed stays removed: three owners, and a network that delays, reorders and repeats as it likes."""

from random import Random

import pytest
from support.nodes import CLUSTER, PARTITIONS, WALL_MS, member, request_id

from zdynamo import codec
from zdynamo.core.events import Effect, Event, FromClient, FromPeer, Now, Send, Tick, ViewChanged
from zdynamo.core.layout import make_layout
from zdynamo.core.node import Node
from zdynamo.core.record import Clock, Record, covers, decode_record
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Constants, Delete, Frame, LayoutMember, MemberView, Put, StoreReplica, View
from zdynamo.partition import HASH_VERSION, storage_key
from zdynamo.storage.memory import MemoryStore

OWNERS = "abc"
LIMITS = NodeLimits(reap_interval_ms=100)
NAMES = [b"one", b"two"]
KEYS = [storage_key(b"default", name, PARTITIONS) for name in NAMES]
LATE = 0.1  # of the messages are held back, for as long as the whole run


class Disk(MemoryStore):
    """It keeps over a power cut what the last commit with a synced write has left there."""

    def __init__(self, pairs: dict[bytes, bytes]) -> None:
        super().__init__()
        self.safe = pairs
        self.syncs = False
        for key, value in pairs.items():
            super().put(key, value)
        self.commit()

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        super().put(key, value)
        self.syncs |= synced

    def commit(self) -> None:
        super().commit()
        if self.syncs:
            self.safe = dict(self.scan(b"", b"\xff" * 9))
        self.syncs = False


class Owners:
    """Real nodes. `removed` holds the clock of everything that any of them has removed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_ms = 1_000
        self.requests = 0
        self.epochs = dict.fromkeys(OWNERS, 0)
        self.disks = {name: Disk({}) for name in OWNERS}
        self.nodes: dict[str, Node] = {}
        self.on_the_way: list[tuple[str, Frame]] = []
        self.late: list[tuple[str, Frame]] = []
        self.removed: list[tuple[bytes, Clock]] = []
        self.removals = 0
        for name in OWNERS:
            self.start(name)
        self.settle()

    @property
    def now(self) -> Now:
        return Now(self.now_ms, WALL_MS + self.now_ms)

    def start(self, name: str) -> None:
        """Start a node, again if it runs: what it held in memory is gone."""
        self.epochs[name] += 1
        random = Random(self.random.getrandbits(64))
        self.nodes[name] = Node(store=self.disks[name], limits=LIMITS, random=random, now=self.now)
        self.disks[name].commit()
        self.nodes[name].committed()
        for other in OWNERS:
            if other in self.nodes:
                self.step(other, ViewChanged(self.view(other)))

    def cut_power(self, name: str) -> None:
        self.disks[name] = Disk(self.disks[name].safe)
        self.start(name)

    def view(self, me: str) -> View:
        records = {name: member(name, max(1, epoch)) for name, epoch in self.epochs.items()}
        return View(
            sum(self.epochs.values()),
            CLUSTER,
            Constants(PARTITIONS, 3, HASH_VERSION, 3, "a"),
            records[me],
            tuple(MemberView(record, "alive", 0.0) for record in records.values()),
            make_layout(1, [LayoutMember(name, "", 1) for name in OWNERS]),
            0,
        )

    def step(self, name: str, event: Event) -> None:
        before = self.records(name)
        node, store = self.nodes[name], self.disks[name]
        effects = node.step(event, self.now)
        store.commit()
        node.committed()
        after = self.records(name)
        for key in before.keys() - after.keys():
            self.removals += 1
            self.removed.append((key, before[key].clock))
        for key, clock in self.removed:
            for owner in OWNERS:
                record = self.records(owner).get(key)
                revived = record and [s for s in record.siblings if not s.tombstone and covers(clock, s.dot)]
                assert not revived, f"{owner} holds what was deleted and removed"
        self.send(name, effects)

    def send(self, name: str, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                frame = self.nodes[name].frame(effect.to, (effect.message,))
                frame = codec.decode_frame(codec.encode(frame))
                stored = isinstance(effect.message, StoreReplica)
                late = stored and self.random.random() < LATE
                (self.late if late else self.on_the_way).append((effect.to, frame))

    def records(self, name: str) -> dict[bytes, Record]:
        store = self.disks[name]
        held = {key: store.get(key) for key in KEYS}
        return {key: decode_record(stored[8:]) for key, stored in held.items() if stored}

    def put(self) -> None:
        name = self.random.choice(NAMES)
        self.requests += 1
        put = Put(request_id(self.requests << 64), "", 1_000, "default", name, b"%d" % self.requests, "")
        self.step(self.random.choice(OWNERS), FromClient(b"client", put))

    def delete(self) -> None:
        name = self.random.choice(NAMES)
        self.requests += 1
        delete = Delete(request_id(self.requests << 64), "", 1_000, "default", name)
        self.step(self.random.choice(OWNERS), FromClient(b"client", delete))

    def deliver(self, box: list[tuple[str, Frame]]) -> None:
        if not box:
            return
        place = self.random.randrange(len(box))
        to, frame = box[place]
        if self.random.random() > 0.1:  # else it comes once more
            box.pop(place)
        self.step(to, FromPeer(frame))

    def settle(self) -> None:
        """Deliver everything but what is late."""
        while self.on_the_way:
            self.deliver(self.on_the_way)

    def pass_time(self, ms: int) -> None:
        self.now_ms += ms
        for name in OWNERS:
            due_ms = self.nodes[name].next_due_ms
            if due_ms is not None and self.now_ms >= due_ms:
                self.step(name, Tick())


@pytest.mark.parametrize("seed", range(60))
def test_nothing_that_a_removed_record_covers_is_ever_stored_again(seed: int) -> None:
    owners = Owners(seed)
    random = owners.random

    for step in range(1_500):
        chance = random.random()
        if chance < 0.004:
            random.choice((owners.start, owners.cut_power))(random.choice(OWNERS))
        elif chance < 0.02:
            owners.deliver(owners.late)
        elif chance < 0.2:
            owners.pass_time(random.choice((10, 100, 300)))
        elif chance < 0.3 and step % 150 < 20:
            random.choice((owners.put, owners.delete))()
        else:
            owners.deliver(owners.on_the_way)
    while owners.late:
        owners.deliver(owners.late)

    assert owners.removals
