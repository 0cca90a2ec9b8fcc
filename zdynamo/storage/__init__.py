"""Where a node keeps its records: the engines behind the store protocol."""

from pathlib import Path

from zdynamo.config import StorageSettings
from zdynamo.core.store import Store
from zdynamo.storage.memory import MemoryStore


def open_store(settings: StorageSettings, folder: Path | None) -> Store:
    """The engine of the settings. Raises: StoreDamaged, ConfigError."""
    if folder is None or settings.engine == "memory":
        return MemoryStore()
    from zdynamo.storage.rocksdb import RocksStore

    return RocksStore(settings, folder)
