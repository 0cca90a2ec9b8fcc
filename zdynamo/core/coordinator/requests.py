"""A client's request, from admission to whoever coordinates it (paper 4.5).

A put or delete is coordinated by an owner of the key, or by this node in the place of one when no owner can be
reached; a get is coordinated where it arrives.
"""

from functools import partial

from zdynamo.core.coordinator.admission import DISK_FULL, RETRY_AFTER_MS, due_ms_of, refusal
from zdynamo.core.coordinator.forming import DataRequest, Forming, Held
from zdynamo.core.coordinator.forwards import HOPS_MAX, Arrivals, Forwarding, Forwards
from zdynamo.core.coordinator.pending import Origin, Pending, answer
from zdynamo.core.coordinator.reads import Read, Reads, Seen, Then
from zdynamo.core.coordinator.repairs import Repair, Repairs
from zdynamo.core.coordinator.tally import Quorum
from zdynamo.core.coordinator.write import Write, context_after, turned_down
from zdynamo.core.coordinator.writes import Writes
from zdynamo.core.events import Effect, Now, Reply, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.rounds import HeardRound
from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.records.buckets import LWW
from zdynamo.core.records.conditions import Condition, holds
from zdynamo.core.records.context import decode_context, encode_context
from zdynamo.core.records.record import NOTHING_SEEN, Clock, Record, Sibling, carrying, join, merge, shown, written_by
from zdynamo.core.state import State
from zdynamo.errors import Malformed
from zdynamo.messages import (
    Absent,
    Bucket,
    ConditionFailed,
    Delete,
    Done,
    Explained,
    Forwarded,
    Found,
    Get,
    Inspected,
    NodeId,
    OutcomeUnknown,
    Overloaded,
    Put,
    Refused,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
)
from zdynamo.partition import storage_key

NO_DOT = (0, 0, 0)
NOT_THERE = ("disk", "limit", "stale layout", "unsettled")  # why a replica refuses what another may take


class Requests:
    """The requests that this node works on."""

    def __init__(self, state: State, *, heard_round: HeardRound, first_number: int) -> None:
        self._state = state
        self._heard_round = heard_round
        self._limits = state.limits
        self._counters = state.counters
        self.pending = Pending(first_number, state.pace)
        self._repairs = Repairs(state, self.pending)
        self._reads = Reads(state, self.pending, self._repairs)
        self._writes = Writes(state, self.pending)
        patience_ms = state.limits.replica_timeout_ms
        self._forwards = Forwards(self.pending, state.patience, replica_timeout_ms=patience_ms, stand_in=self._stand_in)
        self._arrivals = Arrivals()
        self.forming = Forming(self._counters, hand_on=self._hand_on)

    def admit(
        self, origin: Origin, message: DataRequest, placement: Placement, now: Now, *, deadline_ms: int, hops: int = 0
    ) -> list[Effect]:
        """Refuse it, shed it, or take it on. `deadline_ms`: what is left of it here and now."""
        if hops and not self._arrivals.is_new(origin):
            return []
        if self.pending.is_full(self._limits):
            return [self._overloaded(origin, message)]
        refused = refusal(message, placement, self._limits)
        if refused is not None:
            self._counters["requests.refused"] += 1
            return [answer(origin, refused)]
        due_ms = due_ms_of(deadline_ms, self._state, now)
        return [] if due_ms is None else self._coordinate(origin, message, hops, due_ms, placement, now)

    def layout_known(self, placement: Placement, now: Now) -> list[Effect]:
        """Take on what was waiting for the first layout."""
        effects: list[Effect] = []
        for held in self.forming.layout_known():
            effects += self._coordinate(*held, placement, now)
        return effects

    def stored(self, replica: NodeId, message: ReplicaStored, placement: Placement, now: Now) -> list[Effect]:
        operation = self.pending.get(message.request)
        if isinstance(operation, Write):
            return self._writes.stored(replica, message, operation, placement, now)
        return self._repairs.stored(replica, operation) if isinstance(operation, Repair) else []

    def fetched(self, replica: NodeId, message: ReplicaFetched, placement: Placement, now: Now) -> list[Effect]:
        operation = self.pending.get(message.request)
        if not isinstance(operation, Read):
            return []
        if message.round > self._state.rounds.of_key(operation.key) + 1:
            noted = self._heard_round(replica, operation.key, message.round, placement)
            return noted + self._reads.fetched(replica, message, operation, placement, now)
        return self._reads.fetched(replica, message, operation, placement, now)

    def forwarded(self, node: NodeId, message: Forwarded, now: Now) -> list[Effect]:
        operation = self.pending.get(message.request)
        if not isinstance(operation, Forwarding):
            return []
        return self._forwards.answered(node, message.answer, operation, now)

    def refused(self, replica: NodeId, message: ReplicaRefused, placement: Placement, now: Now) -> list[Effect]:
        """A replica will not do its part."""
        operation = self.pending.get(message.request)
        if isinstance(operation, Write) and message.reason == "stale round":
            return self._writes.outdated(replica, message, operation, placement, now)
        gone = message.reason in NOT_THERE
        return operation.handler.missed(replica, operation, placement, now, gone=gone) if operation else []

    def missing(self, replica: NodeId, placement: Placement, now: Now, *, gone: bool) -> list[Effect]:
        """Nothing that waits for this node need wait any more. `gone`: others may take its place."""
        effects: list[Effect] = []
        for operation in self.pending.waiting_for(replica):
            effects += operation.handler.missed(replica, operation, placement, now, gone=gone)
        return effects

    def expire(self, placement: Placement, now: Now) -> list[Effect]:
        """Answer whatever has waited until its deadline."""
        effects: list[Effect] = []
        for operation in self.pending.due(now.monotonic_ms):
            effects += operation.handler.expired(operation, placement, now)
        return effects + self.forming.expire(now)

    @property
    def next_due_ms(self) -> int | None:
        due_ms, forming_ms = self.pending.next_due_ms, self.forming.next_due_ms
        return due_ms if forming_ms is None else forming_ms if due_ms is None else min(due_ms, forming_ms)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self.pending.unanswered and self.forming.idle

    def committed(self) -> None:
        self._writes.committed()

    def abandon(self, effects: list[Effect], *, surely_nothing: bool) -> list[Effect]:
        """Reads may have seen what was staged and is gone: they are to be asked again."""
        effects = self._repairs.abandon(self._writes.abandon(effects, surely_nothing=surely_nothing))
        kept = [_unread(effect) for effect in effects]
        for read in self.pending.of_kind(Read):
            if not read.answered:
                kept += self._reads.turned_down(read, Refused(read.request, DISK_FULL, retry=True))
            self._reads.drop(read)
        return kept

    def heal(self, key: bytes, placement: Placement, now: Now) -> list[Effect]:
        """Read a storage key from all owners that are up, and bring what they hold together to all of them.

        Also what is dead, and to those that hold nothing. Nobody is answered, and it may be skipped when there is much
        to do.
        """
        return self._reads.heal(self.pending.next_number(), key, self._own(key, placement), placement, now)

    def local(self, number: int, key: bytes, placement: Placement) -> ReplicaFetched:
        """What this node has of a key, and whether having nothing means that there is nothing."""
        settled = (
            self._state.partitions.settled(key) and bool(placement.owners) and placement.me in placement.owners_of(key)
        )
        return ReplicaFetched(number, settled, self._state.rounds.of_key(key), self._state.replica.fetch(key))

    def _coordinate(
        self, origin: Origin, message: DataRequest, hops: int, due_ms: int, placement: Placement, now: Now
    ) -> list[Effect]:
        if not placement.owners:
            return self.forming.take(Held(origin, message, hops, due_ms), placement, now)
        key = storage_key(message.bucket.encode(), message.key, placement.partitions)
        rules = self._state.buckets.of(message.bucket)
        if isinstance(message, Get):
            self._counters["gets"] += 1
            return self._get(origin, message, key, rules, due_ms, placement, now)
        owners = placement.owners_of(key)
        if placement.me not in owners and not (placement.me in placement.sharers and self._all_gone(owners, placement)):
            to = (*owners, *placement.fallbacks_of(key)) if self._all_gone(owners, placement) else owners
            return self._hand_on(Held(origin, message, hops, due_ms), to, placement, now)
        return self._write(origin, message, key, rules, due_ms, placement, now)

    def _write(
        self,
        origin: Origin,
        message: Put | Delete,
        key: bytes,
        rules: Bucket,
        due_ms: int,
        placement: Placement,
        now: Now,
        *,
        unsure: bool = False,
    ) -> list[Effect]:
        """Coordinate it here. `unsure`: an earlier attempt may have been written."""
        seen = _seen(message, key)
        if isinstance(seen, Refused):
            return [answer(origin, seen)]
        operation = Write(
            self.pending.next_number(), origin, message.request, key, due_ms,
            lww=rules.conflict == LWW, again=message.attempt > 1,
        )  # fmt: skip
        if unsure:
            operation.unsure = True
        if isinstance(message, Put):
            self._counters["puts"] += 1
            return self._put(operation, message, seen, rules, placement, now)
        self._counters["deletes"] += 1
        return self._delete(operation, message, seen, rules, placement, now)

    def _stand_in(self, handed_on: Forwarding, placement: Placement, now: Now) -> list[Effect]:
        """None of the owners that it was handed to has answered."""
        message = handed_on.message
        assert not isinstance(message, Get)
        key = storage_key(message.bucket.encode(), message.key, placement.partitions)
        rules = self._state.buckets.of(message.bucket)
        return self._write(
            handed_on.origin, message, key, rules, handed_on.deadline_at_ms, placement, now, unsure=handed_on.unsure
        )

    def _get(
        self, origin: Origin, message: Get, key: bytes, rules: Bucket, due_ms: int, placement: Placement, now: Now
    ) -> list[Effect]:
        pr = message.pr or rules.pr
        operation = Read(self.pending.next_number(), origin, message.request, key, due_ms, lww=rules.conflict == LWW)
        quorum = Quorum(max(message.r or rules.r, pr), pr)
        return self._reads.begin(operation, quorum, self._own(key, placement), placement, now)

    def _put(
        self, operation: Write, message: Put, seen: Clock | None, rules: Bucket, placement: Placement, now: Now
    ) -> list[Effect]:
        if not self._state.store.room():
            reason = "the disk is nearly full (storage.disk_free_min): free some room"
            return turned_down(operation, Refused(message.request, reason, retry=True))
        ttl_ms = rules.expiry_ms if message.ttl_ms < 0 else message.ttl_ms
        expires_ms = self._state.clock.wall_ms(now) + ttl_ms if ttl_ms else 0
        request = message.request
        sibling = Sibling(NO_DOT, 0, expires_ms, False, message.content_type, message.value, request, _gone(message))
        operation.needed = message.w or rules.w
        primary = message.pw or rules.pw
        if primary:
            operation.primary, operation.needed = primary, max(operation.needed, primary)
        if not message.condition:
            return self._writes.begin(operation, sibling, seen, placement, now)
        then = partial(self._put_if, operation, message.condition, sibling, seen or NOTHING_SEEN)
        return self._read_first(operation, rules.r, then, placement, now)

    def _put_if(
        self,
        operation: Write,
        condition: Condition,
        sibling: Sibling,
        seen: Clock,
        read: Seen,
        placement: Placement,
        now: Now,
    ) -> list[Effect]:
        """Write over what was read, and over what has been written here since, if that is as the writer wants it."""
        record = merge(read.record, self._state.replica.load(operation.key).record)
        held = written_by(record, operation.request)
        if held is not None:
            context = context_after(record, held, seen, operation.request)
            return self._settle(operation, record, context, read.round, placement, now)
        if holds(condition, record, seen, sibling, self._state.clock.wall_ms(now), lww=operation.lww):
            covering = carrying(sibling, record.siblings)
            return self._writes.begin(operation, covering, join(seen, record.clock), placement, now)
        self._counters["conditions.failed"] += 1
        if operation.again:  # what is there may have been written over an earlier attempt
            return [answer(operation.origin, OutcomeUnknown(operation.request, operation.needed, 0))]
        return [
            answer(operation.origin, ConditionFailed(operation.request, encode_context(record.clock, operation.key)))
        ]

    def _delete(
        self, operation: Write, message: Delete, seen: Clock | None, rules: Bucket, placement: Placement, now: Now
    ) -> list[Effect]:
        """With a context a write like any other; without one, over what R replicas hold."""
        operation.needed, operation.primary = max(message.w or rules.w, rules.pw), rules.pw
        tombstone = Sibling(NO_DOT, 0, 0, True, "", b"", message.request, (message.request,))
        if message.context:
            return self._writes.begin(operation, tombstone, seen, placement, now)

        def then(read: Seen, placement: Placement, now: Now) -> list[Effect]:
            record, wall_ms = read.record, self._state.clock.wall_ms(now)
            if not record.siblings:
                return [answer(operation.origin, Done(message.request, b"", changed=False))]
            held = written_by(record, message.request)
            operation.changed = held is not None or bool(shown(record, wall_ms, lww=operation.lww))
            if held is not None:
                context = context_after(record, held, NOTHING_SEEN, message.request)
                return self._settle(operation, record, context, read.round, placement, now)
            # What only the clock says is dead, is dead if that is right; what the last write hides is deleted as well.
            if is_dead(record, wall_ms=0, lww=False):
                return self._settle(operation, record, record.clock, read.round, placement, now)
            covering = carrying(tombstone, record.siblings)
            return self._writes.begin(operation, covering, record.clock, placement, now)

        return self._read_first(operation, max(message.r or rules.r, rules.pr), then, placement, now)

    def _read_first(self, operation: Write, r: int, then: Then, placement: Placement, now: Now) -> list[Effect]:
        """What is written over has to be all that was acknowledged: only owners that know count."""
        read = Read(
            self.pending.next_number(), operation.origin, operation.request, operation.key, operation.due_ms, then=then
        )
        read.unsure = operation.unsure
        return self._reads.begin(read, Quorum(r, r), self._own(operation.key, placement), placement, now)

    def _settle(
        self,
        operation: Write,
        record: Record,
        context: Clock,
        round: int,
        placement: Placement,
        now: Now,
    ) -> list[Effect]:
        """Bring what was read to W replicas, unless something may have been removed for good since it was read."""
        if self._state.rounds.is_straggler(operation.key, round):
            reason = "what was read is out of date by now: ask again"
            return turned_down(operation, Refused(operation.request, reason, retry=True))
        operation.context = context
        return self._writes.settle(operation, record, round, placement, now)

    def _own(self, key: bytes, placement: Placement) -> ReplicaFetched | None:
        """What this node has of a key, if it is an owner or holds it for one."""
        owning = placement.me in placement.owners_of(key)
        return self.local(0, key, placement) if owning or (self._state.hints.held and self._holds(key)) else None

    def _holds(self, key: bytes) -> bool:
        return bool(self._state.replica.fetch(key))

    def _all_gone(self, owners: tuple[NodeId, ...], placement: Placement) -> bool:
        """Whether none of them can be reached."""
        lost = self._state.patience.lost
        return all(placement.is_down(owner) or owner in lost for owner in owners)

    def _hand_on(self, held: Held, to: tuple[NodeId, ...], placement: Placement, now: Now) -> list[Effect]:
        """To the members among `to` that are not down, each request starting at another; conditional ones in order."""
        origin, message, hops, due_ms = held
        up = [node for node in to if not placement.is_down(node)]
        if hops >= HOPS_MAX or not up:
            reason = f"nobody who could coordinate it can be reached; down: {placement.names(to)}"
            if hops >= HOPS_MAX:
                reason = "the nodes do not agree yet on who owns the key"
            return [answer(origin, Refused(message.request, reason, retry=True))]
        self._counters["requests.forwarded"] += 1
        operation = Forwarding(self.pending.next_number(), origin, message, hops, due_ms)
        in_order = isinstance(message, Put) and message.condition  # where such meet, one of them fails
        start = 0 if in_order else operation.number % len(up)
        candidates = sorted(up[start:] + up[:start], key=self._state.patience.lost.__contains__)
        operation.stands_in = not isinstance(message, Get) and placement.me in placement.sharers
        return self._forwards.begin(operation, candidates, now)

    def _overloaded(self, origin: Origin, message: DataRequest) -> Effect:
        self._counters["requests.overloaded"] += 1
        return answer(origin, Overloaded(message.request, RETRY_AFTER_MS))


def _unread(effect: Effect) -> Effect:
    """The effect to carry out instead of one that tells what was read."""
    if isinstance(effect, Send) and isinstance(effect.message, ReplicaFetched | Inspected):
        return Send(effect.to, ReplicaRefused(effect.message.request, "disk"))
    if isinstance(effect, Send) and isinstance(effect.message, Forwarded):
        told = effect.message.answer
        if isinstance(told, Found | Absent | ConditionFailed):
            refused = Refused(told.request, DISK_FULL, retry=True)
            return Send(effect.to, Forwarded(effect.message.request, refused))
    if isinstance(effect, Reply) and isinstance(effect.answer, Found | Absent | ConditionFailed | Explained):
        return Reply(effect.client, Refused(effect.answer.request, DISK_FULL, retry=True))
    return effect


def _gone(message: Put) -> tuple[bytes, ...]:
    """A later attempt may have a twin that nobody has seen yet."""
    return (message.request,) if message.attempt > 1 else ()


def _seen(message: Put | Delete, key: bytes) -> Clock | Refused | None:
    """What the writer has seen; None: a first attempt that covers whatever its coordinator knows."""
    if not message.context:
        return None if message.attempt == 1 else NOTHING_SEEN
    try:
        return decode_context(message.context, key)
    except Malformed as error:
        return Refused(message.request, str(error))
