"""What this node holds for members that could not take it: an index in the store (paper 4.6).

An entry says that a record, stored here like any other, is to be brought to a target. A fallback holds a record only
for that; an owner has it anyway. Entries do not expire, they end when the target has what is held.
"""

from collections import defaultdict
from collections.abc import Iterator

from msgspec import Struct

from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.messages import NodeId
from zdynamo.partition import partition_of_storage_key

KEY = OWN_KEYS + b"hint"  # then the length of the target, the target, and the storage key
SIZE_BYTES = 4  # of the value: the size of the record when it came last
BEHIND_ALL = b"\xff\xff"  # no storage key is


class Held(Struct):
    """For one target."""

    count: int = 0
    bytes: int = 0


class Hints:
    """The index. What it says of counts includes what is staged."""

    def __init__(self, store: Store, *, count_max: int, bytes_max: int) -> None:
        """At most so many records and bytes for each target; what is beyond is refused."""
        self._store = store
        self._count_max = count_max
        self._bytes_max = bytes_max
        self.held: dict[NodeId, Held] = {}
        self._staged: list[tuple[NodeId, int, int]] = []  # changes of `held` since the last commit
        self._added: defaultdict[int, int] = defaultdict(int)  # by partition, so far by this process
        for key, size in store.scan(KEY, KEY + b"\xff"):
            target = key[len(KEY) + 1 : len(KEY) + 1 + key[len(KEY)]].decode()
            self._count(target, 1, int.from_bytes(size, "big"))

    def has_room(self, target: NodeId, key: bytes) -> bool:
        """For one more record; the last may go over the limit. For a newer one of what is held there always is."""
        held = self.held.get(target) or Held()
        if held.count < self._count_max and held.bytes < self._bytes_max:
            return True
        return self._store.get(_entry(target, key)) is not None

    def add(self, target: NodeId, key: bytes, size: int) -> None:
        """Stage an entry for a storage key, or its new size."""
        self._added[partition_of_storage_key(key)] += 1
        entry, encoded = _entry(target, key), size.to_bytes(SIZE_BYTES, "big")
        before = self._store.get(entry)
        if before != encoded:
            self._store.put(entry, encoded)
            self._change(target, int(before is None), size - int.from_bytes(before or b"", "big"))

    def remove(self, target: NodeId, key: bytes) -> bool:
        """Stage the end of an entry; whether there was one."""
        entry = _entry(target, key)
        size = self._store.get(entry)
        if size is None:
            return False
        self._store.delete(entry)
        self._change(target, -1, -int.from_bytes(size, "big"))
        return True

    def targets_of(self, key: bytes) -> list[NodeId]:
        """For whom the record of a storage key is held."""
        return [target for target in self.held if self._store.get(_entry(target, key)) is not None]

    def keys(self, target: NodeId, after: bytes) -> Iterator[bytes]:
        """Committed storage keys for a target behind one of them (b"": all), in order."""
        start = _entry(target, after + b"\0" if after else b"")
        for entry, _ in self._store.scan(start, _entry(target, BEHIND_ALL)):
            yield entry[len(KEY) + 1 + len(target) :]

    def added(self, partition: int) -> int:
        """A number that grows whenever something of a partition is held anew."""
        return self._added[partition]

    def committed(self) -> None:
        """What was staged is kept."""
        if self._staged:
            self._staged.clear()

    def discarded(self) -> None:
        """What was staged is gone."""
        staged, self._staged = self._staged, []
        for target, count, size in reversed(staged):
            self._count(target, -count, -size)

    def _change(self, target: NodeId, count: int, size: int) -> None:
        self._staged.append((target, count, size))
        self._count(target, count, size)

    def _count(self, target: NodeId, count: int, size: int) -> None:
        held = self.held.setdefault(target, Held())
        held.count += count
        held.bytes += size
        if not held.count:
            del self.held[target]


def _entry(target: NodeId, key: bytes) -> bytes:
    named = target.encode()
    return KEY + bytes((len(named),)) + named + key
