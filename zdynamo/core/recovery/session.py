"""What the last process with this store left behind: is the store all that this node has ever acknowledged?

Kept in the store, fsynced: the epoch of the start, the boot of the machine, the place of the store, and at a clean stop
a mark. The store's epoch is written before the membership keeps its own, so that a smaller one is a copy from before a
later start. A copy from after the last start tells by its place that it is one, and may be as old as that start. A
process that was killed has lost nothing; a machine that went down may have lost what was not yet fsynced.

What nobody notices: a copy from after the last start that is put back at the same place as far as the machine can tell,
such as a snapshot of the whole disk, or files that are written over those in place.
"""

from msgspec import Struct, msgpack

from zdynamo.core.records.dots import COUNTER_KEY
from zdynamo.core.store import OWN_KEYS, Store

KEY = OWN_KEYS + b"session"
LOST_DISK = "its disk was lost"
OLD_STORE = "its store is an old copy"
OLD_FOLDER = "its data folder is an old copy"
COPIED = "its store was copied or moved: it may be an old copy"
POWER_CUT = "its machine went down before all was on disk"


class _Left(Struct, array_like=True):
    epoch: int = 0
    machine: str = ""  # its boot id; "": not known
    clean: bool = False  # the process has stopped in order, with all on disk
    old_copy: int = 0  # the last one that members have told of
    place: str = ""  # of the store at the last start at which that was known


class Session:
    """This process's use of the store."""

    def __init__(self, store: Store, *, epoch: int, machine: str, place: str, had_data: bool) -> None:
        """`epoch`: the one that the membership kept last.

        `machine`: "" if nobody knows whether it has rebooted; `place`: "" if nobody knows whether this is a copy.
        """
        self._store = store
        found = store.get(KEY)
        self._left = msgpack.decode(found, type=_Left) if found else _Left()
        self.doubt = self._doubt(epoch, machine, place, had_data)  # why something may be missing; "": nothing is
        self._left.epoch = max(self._left.epoch, epoch + 1)
        self._left.machine, self._left.clean = machine, False
        self._left.place = place or self._left.place
        self._stage()

    def epoch_seen(self, epoch: int) -> None:
        """The membership has raised the epoch of this process."""
        if epoch > self._left.epoch:
            self._left.epoch = epoch
            self._stage()

    def old_copy_seen(self, number: int) -> bool:
        """Whether this is news: members remember a later start of this node than its data folder does."""
        if number <= self._left.old_copy:
            return False
        self._left.old_copy = number
        self._stage()
        return True

    def leave(self) -> None:
        """Stage the mark of a clean stop; the commit that holds it fsyncs all before it."""
        self._left.clean = True
        self._stage()

    def discarded(self) -> None:
        """What was staged is gone."""
        found = self._store.get(KEY)
        assert found is not None
        self._left = msgpack.decode(found, type=_Left)

    def _doubt(self, epoch: int, machine: str, place: str, had_data: bool) -> str:
        store, left = self._store, self._left
        if store.get(COUNTER_KEY) is None:
            return LOST_DISK if had_data else ""
        if left.epoch < epoch:
            return OLD_STORE
        if place and left.place and place != left.place:
            return COPIED
        rebooted = not machine or machine != left.machine
        unsynced = store.durable and store.durability != "always"
        return POWER_CUT if rebooted and unsynced and not left.clean else ""

    def _stage(self) -> None:
        self._store.put(KEY, msgpack.encode(self._left), synced=True)
