"""A client of a simulated cluster in virtual time: the same `ClientCore` as in production, on simulated connections.

It stands beside a node, and reaches what that node reaches: who is cut off together with a node sees what a program
sees that runs on its side. A connection breaks when the process at its other end does; a cut only makes it silent.
"""

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
    Send,
    Submitted,
    SubmittedMany,
    Tick,
)
from zdynamo.client.routes import endpoint
from zdynamo.client.sinks import Batch, Sink
from zdynamo.errors import RequestError
from zdynamo.messages import ClientAnswer, ClientRequest, Topology
from zdynamo.testing.node import SimulatedNode
from zdynamo.testing.simulator import Simulation

LOOK_MS = 10  # between looks at the connections, while there are calls in flight
CONNECTING_MS = 1_000  # that an attempt to connect waits for who does not answer


class User:
    """A `client.base.Driver`. Every call ends in virtual time, its sink is told then."""

    def __init__(self, simulation: Simulation, names: tuple[str, ...], *, random: Random, beside: str = "") -> None:
        """`names`: of the nodes known at first; `beside`: the node that it stands beside, "" to reach everybody."""
        self._simulation = simulation
        self._beside = beside
        self._core = ClientCore((_address(name) for name in names), client=random.getrandbits(64).to_bytes(8, "big"))
        self._number = 1  # of the next call
        self._sinks: dict[int, Sink] = {}
        self._up: dict[str, SimulatedNode | None] = {}  # by name: the process connected to, None: not connected
        self._silent_since_ms: dict[str, int] = {}  # of attempts to connect that nobody answers
        self._looking = False
        self._tick_at_ms = -1

    @property
    def topology(self) -> Topology | None:
        return self._core.topology

    def submit(self, request: ClientRequest, deadline_ms: int, sink: Sink, only_at: str = "") -> int:
        number, self._number = self._number, self._number + 1
        self._sinks[number] = sink
        self._step(Submitted(number, request, deadline_ms, only_at))
        return number

    def submit_many(self, requests: list[ClientRequest], deadline_ms: int, sink: Sink) -> int:
        number, self._number = self._number, self._number + len(requests)
        self._sinks.update(dict.fromkeys(range(number, self._number), Batch(number, len(requests), sink)))
        self._step(SubmittedMany(number, requests, deadline_ms))
        return number

    def withdraw(self, submitted: int) -> None:
        raise AssertionError("who waits in virtual time waits until the end")

    def close(self) -> None:
        """Calls in flight fail."""
        sinks, self._sinks = self._sinks, {}
        for sink in sinks.values():
            sink.fail(RequestError("the client is closed; a write in flight may or may not have been kept"))

    def _step(self, event: Event) -> None:
        for effect in self._core.step(event, self._simulation.time_ms):
            if isinstance(effect, Send):
                self._send(effect)
            elif isinstance(effect, Complete):
                sink = self._sinks.pop(effect.call, None)
                if sink is not None:
                    sink.take(effect.call, effect.outcome)
            elif isinstance(effect, Connect):
                self._up[_name(effect.address)] = None
                self._silent_since_ms[_name(effect.address)] = self._simulation.time_ms
            elif isinstance(effect, Disconnect):
                self._up.pop(_name(effect.address), None)
        self._watch()

    def _watch(self) -> None:
        """Look and tick for as long as there are calls."""
        simulation = self._simulation
        if self._sinks and not self._looking:
            self._looking = True
            simulation.at(simulation.time_ms, self._look)
        due_ms = self._core.next_due_ms
        if due_ms is not None and not simulation.time_ms <= self._tick_at_ms <= due_ms:
            self._tick_at_ms = max(due_ms, simulation.time_ms)
            simulation.at(self._tick_at_ms, self._tick)

    def _tick(self) -> None:
        due_ms, self._tick_at_ms = self._core.next_due_ms, -1
        if due_ms is not None and due_ms <= self._simulation.time_ms:
            self._step(Tick())
        else:
            self._watch()

    def _look(self) -> None:
        """See whose process has ended, who can be connected to, and who cannot."""
        simulation = self._simulation
        for name, connected in list(self._up.items()):
            process = simulation.nodes.get(name)
            if connected is not None and process is not connected:
                self._up[name], self._silent_since_ms[name] = None, simulation.time_ms
                self._step(Disconnected(_address(name)))
            elif connected is None and process is not None and self._reaches(name):
                self._up[name] = process
                self._step(Connected(_address(name)))
            elif connected is None:
                waits_ms = CONNECTING_MS if process is not None else 0
                if simulation.time_ms - self._silent_since_ms[name] >= waits_ms:
                    self._silent_since_ms[name] = simulation.time_ms
                    self._step(Disconnected(_address(name)))
        self._looking = bool(self._sinks)
        if self._looking:
            simulation.at(simulation.time_ms + LOOK_MS, self._look)

    def _send(self, effect: Send) -> None:
        address, name = effect.address, _name(effect.address)

        def answered(answer: ClientAnswer) -> None:
            if (name, self._beside) not in self._simulation.network.cut:
                self._step(Answered(address, answer))

        if (self._beside, name) not in self._simulation.network.cut:
            self._simulation.request(name, effect.message, answered)

    def _reaches(self, name: str) -> bool:
        cut = self._simulation.network.cut
        return (self._beside, name) not in cut and (name, self._beside) not in cut


def _address(name: str) -> str:
    return endpoint(f"{name}:client")


def _name(address: str) -> str:
    return address.removeprefix(endpoint("")).removesuffix(":client")
