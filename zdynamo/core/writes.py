"""Coordinating a write: mint a dot, store it here, send the record to the other owners, answer at W (paper 4.5).

A put without a context overwrites what its coordinator knows. Replicas say what they hold beyond it; if the first W
name anything, the coordinator writes once more over that before it answers.
"""

from zdynamo.core.context import encode_context
from zdynamo.core.discards import count_beside, count_covered
from zdynamo.core.events import Effect, Noted, Now, Reply, Send
from zdynamo.core.pending import Answer, Handler, Origin, Pending, answer
from zdynamo.core.placement import Placement
from zdynamo.core.record import NOTHING_SEEN, Clock, Record, Sibling, covers, join, merge, with_dots, write, written_by
from zdynamo.core.replica import Copy
from zdynamo.core.state import State
from zdynamo.core.tally import Tally
from zdynamo.messages import (
    Done,
    Forwarded,
    NodeId,
    OutcomeUnknown,
    Overloaded,
    QuorumNotMet,
    Refused,
    ReplicaRefused,
    ReplicaStored,
    StoreReplica,
)
from zdynamo.partition import split_storage_key

RETRY_AFTER_MS = 50  # told to clients whose request would not fit; about the time to work off a full budget
OPERATION_BYTES = 512  # about what an operation takes in memory beside its record


class Write:
    """A write in progress."""

    handler: Handler
    tally: Tally
    asked: list[NodeId]  # the other owners that it is sent to
    sibling: Sibling
    size = 0
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
        self, number: int, origin: Origin, request: bytes, key: bytes, due_ms: int, *, lww: bool, again: bool
    ) -> None:
        self.number = number
        self.origin = origin
        self.request = request  # the client's id of it
        self.key = key
        self.due_ms = due_ms
        self.lww = lww  # a first attempt covers whatever its coordinator knows
        self.again = again  # a second or later attempt: it covers only what its context names


class Writes:
    """The writes that this node coordinates."""

    def __init__(self, state: State, pending: Pending) -> None:
        self._state = state
        self._pending = pending
        self._replica = state.replica
        self._rounds = state.rounds
        self._dots = state.dots
        self._clock = state.clock
        self._limits = state.limits
        self._staged: list[Write] = []  # since the last commit
        self._resent: set[int] = set()  # numbers of those sent again since then

    def begin(
        self, operation: Write, sibling: Sibling, seen: Clock | None, w: int, placement: Placement, now: Now
    ) -> list[Effect]:
        """Write a sibling (its dot and time are set here) over what `seen` covers; None: over what is known here."""
        refusal: Answer | None = self._ask(operation, w, placement)
        if refusal is not None:
            return [answer(operation.origin, refusal)]
        copy = self._replica.load(operation.key)
        held = written_by(copy.record, operation.request)
        if held is not None:
            operation.unsure = True
            operation.context = context_after(copy.record, held, seen or NOTHING_SEEN)
            self._staged.append(operation)  # it may be of this very batch
            return self._send(operation, copy.encoded, placement, now)
        operation.sibling = sibling
        operation.blind = seen is None
        context = seen
        if seen is None:
            seen = copy.record.clock
        elif operation.lww and not operation.again:
            seen = join(seen, copy.record.clock)
        limits = self._limits
        if len(copy.record.siblings) >= limits.siblings_max or len(copy.encoded) > limits.record_bytes_max:
            refusal = self._too_much(operation, copy, seen)
            if refusal is not None:
                return [answer(operation.origin, refusal)]
        encoded = self._mint(operation, copy, seen, placement, now)
        if encoded is None:
            reason = "the disk is full: no counters can be reserved"
            return [answer(operation.origin, Refused(operation.request, reason, retry=True))]
        if operation.lww and context is not None and not operation.again:
            count_covered(self._state, copy.record, context, sibling)
        effects = self._send(operation, encoded, placement, now)
        if operation.siblings >= limits.siblings_warn or len(sibling.value) >= limits.value_warn_bytes:
            effects.append(_large(operation, sibling))
        return effects

    def settle(
        self, operation: Write, record: Record, round: int, w: int, placement: Placement, now: Now
    ) -> list[Effect]:
        """Bring a record that was read under that round to W replicas; nothing new is written."""
        refusal = self._ask(operation, w, placement)
        if refusal is not None:
            return [answer(operation.origin, refusal)]
        copy = self._replica.load(operation.key)
        encoded = self._replica.stage(operation.key, copy.birth, merge(copy.record, record))
        self._staged.append(operation)
        return self._send(operation, encoded, placement, now, round)

    def stored(
        self, replica: NodeId, message: ReplicaStored, operation: Write, placement: Placement, now: Now
    ) -> list[Effect]:
        """Count an acknowledgement; answer the client at the W-th."""
        if not self._pending.counted(operation, replica):
            return []
        if operation.answered:
            self._pending.forget_if_over(operation)
            return []
        if message.beyond and operation.blind:
            operation.beyond = join(operation.beyond, Clock(message.beyond))
        return self._conclude(operation, placement, now)

    def missed(self, replica: NodeId, operation: Write, now: Now) -> list[Effect]:
        """The replica will not take it."""
        self._pending.heard(operation, replica)
        operation.tally.no(replica)
        if not operation.answered and operation.tally.lost:
            return self._give_up(operation)
        self._pending.forget_if_over(operation)
        return []

    def outdated(
        self, replica: NodeId, message: ReplicaRefused, operation: Write, placement: Placement, now: Now
    ) -> list[Effect]:
        """What was sent came too late for the replica's round: once more, as it is held here now.

        A node that was more than one round behind has set its copy aside by now, and holds only what it has written.
        """
        encoded = self._replica.fetch(operation.key)
        round = self._rounds.of_key(operation.key)
        waits = replica in operation.tally.waiting and replica not in operation.resent
        if not waits or not encoded:
            return self.missed(replica, operation, now)
        operation.resent += (replica,)
        self._resent.add(operation.number)  # what it is sent may be of this very batch
        left_ms = operation.due_ms - now.monotonic_ms
        again = StoreReplica(operation.number, left_ms, placement.layouts, round, operation.key, encoded)
        return [Send(replica, again)]

    def expired(self, operation: Write, now: Now) -> list[Effect]:
        """The deadline has passed."""
        effects = [] if operation.answered else self._give_up(operation)
        self._pending.drop(operation)
        return effects

    def committed(self) -> None:
        """All that was staged is kept."""
        self._staged.clear()
        self._resent.clear()

    def abandon(self, effects: list[Effect], *, surely_nothing: bool) -> list[Effect]:
        """The effects to carry out instead when the commit failed: nothing of what was staged leaves the node."""
        numbers = {operation.number for operation in self._staged} | self._resent
        requests = {(operation.origin, operation.request) for operation in self._staged}
        kept = [effect for effect in effects if not _concerns(effect, numbers, requests)]
        for operation in self._staged:
            unknown = OutcomeUnknown(operation.request, operation.tally.needed, 0)
            refused = Refused(operation.request, "the disk is full: nothing was written", retry=True)
            kept.append(answer(operation.origin, refused if surely_nothing and not operation.unsure else unknown))
            self._pending.drop(operation)
        self.committed()
        return kept

    def _ask(self, operation: Write, w: int, placement: Placement) -> QuorumNotMet | Overloaded | None:
        """Choose the other owners that can take a record now: not down, and not behind by more than their budget."""
        most, behind = self._limits.peer_bytes_max, self._pending.bytes_to
        up = placement.others_up(operation.key)
        asked = [owner for owner in up if behind[owner] < most]
        if len(asked) + 1 < w:  # else there surely are enough
            w = min(w, len(placement.owners_of(operation.key)))
            if len(up) + 1 < w:
                return QuorumNotMet(operation.request, w, len(up) + 1, f"down: {placement.down_of(operation.key)}")
            if len(asked) + 1 < w:
                return Overloaded(operation.request, RETRY_AFTER_MS)
        operation.asked = asked
        operation.tally = Tally(w, asked, agreed=1)  # this node is one of them
        return None

    def _too_much(self, operation: Write, copy: Copy, seen: Clock) -> Refused | None:
        """Siblings that the write would leave beside it have limits; whoever merges them is let through."""
        left = [sibling for sibling in copy.record.siblings if not covers(seen, sibling.dot)]
        size = sum(len(sibling.value) for sibling in left)
        if len(left) < self._limits.siblings_max and size <= self._limits.record_bytes_max:
            return None
        reason = f"the key has {len(left)} siblings of {size} bytes: read it and write one value with its context"
        return Refused(operation.request, reason)

    def _mint(self, operation: Write, copy: Copy, seen: Clock, placement: Placement, now: Now) -> bytes | None:
        """Stage the sibling under a new dot. Returns the record, encoded, or None if there is no dot to be had."""
        dot = self._dots.mint(copy.birth)
        if dot is not None and seen is not copy.record.clock and covers(seen, dot):
            dot = self._dots.mint(0)  # nobody can have seen it: a context of somebody's making must not eat the write
        if dot is None:
            return None
        above = 0
        for held in copy.record.siblings:
            if held.time > above:
                above = held.time
        draft = operation.sibling
        sibling = Sibling(
            dot, self._clock.next(now, above), draft.expires_ms, draft.tombstone, draft.content_type, draft.value,
            draft.request, draft.gone,
        )  # fmt: skip
        record = write(copy.record, seen, sibling)
        if operation.lww and len(record.siblings) > 1:
            count_beside(self._state, operation.key, copy.record, record, placement)
        operation.clock = record.clock
        operation.siblings = len(record.siblings)
        operation.context = context_after(record, sibling, seen)
        self._staged.append(operation)
        return self._replica.stage(operation.key, dot[1], record)

    def _send(
        self, operation: Write, encoded: bytes, placement: Placement, now: Now, round: int | None = None
    ) -> list[Effect]:
        """`round`: the one that the record was read under, if not that of this node's copy."""
        operation.handler = self
        operation.size = len(encoded) + OPERATION_BYTES
        tally = operation.tally
        self._pending.add(operation)
        message = StoreReplica(
            operation.number, operation.due_ms - now.monotonic_ms, placement.layouts,
            self._rounds.of_key(operation.key) if round is None else round, operation.key, encoded,
        )  # fmt: skip
        effects: list[Effect] = [Send(owner, message) for owner in operation.asked]
        return effects if tally.got < tally.needed else effects + self._conclude(operation, placement, now)

    def _conclude(self, operation: Write, placement: Placement, now: Now) -> list[Effect]:
        tally = operation.tally
        if tally.got < tally.needed:
            return self._give_up(operation) if tally.lost else []
        if operation.beyond is not NOTHING_SEEN and not operation.rewritten:
            return self._write_over(operation, placement, now)
        done = Done(operation.request, encode_context(operation.context, operation.key), operation.changed)
        return self._answer(operation, done)

    def _write_over(self, operation: Write, placement: Placement, now: Now) -> list[Effect]:
        """Once more, as a new dot, over what the first W were found to hold beyond it."""
        unknown = OutcomeUnknown(operation.request, operation.tally.needed, operation.tally.got)
        copy = self._replica.load(operation.key)
        self._pending.drop(operation)
        operation.answered = False
        operation.rewritten = operation.unsure = True
        operation.number = self._pending.next_number()
        if self._ask(operation, unknown.needed, placement) is not None:
            return [answer(operation.origin, unknown)]
        encoded = self._mint(operation, copy, join(operation.clock, operation.beyond), placement, now)
        return self._send(operation, encoded, placement, now) if encoded else [answer(operation.origin, unknown)]

    def _give_up(self, operation: Write) -> list[Effect]:
        tally = operation.tally
        return self._answer(operation, OutcomeUnknown(operation.request, tally.needed, tally.got))

    def _answer(self, operation: Write, message: Done | OutcomeUnknown) -> list[Effect]:
        self._pending.mark_answered(operation)
        self._pending.forget_if_over(operation)
        return [answer(operation.origin, message)]


def context_after(record: Record, sibling: Sibling, seen: Clock) -> Clock:
    """What a writer has seen after its write: all of the record if nothing else is left in it."""
    if len(record.siblings) == 1:
        return record.clock
    if any(covers(seen, left.dot) for left in record.siblings if left.dot != sibling.dot):
        return with_dots(NOTHING_SEEN, (sibling.dot,))  # a late attempt: it stands beside what it would have covered
    return with_dots(seen, (sibling.dot,))


def _large(operation: Write, sibling: Sibling) -> Noted:
    _, bucket, key = split_storage_key(operation.key)
    fields: dict[str, object] = {
        "bucket": bucket.decode(errors="backslashreplace"),
        "key": key[:64].decode(errors="backslashreplace"),
        "siblings": operation.siblings,
        "bytes": len(sibling.value),
    }
    return Noted("record.large", fields, "warning")


def _concerns(effect: Effect, numbers: set[int], requests: set[tuple[Origin, bytes]]) -> bool:
    """Whether an effect tells anybody of a write that was not committed."""
    if isinstance(effect, Reply):
        return (effect.client, effect.answer.request) in requests
    if not isinstance(effect, Send):
        return False
    message = effect.message
    if isinstance(message, StoreReplica):
        return message.request in numbers
    return isinstance(message, Forwarded) and ((effect.to, message.request), message.answer.request) in requests
