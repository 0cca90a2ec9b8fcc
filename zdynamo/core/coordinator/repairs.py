"""Bringing copies of a record together: what some replicas hold and others do not is sent to those (paper 4.4, 5).

What is dead is not sent to replicas that hold nothing, unless that is what the repair is for: they may have removed it,
and copies of tombstones would be passed round for ever.
"""

from typing import Protocol

from zdynamo.core.coordinator.pending import Handler, Pending
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.records.discards import merge_here
from zdynamo.core.records.record import Record, encode_record
from zdynamo.core.state import State
from zdynamo.messages import NodeId, ReplicaFetched, StoreReplica

REPAIRS_MAX = 256  # in flight; beyond, skipped: the next read finds the difference again
REPAIR_BYTES_MAX = 16 * 2**20  # in flight; one repair may be larger
WAIT = 10  # replica timeouts that an answer is waited for


class Answered(Protocol):
    """A read that waits for nobody any more."""

    key: bytes
    record: Record  # of all answers together
    answers: dict[NodeId, ReplicaFetched]
    everywhere: bool  # send what is dead also to those that hold nothing


class Repair:
    """A record that was sent, and has not been answered by all."""

    __slots__ = ("answered", "began_ms", "bytes", "due_ms", "handler", "number", "size", "tally")

    def __init__(self, number: int, due_ms: int, size: int, to: list[NodeId]) -> None:
        self.handler: Handler
        self.number = number
        self.due_ms = due_ms
        self.size = size
        self.bytes = size * len(to)
        self.answered = False
        self.began_ms = 0
        self.tally = Tally(0, to)


class Repairs:
    """The repairs that this node has begun. `repairs.sent` counts the copies, its own among them."""

    def __init__(self, state: State, pending: Pending) -> None:
        self._state = state
        self._counters = state.counters
        self._clock = state.clock
        self._pending = pending
        self._wait_ms = WAIT * state.limits.replica_timeout_ms
        self._in_flight = 0
        self._bytes_in_flight = 0

    def begin(self, read: Answered, placement: Placement, now: Now) -> list[Effect]:
        """Send the record, merged from all answers, to the owners that answered less."""
        key, answers, encoded = read.key, read.answers, encode_record(read.record)
        owners = placement.owners_of(key)
        lww = self._state.buckets.is_lww(key)
        with_nothing = read.everywhere or not is_dead(read.record, self._clock.wall_ms(now), lww=lww)
        less = [
            replica
            for replica, answer in answers.items()
            if replica in owners and answer.record != encoded and (answer.record or with_nothing)
        ]
        if not less:
            return []
        least = min(answer.round for answer in answers.values())
        if self._in_flight >= REPAIRS_MAX or self._bytes_in_flight >= REPAIR_BYTES_MAX:
            self._counters["repairs.skipped"] += len(less)
            return []
        if placement.me in less:
            less.remove(placement.me)
            merged = merge_here(self._state, 0, key, encoded, least, placement, now)
            if merged.refused is not None:
                self._counters["repairs.skipped"] += len(less) + 1
                return []
            self._counters["repairs.sent"] += 1
        return self._send(key, encoded, least, less, placement, now) if less else []

    def stored(self, replica: NodeId, operation: Repair) -> list[Effect]:
        self._pending.heard(operation, replica)
        operation.tally.yes(replica)
        self._drop_if_over(operation)
        return []

    def missed(
        self, replica: NodeId, operation: Repair, placement: Placement, now: Now, *, gone: bool = False
    ) -> list[Effect]:
        """The replica will not take it; the next read finds that."""
        self._pending.heard(operation, replica)
        operation.tally.no(replica)
        self._drop_if_over(operation)
        return []

    def expired(self, operation: Repair, placement: Placement, now: Now) -> list[Effect]:
        """Answers are not waited for any longer."""
        self._drop(operation)
        return []

    def abandon(self, effects: list[Effect]) -> list[Effect]:
        """The commit failed: what was to be sent may hold what was not kept."""
        begun = {operation.number: operation for operation in self._pending.of_kind(Repair)}
        kept = [effect for effect in effects if _number(effect) not in begun]
        for number in {_number(effect) for effect in effects} & begun.keys():
            self._drop(begun[number])
        return kept

    def _send(
        self, key: bytes, encoded: bytes, least: int, to: list[NodeId], placement: Placement, now: Now
    ) -> list[Effect]:
        operation = Repair(self._pending.next_number(), now.monotonic_ms + self._wait_ms, len(encoded), to)
        operation.handler = self
        self._pending.add(operation)
        self._pending.mark_answered(operation)
        self._in_flight += 1
        self._bytes_in_flight += operation.bytes
        self._counters["repairs.sent"] += len(to)
        message = StoreReplica(operation.number, self._wait_ms, placement.layouts, least, key, encoded)
        return [Send(replica, message) for replica in to]

    def _drop_if_over(self, operation: Repair) -> None:
        if not operation.tally.waiting:
            self._drop(operation)

    def _drop(self, operation: Repair) -> None:
        self._pending.drop(operation)
        self._in_flight -= 1
        self._bytes_in_flight -= operation.bytes


def _number(effect: Effect) -> int:
    """Of the write that is sent; 0: it is something else."""
    return effect.message.request if isinstance(effect, Send) and isinstance(effect.message, StoreReplica) else 0
