"""Records on disk, in RocksDB.

A commit is one batch in the write-ahead log. It has reached the operating system when `commit` returns, so that kill -9
loses nothing; what a power cut may lose is what has not been fsynced.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from rocksdict import BlockBasedOptions, Cache, Options, Rdict, WriteBatch

from zdynamo.config import StorageSettings
from zdynamo.core.store import OWN_KEYS
from zdynamo.errors import ConfigError, StoreDamaged, StoreFailed, StoreFull

WRITE_BUFFER_BYTES = 8 * 2**20  # of a memtable; two of them at most
CACHE_BYTES = 16 * 2**20
RESERVE_BYTES = 32 * 2**20  # that the engine itself needs to go on: below, commits are refused
ROOM_LOOK_S = 1.0  # between looks at the free space


class RocksStore:
    """The store protocol over RocksDB, with what is staged in a dictionary."""

    engine = "rocksdb"
    durable = True

    def __init__(
        self, settings: StorageSettings, folder: Path, *, free_bytes: Callable[[Path], int] | None = None
    ) -> None:
        """Raises: StoreDamaged if the folder cannot be read, ConfigError if it cannot be written."""
        self.durability: str = settings.durability
        self._free_min = settings.disk_free_min
        self._folder = folder
        self._free_bytes = free_bytes or _free_bytes
        self._staged: dict[bytes, bytes | None] = {}
        self._staged_bytes = 0
        self._synced = False  # whether the staged commit has to be fsynced whatever the durability
        self._dirty = False  # whether something committed is not fsynced
        self._looked_at = -ROOM_LOOK_S
        self._free = 0  # at the last look, less what was written since
        self._database: Rdict | None = _open(folder)

    def get(self, key: bytes) -> bytes | None:
        if key in self._staged:
            return self._staged[key]
        value: bytes | None = self._opened.get(key)
        return value

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        self._staged[key] = value
        self._staged_bytes += len(key) + len(value)
        self._synced = self._synced or synced

    def delete(self, key: bytes) -> None:
        self._staged[key] = None

    def commit(self) -> None:
        if not self._staged:
            return
        staged, size, synced = self._staged, self._staged_bytes, self._synced or self.durability == "always"
        self._staged, self._staged_bytes, self._synced = {}, 0, False
        if self._look() < size + RESERVE_BYTES:
            raise StoreFull(f"{self._folder}: {self._free} bytes are free, too few to go on: free some room")
        self._free -= size
        batch = WriteBatch(raw_mode=True)
        for key, value in staged.items():
            if value is None:
                batch.delete(key)
            else:
                batch.put(key, value)
        try:
            self._opened.write(batch)
            self._dirty = True
            if synced:
                self._fsync()
        except Exception as error:
            raise StoreFailed(f"{self._folder} cannot be written: {error}") from None

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        pairs: Iterator[tuple[bytes, bytes]] = self._opened.items(from_key=start)  # type: ignore[assignment]
        for key, value in pairs:
            if key >= end:
                return
            yield key, value

    def has_records(self) -> bool:
        return next(self.scan(b"", OWN_KEYS), None) is not None

    def sync(self) -> None:
        if self._dirty and self.durability != "never":
            try:
                self._fsync()
            except Exception as error:
                raise StoreFailed(f"{self._folder} cannot be fsynced: {error}") from None

    def room(self) -> bool:
        return self._look() >= self._free_min

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    @property
    def _opened(self) -> Rdict:
        assert self._database is not None, "the store is closed"
        return self._database

    def _fsync(self) -> None:
        self._opened.flush_wal(True)  # unlike a synced write, this lets go of the GIL
        self._dirty = False

    def _look(self) -> int:
        now = time.monotonic()
        if now - self._looked_at >= ROOM_LOOK_S:
            self._looked_at, self._free = now, self._free_bytes(self._folder)
        return self._free


def _open(folder: Path) -> Rdict:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"node.data: {folder} cannot be written ({error.strerror}): choose another folder") from None
    try:
        return Rdict(str(folder), options=_options())
    except Exception as error:
        remedy = f"move {folder} away and start again: the node comes back empty, with what its replicas have"
        raise StoreDamaged(f"{folder} cannot be opened ({error}): {remedy}") from None


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(WRITE_BUFFER_BYTES)
    options.set_max_write_buffer_number(2)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(2)
    options.set_max_log_file_size(2**20)
    options.set_stats_dump_period_sec(0)
    options.set_paranoid_checks(True)
    blocks = BlockBasedOptions()
    blocks.set_block_cache(Cache(CACHE_BYTES))
    blocks.set_bloom_filter(10, False)
    options.set_block_based_table_factory(blocks)
    return options


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free
