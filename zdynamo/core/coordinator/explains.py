"""Explaining a key: who should have it, what each of them holds, and what fallbacks hold for them."""

from collections.abc import Callable

from msgspec.structs import replace

from zdynamo.core.coordinator.listed import digest_of
from zdynamo.core.coordinator.pending import Handler, Pending, answer
from zdynamo.core.coordinator.questions import admitted
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.owners.ring import ring_of
from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.records.hybrid_clock import wall_ms_of
from zdynamo.core.records.record import Sibling
from zdynamo.core.state import State
from zdynamo.messages import (
    Bucket,
    Explain,
    Explained,
    Inspect,
    Inspected,
    NodeId,
    ReplicaRefused,
    ReplicaState,
    SiblingState,
)
from zdynamo.partition import is_storage_key, partition_of_storage_key, storage_key

PATIENCE = 5  # replica timeouts until an owner counts as not reachable


class Explanation:
    """An explanation that is being put together."""

    __slots__ = (
        "answered",
        "began_ms",
        "client",
        "due_ms",
        "explained",
        "handler",
        "number",
        "size",
        "states",
        "tally",
    )

    def __init__(self, number: int, client: bytes, explained: Explained, due_ms: int) -> None:
        self.handler: Handler
        self.number = number
        self.client = client
        self.explained = explained  # all but the replicas
        self.due_ms = due_ms
        self.size = 0
        self.answered = False
        self.began_ms = 0
        self.states: dict[NodeId, ReplicaState] = {}
        self.tally = Tally(0, ())


class Explains:
    """The explanations that this node puts together, and its part in those of others."""

    def __init__(self, state: State, pending: Pending, *, waits: Callable[[bytes, Now], str]) -> None:
        """`waits`: why what is dead under a storage key has not been removed yet."""
        self._state = state
        self._pending = pending
        self._waits = waits

    def begin(
        self, client: bytes, request: Explain, placement: Placement, now: Now, *, deadline_ms: int
    ) -> list[Effect]:
        """`deadline_ms`: what is left of it here and now."""
        due_ms = admitted(request, placement, self._state, self._pending, now, deadline_ms=deadline_ms)
        if not isinstance(due_ms, int):
            return [answer(client, due_ms)] if due_ms else []
        key = storage_key(request.bucket.encode(), request.key, placement.view.constants.partitions)
        patience_ms = PATIENCE * self._state.limits.replica_timeout_ms
        due_ms = min(due_ms, now.monotonic_ms + patience_ms)
        operation = Explanation(self._pending.next_number(), client, self._placed(request, key, placement), due_ms)
        operation.handler = self
        if placement.me in operation.explained.owners or (self._state.hints.held and self._state.replica.fetch(key)):
            operation.states[placement.me] = self._held(key, placement, now)
        others = (*placement.others_up(key), *placement.fallbacks_of(key)) if placement.owners else ()
        operation.tally = Tally(len(others), others)
        self._pending.add(operation)
        if not others:
            return self._conclude(operation)
        message = Inspect(operation.number, patience_ms, key)
        return [Send(owner, message) for owner in others]

    def inspect(self, sender: NodeId, message: Inspect, placement: Placement, now: Now) -> list[Effect]:
        """A peer asks what this node holds."""
        if not is_storage_key(message.key, placement.view.constants.partitions):
            return [Send(sender, ReplicaRefused(message.request, "malformed"))]
        return [Send(sender, Inspected(message.request, self._held(message.key, placement, now)))]

    def inspected(self, sender: NodeId, message: Inspected, placement: Placement, now: Now) -> list[Effect]:
        operation = self._pending.get(message.request)
        if not isinstance(operation, Explanation) or not operation.tally.yes(sender):
            return []
        operation.states[sender] = replace(message.state, node=sender, reachable=True)
        return [] if operation.tally.waiting else self._conclude(operation)

    def missed(
        self, replica: NodeId, operation: Explanation, placement: Placement, now: Now, *, gone: bool = False
    ) -> list[Effect]:
        """The replica will not answer."""
        operation.tally.no(replica)
        return [] if operation.answered or operation.tally.waiting else self._conclude(operation)

    def expired(self, operation: Explanation, placement: Placement, now: Now) -> list[Effect]:
        """Who has not answered by now counts as not reachable."""
        return self._conclude(operation)

    def _placed(self, request: Explain, key: bytes, placement: Placement) -> Explained:
        """Where the key belongs. Without a layout nobody owns it yet."""
        view, partition = placement.view, partition_of_storage_key(key)
        owners: tuple[NodeId, ...] = ()
        fallbacks: tuple[NodeId, ...] = ()
        if view.layout is not None:
            owners = placement.owners[partition]
            fallbacks = ring_of(view.layout, view.constants.partitions, view.constants.n).fallbacks(partition)
        return Explained(request.request, partition, owners, fallbacks, self._rules(request.bucket), ())

    def _rules(self, bucket: str) -> Bucket:
        return replace(self._state.buckets.of(bucket), name=bucket)

    def _held(self, key: bytes, placement: Placement, now: Now) -> ReplicaState:
        """What this node holds, without the values."""
        state = self._state
        copy = state.replica.load(key)
        record = copy.record
        owner = bool(placement.owners) and placement.me in placement.owners_of(key)
        dead = bool(copy.encoded) and is_dead(record, state.clock.wall_ms(now), lww=state.buckets.is_lww(key))
        return ReplicaState(
            placement.me,
            reachable=True,
            settled=owner and state.partitions.settled(key),
            round=state.rounds.of_key(key),
            digest=digest_of(copy.encoded),
            clock=record.clock.entries,
            cloud=record.clock.cloud,
            siblings=tuple(_outline(sibling) for sibling in record.siblings),
            waits=self._waits(key, now) if owner and dead else "",
            hint=",".join(state.hints.targets_of(key)),
        )

    def _conclude(self, operation: Explanation) -> list[Effect]:
        self._pending.drop(operation)
        explained, states = operation.explained, operation.states
        owners = [states.get(owner) or ReplicaState(owner, reachable=False) for owner in explained.owners]
        holding = [states[node] for node in explained.fallbacks if node in states and states[node].digest]
        return [answer(operation.client, replace(explained, replicas=(*owners, *holding)))]


def _outline(sibling: Sibling) -> SiblingState:
    return SiblingState(
        sibling.dot,
        wall_ms_of(sibling.time),
        sibling.expires_ms,
        sibling.tombstone,
        sibling.content_type,
        len(sibling.value),
        sibling.request,
    )
