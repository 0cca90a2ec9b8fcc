"""Clients in virtual time that go to any node, and what they were told."""

from collections.abc import Callable
from functools import partial
from random import Random

from zdynamo.client.events import DeadlinePassed, NoNodeReached, Outcome
from zdynamo.client.requests import make_delete, make_get, make_put
from zdynamo.messages import ClientAnswer, ClientRequest
from zdynamo.testing.clients import Wandering
from zdynamo.testing.simulator import Simulation
from zdynamo.testing.users import Telling, User

BUCKET = "default"
DEADLINE_MS = 2_000

Then = Callable[[ClientAnswer | None], None]


class Client:
    """Each call ends with the last answer, or None if the deadline has passed."""

    def __init__(self, simulation: Simulation, names: tuple[str, ...], random: Random) -> None:
        self._user = User(simulation, names, random=random, routes=partial(Wandering, random=random, wandering=1.0))

    def put(self, key: bytes, value: bytes, then: Then, context: bytes = b"") -> None:
        self._ask(make_put(key, ("", value), BUCKET, context=context or None), then)

    def get(self, key: bytes, then: Then, r: int = 0) -> None:
        self._ask(make_get(key, BUCKET, r=r), then)

    def delete(self, key: bytes, then: Then) -> None:
        self._ask(make_delete(key, BUCKET), then)

    def _ask(self, request: ClientRequest, then: Then) -> None:
        def told(outcome: Outcome) -> None:
            then(None if isinstance(outcome, DeadlinePassed | NoNodeReached) else outcome)

        self._user.submit(request, DEADLINE_MS, Telling(told))
