"""Records in a dictionary: as fast as it gets, and gone with the process."""

from collections.abc import Iterator

from zdynamo.core.store import OWN_KEYS


class MemoryStore:
    """The store protocol over two dictionaries: what is committed, and what is staged."""

    engine = "memory"
    durability = "never"
    durable = False

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}
        self._staged: dict[bytes, bytes | None] = {}

    def get(self, key: bytes) -> bytes | None:
        return self._staged[key] if key in self._staged else self._kept.get(key)

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        self._staged[key] = value

    def delete(self, key: bytes) -> None:
        self._staged[key] = None

    def commit(self) -> None:
        for key, value in self._staged.items():
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value
        self._staged.clear()

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key in sorted(key for key in self._kept if start <= key < end):
            yield key, self._kept[key]

    def has_records(self) -> bool:
        return any(key < OWN_KEYS for key in self._kept)

    def sync(self) -> None:
        """Nothing outlives the process."""

    def room(self) -> bool:
        return True

    def close(self) -> None:
        """There is nothing to give back."""
