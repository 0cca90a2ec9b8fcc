"""Handing a client's request to a node that can coordinate it, and its answer back (paper 4.5).

A node that does not answer soon is not waited for: the request goes to the next candidate as a further attempt, and the
first answer counts. Two coordinators of one request harm nobody: readers see one value.
"""

from collections.abc import Callable

from msgspec.structs import replace

from zdynamo.core.coordinator.pending import Answer, Handler, Origin, Pending, answer
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.failures.patience import Patience
from zdynamo.core.owners.placement import Placement
from zdynamo.messages import (
    Absent,
    Delete,
    Done,
    Forward,
    Found,
    Get,
    NodeId,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
)

HOPS_MAX = 3
REMEMBERED = 4096  # forwards that this node was sent, in each of two generations
PATIENCE = 3  # replica timeouts until the next candidate is asked as well


class Forwarding:
    """A request that another node coordinates."""

    __slots__ = (
        "answered",
        "began_ms",
        "candidates",
        "deadline_at_ms",
        "due_ms",
        "handler",
        "hops",
        "message",
        "number",
        "origin",
        "size",
        "stands_in",
        "tally",
        "unsure",
    )

    def __init__(
        self, number: int, origin: Origin, message: Get | Put | Delete, hops: int, deadline_at_ms: int
    ) -> None:
        self.handler: Handler
        self.number = number
        self.origin = origin
        self.message = message
        self.hops = hops
        self.candidates: list[NodeId] = []  # not asked yet
        self.deadline_at_ms = deadline_at_ms
        self.due_ms = deadline_at_ms  # when to ask the next, or give up
        self.size = len(message.value) if isinstance(message, Put) else 0
        self.answered = False
        self.began_ms = 0
        self.stands_in = False  # whether this node coordinates it itself when nobody else does
        self.unsure = False  # whether a node that has not said so may have done it
        self.tally = Tally(1, ())

    @property
    def request(self) -> bytes:
        """The client's id of it."""
        return self.message.request


StandIn = Callable[[Forwarding, Placement, Now], list[Effect]]  # coordinate what nobody else does


class Arrivals:
    """Which forwards this node was sent lately: of one that comes twice, one copy could be refused, the other done."""

    def __init__(self) -> None:
        self._latest: set[Origin] = set()
        self._before: set[Origin] = set()

    def is_new(self, origin: Origin) -> bool:
        """Call once for each that comes."""
        if origin in self._latest or origin in self._before:
            return False
        if len(self._latest) >= REMEMBERED:
            self._before, self._latest = self._latest, set()
        self._latest.add(origin)
        return True


class Forwards:
    """The requests that this node has handed on."""

    def __init__(self, pending: Pending, patience: Patience, *, replica_timeout_ms: int, stand_in: StandIn) -> None:
        self._stand_in = stand_in
        self._pending = pending
        self._patience = patience
        self._patience_ms = PATIENCE * replica_timeout_ms

    def begin(self, operation: Forwarding, candidates: list[NodeId], now: Now) -> list[Effect]:
        """Ask the first of the candidates; there must be one."""
        operation.handler = self
        operation.candidates = candidates
        self._pending.add(operation)
        return self._ask_next(operation, now)

    def answered(self, node: NodeId, message: Answer, operation: Forwarding, now: Now) -> list[Effect]:
        """A success is the answer; who could not do it is passed over while others may still."""
        self._pending.heard(operation, node)
        operation.tally.no(node)
        if isinstance(message, Done | Found | Absent):
            self._pending.drop(operation)
            return [answer(operation.origin, message)]
        if isinstance(message, OutcomeUnknown):
            operation.unsure = True
        if operation.tally.waiting:
            return []
        if operation.candidates and isinstance(message, Refused | Overloaded) and getattr(message, "retry", True):
            return self._ask_next(operation, now)
        if operation.unsure and not isinstance(message, OutcomeUnknown):
            return self._give_up(operation)
        self._pending.drop(operation)
        return [answer(operation.origin, message)]

    def missed(
        self, replica: NodeId, operation: Forwarding, placement: Placement, now: Now, *, gone: bool = False
    ) -> list[Effect]:
        """The node asked is not there."""
        if replica not in operation.tally.waiting:
            return []
        self._pending.heard(operation, replica)
        operation.tally.no(replica)
        operation.unsure = True
        if operation.tally.waiting or operation.candidates:
            return self._ask_next(operation, now) if operation.candidates else []
        if operation.stands_in and gone:
            return self._take_over(operation, placement, now)
        return self._give_up(operation)

    def expired(self, operation: Forwarding, placement: Placement, now: Now) -> list[Effect]:
        """Too long without an answer."""
        if now.monotonic_ms >= operation.deadline_at_ms:
            return self._give_up(operation)
        operation.unsure = True
        if operation.candidates:
            return self._ask_next(operation, now)
        suspect = not operation.tally.waiting.isdisjoint(placement.suspects)
        if operation.stands_in and self._patience.may_replace(suspect=suspect):
            return self._take_over(operation, placement, now)
        operation.due_ms = operation.deadline_at_ms
        self._pending.postpone(operation)
        return []

    def _ask_next(self, operation: Forwarding, now: Now) -> list[Effect]:
        node = operation.candidates.pop(0)
        self._pending.asked(operation, node)
        operation.due_ms = min(operation.deadline_at_ms, now.monotonic_ms + self._patience_ms)
        self._pending.postpone(operation)
        left_ms = operation.deadline_at_ms - now.monotonic_ms
        self._raise_attempt(operation)
        forward = Forward(operation.number, left_ms, operation.hops + 1, operation.message)
        return [Send(node, forward)]

    def _take_over(self, operation: Forwarding, placement: Placement, now: Now) -> list[Effect]:
        """No owner answers: a fallback may coordinate a write (paper 4.6)."""
        self._pending.drop(operation)
        self._raise_attempt(operation)
        return self._stand_in(operation, placement, now)

    def _raise_attempt(self, operation: Forwarding) -> None:
        if operation.unsure and not isinstance(operation.message, Get):
            operation.message = replace(operation.message, attempt=operation.message.attempt + 1)

    def _give_up(self, operation: Forwarding) -> list[Effect]:
        self._pending.drop(operation)
        request = operation.message.request
        if isinstance(operation.message, Get):
            return [answer(operation.origin, QuorumNotMet(request, 1, 0, "no node that could coordinate has answered"))]
        return [answer(operation.origin, OutcomeUnknown(request, 1, 0))]
