"""Coordinating a read: ask the owners, merge what they hold, answer at R (paper 4.5).

*Absent* needs R owners that are settled for the partition, also where some hold a tombstone. Who is not settled may
have lost the last write, and who stands in for an owner may never have had it. Where they have nothing they do not
know: that counts beside a value that was found, once no owner is waited for that may know, and never when owners that
know are demanded. Who is more than one reaping round behind another has an old copy: it may hold what is gone for good,
and counts as missing.

A read stays after its answer until all that were asked have been heard, or for a short while. Then whoever holds less
than all of them together is sent the rest (read repair).
"""

from collections.abc import Callable
from typing import NamedTuple

from zdynamo.core.coordinator.pending import Handler, Origin, Pending, answer
from zdynamo.core.coordinator.repairs import Repairs
from zdynamo.core.coordinator.tally import Quorum, Tally
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.failures.evidence import timed_out
from zdynamo.core.owners.placement import Placement
from zdynamo.core.owners.standins import next_fallback, readers
from zdynamo.core.records.context import encode_context
from zdynamo.core.records.hybrid_clock import wall_ms_of
from zdynamo.core.records.record import EMPTY, Record, decode_record, merge, shown
from zdynamo.core.state import State
from zdynamo.errors import Malformed
from zdynamo.messages import (
    Absent,
    FetchReplica,
    Found,
    NodeId,
    OutcomeUnknown,
    QuorumNotMet,
    Refused,
    ReplicaFetched,
    SiblingValue,
)

LINGER = 10  # replica timeouts that a read stays after its answer
LINGERING_MAX = 1000  # reads that stay; beyond, they repair what they know of at once
NONE: tuple[NodeId, ...] = ()
HEALS_MAX = 256  # reads at a time for nobody but the replicas; beyond, skipped


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
    standing: tuple[NodeId, ...] = ()  # of those asked: fallbacks, in the place of owners that are missing
    answered = False
    size = 0
    began_ms = 0
    needed = 0
    strict = False  # only owners that know count
    unsure = False  # it is for a write of which an earlier attempt may have been done
    first: ReplicaFetched | None = None  # all answers are like this one; None: there is none, or they differ
    unsettled = 0  # of the answers, by fallbacks, and owners that may have lost something
    ignorant = 0  # of those, the ones without the key
    patient = True  # owners are still within their timeout
    held = 0  # bytes of the records in them
    record = EMPTY  # of all answers together
    shows = False  # whether that shows a value; known where some do not know

    def __init__(
        self,
        number: int,
        origin: Origin,
        request: bytes,
        key: bytes,
        deadline_at_ms: int,
        *,
        lww: bool = False,
        then: Then | None = None,
        everywhere: bool = False,
    ) -> None:
        self.number = number
        self.origin = origin
        self.request = request
        self.key = key
        self.deadline_at_ms = deadline_at_ms
        self.due_ms = deadline_at_ms  # when to ask others as well, or give up; once answered: to repair
        self.lww = lww  # the reader is shown only what was written last
        self.then = then
        self.everywhere = everywhere  # repair also where nothing is held of what is dead
        self.answers: dict[NodeId, ReplicaFetched] = {}  # those that count

    @property
    def got(self) -> int:
        if self.unsettled:
            if self.strict or not self.shows:
                return len(self.answers) - self.unsettled
            if self.ignorant and self.patient and not self.tally.waiting.issubset(self.standing):
                return len(self.answers) - self.ignorant
        return len(self.answers)

    @property
    def lost(self) -> bool:
        """Whether the number needed cannot be reached any more, even if all that is missing were found."""
        waiting = self.tally.waiting
        if self.strict:
            return self.got + len(waiting.difference(self.standing)) < self.needed
        counted = len(self.answers) if waiting else self.got
        return counted + len(waiting) < self.needed


class Reads:
    """The reads that this node coordinates."""

    def __init__(self, state: State, pending: Pending, repairs: Repairs) -> None:
        self._state = state
        self._pending = pending
        self._repairs = repairs
        self._patience = state.patience
        self._clock = state.clock
        self._counters = state.counters
        self._timeout_ms = state.limits.replica_timeout_ms
        self._linger_ms = LINGER * self._timeout_ms
        self._linger_bytes_max = state.limits.in_flight_bytes_max // 2
        self._lingering = 0
        self._healing = 0

    def begin(
        self, operation: Read, quorum: Quorum, local: ReplicaFetched | None, placement: Placement, now: Now
    ) -> list[Effect]:
        """`local`: what this node has itself, if it is an owner or may hold it for one; it is counted first."""
        owners = placement.owners_of(operation.key)
        operation.needed = needed = min(quorum.needed, len(owners))
        operation.strict = strict = quorum.primary > 0
        others, standing = placement.others_up(operation.key), NONE
        owning = placement.me in owners
        if not strict and (self._patience.lost or len(others) + owning < len(owners)):
            others, standing = readers(operation.key, placement, self._state)
            operation.standing = standing
        if local is not None and not owning:
            operation.standing = (placement.me, *standing)
        may_answer = len(others) + (owning if strict else len(standing) + (local is not None))
        if may_answer < needed:
            down = placement.down_of(operation.key)
            return self.turned_down(operation, QuorumNotMet(operation.request, needed, may_answer, f"down: {down}"))
        if needed == 1 and local is not None:
            held = local.record if not local.settled and not strict else b""
            if local.settled or (held and self._shows(decode_record(held), operation, now)):
                others, standing = NONE, NONE
        if standing:
            self._counters["reads.sloppy"] += 1
            others = (*others, *standing)
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
        if not operation.everywhere:
            due_ms = now.monotonic_ms + self._timeout_ms
            if due_ms < operation.deadline_at_ms:
                operation.due_ms = due_ms
        operation.tally = Tally(operation.needed, others if local is None else (placement.me, *others))
        self._pending.add(operation)
        if operation.everywhere:
            self._pending.mark_answered(operation)
        left_ms = operation.deadline_at_ms - now.monotonic_ms
        message = FetchReplica(operation.number, left_ms, placement.layouts, operation.key)
        effects: list[Effect] = [Send(node, message) for node in others]
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
        if now.monotonic_ms - operation.began_ms > self._patience.quick_ms and replica not in operation.standing:
            self._patience.answered(replica, now.monotonic_ms - operation.began_ms)
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
                operation.ignorant += not message.record
        elif not self._take(replica, message, operation):
            return self.missed(replica, operation, placement, now)
        elif operation.unsettled:
            operation.shows = self._shows(operation.record, operation, now)
        if operation.answered:
            return [] if waiting else self._finish(operation, now)
        if operation.got >= operation.needed:
            return self._conclude(operation, placement, now)
        return self._give_up(operation) if operation.lost else []

    def missed(
        self, replica: NodeId, operation: Read, placement: Placement, now: Now, *, gone: bool = False
    ) -> list[Effect]:
        """The replica will not answer: another one may."""
        if replica not in operation.tally.waiting:
            return []
        operation.tally.no(replica)
        if operation.answered:
            return [] if operation.tally.waiting else self._finish(operation, now)
        if operation.got >= operation.needed:
            return self._conclude(operation, placement, now)
        asked = self._ask_another(operation, placement, now) if gone else []
        return self._give_up(operation) if operation.lost else asked

    def expired(self, operation: Read, placement: Placement, now: Now) -> list[Effect]:
        """Too long without an answer: others are asked as well, or it is given up; once it is answered, it is over."""
        silent = sorted(operation.tally.waiting.difference(operation.standing))
        if operation.answered:
            effects = timed_out(silent, operation.began_ms, self._patience, placement, now)
            return effects + self._finish(operation, now)
        if now.monotonic_ms >= operation.deadline_at_ms:
            return self._give_up(operation)
        patient_ms = operation.began_ms + self._patience.timeout_ms(silent, 0)
        if self._pending.waits(operation, patient_ms, now.monotonic_ms):
            return []
        operation.patient = False
        effects = timed_out(silent, operation.began_ms, self._patience, placement, now)
        if operation.got >= operation.needed:
            return effects + self._conclude(operation, placement, now)
        for owner in silent if not operation.strict else ():
            if self._patience.may_replace(suspect=owner in placement.suspects):
                effects += self._ask_another(operation, placement, now)
        return effects

    def turned_down(self, operation: Read, message: QuorumNotMet | Refused) -> list[Effect]:
        """The answer to what cannot be read, or not be written for that."""
        unknown = OutcomeUnknown(operation.request, operation.needed, 0)
        return [answer(operation.origin, unknown if operation.unsure else message)]

    def drop(self, operation: Read) -> None:
        """End it without a word."""
        if operation.everywhere:
            self._healing -= 1
        elif operation.answered:
            self._lingering -= 1
        self._pending.bytes_in_flight -= operation.held
        self._pending.drop(operation)

    def _ask_another(self, operation: Read, placement: Placement, now: Now) -> list[Effect]:
        """A fallback, in the place of an owner that does not answer."""
        bytes_to = self._pending.bytes_to
        node = next_fallback(operation.key, placement, self._state, operation.standing, bytes_to)
        if node is None or operation.strict:
            return []
        operation.standing = (*operation.standing, node)
        self._pending.asked(operation, node)
        self._counters["reads.sloppy"] += 1
        left_ms = operation.deadline_at_ms - now.monotonic_ms
        return [Send(node, FetchReplica(operation.number, left_ms, placement.layouts, operation.key))]

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
            operation.ignorant += not message.record
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

    def _shows(self, record: Record, operation: Read, now: Now) -> bool:
        """Whether a reader is shown a value of it. Else it is *absent*, which takes R owners that know."""
        return bool(shown(record, self._clock.wall_ms(now), lww=operation.lww))

    def _leave_out_old_copies(self, operation: Read) -> None:
        newest = max(answer.round for answer in operation.answers.values())
        old = [node for node, answer in operation.answers.items() if answer.round + 1 < newest]
        if not old:
            return
        self._counters["reads.old_copies"] += len(old)
        for node in old:
            del operation.answers[node]
        operation.record, operation.unsettled, operation.ignorant = EMPTY, 0, 0
        for kept in operation.answers.values():
            if kept.record:
                operation.record = merge(operation.record, decode_record(kept.record))
            if not kept.settled:
                operation.unsettled += 1
                operation.ignorant += not kept.record

    def _conclude(self, operation: Read, placement: Placement, now: Now) -> list[Effect]:
        self._pending.succeeded(operation)
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
        unknown = operation.unsettled
        reason = f"{unknown} replicas do not know: they stand in, or may have lost what they held" if unknown else ""
        return self.turned_down(operation, QuorumNotMet(operation.request, operation.needed, operation.got, reason))


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
