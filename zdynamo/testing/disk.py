"""What of a simulated node outlives its process, and what can happen to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from zdynamo.core.members.events import Kept
from zdynamo.errors import StoreFailed, StoreFull
from zdynamo.storage.memory import MemoryStore

DISK_FAILED = "the simulated disk has failed"
BEHIND_ALL = b"\xff" * 64  # no key is

Watch = Callable[[dict[bytes, bytes | None]], None]  # is shown what is being committed; None: deleted


class SimulatedStore(MemoryStore):
    """Outlives the process; what was committed since the last fsync does not outlive a power cut."""

    durability = "interval"
    durable = True

    def __init__(self, place: str = "first place") -> None:
        super().__init__()
        self.place = place
        self.full = False  # no commit finds room
        self.nearly_full = False  # less than `disk_free_min` is left
        self.breaks: Random | None = None  # the next commit fails, and chance says whether anything of it is kept
        self.watch: Watch | None = None
        self._replaced: dict[bytes, bytes | None] = {}  # by what is staged
        self._unsynced: list[dict[bytes, bytes | None]] = []  # what each commit since the last fsync has replaced
        self._synced = False  # a staged write asks for an fsync

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        if key not in self._replaced:
            self._replaced[key] = self.get(key)
        if synced:
            self._synced = True
        self._staged[key] = value

    def delete(self, key: bytes) -> None:
        if key not in self._replaced:
            self._replaced[key] = self.get(key)
        self._staged[key] = None

    def want_sync(self) -> None:
        self._synced = True

    def commit(self) -> None:
        """Raises: StoreFull, StoreFailed."""
        if not self._staged:
            if self._synced:
                self.sync()
            return
        if self.full:
            self.forget_staged()
            raise StoreFull("the simulated disk is full")
        if self.breaks is not None:
            random, self.breaks = self.breaks, None
            if random.random() < 0.5:
                self.forget_staged()
            else:
                self._commit()
            raise StoreFailed(DISK_FAILED)
        self._commit()

    def sync(self) -> None:
        self._unsynced.clear()
        self._synced = False

    @property
    def has_staged(self) -> bool:
        return bool(self._staged)

    @property
    def is_synced(self) -> bool:
        return not self._unsynced

    def room(self) -> bool:
        return not (self.full or self.nearly_full)

    def forget_staged(self) -> None:
        """The process has ended before it could commit, or there was no room."""
        self._staged.clear()
        self._replaced = {}
        self._synced = False

    @property
    def unsynced(self) -> int:
        """Commits since the last fsync."""
        return len(self._unsynced)

    def cut_power(self, kept: int = 0) -> None:
        """Go back to the last fsync, but for so many commits since then that had reached the disk all the same."""
        self.forget_staged()
        lost, self._unsynced = self._unsynced[kept:], []
        for replaced in reversed(lost):
            self._staged.update(replaced)
            super().commit()

    def copy(self, place: str = "") -> "SimulatedStore":
        """A copy of all that is committed, at the same place if no other is given."""
        copied = SimulatedStore(place or self.place)
        copied.durability = self.durability
        copied.watch = self.watch
        copied._staged.update(self.scan(b"", BEHIND_ALL))
        MemoryStore.commit(copied)
        return copied

    def _commit(self) -> None:
        if self.watch is not None:
            self.watch(self._staged)
        super().commit()
        self._unsynced.append(self._replaced)
        self._replaced = {}
        if self._synced or self.durability == "always":
            self.sync()


@dataclass
class Disk:
    """The store and the file of the membership, and the machine that they are in."""

    store: SimulatedStore = field(default_factory=SimulatedStore)
    kept: Kept = field(default_factory=Kept)
    machine_boot: str = "first boot"
    slow_ms: tuple[int, int] = (0, 0)  # that a commit takes, from and to

    def copy(self, *, snapshot: bool = False) -> "Disk":
        """A backup of the whole data folder; of a snapshot nothing tells that it is one."""
        place = "" if snapshot else f"copy of {self.store.place}"
        return Disk(self.store.copy(place), self.kept, self.machine_boot)
