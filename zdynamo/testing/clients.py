"""Simulated clients: one request id for all attempts, other nodes within the deadline, one end (paper 4.5).

They go by the rules of `zdynamo.client`, but wander: often a request goes to some owner of its key, or to no owner at
all, so that writes of a key meet at many coordinators.
"""

from collections.abc import Callable
from random import Random

from msgspec.structs import replace

from zdynamo.core.owners.ring import owners
from zdynamo.messages import (
    Absent,
    ClientAnswer,
    Delete,
    Done,
    Found,
    Get,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
)
from zdynamo.partition import partition_of
from zdynamo.testing.history import Operation
from zdynamo.testing.simulator import Simulation

MARGIN_MS = 50  # that a node is given less than what is left, so that its answer comes in time
PATIENCE_MS = 250  # of silence, or a tenth of the deadline if that is more; then another node is asked as well
PAUSE_MS, PAUSE_MAX_MS = 10, 200  # before a refused call is tried again; doubled each time
NOBODY_MS = 100  # between looks for a node while none is up
WANDERING = 0.25  # of the requests go to any node

Request = Get | Put | Delete
Then = Callable[[Operation, ClientAnswer | None], None]


class SimulatedClient:
    """Any number of calls at a time; each is one operation of the history."""

    def __init__(self, simulation: Simulation, name: str, random: Random) -> None:
        self.simulation = simulation
        self.name = name
        self.random = random
        self.silent: set[str] = set()  # nodes that let a call wait, until they are heard again
        self._id = random.getrandbits(64).to_bytes(8, "big")
        self._requests = 0

    def request_id(self) -> bytes:
        self._requests += 1
        return self._id + self._requests.to_bytes(8, "big")

    def call(self, operation: Operation, request: Request, then: Then) -> None:
        """Fills in the operation's end, then calls `then` with the last answer, or None if there was none."""
        _Call(self, operation, request, then).route()

    def pick(self, request: Request, tried: list[str]) -> str | None:
        """A node that is up, as far as this client can know; None: there is none."""
        up = [name for name in self.simulation.nodes if name not in tried] or list(self.simulation.nodes)
        heard = [name for name in up if name not in self.silent] or up
        if self.random.random() >= WANDERING:
            owning = self._owners(request)
            heard = [name for name in heard if name in owning] or heard
        return heard[int(self.random.random() * len(heard))] if heard else None

    def _owners(self, request: Request) -> frozenset[str]:
        for node in self.simulation.nodes.values():
            view = node.view
            if view is not None and view.layout is not None:
                partitions = view.constants.partitions
                partition = partition_of(request.bucket.encode(), request.key, partitions)
                owning = owners(view.layout, partitions, view.constants.n)[partition]
                return frozenset(name for id, name in node.members.items() if id in owning)
        return frozenset()


class _Call:
    """Invariant: `open` counts the attempts that may have left something behind."""

    def __init__(self, client: SimulatedClient, operation: Operation, request: Request, then: Then) -> None:
        self._client = client
        self._simulation = client.simulation
        self._operation = operation
        self._request = request
        self._then = then
        self._due_ms = operation.begin_ms + operation.deadline_ms
        self._patience_ms = max(PATIENCE_MS, operation.deadline_ms // 10)
        self._at = ""  # the node of the latest attempt; "" while the call waits for a later try
        self._attempts = 0
        self._open = 0
        self._pauses = 0
        self._tried: list[str] = []
        self._tried_again = False  # the one immediate retry after a missed quorum is spent
        self._over = False
        self._simulation.at(self._due_ms, self._expired)

    def route(self) -> None:
        """Send it to some node, or look again later."""
        if self._over:
            return
        simulation, now_ms = self._simulation, self._simulation.time_ms
        node = self._client.pick(self._request, self._tried)
        if node is None:
            simulation.at(now_ms + NOBODY_MS, self.route)
            return
        self._at = node
        self._tried.append(node)
        self._attempts += 1
        self._open += 1
        number = self._attempts
        if number > 1 or simulation.network.duplication:
            self._operation.doubled = True  # what is handed on between nodes may be doubled too
        left_ms = self._due_ms - now_ms
        request = replace(self._request, deadline_ms=max(1, left_ms - min(MARGIN_MS, left_ms // 10)))
        if not isinstance(request, Get):
            request = replace(request, attempt=self._open)
        simulation.request(
            node, request, lambda answer: self._answered(node, number, answer), lambda: self._lost(number)
        )
        simulation.at(now_ms + self._patience_ms, self._unanswered, node, number)

    def _answered(self, node: str, number: int, answer: ClientAnswer) -> None:
        self._client.silent.discard(node)
        if self._over:
            return
        if isinstance(answer, Found | Absent | Done):
            self._finish("ok", answer)
            return
        if not isinstance(answer, OutcomeUnknown):
            self._open -= 1
        if number != self._attempts or not self._at:
            return  # the no of an earlier attempt: the latest decides
        self._at = ""
        if isinstance(answer, Overloaded) or (isinstance(answer, Refused) and answer.retry):
            pause_ms = min(PAUSE_MS << self._pauses, PAUSE_MAX_MS)
            self._pauses += 1
            self._simulation.at(self._simulation.time_ms + pause_ms, self.route)
        elif isinstance(answer, QuorumNotMet | OutcomeUnknown) and not self._tried_again:
            self._tried_again = True
            self.route()
        else:
            self._finish(self._verdict, answer)

    def _lost(self, number: int) -> None:
        """The connection has broken."""
        if not self._over and number == self._attempts and self._at:
            self.route()

    def _unanswered(self, node: str, number: int) -> None:
        if not self._over and number == self._attempts and self._at:
            self._client.silent.add(node)
            self.route()

    def _expired(self) -> None:
        if not self._over:
            self._finish(self._verdict, None)

    @property
    def _verdict(self) -> str:
        return "unknown" if self._open and self._operation.is_write else "nothing"

    def _finish(self, outcome: str, answer: ClientAnswer | None) -> None:
        self._over = True
        operation = self._operation
        operation.end_ms = self._simulation.time_ms
        operation.outcome = outcome  # type: ignore[assignment]
        operation.answer = type(answer).__name__ if answer is not None else "no answer"
        if isinstance(answer, Found):
            operation.siblings = tuple(sibling.value for sibling in answer.siblings)
        operation.answers += 1
        self._then(operation, answer)
