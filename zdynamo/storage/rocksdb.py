"""The engine that keeps records on disk: RocksDB, one write batch a commit.

RocksDB appends each batch to its write-ahead log and hands that to the operating system at once, so what is committed
survives the process. An fsync is left to `flush_wal`, which gives up the GIL meanwhile; `write` with `sync` does not.
"""

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rocksdict import Rdict, ReadOptions, WriteBatch

from zdynamo.core.store import OWN_KEYS
from zdynamo.errors import StoreDamaged, StoreFailed, StoreFull
from zdynamo.messages import StoreSizes
from zdynamo.storage.rocksdb_folder import open_database, remedy
from zdynamo.storage.space import FreeSpace, free_bytes

COMMIT_FREE_MIN = 48 * 2**20  # bytes: below, RocksDB might fail to flush its write buffers, which stops it for good

SIZES = ("estimate-num-keys", "total-sst-files-size", "size-all-mem-tables")


class RocksStore:
    """Reads and writes in batches. RocksDict raises bare `Exception` for everything, so that is what is caught."""

    engine = "rocksdb"
    durable = True

    def __init__(
        self, folder: Path, *, durability: str, disk_free_min: int, measure: Callable[[], int] | None = None
    ) -> None:
        """`measure`: tells the free bytes on the folder's disk. Raises: ConfigError, StoreDamaged."""
        self.durability = durability
        self._folder = folder
        self._disk_free_min = disk_free_min
        self._database: Rdict | None = open_database(folder)
        self._space = FreeSpace(measure or partial(free_bytes, folder))
        self._staged: dict[bytes, bytes | None] = {}  # None: deleted
        self._synced = False  # a staged write asks for an fsync
        self._dirty = False  # something committed waits for one

    def get(self, key: bytes) -> bytes | None:
        """Raises: StoreDamaged."""
        if key in self._staged:
            return self._staged[key]
        try:
            value: bytes | None = self._open.get(key)
        except Exception as error:
            raise self._damaged(error) from None
        return value

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        self._staged[key] = value
        if synced:
            self._synced = True

    def delete(self, key: bytes) -> None:
        self._staged[key] = None

    def want_sync(self) -> None:
        self._synced = True

    def commit(self) -> None:
        """Raises: StoreFull, StoreFailed."""
        synced, self._synced = self._synced, False
        if self._staged:
            batch = WriteBatch(raw_mode=True)
            for key, value in self._staged.items():
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            self._staged = {}
            self._write(batch)
            synced = synced or self.durability == "always"
        if synced and self._dirty:
            self._fsync()

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The pairs as they are when the first is asked for. Raises: StoreDamaged."""
        bounds = ReadOptions()
        bounds.set_iterate_upper_bound(end)
        pairs = self._open.iter(bounds)
        try:
            pairs.seek(start)
            while pairs.valid():
                yield pairs.key(), pairs.value()
                pairs.next()
            pairs.status()  # an iterator ends silently where it cannot read on
        except Exception as error:
            raise self._damaged(error) from None

    def has_records(self) -> bool:
        return next(self.scan(b"", OWN_KEYS), None) is not None

    def sync(self) -> None:
        """Raises: StoreFailed."""
        if self._dirty and self.durability != "never":
            self._fsync()

    def room(self) -> bool:
        return self._space.left() >= self._disk_free_min

    def sizes(self) -> StoreSizes:
        """As RocksDB estimates them; the write-ahead log is as large as what it keeps for the tables in memory."""
        keys, tables, log = (self._open.property_int_value(f"rocksdb.{name}") or 0 for name in SIZES)
        return StoreSizes(keys, tables + log, max(0, self._space.left()))

    def close(self) -> None:
        """What is staged is dropped; what is committed is with the operating system already."""
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(Exception):  # a failed write repeats its error here
                database.close()

    @property
    def _open(self) -> Rdict:
        assert self._database is not None, "the store is closed"
        return self._database

    def _write(self, batch: WriteBatch) -> None:
        size = batch.size_in_bytes()
        if self._space.left() < COMMIT_FREE_MIN + size:
            raise StoreFull(f"the disk of {self._folder} is full: {size} bytes were not written, free some space")
        try:
            self._open.write(batch)
        except Exception as error:
            raise StoreFailed(f"{self._folder} could not be written ({error}): free space or mend the disk") from None
        self._space.spend(size)
        self._dirty = True

    def _fsync(self) -> None:
        try:
            self._open.flush_wal(sync=True)
        except Exception as error:
            raise StoreFailed(f"{self._folder} could not be synced ({error}): mend the disk") from None
        self._dirty = False

    def _damaged(self, error: Exception) -> StoreDamaged:
        return StoreDamaged(f"{self._folder} cannot be read ({error}): {remedy(self._folder)}")
