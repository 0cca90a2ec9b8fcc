"""Simulated clients: the core of the real client decides what is tried and told; only where requests go is up to them.

They wander: a request goes to some owner of its key, often to a node that is no owner or that others have given up, so
that writes of a key meet at many coordinators. And now and then a connection breaks, so that one is tried again that
has been carried out.
"""

from collections.abc import Callable, Collection, Iterable
from functools import partial
from random import Random

from zdynamo.client.events import DeadlinePassed, Send
from zdynamo.client.events import Outcome as Told
from zdynamo.client.routes import Link, Routes
from zdynamo.messages import Absent, ClientRequest, Delete, Done, Found, Get, OutcomeUnknown, Put
from zdynamo.testing.history import Operation, Outcome
from zdynamo.testing.simulator import Simulation
from zdynamo.testing.users import Telling, User, name_of

WANDERING = 0.25  # of the requests go to any node
STRAIGHT = 0.1  # go where `Routes` would send them
BREAKS = 0.01  # of the requests break the connection while they are under way

Request = Get | Put | Delete
Then = Callable[[Operation, Told], None]


class Wandering(Routes):
    """Any node that has not been tried and is not silent, if there is one; mostly an owner."""

    def __init__(self, bootstrap: Iterable[str], *, random: Random, wandering: float = WANDERING) -> None:
        """`wandering`: how often it may be no owner."""
        super().__init__(bootstrap)
        self._random = random
        self._wandering = wandering

    def pick(self, request: ClientRequest, tried: Collection[Link]) -> Link | None:
        chance = self._random.random()
        if chance >= 1 - STRAIGHT:
            return super().pick(request, tried)
        up = self.up()
        fresh = [link for link in up if link not in tried] or up
        wanted = [link for link in fresh if not link.silent] or fresh
        if chance >= self._wandering:
            owners = self.owners(request)
            wanted = [link for link in wanted if link in owners] or wanted
        return wanted[int(self._random.random() * len(wanted))] if wanted else None


class SimulatedClient(User):
    """Any number of calls at a time; each is one operation of the history."""

    def __init__(self, simulation: Simulation, name: str, names: tuple[str, ...], random: Random) -> None:
        """`names`: of the nodes known at first."""
        super().__init__(simulation, names, random=random, routes=partial(Wandering, random=random))
        self.name = name
        self._random = random
        self._under_way: dict[bytes, Operation] = {}
        self._sent: set[bytes] = set()  # of what is under way

    def call(self, operation: Operation, request: Request, then: Then) -> None:
        """Fills in the operation's end, then calls `then` with what the user is told."""
        assert operation.request == self.next_request, "operations are made and called one by one"
        self._under_way[operation.request] = operation
        self.submit(request, operation.deadline_ms, Telling(partial(self._told, operation, then)))

    def _told(self, operation: Operation, then: Then, told: Told) -> None:
        del self._under_way[operation.request]
        self._sent.discard(operation.request)
        operation.end_ms = self.simulation.time_ms
        operation.outcome = outcome_of(operation, told)
        operation.answer = type(told).__name__
        operation.answers += 1
        if isinstance(told, Found):
            operation.siblings = tuple(sibling.value for sibling in told.siblings)
        then(operation, told)

    def _send(self, effect: Send) -> None:
        network, request = self.simulation.network, effect.message.request
        operation = self._under_way.get(request)
        if operation is not None:
            if request in self._sent or network.duplication:
                operation.doubled = True  # what is handed on between nodes may be doubled too
            self._sent.add(request)
        super()._send(effect)
        if self._random.random() < BREAKS:
            self.simulation.at(network.delayed_ms(), self._break, name_of(effect.address))


def outcome_of(operation: Operation, told: Told) -> Outcome:
    """What the user may conclude. Of all other errors the docs say that nothing was written."""
    if isinstance(told, Found | Absent | Done):
        return "ok"
    unsure = isinstance(told, OutcomeUnknown) or (isinstance(told, DeadlinePassed) and told.attempts > 0)
    return "unknown" if operation.is_write and unsure else "nothing"
