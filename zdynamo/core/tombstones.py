"""Where the records are that show no value, or soon will: an index in the store, for those who remove them.

An entry may be out of date: a record is looked at again before anything is done about it. What is dead and has no entry
does not exist.
"""

from collections.abc import Iterator

from zdynamo.core.record import Record
from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.partition import PREFIX_BYTES, partition_of_storage_key

KEY = OWN_KEYS + b"dead"


class Tombstones:
    """The index, and which partitions have entries."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.partitions: set[int] = set()  # with entries, or that once had some
        start = KEY
        while (found := next(store.scan(start, KEY + b"\xff\xff"), None)) is not None:
            partition = partition_of_storage_key(found[0][len(KEY) :])
            self.partitions.add(partition)
            start = KEY + (partition + 1).to_bytes(PREFIX_BYTES, "big")

    def note(self, key: bytes, record: Record) -> None:
        """A record is being stored under that storage key: stage an entry if it is, or will be, dead."""
        due_ms = 0
        for sibling in record.siblings:
            if not sibling.tombstone:
                if not sibling.expires_ms:
                    return
                due_ms = max(due_ms, sibling.expires_ms)
        self._store.put(KEY + key, due_ms.to_bytes(8, "big"))
        self.partitions.add(partition_of_storage_key(key))

    def forget(self, key: bytes) -> None:
        """Stage the removal of an entry."""
        self._store.delete(KEY + key)

    def due(self, partition: int, wall_ms: int) -> Iterator[bytes]:
        """The storage keys whose records should be dead by that time; a snapshot, in order."""
        start = KEY + partition.to_bytes(PREFIX_BYTES, "big")
        for key, due in self._store.scan(start, KEY + (partition + 1).to_bytes(PREFIX_BYTES, "big")):
            if int.from_bytes(due, "big") <= wall_ms:
                yield key[len(KEY) :]

    def empty(self, partition: int) -> None:
        """Nothing was found there."""
        self.partitions.discard(partition)


def is_dead(record: Record, wall_ms: int) -> bool:
    """Whether nothing is shown of it from that time on."""
    return all(sibling.tombstone or 0 < sibling.expires_ms <= wall_ms for sibling in record.siblings)
