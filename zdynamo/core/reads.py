"""Coordinating a read: ask the owners, merge what they hold, answer at R (paper 4.5).

*Absent* needs R owners that are settled for the partition. Who has nothing and is not settled answers *don't know*,
which counts only beside an answer that found the key, and never when primary owners are demanded.
"""

from collections.abc import Callable

from zdynamo.core.context import encode_context
from zdynamo.core.dots import wall_ms_of
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.pending import Handler, Origin, Pending, answer
from zdynamo.core.placement import Placement
from zdynamo.core.record import EMPTY, Record, decode_record, merge, shown
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

Then = Callable[
    [Record, Placement, Now], list[Effect]
]  # what to do with a record that R replicas agree on, if not answer


class Read:
    """A read in progress."""

    __slots__ = (
        "answered",
        "due_ms",
        "encoded",
        "handler",
        "needed",
        "number",
        "origin",
        "record",
        "request",
        "size",
        "strict",
        "tally",
        "then",
        "unknown",
    )

    def __init__(
        self, number: int, origin: Origin, request: bytes, due_ms: int, *, strict: bool, then: Then | None
    ) -> None:
        self.handler: Handler
        self.number = number
        self.origin = origin
        self.request = request
        self.due_ms = due_ms
        self.strict = strict  # *don't know* never counts
        self.then = then
        self.answered = False
        self.size = 0
        self.needed = 0
        self.unknown = 0  # replicas that don't know
        self.encoded = b""  # the record below as one replica sent it, b"" once merged from several
        self.record = EMPTY
        self.tally = Tally(0, ())

    @property
    def got(self) -> int:
        return self.tally.got - (self.unknown if self.strict or self.record is EMPTY else 0)

    @property
    def lost(self) -> bool:
        """Whether the number needed cannot be reached any more, even if all that is missing were found."""
        possible = self.tally.got + len(self.tally.waiting)
        found_may_come = bool(self.tally.waiting) and not self.strict
        uncounted = 0 if found_may_come else self.tally.got - self.got
        return possible - uncounted < self.needed


class Reads:
    """The reads that this node coordinates."""

    def __init__(self, pending: Pending) -> None:
        self._pending = pending

    def begin(
        self, operation: Read, key: bytes, r: int, local: ReplicaFetched | None, placement: Placement, now: Now
    ) -> list[Effect]:
        """`local`: what this node has itself, if it is an owner; it is counted first."""
        me, owners = placement.me, placement.owners_of(key)
        operation.needed = min(r, len(owners))
        others = placement.others_up(key)
        asked = [me, *others] if local is not None else others
        if len(asked) < operation.needed:
            down = placement.down_of(key)
            return [
                answer(operation.origin, QuorumNotMet(operation.request, operation.needed, len(asked), f"down: {down}"))
            ]
        operation.handler = self
        operation.tally = Tally(operation.needed, asked)
        self._pending.add(operation)
        if local is not None:
            effects = self.fetched(me, local, operation, placement, now)
            if operation.answered:
                return effects
        message = FetchReplica(operation.number, operation.due_ms - now.monotonic_ms, placement.layouts, key)
        return [Send(owner, message) for owner in others]

    def fetched(
        self, replica: NodeId, message: ReplicaFetched, operation: Read, placement: Placement, now: Now
    ) -> list[Effect]:
        """Count an answer; answer the client at the R-th."""
        if message.record and message.record != operation.encoded:
            try:
                record = decode_record(message.record)
            except Malformed:
                return self.missed(replica, operation, now)
            operation.encoded = message.record if operation.record is EMPTY else b""
            operation.record = merge(operation.record, record) if operation.record is not EMPTY else record
        if not operation.tally.yes(replica):
            return []
        if not message.record and not message.settled:
            operation.unknown += 1
        if operation.got >= operation.needed:
            return self._conclude(operation, placement, now)
        return self._give_up(operation) if operation.lost else []

    def missed(self, replica: NodeId, operation: Read, now: Now) -> list[Effect]:
        """The replica will not answer."""
        operation.tally.no(replica)
        return self._give_up(operation) if operation.lost else []

    def expired(self, operation: Read, now: Now) -> list[Effect]:
        """The deadline has passed."""
        return self._give_up(operation)

    def _conclude(self, operation: Read, placement: Placement, now: Now) -> list[Effect]:
        self._pending.mark_answered(operation)
        self._pending.drop(operation)
        if operation.then is not None:
            return operation.then(operation.record, placement, now)
        return [answer(operation.origin, read_answer(operation.request, operation.record, now.wall_ms))]

    def _give_up(self, operation: Read) -> list[Effect]:
        self._pending.drop(operation)
        reason = f"{operation.unknown} replicas have lost their copies and do not know" if operation.unknown else ""
        return [answer(operation.origin, QuorumNotMet(operation.request, operation.needed, operation.got, reason))]


def read_answer(request: bytes, record: Record, wall_ms: int) -> Found | Absent:
    """A record as a reader is shown it."""
    context = encode_context(record.clock)
    values = shown(record, wall_ms)
    if not values:
        return Absent(request, context)
    return Found(
        request,
        context,
        tuple(SiblingValue(value.content_type, value.value, wall_ms_of(value.time)) for value in values),
    )
