"""The data folder of a node: its lock, what it keeps of the membership, and its store.

DATA/lock              held while a process uses the folder
DATA/membership.json   identity, member table and layout, replaced as a whole and fsynced
DATA/store/            the storage engine's
"""

import os
from pathlib import Path

import msgspec
from filelock import FileLock, Timeout

from zdynamo.core.membership_events import Kept
from zdynamo.errors import ConfigError, StoreDamaged


class DataFolder:
    """Locks the folder until closed. Raises: ConfigError if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / "lock", thread_local=False)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ConfigError(
                f"node.data: {path} is in use by another node: stop it or choose another folder"
            ) from None
        except OSError as error:
            raise ConfigError(
                f"node.data: {path} cannot be written ({error.strerror}): choose another folder"
            ) from None

    @property
    def store(self) -> Path:
        return self.path / "store"

    def load(self) -> Kept:
        """Raises: StoreDamaged."""
        file = self.path / "membership.json"
        try:
            return msgspec.json.decode(file.read_bytes(), type=Kept)
        except FileNotFoundError:
            return Kept()
        except msgspec.DecodeError as error:
            remedy = f"restore it, or move {self.path} away and start the node empty at its address"
            raise StoreDamaged(f"{file} is damaged ({error}): {remedy}") from None

    def keep(self, kept: Kept) -> None:
        """Replace what is kept; on disk when this returns."""
        target, draft = self.path / "membership.json", self.path / "membership.json.new"
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(kept), indent=1))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        self._lock.release()
