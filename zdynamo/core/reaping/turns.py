"""When each partition with something dead is looked at next, and how far the look through its entries has come."""

from heapq import heapify, heappop, heappush

from msgspec import Struct

LATE_MS_MAX = 600_000  # between two looks at a partition in which nothing has expired yet
LATE_MAX = 256  # that have been put off and are put back in one step
SPARE = 8  # of the queue, beyond what is needed
NEVER = 2**63


class Turn(Struct, kw_only=True):
    """A partition with entries in the index."""

    due_ms: int  # monotonic
    queued_ms: int = NEVER  # under which it waits in the queue; NEVER: it does not
    reason: str = ""  # why the last look did not end it
    failed: bool = False  # the last pass
    fresh: bool = True  # entries have been added that a look in the same batch does not see yet
    after: bytes = b""  # the storage key up to which this sweep has looked; b"": it begins
    seen: int = 0  # entries that this sweep has found
    waiting: int = 0  # that the last whole sweep has found
    again: bool = False  # whether it has found any that are to be looked at after the usual rest
    ends_ms: int = 0  # wall clock: when the first of the others will be dead; 0: there are none

    def begin_sweep(self) -> None:
        self.after, self.seen, self.again, self.ends_ms = b"", 0, self.fresh, 0
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
    """The turns, by partition.

    Those that wait are in a heap. What is put off stays where it was, and is put back when it comes up too early.
    """

    def __init__(self) -> None:
        self._turns: dict[int, Turn] = {}
        self._queue: list[tuple[int, int]] = []  # when to look, partition; the others of a partition count no more

    def __len__(self) -> int:
        """How much room they take."""
        return len(self._turns) + len(self._queue)

    @property
    def next_due_ms(self) -> int | None:
        """When `due` is to be asked; there may be none so early any more."""
        return self._queue[0][0] if self._queue else None

    @property
    def waiting(self) -> int:
        """Entries of all partitions, as they were when each was last looked through."""
        return sum(max(turn.waiting, turn.seen) for turn in self._turns.values())

    def of(self, partition: int) -> Turn | None:
        return self._turns.get(partition)

    def due(self, now_ms: int) -> int | None:
        """The partition whose turn it is, if there is one: its next turn is then to be set, or dropped."""
        queue = self._queue
        for _ in range(LATE_MAX):
            if not queue or queue[0][0] > now_ms:
                return None
            queued_ms, partition = heappop(queue)
            turn = self._turns.get(partition)
            if turn is None or turn.queued_ms != queued_ms:
                continue
            turn.queued_ms = NEVER
            if turn.due_ms == queued_ms:
                return partition
            self._enqueue(partition, turn)
        return None

    def set(self, partition: int, due_ms: int) -> Turn:
        """When it is this partition's turn."""
        turn = self._turns.get(partition)
        if turn is None:
            turn = self._turns[partition] = Turn(due_ms=due_ms)
        turn.due_ms = due_ms
        if due_ms < turn.queued_ms:
            self._enqueue(partition, turn)
        return turn

    def drop(self, partition: int) -> None:
        """There are no entries any more."""
        self._turns.pop(partition, None)

    def _enqueue(self, partition: int, turn: Turn) -> None:
        turn.queued_ms = turn.due_ms
        heappush(self._queue, (turn.due_ms, partition))
        if len(self._queue) > 2 * len(self._turns) + SPARE:
            self._queue = [(turn.queued_ms, at) for at, turn in self._turns.items() if turn.queued_ms < NEVER]
            heapify(self._queue)
