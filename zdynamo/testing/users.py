"""A client of a simulated cluster in virtual time: the same `ClientCore` as in production, on simulated connections.

It stands beside a node, and reaches what that node reaches: who is cut off together with a node sees what a program
sees that runs on its side. A connection breaks when the process at its other end does. A cut only makes it silent, and
so does a power cut, until heartbeats have been missed.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from random import Random

from zdynamo.client.core import ClientCore
from zdynamo.client.events import (
    Answered,
    Complete,
    Connect,
    Connected,
    Disconnect,
    Disconnected,
    Event,
    Outcome,
    Send,
    Submitted,
    SubmittedMany,
    Tick,
)
from zdynamo.client.routes import Routes, endpoint
from zdynamo.client.sinks import Batch, Sink
from zdynamo.errors import RequestError
from zdynamo.messages import ClientAnswer, ClientRequest, Topology
from zdynamo.testing.node import SimulatedNode
from zdynamo.testing.simulator import Simulation

LOOK_MS = 10  # between looks at the connections, while there are calls in flight
CONNECTING_MS = 1_000  # that an attempt to connect waits for who does not answer
VANISHED_MS = 4_000  # that a connection to a machine that has vanished seems to stand


class User:
    """A `client.base.Driver`. Every call ends in virtual time, its sink is told then."""

    def __init__(
        self,
        simulation: Simulation,
        names: tuple[str, ...],
        *,
        random: Random,
        beside: str = "",
        routes: Callable[[Iterable[str]], Routes] = Routes,
    ) -> None:
        """`names`: of the nodes known at first; `beside`: the node that it stands beside, "" to reach everybody."""
        self.simulation = simulation
        self._beside = beside
        self._id = random.getrandbits(64).to_bytes(8, "big")
        self._core = ClientCore((address_of(name) for name in names), client=self._id, routes=routes)
        self._number = 1  # of the next call
        self._sinks: dict[int, Sink] = {}
        self._up: dict[str, SimulatedNode | None] = {}  # by name: the process connected to, None: not connected
        self._nobody_since_ms: dict[str, int] = {}  # at the other end of connections, and of attempts to connect
        self._broken: Counter[str] = Counter()  # connections to processes that live on
        self._looking = False
        self._closed = False
        self._tick_at_ms = -1

    @property
    def topology(self) -> Topology | None:
        return self._core.topology

    @property
    def next_request(self) -> bytes:
        """The request id of the next call."""
        return self._id + self._number.to_bytes(8, "big")

    def submit(self, request: ClientRequest, deadline_ms: int, sink: Sink, only_at: str = "") -> int:
        self._look()
        number, self._number = self._number, self._number + 1
        self._sinks[number] = sink
        self._step(Submitted(number, request, deadline_ms, only_at))
        return number

    def submit_many(self, requests: list[ClientRequest], deadline_ms: int, sink: Sink) -> int:
        self._look()
        number, self._number = self._number, self._number + len(requests)
        self._sinks.update(dict.fromkeys(range(number, self._number), Batch(number, len(requests), sink)))
        self._step(SubmittedMany(number, requests, deadline_ms))
        return number

    def withdraw(self, submitted: int) -> None:
        raise AssertionError("who waits in virtual time waits until the end")

    def close(self) -> None:
        """Calls in flight fail."""
        self._closed = True
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            sink.fail(RequestError("the client is closed; a write in flight may or may not have been kept"))

    def _step(self, event: Event) -> None:
        if self._closed:
            return
        for effect in self._core.step(event, self.simulation.time_ms):
            if isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, Complete):
                self._sinks.pop(effect.call).take(effect.call, effect.outcome)
            elif isinstance(effect, Connect):
                self._up[name_of(effect.address)] = None
                self.simulation.at(self.simulation.time_ms, self._look)
            elif isinstance(effect, Disconnect):
                self._up.pop(name_of(effect.address), None)
                self._nobody_since_ms.pop(name_of(effect.address), None)
        self._watch()

    def _watch(self) -> None:
        """Look and tick for as long as there are calls."""
        simulation = self.simulation
        if self._sinks and not self._looking:
            self._looking = True
            simulation.at(simulation.time_ms + LOOK_MS, self._look_again)
        due_ms = self._core.next_due_ms
        if due_ms is not None and not simulation.time_ms <= self._tick_at_ms <= due_ms:
            self._tick_at_ms = max(due_ms, simulation.time_ms)
            simulation.at(self._tick_at_ms, self._tick)

    def _tick(self) -> None:
        due_ms, self._tick_at_ms = self._core.next_due_ms, -1
        if due_ms is not None and due_ms <= self.simulation.time_ms:
            self._step(Tick())
        else:
            self._watch()

    def _look_again(self) -> None:
        self._look()
        self._looking = bool(self._sinks)
        if self._looking:
            self.simulation.at(self.simulation.time_ms + LOOK_MS, self._look_again)

    def _look(self) -> None:
        """See whose process has ended, who can be connected to, and who cannot."""
        for name in list(self._up):
            connected, process = self._up[name], self.simulation.nodes.get(name)
            if process is None:
                vanished_ms = CONNECTING_MS if connected is None else VANISHED_MS
                self._lose(name, vanished_ms if self.simulation.is_without_power(name) else 0)
            elif connected is None and self._reaches(name):
                self._up[name] = process
                self._nobody_since_ms.pop(name, None)
                self._step(Connected(address_of(name)))
            elif connected is not process:
                self._lose(name, CONNECTING_MS if connected is None else 0)

    def _lose(self, name: str, after_ms: int) -> None:
        """Nobody is at the other end; tell when it has been so for so long."""
        now_ms = self.simulation.time_ms
        if now_ms - self._nobody_since_ms.setdefault(name, now_ms) >= after_ms:
            self._up[name], self._nobody_since_ms[name] = None, now_ms
            self._step(Disconnected(address_of(name)))

    def _send(self, effect: Send) -> None:
        name = name_of(effect.address)
        if (self._beside, name) not in self.simulation.network.cut:
            self.simulation.request(name, effect.message, partial(self._answered, name, self._broken[name]))

    def _answered(self, name: str, broken: int, answer: ClientAnswer) -> None:
        if broken == self._broken[name] and (name, self._beside) not in self.simulation.network.cut:
            self._step(Answered(address_of(name), answer))

    def _break(self, name: str) -> None:
        """A connection breaks while both ends live: what is under way to here is lost."""
        if self._up.get(name) is not None:
            self._broken[name] += 1
            self._lose(name, 0)

    def _reaches(self, name: str) -> bool:
        cut = self.simulation.network.cut
        return (self._beside, name) not in cut and (name, self._beside) not in cut


class Telling:
    """A `client.sinks.Sink` that hands the outcome on."""

    def __init__(self, then: Callable[[Outcome], None]) -> None:
        self._then = then

    def take(self, number: int, outcome: Outcome) -> None:
        self._then(outcome)

    def fail(self, error: BaseException) -> None:
        raise error


def address_of(name: str) -> str:
    return endpoint(f"{name}:client")


def name_of(address: str) -> str:
    return address.removeprefix(endpoint("")).removesuffix(":client")
