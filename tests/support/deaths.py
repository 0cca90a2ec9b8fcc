"""Records that are dead, and lone nodes that hold some."""

import xxhash

from support.nodes import PARTITIONS, WALL_MS, LoneNode, view
from support.records import record_of, sibling
from zdynamo.core.events import Effect, Tick
from zdynamo.core.owners.placement import Placement
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Bucket, StoreReplica
from zdynamo.partition import partition_of_storage_key, storage_key
from zdynamo.storage.memory import MemoryStore

EXPIRES_MS = WALL_MS + 60_000
LIMITS = NodeLimits(reap_interval_ms=10_000)


VALUE = record_of(sibling(1))
TOMBSTONE = record_of(sibling(2, tombstone=True))
EXPIRING = record_of(sibling(2, expires_ms=EXPIRES_MS))
RECREATED = record_of(sibling(3))
BESIDE = record_of(sibling(2, tombstone=True), sibling(3))


def digest(record: bytes) -> int:
    return xxhash.xxh3_64_intdigest(record)


def keys_of(count: int, first: str = "a", layout: str = "abc") -> list[bytes]:
    """Storage keys of one partition, whose first owner is that node."""
    placement = Placement(view(layout=layout))
    partition = next(number for number, owners in enumerate(placement.owners) if owners[0] == first)
    keys: list[bytes] = []
    number = 0
    while len(keys) < count:
        number += 1
        key = storage_key(b"default", b"key-%d" % number, PARTITIONS)
        if partition_of_storage_key(key) == partition:
            keys.append(key)
    return sorted(keys)


KEY = keys_of(1)[0]
PARTITION = partition_of_storage_key(KEY)


def holding(
    *records: tuple[bytes, bytes],
    limits: NodeLimits = LIMITS,
    store: MemoryStore | None = None,
    buckets: tuple[Bucket, ...] = (),
) -> LoneNode:
    """A node that has been sent these records, by storage key."""
    node = LoneNode(limits=limits, store=store, buckets=buckets)
    for key, record in records:
        node.hears("b", StoreReplica(0, 1000, (), node_round(node, key), key, record))
    return node


def node_round(node: LoneNode, key: bytes = KEY) -> int:
    """The partition's reaping round at that node."""
    return node.node._state.rounds.of_key(key)


def pass_time(node: LoneNode, ms: int) -> None:
    node.monotonic_ms += ms
    node.wall_ms += ms


def until_next_pass(node: LoneNode, at_most_ms: int = 60_000) -> list[Effect]:
    """Let time pass until a tick has effects. What they are; [] if there are none in that time."""
    end_ms = node.monotonic_ms + at_most_ms
    while True:
        due_ms = node.node.next_due_ms
        if due_ms is None or due_ms > end_ms:
            return []
        pass_time(node, max(0, due_ms - node.monotonic_ms))
        effects = node.step(Tick())
        if effects:
            return effects
