"""What this node remembers of each partition beside its records: is it settled?

An owner that has lost its disk, or took over the id of a member whose data it does not have, is unsettled: where it has
nothing it answers *don't know*, until it has compared the partition with enough other owners.
"""

from msgspec import Struct, msgpack

from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.partition import partition_of_storage_key

KEY = OWN_KEYS + b"partitions"


class _Kept(Struct, array_like=True):
    layout_seen: bool = False
    unsettled: list[int] = []
    rounds: dict[int, int] = {}  # partition -> reaping round, where it is not 0
    lost_disk: bool = False  # found when there was no layout to say which partitions it concerns


class Partitions:
    """The state of this node's partitions, kept in the store."""

    def __init__(self, store: Store, *, lost_disk: bool) -> None:
        self._store = store
        encoded = store.get(KEY)
        self._kept = msgpack.decode(encoded, type=_Kept) if encoded else _Kept()
        self._unsettled = frozenset(self._kept.unsettled)
        if lost_disk:  # in the node's first commit, or a crash right now would make it forget
            self._kept = _Kept(lost_disk=True)
            self._store.put(KEY, msgpack.encode(self._kept), synced=True)

    def layout_known(self, *, took_over: bool, partitions: int) -> bool:
        """Whether a loss of data was found just now: then every partition is unsettled. Stages the state."""
        if self._kept.layout_seen:
            return False
        lost = took_over or self._kept.lost_disk
        self._kept = _Kept(True, list(range(partitions)) if lost else [], {})
        self._unsettled = frozenset(self._kept.unsettled)
        self._store.put(KEY, msgpack.encode(self._kept), synced=True)
        return lost

    def is_settled(self, partition: int) -> bool:
        """Whether this node is sure of what it holds of the partition."""
        return partition not in self._unsettled

    def settled(self, key: bytes) -> bool:
        """Whether having nothing under a storage key means that there is nothing."""
        return not self._unsettled or partition_of_storage_key(key) not in self._unsettled
