"""One partition compared with one other owner: leaves, then the keys of those that differ, then their records.

A leaf that differs may be but a write that is under way, so the leaves are compared once more after a while, and only
those that differ both times are looked into, unless somebody waits for the result. One question is on its way at a
time; this node's own keys are looked through in slices.
"""

from collections import deque
from collections.abc import Callable
from typing import Literal

from zdynamo.core.anti_entropy.hashes import root_of
from zdynamo.core.anti_entropy.swaps import KEYS_MAX, look, records_of, take
from zdynamo.core.anti_entropy.trees import BUILDING, UNKNOWN, leaves_of
from zdynamo.core.events import Now
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.records.record import decode_record
from zdynamo.core.state import State
from zdynamo.messages import (
    CompareHashes,
    CompareKeys,
    Hashes,
    LeafKeys,
    NodeId,
    PeerMessage,
    RecordsSwapped,
    SwapRecords,
)
from zdynamo.partition import partition_of_storage_key

ANSWER_MS = 3_000  # that the other owner has for each question; then it is left to the next round
AGAIN_MS = 250  # between the two looks at the leaves: writes that were under way have arrived by then
UNSETTLED = "is unsettled"
NOT_BUILT = "is still building its trees"
SILENT = "did not answer"
GARBLED = "gave a garbled answer"

Step = Literal["leaves", "rest", "keys", "look", "swap", "end"]


class Comparison:
    """A step is `leaves`, `keys`, `swap` while an answer is waited for, `rest` before the second look at the leaves."""

    def __init__(
        self, state: State, peer: NodeId, partition: int, *, urgent: bool, number: Callable[[], int], run: int = 0
    ) -> None:
        """`urgent`: somebody waits, one look at the leaves is enough. `number`: the next one for a question."""
        self._state = state
        self._next_number = number
        self.peer = peer
        self.partition = partition
        self.run = run  # of the repair that it belongs to; 0: none
        self.step: Step = "leaves"
        self.asked = 0  # the number of the question that is on its way
        self.due_ms = 0  # when `act` has something to do
        self.failed = ""  # why, as what one of the two owners is or did
        self.failed_here = False  # it is this node
        self.differs = False  # both times
        self.stored_here = self.stored_there = 0  # keys
        self.refused = 0  # keys that one of the two does not take
        self._final = urgent  # this look at the leaves is the last
        self._suspects: frozenset[int] | None = None  # leaves that have differed once
        self._places: frozenset[int] = frozenset()  # leaves that are looked into; all if it is empty
        self._page: LeafKeys | None = None  # the other owner's
        self._after = b""  # this node's keys have been looked through up to here
        self._looked_through = False  # all keys of both
        self._to_swap: deque[bytes] = deque()  # keys that differ, at most twice as many as a page has

    def begin(self, placement: Placement, now: Now) -> PeerMessage:
        """The first question."""
        return self._ask_leaves(placement, now)

    def act(self, placement: Placement, now: Now) -> PeerMessage | None:
        """Its time has come: go on, or stop waiting."""
        if self.ended:
            return None
        if self.step == "rest":
            return self._ask_leaves(placement, now)
        if self.step == "look":
            return self._go_on(now)
        return self._fail(SILENT)

    def hashes(self, message: Hashes, now: Now) -> PeerMessage | None:
        """The other owner's leaves."""
        if self.step != "leaves":
            return None
        root = root_of(self._state, self.partition)
        if root in (UNKNOWN, BUILDING):
            return self._fail(UNSETTLED if root == UNKNOWN else NOT_BUILT, here=True)
        if message.same:
            return self._end()
        if not message.hashes:
            return self._fail("is unsettled or still building its trees")
        differing = self._state.trees.differing(self.partition, message.hashes)
        if differing is None:
            return self._fail(GARBLED)
        if self._suspects is not None:
            differing &= self._suspects
        if not differing:
            return self._end()
        if not self._final:
            self._final, self._suspects = True, differing
            self.step, self.due_ms = "rest", now.monotonic_ms + AGAIN_MS
            return None
        self.differs = True
        self._places = differing if len(differing) <= len(message.hashes) // 16 else frozenset()  # at most half of them
        return self._go_on(now)

    def keys(self, message: LeafKeys, now: Now) -> PeerMessage | None:
        """A stretch of the other owner's keys."""
        if self.step != "keys":
            return None
        if not self._is_next(message):
            return self._fail(GARBLED)
        self._page = message
        return self._go_on(now)

    def swapped(self, message: RecordsSwapped, placement: Placement, now: Now) -> PeerMessage | None:
        """What the other owner holds more of."""
        if self.step != "swap":
            return None
        done = [self._to_swap.popleft() for _ in range(min(message.done, len(self._to_swap)))]
        if not done or not {key for key, _ in message.records} <= set(done):
            return self._fail(GARBLED)
        taken, _ = take(self._state, self.partition, message.round, message.records, placement, now)
        too_many = {key for key, _ in message.records[taken.done :]}  # for one step: merged records may be larger
        self._to_swap.extendleft(key for key in reversed(done) if key in too_many)
        self.stored_here += taken.stored
        self.stored_there += max(0, min(message.stored, len(done)))
        self.refused += taken.refused + max(0, min(message.refused, len(done)))
        return self._go_on(now)

    def give_up(self, why: str, *, here: bool = False) -> None:
        """It cannot go on."""
        if not self.ended:
            self.due_ms = 0
            self._fail(why, here=here)

    @property
    def ended(self) -> bool:
        return self.step == "end"

    @property
    def stored(self) -> int:
        return self.stored_here + self.stored_there

    def _go_on(self, now: Now) -> PeerMessage | None:
        """Swap what differs, else look further, else ask for more."""
        partition, round = self.partition, self._state.rounds.of(self.partition)
        if not self._state.partitions.is_settled(partition):
            return self._fail(UNSETTLED, here=True)
        pause_ms = self._state.pace.pause_ms(now.monotonic_ms)
        if pause_ms:
            return self._look_at(now.monotonic_ms + pause_ms)
        if self._to_swap:
            self._wait("swap", now)
            return SwapRecords(self.asked, partition, round, records_of(self._state, self._to_swap))
        if self._looked_through:
            return self._end()
        if self._page is None:
            self._wait("keys", now)
            return CompareKeys(self.asked, partition, round, tuple(sorted(self._places)), self._after)
        self._look(self._page, now)
        return self._look_at(now.monotonic_ms)

    def _look(self, page: LeafKeys, now: Now) -> None:
        """Compare a stretch of this node's keys with the page."""
        upto = b"" if page.last else page.reached
        looked = look(self._state, self.partition, self._places, self._after, upto)
        mine = dict(looked.entries)
        until = page.reached if looked.last else looked.reached
        theirs = {key: counted for key, counted in page.entries if self._after < key <= until}
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key) and (key in theirs or not self._is_dead(key, now)):
                self._to_swap.append(key)
        self._after = until
        if looked.last:
            self._page, self._looked_through = None, page.last

    def _is_dead(self, key: bytes, now: Now) -> bool:
        """Whether nothing is shown of what is held here: then it is not brought to who holds nothing."""
        encoded = self._state.replica.fetch(key)
        state = self._state
        lww = state.buckets.is_lww(key)
        return not encoded or is_dead(decode_record(encoded), state.clock.wall_ms(now), lww=lww)

    def _is_next(self, message: LeafKeys) -> bool:
        """Whether that is a stretch behind what has been looked through."""
        before = self._after
        if len(message.entries) > KEYS_MAX or not (message.last or message.reached > before):
            return False
        for key, _ in message.entries:
            if not before < key <= message.reached:
                return False
            before = key
        return not message.reached or partition_of_storage_key(message.reached) == self.partition

    def _ask_leaves(self, placement: Placement, now: Now) -> PeerMessage:
        self._wait("leaves", now)
        root, round = root_of(self._state, self.partition), self._state.rounds.of(self.partition)
        self._state.pace.spend(8 * leaves_of(placement.partitions))
        return CompareHashes(self.asked, placement.layouts[0], self.partition, root, round)

    def _look_at(self, due_ms: int) -> PeerMessage | None:
        self.step, self.due_ms = "look", due_ms
        return None

    def _wait(self, step: Step, now: Now) -> None:
        self.step, self.due_ms = step, now.monotonic_ms + ANSWER_MS
        self.asked = self._next_number()

    def _end(self) -> PeerMessage | None:
        self.step = "end"
        return None

    def _fail(self, why: str, *, here: bool = False) -> PeerMessage | None:
        self.failed, self.failed_here = why, here
        return self._end()
