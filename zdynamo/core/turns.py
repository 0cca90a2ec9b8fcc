"""When each partition with something dead is looked at next, and how far the look through its entries has come."""

from msgspec import Struct

LATE_MS_MAX = 600_000  # between two looks at a partition in which nothing has expired yet


class Turn(Struct, kw_only=True):
    """A partition with entries in the index."""

    due_ms: int  # monotonic
    reason: str = ""  # why the last look did not end it
    fresh: bool = True  # entries have been added that a look in the same batch does not see yet
    after: bytes = b""  # the storage key up to which this sweep has looked; b"": it begins
    seen: bool = False  # whether this sweep has found entries
    again: bool = False  # whether it has found any that are to be looked at after the usual rest
    ends_ms: int = 0  # wall clock: when the first of the others will be dead; 0: there are none

    def begin_sweep(self) -> None:
        self.after, self.seen, self.again, self.ends_ms = b"", False, self.fresh, 0
        self.fresh = False

    def will_end(self, ends_ms: int) -> None:
        """A record is there that will be dead at that time."""
        self.ends_ms = min(self.ends_ms or ends_ms, ends_ms)

    def rest_ms(self, usual_ms: int, wall_ms: int) -> int:
        """How long nothing is to be done after a whole sweep. `wall_ms`: what ends before it is dead now."""
        if self.again or self.fresh or not self.ends_ms:
            return usual_ms
        return max(usual_ms, min(self.ends_ms - wall_ms, LATE_MS_MAX))


class Turns:
    """The turns, by partition. To find the next one takes a look at all of them, but only when one is due."""

    def __init__(self) -> None:
        self._turns: dict[int, Turn] = {}
        self.next_due_ms: int | None = None  # of the first; there may be none so early any more

    def of(self, partition: int) -> Turn | None:
        return self._turns.get(partition)

    def due(self, now_ms: int) -> int | None:
        """The partition whose turn it is."""
        if self.next_due_ms is None or now_ms < self.next_due_ms:
            return None
        if not self._turns:
            self.next_due_ms = None
            return None
        first = min(self._turns, key=lambda partition: self._turns[partition].due_ms)
        self.next_due_ms = self._turns[first].due_ms
        return first if now_ms >= self.next_due_ms else None

    def set(self, partition: int, due_ms: int) -> Turn:
        """When it is this partition's turn."""
        turn = self._turns.get(partition)
        if turn is None:
            turn = self._turns[partition] = Turn(due_ms=due_ms)
        turn.due_ms = due_ms
        if self.next_due_ms is None or due_ms < self.next_due_ms:
            self.next_due_ms = due_ms
        return turn

    def drop(self, partition: int) -> None:
        """There are no entries any more."""
        self._turns.pop(partition, None)
