"""Where a node keeps its records: the engines behind the store protocol."""

from pathlib import Path

from zdynamo.config import StorageSettings
from zdynamo.core.store import Store
from zdynamo.storage.memory import MemoryStore


def open_store(settings: StorageSettings, folder: Path | None) -> Store:
    """The engine that the settings name; `folder` is its own, and not needed for `memory`.

    Raises: ConfigError if the folder cannot be used, StoreDamaged.
    """
    if settings.engine == "memory":
        return MemoryStore()
    from zdynamo.storage.rocksdb import RocksStore  # loaded only where it is used: 4 MB

    assert folder is not None
    return RocksStore(folder, durability=settings.durability, disk_free_min=settings.disk_free_min)
