"""Coordinating a write: mint a dot, store it here, send the record to the other owners, answer at W (paper 4.5, 4.6).

A put without a context overwrites what its coordinator knows. Replicas say what they hold beyond it; if the first W
name anything, the coordinator writes once more over that before it answers.

An owner that is down, or silent for longer than its replica timeout, is replaced by a fallback that holds the record
for it. Where an owner drops out after the client has its answer, the coordinator keeps the hint itself.
"""

from zdynamo.core.coordinator.admission import RETRY_AFTER_MS
from zdynamo.core.coordinator.pending import Answer, Origin, Pending, answer
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.coordinator.write import NOBODY, Write, context_after, turned_down
from zdynamo.core.events import Effect, Noted, Now, Reply, Send
from zdynamo.core.failures.evidence import timed_out
from zdynamo.core.owners.placement import Placement
from zdynamo.core.owners.standins import against_standing_in, next_fallback, takers
from zdynamo.core.records.context import encode_context
from zdynamo.core.records.discards import count_beside, count_covered
from zdynamo.core.records.record import NOTHING_SEEN, Clock, Record, Sibling, covers, join, merge, write, written_by
from zdynamo.core.replicas.replica import Copy
from zdynamo.core.state import State
from zdynamo.messages import (
    Done,
    Forwarded,
    HoldReplica,
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

OPERATION_BYTES = 512  # about what an operation takes in memory beside its record


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
        self._hints = state.hints
        self._patience = state.patience
        self._counters = state.counters
        self._staged: list[Write] = []  # since the last commit
        self._resent: list[tuple[Write, NodeId]] = []  # those sent once more since then, and to whom

    def begin(
        self, operation: Write, sibling: Sibling, seen: Clock | None, placement: Placement, now: Now
    ) -> list[Effect]:
        """Write a sibling (its dot and time are set here) over what `seen` covers; None: over what is known here."""
        refusal: Answer | None = self._choose(operation, placement)
        if refusal is not None:
            return turned_down(operation, refusal)
        copy = self._replica.load(operation.key)
        held = written_by(copy.record, operation.request)
        if held is not None:
            operation.unsure = True
            operation.context = context_after(copy.record, held, seen or NOTHING_SEEN, operation.request)
            operation.clock = copy.record.clock
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
                return turned_down(operation, refusal)
        encoded = self._mint(operation, copy, seen, placement, now)
        if encoded is None:
            reason = "the disk is full: no counters can be reserved"
            return turned_down(operation, Refused(operation.request, reason, retry=True))
        if operation.lww and context is not None and not operation.again:
            count_covered(self._state, copy.record, context, sibling)
        effects = self._send(operation, encoded, placement, now)
        if operation.siblings >= limits.siblings_warn or len(sibling.value) >= limits.value_warn_bytes:
            effects.append(_large(operation, sibling))
        return effects

    def settle(self, operation: Write, record: Record, round: int, placement: Placement, now: Now) -> list[Effect]:
        """Bring a record that was read under that round to W replicas; nothing new is written."""
        refusal = self._choose(operation, placement)
        if refusal is not None:
            return turned_down(operation, refusal)
        copy = self._replica.load(operation.key)
        settled = merge(copy.record, record)
        encoded = self._replica.stage(operation.key, copy.birth, settled, copy)
        operation.clock = settled.clock
        self._staged.append(operation)
        return self._send(operation, encoded, placement, now, round)

    def stored(
        self, replica: NodeId, message: ReplicaStored, operation: Write, placement: Placement, now: Now
    ) -> list[Effect]:
        """Count an acknowledgement; answer the client at the W-th."""
        if not self._pending.counted(operation, replica):
            return []
        if now.monotonic_ms - operation.began_ms > self._patience.quick_ms and replica not in operation.hold:
            self._patience.answered(replica, now.monotonic_ms - operation.began_ms)
        if operation.answered:
            self._pending.forget_if_over(operation)
            return []
        if operation.hold and operation.is_no_further_copy(replica):
            operation.tally.got -= 1
        if operation.primary and replica not in operation.hold:
            operation.by_owners += 1
        if message.beyond and operation.blind:
            operation.beyond = join(operation.beyond, Clock(message.beyond))
        return self._conclude(operation, placement, now)

    def missed(
        self, replica: NodeId, operation: Write, placement: Placement, now: Now, *, gone: bool = False
    ) -> list[Effect]:
        """The replica will not take it: another one does, or the coordinator keeps it for later."""
        if replica not in operation.tally.waiting:
            return []
        self._pending.heard(operation, replica)
        operation.tally.no(replica)
        effects: list[Effect] = []
        for owner in operation.hold.get(replica, (replica,)) if gone else ():
            instead = [] if operation.answered else self._replace(owner, operation, placement, now)
            effects += instead
            if not instead:
                self._keep_hint(owner, operation)
        if not operation.answered and operation.lost:
            return effects + self._give_up(operation)
        self._pending.forget_if_over(operation)
        return effects

    def outdated(
        self, replica: NodeId, message: ReplicaRefused, operation: Write, placement: Placement, now: Now
    ) -> list[Effect]:
        """What was sent came too late for the replica's round: once more, as it is held here now.

        A node that was more than one round behind has set its copy aside by now, and holds only what it has written.
        """
        waits = replica in operation.tally.waiting and replica not in operation.resent
        if not waits or not operation.is_in(self._replica.load(operation.key).record):
            return self.missed(replica, operation, placement, now)
        operation.resent += (replica,)
        return [self._as_held(replica, operation, placement, now)]

    def expired(self, operation: Write, placement: Placement, now: Now) -> list[Effect]:
        """Too long without an answer: those that are silent are replaced, or it is given up."""
        silent = [owner for owner in operation.owners if owner in operation.tally.waiting]
        effects: list[Effect] = []
        if now.monotonic_ms >= operation.deadline_at_ms:
            for owner in silent:
                if owner in placement.suspects or owner in self._patience.lost:
                    self._keep_hint(owner, operation)
            effects = [] if operation.answered else self._give_up(operation)
            self._pending.drop(operation)
            return effects
        patient_ms = operation.began_ms + self._patience.timeout_ms(silent, operation.size)
        if self._pending.waits(operation, patient_ms, now.monotonic_ms):
            return []
        effects = timed_out(silent, operation.began_ms, self._patience, placement, now)
        for owner in silent if not operation.answered else ():
            if self._patience.may_replace(suspect=owner in placement.suspects):
                effects += self._replace(owner, operation, placement, now)
        return effects

    def committed(self) -> None:
        """All that was staged is kept."""
        self._staged.clear()
        self._resent.clear()

    def abandon(self, effects: list[Effect], *, surely_nothing: bool) -> list[Effect]:
        """The effects to carry out instead when the commit failed: nothing of what was staged leaves the node."""
        numbers = {operation.number for operation in self._staged} | {write.number for write, _ in self._resent}
        requests = {(operation.origin, operation.request) for operation in self._staged}
        kept = [effect for effect in effects if not _concerns(effect, numbers, requests)]
        for operation in self._staged:
            unknown = OutcomeUnknown(operation.request, operation.tally.needed, 0)
            refused = Refused(operation.request, "the disk is full: nothing was written", retry=True)
            kept.append(answer(operation.origin, refused if surely_nothing and not operation.unsure else unknown))
            self._pending.drop(operation)
        for operation, node in self._resent:
            kept += self._unsent(operation, node)
        self.committed()
        return kept

    def _unsent(self, operation: Write, node: NodeId) -> list[Effect]:
        """What it was to be sent may not have been kept: it is not waited for."""
        if self._pending.get(operation.number) is not operation:
            return []
        self._pending.heard(operation, node)
        operation.tally.no(node)
        if not operation.answered and operation.lost:
            return self._give_up(operation)
        self._pending.forget_if_over(operation)
        return []

    def _choose(self, operation: Write, placement: Placement) -> Answer | None:
        """Who takes it; or why it cannot be done."""
        key = operation.key
        owners, up = placement.owners_of(key), placement.others_up(key)
        if operation.needed > len(owners):
            operation.needed = len(owners)
        if len(up) + 1 < len(owners) or self._patience.lost or placement.me not in owners:
            return self._choose_among(operation, owners, placement)
        bytes_to, most = self._pending.bytes_to, self._limits.peer_bytes_max
        for owner in up:
            if bytes_to[owner] >= most:
                return self._choose_among(operation, owners, placement)
        operation.owners = up  # the usual case: all of them
        if operation.primary:
            operation.primary, operation.by_owners = min(operation.primary, len(owners)), 1
        operation.tally = Tally(operation.needed, up, 1)
        return None

    def _choose_among(self, operation: Write, owners: tuple[NodeId, ...], placement: Placement) -> Answer | None:
        """Some of the owners, and others for the rest."""
        chosen = takers(operation.key, placement, self._state, self._pending.bytes_to)
        needed, primary, owning = operation.needed, min(operation.primary, len(owners)), placement.me in owners
        against = "" if owning else against_standing_in(operation.key, chosen.mine, placement, self._state)
        if against:
            return Refused(operation.request, against, retry=True)
        reached, by_owners = 1 + len(chosen.owners) + len(chosen.hold), owning + len(chosen.owners)
        if reached < needed or by_owners < primary:
            if chosen.behind:
                return Overloaded(operation.request, RETRY_AFTER_MS)
            needed, got = (needed, reached) if reached < needed else (primary, by_owners)
            return QuorumNotMet(operation.request, needed, got, f"down: {placement.down_of(operation.key)}")
        operation.owners, operation.hold, operation.mine = chosen.owners, chosen.hold, chosen.mine
        operation.primary, operation.by_owners = primary, int(owning)
        operation.tally = Tally(needed, (*chosen.owners, *chosen.hold), agreed=1)  # this node is one of them
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
        operation.context = context_after(record, sibling, seen, operation.request)
        self._staged.append(operation)
        return self._replica.stage(operation.key, dot[1], record, copy)

    def _send(
        self, operation: Write, encoded: bytes, placement: Placement, now: Now, round: int | None = None
    ) -> list[Effect]:
        """`round`: the one that the record was read under, if not that of this node's copy."""
        operation.handler = self
        operation.size = len(encoded) + OPERATION_BYTES
        due_ms = now.monotonic_ms + self._limits.replica_timeout_ms
        if due_ms < operation.deadline_at_ms:
            operation.due_ms = due_ms
        self._pending.add(operation)
        if round is None:
            round = self._rounds.of_key(operation.key)
        left_ms = operation.deadline_at_ms - now.monotonic_ms
        message = StoreReplica(operation.number, left_ms, placement.layouts, round, operation.key, encoded)
        effects: list[Effect] = [Send(owner, message) for owner in operation.owners]
        if operation.hold:
            self._counters["writes.sloppy"] += 1
            effects += [Send(node, _holding(message, targets)) for node, targets in operation.hold.items()]
        for target in operation.mine:
            self._keep_hint(target, operation)
        tally = operation.tally
        return effects if tally.got < tally.needed else effects + self._conclude(operation, placement, now)

    def _replace(self, owner: NodeId, operation: Write, placement: Placement, now: Now) -> list[Effect]:
        """Somebody stands in for an owner, and is counted; []: there is nobody."""
        node = next_fallback(operation.key, placement, self._state, operation.hold, self._pending.bytes_to)
        if node is None or not operation.is_in(self._replica.load(operation.key).record):
            return []
        operation.hold = {**operation.hold, node: (owner,)}
        self._pending.asked(operation, node)
        self._counters["writes.sloppy"] += 1
        return [self._as_held(node, operation, placement, now)]

    def _keep_hint(self, target: NodeId, operation: Write) -> None:
        """For later, beside the copy here; it is not an acknowledgement."""
        if self._hints.has_room(target, operation.key):
            self._hints.add(target, operation.key, operation.size - OPERATION_BYTES)
        else:
            self._counters["hints.refused"] += 1

    def _as_held(self, node: NodeId, operation: Write, placement: Placement, now: Now) -> Effect:
        """Send it once more or to one more, as it is held here now. That may be of this very batch."""
        self._resent.append((operation, node))
        message = StoreReplica(
            operation.number, operation.deadline_at_ms - now.monotonic_ms, placement.layouts,
            self._rounds.of_key(operation.key), operation.key, self._replica.fetch(operation.key),
        )  # fmt: skip
        targets = operation.hold.get(node)
        return Send(node, message if targets is None else _holding(message, targets))

    def _conclude(self, operation: Write, placement: Placement, now: Now) -> list[Effect]:
        tally = operation.tally
        if tally.got < tally.needed or operation.by_owners < operation.primary:
            return self._give_up(operation) if operation.lost else []
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
        operation.hold, operation.mine, operation.stood_for = NOBODY, (), frozenset()
        if self._choose(operation, placement) is not None:
            return [answer(operation.origin, unknown)]
        encoded = self._mint(operation, copy, join(operation.clock, operation.beyond), placement, now)
        return self._send(operation, encoded, placement, now) if encoded else [answer(operation.origin, unknown)]

    def _give_up(self, operation: Write) -> list[Effect]:
        tally = operation.tally
        return self._answer(operation, OutcomeUnknown(operation.request, tally.needed, tally.got))

    def _answer(self, operation: Write, message: Done | OutcomeUnknown) -> list[Effect]:
        if isinstance(message, Done):
            self._pending.succeeded(operation)
        else:
            self._pending.mark_answered(operation)
        self._pending.forget_if_over(operation)
        return [answer(operation.origin, message)]


def _holding(message: StoreReplica, targets: tuple[NodeId, ...]) -> HoldReplica:
    """The same for a fallback."""
    return HoldReplica(
        message.request, message.deadline_ms, message.layouts, message.round, message.key, message.record, targets
    )


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
    if isinstance(message, StoreReplica | HoldReplica):
        return message.request in numbers
    return isinstance(message, Forwarded) and ((effect.to, message.request), message.answer.request) in requests
