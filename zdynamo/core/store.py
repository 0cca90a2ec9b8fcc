"""What the core needs of a storage engine."""

from collections.abc import Iterator
from typing import Protocol

from zdynamo.messages import StoreSizes


class Store(Protocol):
    """An ordered map of bytes with staged writes. One owner thread. Reads see what is staged."""

    engine: str  # "memory" or "rocksdb"
    durability: str  # "always", "interval" or "never"
    durable: bool  # false: nothing outlives the process, and a restart is a lost disk

    def get(self, key: bytes) -> bytes | None: ...

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        """Stage a write; `synced`: the commit that holds it fsyncs, whatever the durability."""
        ...

    def delete(self, key: bytes) -> None: ...

    def want_sync(self) -> None:
        """The next commit fsyncs all up to then, whatever the durability, also if nothing is staged."""
        ...

    def commit(self) -> None:
        """Make what is staged as durable as configured.

        Raises: StoreFull if surely nothing of it was written (the stage is emptied), StoreFailed if some may be.
        """
        ...

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Committed pairs with start <= key < end, in order."""
        ...

    def has_records(self) -> bool:
        """Whether any key below OWN_KEYS is there."""
        ...

    def sync(self) -> None:
        """Fsync what is committed; called at the flush interval. Raises: StoreFailed."""
        ...

    def room(self) -> bool:
        """False when the free space is below `disk_free_min`: client puts are refused."""
        ...

    def sizes(self) -> StoreSizes:
        """Figures that cost nothing to have."""
        ...

    def close(self) -> None: ...


OWN_KEYS = b"\xff\xff"  # keys of the node itself start with this; no partition does
