"""The data folder of a node: its lock, what it keeps of the membership, and its store.

DATA/lock              held while a process uses the folder
DATA/membership.json   identity, member table and layout, replaced as a whole and fsynced
DATA/store/            the storage engine's
"""

import os
from pathlib import Path
from typing import Protocol

import msgspec
from filelock import FileLock, Timeout

from zdynamo.core.members.events import Kept
from zdynamo.errors import ConfigError, StoreDamaged, StoreFailed
from zdynamo.threads.machine import place_of

LOCK = "lock"


class Folder(Protocol):
    """What outlives a node's process, beside its records."""

    @property
    def place(self) -> str:
        """The same text while it is the same folder, another for a copy; "" if that cannot be known."""

    def load(self) -> Kept: ...

    def keep(self, kept: Kept) -> None:
        """Replace what is kept."""

    def close(self) -> None: ...


def in_use(path: Path) -> bool:
    """Whether a node runs with that data folder now."""
    if not (path / LOCK).exists():
        return False
    try:
        with FileLock(path / LOCK, timeout=0):
            return False
    except (Timeout, OSError):
        return True


class DataFolder:
    """Locks the folder until closed. Raises: ConfigError if it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / LOCK, thread_local=False)
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

    @property
    def place(self) -> str:
        return place_of(self.store)

    def load(self) -> Kept:
        """Raises: StoreDamaged."""
        file = self.path / "membership.json"
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=Kept)
            if kept.cluster and kept.constants is None:
                raise msgspec.ValidationError("Object missing `constants` of its cluster")
            return kept
        except FileNotFoundError:
            return Kept()
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            remedy = f"restore it, or move {self.path} away and start the node empty at its address"
            raise StoreDamaged(f"{file} is damaged ({error}): {remedy}") from None

    def keep(self, kept: Kept) -> None:
        """Replace what is kept; on disk when this returns.

        Raises: StoreFailed, with what was kept before still there.
        """
        target, draft = self.path / "membership.json", self.path / "membership.json.new"
        try:
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
        except OSError as error:
            raise StoreFailed(
                f"{target} cannot be written ({error.strerror}): mend that, or make room, and start the node again"
            ) from None

    def close(self) -> None:
        self._lock.release()
