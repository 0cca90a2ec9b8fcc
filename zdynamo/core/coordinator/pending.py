"""Which requests this node is working on, until when, and how many bytes they keep in flight.

An operation stays after its answer until every replica asked has been heard or its deadline has passed: what a slow
peer has not answered is known, and bounded.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from zdynamo.core.anti_entropy.pace import Pace
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.events import Effect, Now, Reply, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Absent,
    ConditionFailed,
    Done,
    Explained,
    Forwarded,
    Found,
    KeysListed,
    NodeId,
    OutcomeUnknown,
    Overloaded,
    QuorumNotMet,
    Refused,
)

Origin = bytes | tuple[NodeId, int]  # a client's connection, or the peer that forwarded and its request number
Kind = TypeVar("Kind")
Answer = Found | Absent | Done | QuorumNotMet | OutcomeUnknown | Overloaded | Refused | ConditionFailed
LocalAnswer = KeysListed | Explained  # of requests that are never forwarded

SCAN_MS = 20  # deadlines are looked at no more often than this


def answer(origin: Origin, message: Answer | LocalAnswer) -> Effect:
    """The effect that brings an answer to whoever asked this node."""
    if isinstance(origin, bytes):
        return Reply(origin, message)
    peer, number = origin
    assert not isinstance(message, LocalAnswer)
    return Send(peer, Forwarded(number, message))


class Operation(Protocol):
    """A request in progress."""

    number: int
    due_ms: int
    size: int  # bytes sent to each replica asked
    answered: bool
    began_ms: int  # set by `Pending.add`
    tally: Tally

    handler: "Handler"


class WithDeadline(Operation, Protocol):
    """One that a client waits for until then, whenever it is looked at before."""

    deadline_at_ms: int


class Handler(Protocol):
    """Whoever coordinates operations of one kind."""

    def missed(
        self, replica: NodeId, operation: Any, placement: Placement, now: Now, *, gone: bool = False
    ) -> list[Effect]:
        """The replica will not do its part. `gone`: it cannot be reached or written, another may take its place."""
        ...

    def expired(self, operation: Any, placement: Placement, now: Now) -> list[Effect]:
        """Its `due_ms` has passed."""
        ...


class Pending:
    """The operations in progress, by number."""

    def __init__(self, first_number: int, pace: Pace) -> None:
        self._number = first_number
        self._pace = pace
        self.now_ms = 0  # of this step
        self.began_ms = 0  # what is added in this step has waited since then
        self._operations: dict[int, Operation] = {}
        self.get = self._operations.get
        self._next_due_ms: int | None = None
        self._scanned_ms = 0
        self.unanswered = 0
        self.bytes_in_flight = 0
        self.bytes_to: defaultdict[NodeId, int] = defaultdict(int)

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def asked_by(self, number: int) -> tuple[Origin, bytes] | None:
        """Whose request this operation serves, and the client's id of it; None: nobody's, or it is over."""
        operation = self._operations.get(number)
        origin = getattr(operation, "origin", None)
        return None if origin is None else (origin, operation.request)  # type: ignore[union-attr]

    def add(self, operation: Operation) -> None:
        self._operations[operation.number] = operation
        operation.began_ms = self.began_ms
        self.unanswered += 1
        self.bytes_in_flight += operation.size
        for peer in operation.tally.waiting:
            self.bytes_to[peer] += operation.size
        if self._next_due_ms is None or operation.due_ms < self._next_due_ms:
            self._next_due_ms = operation.due_ms

    def asked(self, operation: Operation, peer: NodeId) -> None:
        """One more peer has been asked."""
        operation.tally.waiting.add(peer)
        self.bytes_to[peer] += operation.size

    def postpone(self, operation: Operation) -> None:
        """Its `due_ms` has changed."""
        if self._next_due_ms is None or operation.due_ms < self._next_due_ms:
            self._next_due_ms = operation.due_ms

    def is_full(self, limits: NodeLimits) -> bool:
        """Whether no more may be taken on."""
        return self.unanswered >= limits.requests_max or self.bytes_in_flight >= limits.in_flight_bytes_max

    def waits(self, operation: WithDeadline, until_ms: int, now_ms: int) -> bool:
        """Postpone it until its peers have had their time, or else to its deadline. Whether they have some left."""
        waits = now_ms < until_ms
        operation.due_ms = until_ms if waits and until_ms < operation.deadline_at_ms else operation.deadline_at_ms
        self.postpone(operation)
        return waits

    def counted(self, operation: Operation, peer: NodeId) -> bool:
        """The peer has done its part; whether it had been asked and this is the first that is heard of it."""
        tally = operation.tally
        if peer not in tally.waiting:
            return False
        tally.waiting.remove(peer)
        tally.got += 1
        self.bytes_to[peer] -= operation.size
        return True

    def heard(self, operation: Operation, peer: NodeId) -> None:
        """The peer keeps nothing of the operation in its queue any more. Call before the tally forgets it."""
        if peer in operation.tally.waiting:
            self.bytes_to[peer] -= operation.size

    def succeeded(self, operation: Operation) -> None:
        """A client has the answer that it waited for; call once."""
        self._pace.answered(self.now_ms - operation.began_ms, self.now_ms)
        self.mark_answered(operation)

    def mark_answered(self, operation: Operation) -> None:
        """Nobody waits for an answer any more; call once."""
        operation.answered = True
        self.unanswered -= 1
        self.bytes_in_flight -= operation.size

    def forget_if_over(self, operation: Operation) -> None:
        """Forget an answered operation that waits for nobody."""
        if operation.answered and not operation.tally.waiting:
            self._operations.pop(operation.number, None)

    def drop(self, operation: Operation) -> None:
        if self._operations.pop(operation.number, None) is None:
            return
        if not operation.answered:
            self.mark_answered(operation)
        for peer in operation.tally.waiting:
            self.bytes_to[peer] -= operation.size

    def of_kind(self, kind: type[Kind]) -> list[Kind]:
        return [operation for operation in self._operations.values() if isinstance(operation, kind)]

    def waiting_for(self, peer: NodeId) -> list[Operation]:
        return [operation for operation in self._operations.values() if peer in operation.tally.waiting]

    @property
    def next_due_ms(self) -> int | None:
        """When `due` has something to say, at the earliest; None: nothing is pending."""
        if self._next_due_ms is None:
            return None
        return max(self._next_due_ms, self._scanned_ms + SCAN_MS)

    def due(self, now_ms: int) -> Iterator[Operation]:
        """The operations whose deadline has passed."""
        if self._next_due_ms is None or now_ms < self.next_due_ms:  # type: ignore[operator]
            return
        self._scanned_ms = now_ms
        past = [operation for operation in self._operations.values() if operation.due_ms <= now_ms]
        self._next_due_ms = min(
            (operation.due_ms for operation in self._operations.values() if operation.due_ms > now_ms), default=None
        )
        yield from past

    def figures(self) -> dict[str, int]:
        """How much there is of it now."""
        return {"requests.unanswered": self.unanswered, "requests.bytes_in_flight": self.bytes_in_flight}

    def __len__(self) -> int:
        return len(self._operations)
