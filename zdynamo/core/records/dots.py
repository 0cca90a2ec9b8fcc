"""Dots that are unique: every write gets one (paper 4.4).

A dot is `(actor, birth, counter)`. The actor is drawn afresh at each start, so that a restored copy can never repeat a
dot. Counters are node-wide and come from blocks that are reserved on disk, fsynced, before they are used.
"""

from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.messages import Dot

BLOCK = 1_000_000  # counters reserved at a time: one fsync each; what is left of a block at a stop is skipped
COUNTER_KEY = OWN_KEYS + b"counter"
BIRTH_BYTES = 8  # of a birth, where it is stored before its record


class Dots:
    """Mints dots; the store remembers how far counters are reserved."""

    def __init__(self, store: Store, actor: int) -> None:
        self._store = store
        self.actor = actor
        self._next = int.from_bytes(store.get(COUNTER_KEY) or b"", "big")
        self._first = self._next  # births below are of earlier actors
        self._reserved = self._next
        self._staged: int | None = None
        self.reserve()

    def reserve(self) -> None:
        """Stage the next block; usable after `committed`."""
        if self._staged is None:
            self._staged = max(self._reserved, self._next) + BLOCK
            self._store.put(COUNTER_KEY, self._staged.to_bytes(8, "big"), synced=True)

    def committed(self) -> None:
        """What was staged is on disk."""
        if self._staged is not None:
            self._reserved, self._staged = self._staged, None

    def discarded(self) -> None:
        """What was staged is gone."""
        self._staged = None

    def is_of_this_process(self, birth: int) -> bool:
        """Whether this process first minted in a copy with that birth."""
        return birth > self._first

    def mint(self, birth: int) -> Dot | None:
        """The next dot for a copy born at that counter (0: not yet). None: no counters until the disk takes a block."""
        if self._next >= self._reserved:
            self.reserve()
            return None
        counter = self._next = self._next + 1
        if self._reserved - counter <= BLOCK // 2:
            self.reserve()
        return (self.actor, birth if birth > self._first else counter, counter)
