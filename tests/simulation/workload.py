"""Clients in virtual time: retries within a deadline, one request id for all attempts, and what was acknowledged."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

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
from zdynamo.testing.simulator import Simulation

DEADLINE_MS = 2_000
RETRY_MS = 300


@dataclass
class Client:
    """Sends to any node, again to another when no answer comes."""

    simulation: Simulation
    names: tuple[str, ...]
    random: Random
    sequence: int = 0
    answers: list[ClientAnswer] = field(default_factory=list)

    def put(self, key: bytes, value: bytes, then: Callable[[ClientAnswer | None], None], context: bytes = b"") -> None:
        request = self._request_id()
        self._attempt(lambda attempt, left: Put(request, "", left, "default", key, value, "", attempt, context), then)

    def get(self, key: bytes, then: Callable[[ClientAnswer | None], None], r: int = 0) -> None:
        request = self._request_id()
        self._attempt(lambda attempt, left: Get(request, "", left, "default", key, r), then)

    def delete(self, key: bytes, then: Callable[[ClientAnswer | None], None]) -> None:
        request = self._request_id()
        self._attempt(lambda attempt, left: Delete(request, "", left, "default", key, attempt), then)

    def _attempt(
        self, make: Callable[[int, int], Get | Put | Delete], then: Callable[[ClientAnswer | None], None]
    ) -> None:
        simulation = self.simulation
        end_ms = simulation.time_ms + DEADLINE_MS
        done = False

        def finish(answer: ClientAnswer | None) -> None:
            nonlocal done
            if not done:
                done = True
                then(answer)

        def answered(answer: ClientAnswer) -> None:
            if isinstance(answer, Found | Absent | Done) or (isinstance(answer, Refused) and not answer.retry):
                finish(answer)
            else:
                assert isinstance(answer, Refused | QuorumNotMet | OutcomeUnknown | Overloaded)

        def send(attempt: int) -> None:
            left = end_ms - simulation.time_ms
            if done or left <= 0:
                finish(None)
                return
            node = self.names[self.random.randrange(len(self.names))]
            simulation.request(node, make(attempt, left), answered)
            simulation.at(simulation.time_ms + RETRY_MS, lambda: send(attempt + 1))

        send(1)

    def _request_id(self) -> bytes:
        self.sequence += 1
        return self.random.getrandbits(64).to_bytes(8, "big") + self.sequence.to_bytes(8, "big")
