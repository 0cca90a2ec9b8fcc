"""What this node holds of each partition, as a hash tree: two owners find out cheaply where they differ (paper 4.7).

A tree is flat: a row of leaves, and a root that is the hash of them. A leaf is the sum of the hashes of its records, so
that a write adjusts it without a look at the others. A tree counts what is staged, like all else that a step sees.

What consists of tombstones only counts nothing: it may go at any time, and whoever removes it brings it to all owners.
An expired value counts until it is removed, and so does one that a later tombstone hides in an `lww` bucket: what
counts is up to the record alone, so that owners whose bucket tables differ have the same trees.

After a start the trees are built in slices, by a scan. A write behind the place that the scan has reached adjusts; one
beyond is scanned later, but for what is staged in the very batch in which the scan passes it.
"""

import sys
from array import array
from collections.abc import Callable, Iterable

from xxhash import xxh3_64_intdigest

from zdynamo.core.anti_entropy.pace import RECORD_BYTES
from zdynamo.core.records.dots import BIRTH_BYTES
from zdynamo.core.records.record import Record, current, decode_record
from zdynamo.core.store import Store
from zdynamo.partition import stretch

LEAVES = 2**18  # of all partitions of a cluster together: 2 MiB on a node that owns all of them
LEAVES_MIN = 16  # of one partition; with the most partitions there are that makes 4 MiB
LEAVES_MAX = 4_096
MASK = 2**64 - 1
UNKNOWN = 0  # no root is that: there is no tree, or it may lack what this node has lost
BUILDING = 1  # no root is that: the tree is not finished
SLICE_RECORDS = 200  # scanned in one step: about a millisecond
SLICE_BYTES = 2**20
SLICE_PARTITIONS = 64


class Trees:
    """The trees of the partitions that this node owns."""

    def __init__(self, store: Store, found: Callable[[bytes, Record], None]) -> None:
        """`found`: is told of each record that a scan meets, with its storage key."""
        self._store = store
        self._found = found
        self._blank = not store.has_records()  # nothing was ever stored here
        self._mask = 0
        self._leaves: dict[int, array[int]] = {}  # by partition
        self._roots: dict[int, int] = {}  # of trees that have not changed since
        self._building: dict[int, bytes] = {}  # partition -> the storage key up to which it has been scanned
        # Since the last commit:
        self._changed: list[tuple[int, array[int], int, int]] = []  # partition, its leaves, the place, by how much
        self._beyond: list[tuple[bytes, int, int]] = []  # of what has not been scanned: storage key, place, by how much
        self._fresh = False  # there are new trees, and what is staged may be in none of them

    @property
    def owned(self) -> int:
        return len(self._leaves)

    @property
    def built(self) -> int:
        return len(self._leaves) - len(self._building)

    def own(self, owned: Iterable[int], partitions: int) -> None:
        """Which of so many partitions this node owns."""
        count = leaves_of(partitions)
        self._mask = count - 1
        wanted = set(owned)
        for partition in self._leaves.keys() - wanted:
            del self._leaves[partition]
            self._building.pop(partition, None)
            self._roots.pop(partition, None)
            self._blank = False  # its records stay for a while
        for partition in sorted(wanted - self._leaves.keys()):
            self._leaves[partition] = array("Q", bytes(8 * count))
            if not self._blank:
                self._building[partition] = b""
                self._fresh = True

    def replaced(self, key: bytes, held: Record, was: bytes, record: Record, encoded: bytes) -> None:
        """A copy is staged in place of the one that was held; b"": there is none. Call it for each."""
        partition = key[0] << 8 | key[1]
        leaves = self._leaves.get(partition)
        if leaves is None:
            self._blank = False
            return
        seed = xxh3_64_intdigest(key)
        change = xxh3_64_intdigest(encoded, seed) if encoded and counts(record) else 0
        if was and counts(held):
            change -= xxh3_64_intdigest(was, seed)
        if self._building:
            reached = self._building.get(partition)
            if reached is not None and key > reached:
                self._beyond.append((key, seed & self._mask, change))
                return
        if change:
            self._adjust(partition, leaves, seed & self._mask, change)

    def committed(self) -> None:
        """What was staged is kept."""
        self._changed.clear()
        if self._beyond:
            self._beyond.clear()
        self._fresh = False

    def discarded(self) -> None:
        """What was staged is gone."""
        for partition, leaves, place, change in self._changed:
            leaves[place] = (leaves[place] - change) & MASK
            self._roots.pop(partition, None)
        self.committed()

    def root(self, partition: int) -> int:
        """The hash of all that is held of it; or UNKNOWN, or BUILDING."""
        root = self._roots.get(partition)
        if root is not None:
            return root
        if partition not in self._leaves:
            return UNKNOWN
        if partition in self._building:
            return BUILDING
        root = self._roots[partition] = max(xxh3_64_intdigest(self.encoded(partition)), BUILDING + 1)
        return root

    def encoded(self, partition: int) -> bytes:
        """Its leaves, 8 bytes each, the least significant first."""
        leaves = self._leaves[partition]
        if sys.byteorder == "big":
            leaves = leaves[:]
            leaves.byteswap()
        return leaves.tobytes()

    def differing(self, partition: int, encoded: bytes) -> frozenset[int] | None:
        """The places of leaves that are not as another's; None: those are no leaves of such a tree."""
        mine, theirs = self._leaves[partition], array("Q")
        if len(encoded) != 8 * len(mine):
            return None
        theirs.frombytes(encoded)
        if sys.byteorder == "big":
            theirs.byteswap()
        return frozenset(place for place, leaf in enumerate(mine) if leaf != theirs[place])

    def place_of(self, key: bytes) -> int:
        """Of the leaf in which a storage key counts."""
        return xxh3_64_intdigest(key) & self._mask

    @property
    def wants_building(self) -> bool:
        return bool(self._building)

    def build(self, records_max: int = SLICE_RECORDS) -> int:
        """Scan a slice. Returns what it costs, in bytes."""
        if self._fresh:
            return 0
        records = size = 0
        for partition in list(self._building)[:SLICE_PARTITIONS]:
            leaves, before = self._leaves[partition], self._building[partition]
            reached, finished = before, True
            for key, stored in self._store.scan(*stretch(partition, before)):
                if records >= records_max or size >= SLICE_BYTES:
                    finished = False
                    break
                records += 1
                size += len(key) + len(stored) + RECORD_BYTES
                reached = key
                encoded = stored[BIRTH_BYTES:]
                record = decode_record(encoded)
                self._found(key, record)
                if counts(record):
                    seed = xxh3_64_intdigest(key)
                    place = seed & self._mask
                    leaves[place] = (leaves[place] + xxh3_64_intdigest(encoded, seed)) & MASK
            self._pass(partition, leaves, reached, finished=finished)
            if not finished:
                break
        return size

    def _pass(self, partition: int, leaves: "array[int]", reached: bytes, *, finished: bool) -> None:
        """The scan has come so far: what is staged there is to be counted like all else from now on."""
        if finished:
            del self._building[partition]
        else:
            self._building[partition] = reached
        beyond, self._beyond = self._beyond, []
        for staged in beyond:
            key, place, change = staged
            if key[0] << 8 | key[1] == partition and (finished or key <= reached):
                self._adjust(partition, leaves, place, change)
            else:
                self._beyond.append(staged)

    def _adjust(self, partition: int, leaves: "array[int]", place: int, change: int) -> None:
        leaves[place] = (leaves[place] + change) & MASK
        self._changed.append((partition, leaves, place, change))
        self._roots.pop(partition, None)


def leaves_of(partitions: int) -> int:
    """How many leaves the tree of one of so many partitions has: a power of two."""
    return max(LEAVES_MIN, min(LEAVES_MAX, LEAVES // partitions))


def counts(record: Record) -> bool:
    """Whether a record counts in a tree."""
    siblings = record.siblings
    if len(siblings) == 1:
        return not siblings[0].tombstone
    return any(not sibling.tombstone for sibling in current(record))


def digest(key: bytes, record: Record, encoded: bytes) -> int:
    """What a record adds to its leaf; 0: nothing."""
    return xxh3_64_intdigest(encoded, xxh3_64_intdigest(key)) if counts(record) else 0
