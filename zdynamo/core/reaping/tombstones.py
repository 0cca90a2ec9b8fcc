"""Where the records are that show no value, or soon will: an index in the store, for those who remove them.

An entry may be out of date: a record is looked at again before anything is done about it. What is dead and has no entry
does not exist.

In an `lww` bucket a record is dead with the last written of its siblings, whatever that hides, and it is safe to remove
as a whole, for the same reasons as a tombstone alone. Its clock covers the hidden dots too, so the proof that no copy
of what it covers is left holds for them as well. Which sibling is the last stands in the record itself, and all owners
hold the same bytes; a record that has met another write has other bytes, and is kept. Each owner goes by its own bucket
table when it says what it holds, and once more when it removes: where tables differ, who shows a value keeps the
record, and it is brought back to all. Records are never merged by that rule, so what is hidden shows again if the
bucket is given back its siblings before it has been removed.
"""

from collections.abc import Iterator

from zdynamo.core.records.buckets import Buckets
from zdynamo.core.records.record import Record, deciding, has_ended
from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.partition import PREFIX_BYTES, partition_of_storage_key

KEY = OWN_KEYS + b"dead"


class Tombstones:
    """The index, and which partitions have new entries."""

    def __init__(self, store: Store, buckets: Buckets) -> None:
        self._store = store
        self._buckets = buckets
        self._found: dict[bytes, bytes] = {}  # entries of what was found since the last commit
        self._again: dict[bytes, bytes] = {}  # those that a failed commit has lost
        self.fresh: set[int] = set()  # partitions with entries that may be new to whoever last emptied this
        start = KEY
        while (found := next(store.scan(start, KEY + b"\xff\xff"), None)) is not None:
            partition = partition_of_storage_key(found[0][len(KEY) :])
            self.fresh.add(partition)
            start = KEY + (partition + 1).to_bytes(PREFIX_BYTES, "big")

    def note(self, key: bytes, record: Record) -> None:
        """A record is being stored under that storage key: stage an entry if it is, or will be, dead."""
        due_ms = ends_ms(record, lww=self._buckets.is_lww(key))
        if due_ms is not None:
            self._stage(key, due_ms.to_bytes(8, "big"))

    def found(self, key: bytes, record: Record) -> None:
        """A record lies there, and is not found again: stage its entry, if its bucket had another rule till now."""
        if len(record.siblings) > 1 and self._buckets.is_lww(key):
            due_ms = ends_ms(record, lww=True)
            if due_ms is not None and self._store.get(KEY + key) != (due := due_ms.to_bytes(8, "big")):
                self._found[key] = due
                self._stage(key, due)

    def forget(self, key: bytes) -> None:
        """Stage the removal of an entry."""
        self._store.delete(KEY + key)

    def renew(self, key: bytes, record: Record) -> None:
        """Stage an entry as it is now, or its removal."""
        if ends_ms(record, lww=self._buckets.is_lww(key)) is None:
            self.forget(key)
        else:
            self.note(key, record)

    def committed(self) -> None:
        """What was staged is kept."""
        self._found.clear()
        if self._again:
            for key, due in self._again.items():
                self._stage(key, due)
            self._found, self._again = self._again, {}

    def discarded(self) -> None:
        """What was staged is gone. What was found is staged once more, when there is room."""
        self._again |= self._found
        self._found.clear()

    def _stage(self, key: bytes, due: bytes) -> None:
        self._store.put(KEY + key, due)
        self.fresh.add(partition_of_storage_key(key))

    def entries(self, partition: int, after: bytes) -> Iterator[tuple[bytes, int]]:
        """Committed entries behind a storage key (b"": all), in order: storage key, and when its record is dead."""
        start = KEY + (after + b"\0" if after else partition.to_bytes(PREFIX_BYTES, "big"))
        for key, due in self._store.scan(start, KEY + (partition + 1).to_bytes(PREFIX_BYTES, "big")):
            yield key[len(KEY) :], int.from_bytes(due, "big")


def ends_ms(record: Record, *, lww: bool) -> int | None:
    """The wall clock time from which on nothing is shown of it; 0: it has ended; None: never. `lww`: of its bucket."""
    ends = 0
    for sibling in deciding(record, lww=lww):
        if not sibling.tombstone:
            if sibling.expires_ms <= 0:
                return None
            ends = max(ends, sibling.expires_ms)
    return ends


def is_dead(record: Record, wall_ms: int, *, lww: bool) -> bool:
    """Whether nothing is shown of it from that time on. `lww`: of its bucket."""
    return all(has_ended(sibling, wall_ms) for sibling in deciding(record, lww=lww))
