"""The engine that keeps records in a dictionary, as long as the process lives."""

from collections.abc import Iterator
from typing import Self
from weakref import WeakSet

from sortedcontainers import SortedList  # type: ignore[import-untyped]

from zdynamo.core.store import OWN_KEYS
from zdynamo.messages import StoreSizes


class MemoryStore:
    """For caches and tests. To the cluster, a restart is a lost disk."""

    engine = "memory"
    durability = "never"
    durable = False

    def __init__(self) -> None:
        self._committed: dict[bytes, bytes] = {}
        self._keys = SortedList()  # of what is committed
        self._staged: dict[bytes, bytes | None] = {}  # None: deleted
        self._scans: WeakSet[_Scan] = WeakSet()  # that somebody may go on with

    def get(self, key: bytes) -> bytes | None:
        if key in self._staged:
            return self._staged[key]
        return self._committed.get(key)

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        self._staged[key] = value

    def delete(self, key: bytes) -> None:
        self._staged[key] = None

    def want_sync(self) -> None:
        """Nothing outlives the process."""

    def commit(self) -> None:
        if self._scans and self._staged:
            for scan in list(self._scans):
                scan.freeze()
            self._scans.clear()
        committed = self._committed
        for key, value in self._staged.items():
            if value is None:
                if committed.pop(key, None) is not None:
                    self._keys.remove(key)
            else:
                if key not in committed:
                    self._keys.add(key)
                committed[key] = value
        self._staged.clear()

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The pairs as they are when it begins; only those that are asked for cost anything."""
        committed, keys = self._committed, self._keys.irange(start, end, inclusive=(True, False))
        scan = _Scan((key, committed[key]) for key in keys)
        self._scans.add(scan)
        return scan

    def has_records(self) -> bool:
        return bool(self._keys) and self._keys[0] < OWN_KEYS

    def sync(self) -> None:
        """Nothing outlives the process."""

    def room(self) -> bool:
        return True

    def sizes(self) -> StoreSizes:
        return StoreSizes(len(self._committed), 0, -1)

    def close(self) -> None:
        """Nothing is held but memory."""


class _Scan:
    """An iterator that a commit leaves as it was."""

    def __init__(self, pairs: Iterator[tuple[bytes, bytes]]) -> None:
        self._pairs = pairs

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[bytes, bytes]:
        return next(self._pairs)

    def freeze(self) -> None:
        """Take what is left, before it changes."""
        self._pairs = iter(list(self._pairs))
