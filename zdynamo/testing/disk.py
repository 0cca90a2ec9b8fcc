"""What of a simulated node outlives its process, and what can happen to it."""

from dataclasses import dataclass, field

from zdynamo.core.membership_events import Kept
from zdynamo.storage.memory import MemoryStore

BEHIND_ALL = b"\xff" * 64  # no key is


class SimulatedStore(MemoryStore):
    """Outlives the process; what was committed since the last fsync does not outlive a power cut."""

    durability = "interval"
    durable = True

    def __init__(self, place: str = "first place") -> None:
        super().__init__()
        self.place = place
        self._replaced: dict[bytes, bytes | None] = {}  # by what is staged
        self._unsynced: list[dict[bytes, bytes | None]] = []  # what each commit since the last fsync has replaced
        self._synced = False  # a staged write asks for an fsync

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        self._replace(key)
        self._synced = self._synced or synced
        super().put(key, value)

    def delete(self, key: bytes) -> None:
        self._replace(key)
        super().delete(key)

    def want_sync(self) -> None:
        self._synced = True

    def commit(self) -> None:
        super().commit()
        self._unsynced.append(self._replaced)
        self._replaced = {}
        if self._synced:
            self.sync()

    def sync(self) -> None:
        self._unsynced.clear()
        self._synced = False

    def cut_power(self) -> None:
        """Go back to the last fsync."""
        lost, self._unsynced = self._unsynced, []
        for replaced in reversed(lost):
            for key, value in replaced.items():
                super().delete(key) if value is None else super().put(key, value)
            super().commit()

    def copy(self, place: str = "") -> "SimulatedStore":
        """A copy of all that is committed, at the same place if no other is given."""
        copied = SimulatedStore(place or self.place)
        for key, value in self.scan(b"", BEHIND_ALL):
            copied.put(key, value)
        copied.commit()
        copied.sync()
        return copied

    def _replace(self, key: bytes) -> None:
        if key not in self._replaced:
            self._replaced[key] = self.get(key)


@dataclass
class Disk:
    """The store and the file of the membership, and the machine that they are in."""

    store: MemoryStore = field(default_factory=SimulatedStore)
    kept: Kept = field(default_factory=Kept)
    machine_boot: str = "first boot"

    def copy(self, *, snapshot: bool = False) -> "Disk":
        """A backup of the whole data folder; of a snapshot nothing tells that it is one."""
        assert isinstance(self.store, SimulatedStore)
        place = "" if snapshot else f"copy of {self.store.place}"
        return Disk(self.store.copy(place), self.kept, self.machine_boot)
