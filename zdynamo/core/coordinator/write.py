"""A write in progress, and what its writer has seen when it is done."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from zdynamo.core.coordinator.pending import Answer, Handler, Origin, answer
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.events import Effect
from zdynamo.core.records.record import NOTHING_SEEN, Clock, Record, Sibling, covers, join, with_dots
from zdynamo.messages import NodeId, OutcomeUnknown

NOBODY: Mapping[NodeId, tuple[NodeId, ...]] = MappingProxyType({})


class Write:
    """A write in progress."""

    handler: Handler
    tally: Tally
    owners: Sequence[NodeId] = ()  # the other owners that it is sent to
    hold: Mapping[NodeId, tuple[NodeId, ...]] = NOBODY  # fallbacks that it is sent to, and for whom each holds it
    mine: tuple[NodeId, ...] = ()  # for whom the coordinator holds it itself
    needed = 1  # W, as far as there are owners
    primary = 0  # how many of those have to be owners
    by_owners = 0  # answers that came from owners
    stood_for: frozenset[NodeId] = frozenset()  # owners for whom an answer stands, if any is held for
    sibling: Sibling
    size = 0
    began_ms = 0  # when it was sent
    answered = False
    blind = False  # written over what the coordinator knew: once more if the replicas know more
    rewritten = False
    resent: tuple[NodeId, ...] = ()  # to whom it had to be sent again under a later reaping round
    unsure = False  # whether an earlier attempt may have left a copy somewhere
    changed = True
    siblings = 0  # in the record as it was written
    clock = NOTHING_SEEN  # of that record
    beyond = NOTHING_SEEN  # what replicas hold that the record does not cover
    context = NOTHING_SEEN  # what the client's next write may cover

    def __init__(
        self, number: int, origin: Origin, request: bytes, key: bytes, deadline_at_ms: int, *, lww: bool, again: bool
    ) -> None:
        self.number = number
        self.origin = origin
        self.request = request  # the client's id of it
        self.key = key
        self.deadline_at_ms = deadline_at_ms
        self.due_ms = deadline_at_ms  # when to replace who is silent, or give up
        self.lww = lww  # a first attempt covers whatever its coordinator knows
        self.again = again  # a second or later attempt: it covers only what its context names

    def is_in(self, record: Record) -> bool:
        """Whether a record has seen it. A copy may have gone aside, or home, and another client's be there by now."""
        return join(record.clock, self.clock) is record.clock

    def is_no_further_copy(self, replica: NodeId) -> bool:
        """Whether all owners for whom it answers have been answered for.

        What is held for an owner goes when that has it: an owner and who stands in for it are one copy in the end.
        """
        stands_for = self.hold.get(replica, (replica,))
        if self.stood_for.issuperset(stands_for):
            return True
        self.stood_for = self.stood_for.union(stands_for)
        return False

    @property
    def lost(self) -> bool:
        """Whether those that are still waited for are too few."""
        if self.tally.lost:
            return True
        may_come = sum(owner in self.tally.waiting for owner in self.owners) if self.primary else 0
        return self.by_owners + may_come < self.primary


def turned_down(operation: Write, refusal: Answer) -> list[Effect]:
    """The answer to a write that is not begun: not a refusal, if an earlier attempt may have been."""
    unknown = OutcomeUnknown(operation.request, operation.needed, 0)
    return [answer(operation.origin, unknown if operation.unsure else refusal)]


def context_after(record: Record, sibling: Sibling, seen: Clock, request: bytes) -> Clock:
    """What a writer has seen after its write: all of the record if nothing else is left in it."""
    if sibling.request != request:
        return seen  # another has written over it since, and that the writer has not seen
    if len(record.siblings) == 1:
        return record.clock
    if any(covers(seen, left.dot) for left in record.siblings if left.dot != sibling.dot):
        return with_dots(NOTHING_SEEN, (sibling.dot,))  # a late attempt: it stands beside what it would have covered
    return with_dots(seen, (sibling.dot,))
