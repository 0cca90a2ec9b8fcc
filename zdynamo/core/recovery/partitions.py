"""What this node remembers of each partition beside its records: is it settled?

An owner that may have lost something (a disk, the last commits before a power cut, all since an old copy was made) is
unsettled: where it has nothing it answers *don't know*, until it has compared the partition with enough other owners.
How far it has come is kept in the store, in the commits that hold what was compared.

A node that may have lost its rounds does not stand in for the owners of a partition either, before one of them has told
the round: what it takes under an old one would be refused by them all.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

from msgspec import Struct, msgpack

from zdynamo.core.recovery.session import POWER_CUT
from zdynamo.core.replicas.aside import ROUND_BYTES, Moving
from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.messages import NodeId
from zdynamo.partition import PREFIX_BYTES, partition_of_storage_key

KEY = OWN_KEYS + b"layout"
DOUBT_KEY = OWN_KEYS + b"doubt"  # and the partition
TOOK_OVER = "it took over the place of a member"

Aside = Literal["", "moving", "moved", "dropping", "returning"]


class Given(Struct, array_like=True):
    """How much of a partition another owner has given."""

    after: bytes = b""  # all up to this storage key
    sure: bool = True  # it was settled all the while
    whole: bool = False
    taken: bool = True  # all of it, as far as anybody need have acknowledged it


class Doubt(Struct, array_like=True):
    """Why a partition is unsettled, and how far it has been compared."""

    why: str
    given: dict[NodeId, Given] = {}
    aside: Aside = ""  # what was held before is an old copy: where it is on its way out of sight, and away or back
    moved: bytes = b""  # out of sight up to this storage key
    round: int = 0  # told by the peer by which it was found to be an old copy


class _Kept(Struct, array_like=True):
    layout_seen: bool = False
    doubt: str = ""  # found when there was no layout to say which partitions it concerns
    rounds_lost: bool = False  # those of the partitions of others, until owners have told all


class Partitions:
    """The state of this node's partitions, kept in the store."""

    def __init__(self, store: Store, *, doubt: str = "") -> None:
        """`doubt`: why something may be missing from all; staged for the first commit, or a crash now would hide it.

        A power cut hides no worse reason that the last process has found and not come to act on.
        """
        self._store = store
        self._kept = _Kept()
        self._doubts: dict[int, Doubt] = {}
        self._lost: dict[int, str] = {}  # partitions that lack something, and why; not all of that is on disk yet
        self._staged: set[int] = set()
        self._told: set[int] = set()  # whose round an owner has told, since the rounds were lost
        self.reload()
        if doubt and not (doubt == POWER_CUT and self._kept.doubt):
            self._kept.doubt = doubt
            self._keep()

    def reload(self) -> None:
        """As the store has it. What is known to be lost stays so, though that could not be kept."""
        encoded, lost = self._store.get(KEY), self._kept.rounds_lost
        self._kept = msgpack.decode(encoded, type=_Kept) if encoded else _Kept()
        self._kept.rounds_lost = self._kept.rounds_lost or lost
        self._doubts = {
            partition_of_storage_key(key[len(DOUBT_KEY) :]): msgpack.decode(value, type=Doubt)
            for key, value in self._store.scan(DOUBT_KEY, DOUBT_KEY + b"\xff" * (PREFIX_BYTES + 1))
            if value
        }
        for partition, why in self._lost.items():
            self._worsen(partition, why)
        self._staged.clear()
        self._told = set()

    def committed(self) -> None:
        """What was staged is kept."""
        if self._staged:
            for partition in self._staged & self._lost.keys():
                del self._lost[partition]
            self._staged.clear()

    @property
    def doubts(self) -> Mapping[int, Doubt]:
        """By partition, where it is unsettled."""
        return self._doubts

    @property
    def moving(self) -> dict[int, Moving]:
        """Where an old copy is on its way out of sight, and how far."""
        return {
            partition: Moving(doubt.moved, doubt.round.to_bytes(ROUND_BYTES, "big"))
            for partition, doubt in self._doubts.items()
            if doubt.aside == "moving"
        }

    def layout_known(self, owned: Iterable[int], *, took_over: bool) -> str:
        """Which partitions this node owns. Returns why they are unsettled as of now, "" if nothing new is known."""
        took_over = took_over and not self._kept.layout_seen
        why = self._kept.doubt or (TOOK_OVER if took_over else "")
        if why or not self._kept.layout_seen:
            lost = self._kept.rounds_lost or took_over or why not in ("", POWER_CUT)  # rounds are fsynced
            self._kept = _Kept(layout_seen=True, rounds_lost=lost)
            self._keep()
        if why:
            self.lose(owned, why)
        return why

    def lose(self, partitions: Iterable[int], why: str) -> None:
        """Something is missing from them, whether that can be kept or not."""
        partitions = tuple(partitions)
        self._lost |= dict.fromkeys(partitions, why)
        self.doubt(partitions, why)

    def knows_round(self, partition: int) -> bool:
        """Whether an owner is sure of a partition's round: that is fsynced, so that a power cut takes nothing of it."""
        doubt = self._doubts.get(partition)
        return doubt is None or (doubt.why == POWER_CUT and not doubt.aside)

    @property
    def rounds_lost(self) -> bool:
        """Whether there may be partitions of others for which this node cannot stand in."""
        return self._kept.rounds_lost

    def may_stand_in(self, partition: int) -> bool:
        """Whether the round of a partition of others is known here."""
        return not self._kept.rounds_lost or partition in self._told

    def round_told(self, partition: int) -> None:
        """By an owner; this node has begun it."""
        self._told.add(partition)

    def lose_rounds(self) -> None:
        """Those that this node remembers may be old."""
        self._know_rounds(lost=True)

    def find_rounds(self) -> None:
        """Owners have told all."""
        self._know_rounds(lost=False)

    def _know_rounds(self, *, lost: bool) -> None:
        self._kept.rounds_lost = lost
        self._told.clear()
        self._keep()

    def set_aside(self, partition: int, round: int, why: str) -> None:
        """What is held of it is an old copy, also if an older one is on its way out of sight, or back."""
        self._worsen(partition, why)
        doubt = self._doubts[partition]
        doubt.aside, doubt.moved, doubt.round = "moving", b"", round
        self.keep(partition)

    def doubt(self, partitions: Iterable[int], why: str) -> None:
        """Something may be missing from them as of now, also from what has been compared already."""
        for partition in partitions:
            self._worsen(partition, why)
            self.keep(partition)

    def _worsen(self, partition: int, why: str) -> None:
        known = self._doubts.get(partition)
        if known is None:
            self._doubts[partition] = Doubt(why)
            return
        known.why = why if known.why == POWER_CUT else known.why  # all others are worse
        known.given.clear()
        if known.aside in ("dropping", "returning"):
            known.aside = "moved"

    def keep(self, partition: int) -> None:
        """Stage a doubt that has changed."""
        self._staged.add(partition)
        self._store.put(_doubt_key(partition), msgpack.encode(self._doubts[partition]))

    def settle(self, partition: int) -> None:
        """Stage the end of a doubt, to be fsynced by the commit with all that was compared."""
        del self._doubts[partition]
        self._staged.add(partition)
        self._store.put(_doubt_key(partition), b"", synced=True)

    def is_settled(self, partition: int) -> bool:
        """Whether this node is sure of what it holds of the partition."""
        return partition not in self._doubts

    def knows_scanned(self, partition: int) -> bool:
        """Whether this node is sure of what a scan shows, which is not yet what was staged when it was settled."""
        if partition in self._doubts:
            return False
        key = _doubt_key(partition)
        return not any(doubt for _, doubt in self._store.scan(key, key + b"\x00"))

    def settled(self, key: bytes) -> bool:
        """Whether having nothing under a storage key means that there is nothing."""
        return not self._doubts or partition_of_storage_key(key) not in self._doubts

    def _keep(self) -> None:
        self._store.put(KEY, msgpack.encode(self._kept), synced=True)


def _doubt_key(partition: int) -> bytes:
    return DOUBT_KEY + partition.to_bytes(PREFIX_BYTES, "big")
