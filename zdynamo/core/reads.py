"""Coordinating a read: ask the owners, merge what they hold, answer at R (paper 4.5).

*Absent* needs R owners that are settled for the partition. Who is not settled may have lost the last write: its answer
counts only where the key was found, and never when owners that know are demanded. Who is more than one reaping round
behind another has an old copy: it may hold what is gone for good, and counts as missing.

A read stays after its answer until all that were asked have been heard, or for a short while. Then whoever holds less
than all of them together is sent the rest (read repair).
"""

from collections.abc import Callable
from typing import NamedTuple

from zdynamo.core.context import encode_context
from zdynamo.core.dots import wall_ms_of
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.pending import Handler, Origin, Pending, answer
from zdynamo.core.placement import Placement
from zdynamo.core.record import EMPTY, Record, decode_record, merge, shown
from zdynamo.core.repairs import Repairs
from zdynamo.core.state import State
from zdynamo.core.tally import Tally
from zdynamo.errors import Malformed
from zdynamo.messages import (
    Absent,
    FetchReplica,
    Found,
    NodeId,
    QuorumNotMet,
    ReplicaFetched,
    SiblingValue,
)

LINGER = 10  # replica timeouts that a read stays after its answer
LINGERING_MAX = 1000  # reads that stay; beyond, they repair what they know of at once
HEALS_MAX = 256  # reads at a time for nobody but the replicas; beyond, skipped


class Quorum(NamedTuple):
    """Which answers a read waits for."""

    r: int
    strict: bool = False  # primary owners are demanded: *don't know* never counts


class Seen(NamedTuple):
    """What R replicas hold together."""

    record: Record
    round: int  # the least reaping round among them


Then = Callable[[Seen, Placement, Now], list[Effect]]  # what to do with what was read, if not answer


class Read:
    """A read in progress."""

    handler: Handler
    placement: Placement  # under which the owners were asked
    tally: Tally
    strict = False
    answered = False
    size = 0
    needed = 0
    first: ReplicaFetched | None = None  # all answers are like this one; None: there is none, or they differ
    unsettled = 0  # of the answers, by owners that may have lost something
    held = 0  # bytes of the records in them
    record = EMPTY  # of all answers together

    def __init__(
        self,
        number: int,
        origin: Origin,
        request: bytes,
        key: bytes,
        due_ms: int,
        *,
        lww: bool = False,
        then: Then | None = None,
        everywhere: bool = False,
    ) -> None:
        self.number = number
        self.origin = origin
        self.request = request
        self.key = key
        self.due_ms = due_ms
        self.lww = lww  # the reader is shown only what was written last
        self.then = then
        self.everywhere = everywhere  # repair also where nothing is held of what is dead
        self.answers: dict[NodeId, ReplicaFetched] = {}  # those that count

    @property
    def got(self) -> int:
        if self.unsettled and (self.strict or self.record is EMPTY):
            return len(self.answers) - self.unsettled
        return len(self.answers)

    @property
    def lost(self) -> bool:
        """Whether the number needed cannot be reached any more, even if all that is missing were found."""
        found_may_come = bool(self.tally.waiting) and not self.strict
        counted = len(self.answers) if found_may_come else self.got
        return counted + len(self.tally.waiting) < self.needed


class Reads:
    """The reads that this node coordinates."""

    def __init__(self, state: State, pending: Pending, repairs: Repairs) -> None:
        self._pending = pending
        self._repairs = repairs
        self._clock = state.clock
        self._counters = state.counters
        self._linger_ms = LINGER * state.limits.replica_timeout_ms
        self._linger_bytes_max = state.limits.in_flight_bytes_max // 2
        self._lingering = 0
        self._healing = 0

    def begin(
        self, operation: Read, quorum: Quorum, local: ReplicaFetched | None, placement: Placement, now: Now
    ) -> list[Effect]:
        """`local`: what this node has itself, if it is an owner; it is counted first."""
        owners, others = placement.owners_of(operation.key), placement.others_up(operation.key)
        operation.needed = needed = min(quorum.r, len(owners))
        operation.strict = quorum.strict
        up = len(others) + (local is not None)
        if up < needed:
            down = placement.down_of(operation.key)
            return [answer(operation.origin, QuorumNotMet(operation.request, needed, up, f"down: {down}"))]
        if needed == 1 and local is not None and (local.settled or (local.record and not quorum.strict)):
            others = ()
        return self._ask(operation, others, local, placement, now)

    def heal(
        self, number: int, key: bytes, local: ReplicaFetched | None, placement: Placement, now: Now
    ) -> list[Effect]:
        """Read from all owners that are up, for no other reason than to repair them."""
        others = placement.others_up(key)
        if not others:
            return []
        if self._healing >= HEALS_MAX:
            self._counters["repairs.skipped"] += 1
            return []
        self._healing += 1
        operation = Read(number, b"", b"", key, now.monotonic_ms + self._linger_ms, everywhere=True)
        return self._ask(operation, others, local, placement, now)

    def _ask(
        self,
        operation: Read,
        others: tuple[NodeId, ...],
        local: ReplicaFetched | None,
        placement: Placement,
        now: Now,
    ) -> list[Effect]:
        operation.handler = self
        operation.placement = placement
        operation.tally = Tally(operation.needed, others if local is None else (placement.me, *others))
        self._pending.add(operation)
        if operation.everywhere:
            self._pending.mark_answered(operation)
        message = FetchReplica(operation.number, operation.due_ms - now.monotonic_ms, placement.layouts, operation.key)
        effects: list[Effect] = [Send(owner, message) for owner in others]
        if local is not None:
            effects += self.fetched(placement.me, local, operation, placement, now)
        return effects

    def fetched(
        self, replica: NodeId, message: ReplicaFetched, operation: Read, placement: Placement, now: Now
    ) -> list[Effect]:
        """Count an answer; answer the client at the R-th."""
        waiting = operation.tally.waiting
        if replica not in waiting:
            return []
        first = operation.first
        if (
            first is not None
            and message.record == first.record
            and message.round == first.round
            and message.settled == first.settled
        ):
            waiting.remove(replica)
            operation.answers[replica] = first
            if not message.settled:
                operation.unsettled += 1
        elif not self._take(replica, message, operation):
            return self.missed(replica, operation, now)
        if operation.answered:
            return [] if waiting else self._finish(operation, now)
        if operation.got >= operation.needed:
            return self._conclude(operation, placement, now)
        return self._give_up(operation) if operation.lost else []

    def missed(self, replica: NodeId, operation: Read, now: Now) -> list[Effect]:
        """The replica will not answer."""
        operation.tally.no(replica)
        if operation.answered:
            return [] if operation.tally.waiting else self._finish(operation, now)
        return self._give_up(operation) if operation.lost else []

    def expired(self, operation: Read, now: Now) -> list[Effect]:
        """The deadline, or the while after the answer, has passed."""
        return self._finish(operation, now) if operation.answered else self._give_up(operation)

    def drop(self, operation: Read) -> None:
        """End it without a word."""
        if operation.everywhere:
            self._healing -= 1
        elif operation.answered:
            self._lingering -= 1
        self._pending.bytes_in_flight -= operation.held
        self._pending.drop(operation)

    def _take(self, replica: NodeId, message: ReplicaFetched, operation: Read) -> bool:
        """Count an answer that is the first, or differs from the others; false: it is garbled."""
        try:
            record = decode_record(message.record) if message.record else EMPTY
        except Malformed:
            return False
        operation.tally.waiting.remove(replica)
        operation.held += len(message.record)
        self._pending.bytes_in_flight += len(message.record)
        if not message.settled:
            operation.unsettled += 1
        if not operation.answers:
            operation.first, operation.record = message, record
            operation.answers[replica] = message
            return True
        operation.first = None
        operation.answers[replica] = message
        if message.record:
            operation.record = merge(operation.record, record) if operation.record is not EMPTY else record
        self._leave_out_old_copies(operation)
        return True

    def _leave_out_old_copies(self, operation: Read) -> None:
        newest = max(answer.round for answer in operation.answers.values())
        old = [node for node, answer in operation.answers.items() if answer.round + 1 < newest]
        if not old:
            return
        self._counters["reads.old_copies"] += len(old)
        for node in old:
            del operation.answers[node]
        operation.record, operation.unsettled = EMPTY, 0
        for kept in operation.answers.values():
            if kept.record:
                operation.record = merge(operation.record, decode_record(kept.record))
            if not kept.settled:
                operation.unsettled += 1

    def _conclude(self, operation: Read, placement: Placement, now: Now) -> list[Effect]:
        self._pending.mark_answered(operation)
        self._lingering += 1
        if operation.then is not None:
            self.drop(operation)
            least = min(answer.round for answer in operation.answers.values())
            return operation.then(Seen(operation.record, least), placement, now)
        wall_ms = self._clock.wall_ms(now)
        found = read_answer(operation.request, operation.key, operation.record, wall_ms, lww=operation.lww)
        told = answer(operation.origin, found)
        if operation.tally.waiting and self._room_to_linger():
            operation.due_ms = now.monotonic_ms + self._linger_ms
            self._pending.postpone(operation)
            return [told]
        return [told, *self._finish(operation, now)]

    def _room_to_linger(self) -> bool:
        return self._lingering <= LINGERING_MAX and self._pending.bytes_in_flight <= self._linger_bytes_max

    def _finish(self, operation: Read, now: Now) -> list[Effect]:
        """Nothing more is waited for: repair."""
        self.drop(operation)
        if operation.first is not None or len(operation.answers) < 2:
            return []
        return self._repairs.begin(operation, operation.placement, now)

    def _give_up(self, operation: Read) -> list[Effect]:
        self.drop(operation)
        lost = operation.unsettled
        reason = f"{lost} replicas may have lost what they held and do not know" if lost else ""
        return [answer(operation.origin, QuorumNotMet(operation.request, operation.needed, operation.got, reason))]


def read_answer(request: bytes, key: bytes, record: Record, wall_ms: int, *, lww: bool = False) -> Found | Absent:
    """A record as a reader is shown it."""
    context = encode_context(record.clock, key)
    values = shown(record, wall_ms, lww=lww)
    if not values:
        return Absent(request, context)
    return Found(
        request,
        context,
        tuple(SiblingValue(value.content_type, value.value, wall_ms_of(value.time)) for value in values),
    )
