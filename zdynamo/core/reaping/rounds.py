"""In which reaping round each partition is, on this node's disk (paper 4.4: when may a tombstone go?).

What a node sends for others to store was read or minted under its round of that partition. An owner begins a round
only when all have begun the one before, so that live owners are never more than one apart: what comes from before the
previous round is a straggler from a time before something was removed, and is refused.
"""

from collections.abc import Callable

from zdynamo.core.events import Effect
from zdynamo.core.owners.placement import Placement
from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.messages import NodeId
from zdynamo.partition import PREFIX_BYTES, partition_of_storage_key

KEY = OWN_KEYS + b"round"
ROUND_MAX = 2**53  # nobody gets that far

HeardRound = Callable[[NodeId, bytes, int, Placement], list[Effect]]  # a peer has told its round of a key's partition


class Rounds:
    """The rounds, by partition; 0 until a first one is begun."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rounds: dict[int, int] = {
            partition_of_storage_key(key[len(KEY) :]): int.from_bytes(value, "big")
            for key, value in store.scan(KEY, KEY + b"\xff" * (PREFIX_BYTES + 1))
        }
        self._before: dict[int, int] = {}  # what was raised since the last commit, as it was then

    def of(self, partition: int) -> int:
        return self._rounds.get(partition, 0)

    def of_key(self, key: bytes) -> int:
        """Of a storage key's partition."""
        return self._rounds.get(partition_of_storage_key(key), 0) if self._rounds else 0

    def is_straggler(self, key: bytes, round: int) -> bool:
        """Whether what was read or minted under that round comes too late to be stored under this storage key."""
        return round + 1 < self.of_key(key)

    def raise_to(self, partition: int, round: int) -> None:
        """Begin a round; staged, to be fsynced by the commit. It never goes back."""
        before = self.of(partition)
        if round > before:
            self._before.setdefault(partition, before)
            self._rounds[partition] = round
            key = KEY + partition.to_bytes(PREFIX_BYTES, "big")
            self._store.put(key, round.to_bytes(8, "big"), synced=True)

    def committed(self) -> None:
        """What was staged is on disk."""
        if self._before:
            self._before.clear()

    def discarded(self) -> None:
        """What was staged is gone."""
        self._rounds |= self._before
        self._before.clear()
