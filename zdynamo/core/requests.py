"""A client's request, from admission to whoever coordinates it (paper 4.5).

A put or delete is coordinated by an owner of the key, a get where it arrives. While there is no layout, the founder
alone decides on the first, when there is data to take.
"""

from collections.abc import Callable
from functools import partial

from zdynamo.core.admission import refusal
from zdynamo.core.buckets import LWW
from zdynamo.core.conditions import Condition, holds
from zdynamo.core.context import decode_context, encode_context
from zdynamo.core.events import Effect, News, Now, Reply, Send
from zdynamo.core.forwards import HOPS_MAX, Forwarding, Forwards
from zdynamo.core.pending import Origin, Pending, answer
from zdynamo.core.placement import Placement
from zdynamo.core.reads import Quorum, Read, Reads, Seen, Then
from zdynamo.core.record import NOTHING_SEEN, Clock, Record, Sibling, carrying, join, merge, shown, written_by
from zdynamo.core.repairs import Repair, Repairs
from zdynamo.core.state import State
from zdynamo.core.tombstones import is_dead
from zdynamo.core.writes import RETRY_AFTER_MS, Write, Writes, context_after
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
    LayoutWanted,
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

HELD_MAX = 1000  # requests that wait for the first layout; beyond, overloaded
NO_DOT = (0, 0, 0)
DISK_FULL = "the disk is full: ask again, or another node"

DataRequest = Get | Put | Delete
HeardRound = Callable[[NodeId, bytes, int, Placement], list[Effect]]  # an owner has told its round of a key's partition


class Requests:
    """The requests that this node works on."""

    def __init__(self, state: State, *, heard_round: HeardRound, first_number: int) -> None:
        self._state = state
        self._heard_round = heard_round
        self._limits = state.limits
        self._counters = state.counters
        self.pending = Pending(first_number)
        self._repairs = Repairs(state, self.pending)
        self._reads = Reads(state, self.pending, self._repairs)
        self._writes = Writes(state, self.pending)
        self._forwards = Forwards(self.pending, replica_timeout_ms=state.limits.replica_timeout_ms)
        self._held: list[tuple[Origin, DataRequest, int, int]] = []  # origin, request, hops, deadline
        self._layout_wanted = False
        self.unreachable: set[NodeId] = set()  # lost connections, until the peer is heard again

    def admit(
        self, origin: Origin, message: DataRequest, placement: Placement, now: Now, *, deadline_ms: int, hops: int = 0
    ) -> list[Effect]:
        """Refuse it, shed it, or take it on. `deadline_ms`: what is left of it here and now."""
        limits, pending = self._limits, self.pending
        if pending.unanswered >= limits.requests_max or pending.bytes_in_flight >= limits.in_flight_bytes_max:
            return [self._overloaded(origin, message)]
        refused = refusal(message, placement, limits)
        if refused is not None:
            self._counters["requests.refused"] += 1
            return [answer(origin, refused)]
        if deadline_ms <= 0:
            self._counters["requests.late"] += 1
            return []
        due_ms = now.monotonic_ms + min(deadline_ms, limits.deadline_ms_max)
        return self._coordinate(origin, message, hops, due_ms, placement, now)

    def layout_known(self, placement: Placement, now: Now) -> list[Effect]:
        """Take on what was waiting for the first layout."""
        held, self._held = self._held, []
        effects: list[Effect] = []
        for origin, message, hops, due_ms in held:
            effects += self._coordinate(origin, message, hops, due_ms, placement, now)
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
        return operation.handler.missed(replica, operation, now) if operation else []

    def missing(self, replica: NodeId, now: Now) -> list[Effect]:
        """Nothing that waits for this node need wait any more."""
        effects: list[Effect] = []
        for operation in self.pending.waiting_for(replica):
            effects += operation.handler.missed(replica, operation, now)
        return effects

    def expire(self, now: Now) -> list[Effect]:
        """Answer whatever has waited until its deadline."""
        effects: list[Effect] = []
        for operation in self.pending.due(now.monotonic_ms):
            effects += operation.handler.expired(operation, now)
        for held in [held for held in self._held if held[3] <= now.monotonic_ms]:
            self._held.remove(held)
            self._layout_wanted = False  # whoever comes next asks again
            reason = "the cluster is still deciding who owns the data"
            effects.append(answer(held[0], Refused(held[1].request, reason, retry=True)))
        return effects

    @property
    def next_due_ms(self) -> int | None:
        dues = [
            due_ms for due_ms in (self.pending.next_due_ms, *(held[3] for held in self._held)) if due_ms is not None
        ]
        return min(dues, default=None)

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self.pending.unanswered and not self._held

    def committed(self) -> None:
        self._writes.committed()

    def abandon(self, effects: list[Effect], *, surely_nothing: bool) -> list[Effect]:
        """Reads may have seen what was staged and is gone: they are to be asked again."""
        effects = self._repairs.abandon(self._writes.abandon(effects, surely_nothing=surely_nothing))
        kept = [_unread(effect) for effect in effects]
        for read in self.pending.of_kind(Read):
            if not read.answered:
                kept.append(answer(read.origin, Refused(read.request, DISK_FULL, retry=True)))
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

    def surely_empty(self, placement: Placement) -> bool:
        """Whether no node has taken any data: the one who decides on the first layout has not been asked to yet."""
        return not placement.owners and placement.view.constants.founder == placement.me and not self._layout_wanted

    def _coordinate(
        self, origin: Origin, message: DataRequest, hops: int, due_ms: int, placement: Placement, now: Now
    ) -> list[Effect]:
        if not placement.owners:
            return self._without_layout(origin, message, hops, due_ms, placement, now)
        key = storage_key(message.bucket.encode(), message.key, placement.partitions)
        rules = self._state.buckets.of(message.bucket)
        if isinstance(message, Get):
            self._counters["gets"] += 1
            return self._get(origin, message, key, rules, due_ms, placement, now)
        owners = placement.owners_of(key)
        if placement.me not in owners:
            return self._hand_on(origin, message, owners, hops, due_ms, placement, now)
        seen = _seen(message, key)
        if isinstance(seen, Refused):
            return [answer(origin, seen)]
        operation = Write(
            self.pending.next_number(), origin, message.request, key, due_ms,
            lww=rules.conflict == LWW, again=message.attempt > 1,
        )  # fmt: skip
        if isinstance(message, Put):
            self._counters["puts"] += 1
            return self._put(operation, message, seen, rules, placement, now)
        self._counters["deletes"] += 1
        return self._delete(operation, message, seen, rules, placement, now)

    def _get(
        self, origin: Origin, message: Get, key: bytes, rules: Bucket, due_ms: int, placement: Placement, now: Now
    ) -> list[Effect]:
        pr = message.pr or rules.pr
        operation = Read(self.pending.next_number(), origin, message.request, key, due_ms, lww=rules.conflict == LWW)
        quorum = Quorum(max(message.r or rules.r, pr), pr > 0)
        return self._reads.begin(operation, quorum, self._own(key, placement), placement, now)

    def _put(
        self, operation: Write, message: Put, seen: Clock | None, rules: Bucket, placement: Placement, now: Now
    ) -> list[Effect]:
        if not self._state.store.room():
            reason = "the disk is nearly full (storage.disk_free_min): free some room"
            return [answer(operation.origin, Refused(message.request, reason, retry=True))]
        ttl_ms = rules.expiry_ms if message.ttl_ms < 0 else message.ttl_ms
        expires_ms = self._state.clock.wall_ms(now) + ttl_ms if ttl_ms else 0
        request = message.request
        sibling = Sibling(NO_DOT, 0, expires_ms, False, message.content_type, message.value, request, _gone(message))
        w = max(message.w or rules.w, message.pw or rules.pw)
        if not message.condition:
            return self._writes.begin(operation, sibling, seen, w, placement, now)
        then = partial(self._put_if, operation, message.condition, sibling, seen or NOTHING_SEEN, w)
        return self._read_first(operation, rules.r, then, placement, now)

    def _put_if(
        self,
        operation: Write,
        condition: Condition,
        sibling: Sibling,
        seen: Clock,
        w: int,
        read: Seen,
        placement: Placement,
        now: Now,
    ) -> list[Effect]:
        """Write over what was read, and over what has been written here since, if that is as the writer wants it."""
        record = merge(read.record, self._state.replica.load(operation.key).record)
        held = written_by(record, operation.request)
        if held is not None:
            return self._settle(operation, record, context_after(record, held, seen), read.round, w, placement, now)
        if holds(condition, record, seen, sibling, self._state.clock.wall_ms(now), lww=operation.lww):
            covering = carrying(sibling, record.siblings)
            return self._writes.begin(operation, covering, join(seen, record.clock), w, placement, now)
        self._counters["conditions.failed"] += 1
        if operation.again:  # what is there may have been written over an earlier attempt
            return [answer(operation.origin, OutcomeUnknown(operation.request, w, 0))]
        return [
            answer(operation.origin, ConditionFailed(operation.request, encode_context(record.clock, operation.key)))
        ]

    def _delete(
        self, operation: Write, message: Delete, seen: Clock | None, rules: Bucket, placement: Placement, now: Now
    ) -> list[Effect]:
        """With a context a write like any other; without one, over what R replicas hold."""
        w = max(message.w or rules.w, rules.pw)
        tombstone = Sibling(NO_DOT, 0, 0, True, "", b"", message.request, (message.request,))
        if message.context:
            return self._writes.begin(operation, tombstone, seen, w, placement, now)

        def then(read: Seen, placement: Placement, now: Now) -> list[Effect]:
            record, wall_ms = read.record, self._state.clock.wall_ms(now)
            if not record.siblings:
                return [answer(operation.origin, Done(message.request, b"", changed=False))]
            written = written_by(record, message.request) is not None
            operation.changed = written or bool(shown(record, wall_ms, lww=operation.lww))
            if written or is_dead(record, wall_ms - self._limits.clock_skew_ms):
                return self._settle(operation, record, record.clock, read.round, w, placement, now)
            return self._writes.begin(operation, carrying(tombstone, record.siblings), record.clock, w, placement, now)

        return self._read_first(operation, max(message.r or rules.r, rules.pr), then, placement, now)

    def _read_first(self, operation: Write, r: int, then: Then, placement: Placement, now: Now) -> list[Effect]:
        """What is written over has to be all that was acknowledged: only owners that know count."""
        read = Read(
            self.pending.next_number(), operation.origin, operation.request, operation.key, operation.due_ms, then=then
        )
        return self._reads.begin(read, Quorum(r, strict=True), self._own(operation.key, placement), placement, now)

    def _settle(
        self, operation: Write, record: Record, context: Clock, round: int, w: int, placement: Placement, now: Now
    ) -> list[Effect]:
        """Bring what was read to W replicas, unless something may have been removed for good since it was read."""
        if self._state.rounds.is_straggler(operation.key, round):
            reason = "what was read is out of date by now: ask again"
            return [answer(operation.origin, Refused(operation.request, reason, retry=True))]
        operation.context = context
        return self._writes.settle(operation, record, round, w, placement, now)

    def _own(self, key: bytes, placement: Placement) -> ReplicaFetched | None:
        """What this node has of a key, if it is an owner."""
        return self.local(0, key, placement) if placement.me in placement.owners_of(key) else None

    def _hand_on(
        self,
        origin: Origin,
        message: DataRequest,
        to: tuple[NodeId, ...],
        hops: int,
        due_ms: int,
        placement: Placement,
        now: Now,
    ) -> list[Effect]:
        """To the members among `to` that are not down, each request starting at another; conditional ones in order."""
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
        candidates = sorted(up[start:] + up[:start], key=self.unreachable.__contains__)
        return self._forwards.begin(operation, candidates, now)

    def _without_layout(
        self, origin: Origin, message: DataRequest, hops: int, due_ms: int, placement: Placement, now: Now
    ) -> list[Effect]:
        constants, joined = placement.view.constants, len(placement.members)
        founding = constants.founder == placement.me
        reason = ""
        if joined < constants.min_members:
            reason = (
                f"the cluster is forming: {joined} of {constants.min_members} members have joined, start the others"
            )
        elif placement.is_down(constants.founder):
            founder = placement.name_of(constants.founder)
            reason = f"the cluster has taken no data yet and its founder {founder} is down: start it"
        if reason:
            return [answer(origin, Refused(message.request, reason, retry=True))]
        if not founding and not hops:
            return self._hand_on(origin, message, (constants.founder,), hops, due_ms, placement, now)
        if founding and isinstance(message, Get) and constants.min_members == 1 and not self._layout_wanted:
            key = storage_key(message.bucket.encode(), message.key, placement.partitions)
            return [answer(origin, Absent(message.request, encode_context(NOTHING_SEEN, key)))]
        if len(self._held) >= HELD_MAX:
            return [self._overloaded(origin, message)]
        self._held.append((origin, message, hops, due_ms))
        if not founding or self._layout_wanted:
            return []
        self._layout_wanted = True
        return [News(placement.view.cluster, placement.me, LayoutWanted())]

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
