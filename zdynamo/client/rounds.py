"""What drives a core, be it a thread or an event loop, does: requests in, effects out, answers home."""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from zdynamo.client.core import ClientCore
from zdynamo.client.events import (
    Complete,
    Connect,
    Disconnect,
    Effect,
    Event,
    Send,
    Submitted,
    SubmittedMany,
    Withdrawn,
)
from zdynamo.client.sinks import Batch, Sink
from zdynamo.client.sockets import Sockets
from zdynamo.messages import ClientRequest, Topology

if TYPE_CHECKING:
    from zdynamo.client.doors import Door

CLOSED = "the client is closed; a write in flight may or may not have been kept"


class One(Struct, eq=False):
    """A request of a caller; `number` is set when it is taken in."""

    request: ClientRequest
    deadline_ms: int
    only_at: str
    sink: Sink
    number: int = 0


class Several(Struct, eq=False):
    """Requests of one caller, at least one. Their calls are numbered on from `number`."""

    requests: list[ClientRequest]
    deadline_ms: int
    sink: Sink  # of the list of their outcomes
    number: int = 0


class Given(Struct):
    """Nobody waits for it any more."""

    up: One | Several


Entry = One | Several | Given


class Rounds:
    """The core, and where the outcome of each call goes. For one thread."""

    def __init__(self, addresses: Sequence[str], *, client: bytes, cluster: str) -> None:
        self.core = ClientCore(addresses, client=client, cluster=cluster)
        self._number = 1  # of the next call
        self._pending: dict[int, Sink] = {}
        self._completed: list[Complete] = []

    def take(self, entries: Iterable[Entry]) -> list[Event]:
        """What callers want, as events."""
        events: list[Event] = []
        for entry in entries:
            if isinstance(entry, One):
                entry.number = self._number
                self._number += 1
                self._pending[entry.number] = entry.sink
                events.append(Submitted(entry.number, entry.request, entry.deadline_ms, entry.only_at))
            elif isinstance(entry, Several):
                entry.number, count = self._number, len(entry.requests)
                self._number += count
                self._pending.update(
                    dict.fromkeys(range(entry.number, self._number), Batch(entry.number, count, entry.sink))
                )
                events.append(SubmittedMany(entry.number, entry.requests, entry.deadline_ms))
            else:
                count = len(entry.up.requests) if isinstance(entry.up, Several) else 1
                for number in range(entry.up.number, entry.up.number + count):
                    self._pending.pop(number, None)
                events.append(Withdrawn(entry.up.number, count))
        return events

    def step(self, events: Iterable[Event], now_ms: int, sockets: Sockets) -> None:
        """One frame a node goes out; outcomes wait for `hand_over`."""
        for event in events:
            for effect in self.core.step(event, now_ms):
                self._carry_out(effect, sockets)
        sockets.flush()

    def hand_over(self) -> None:
        """Wake who waits, each event loop once."""
        doors: set[Door] = set()
        completed, self._completed = self._completed, []
        for complete in completed:
            sink = self._pending.pop(complete.call, None)
            door = sink.take(complete.call, complete.outcome) if sink else None  # none: it was withdrawn meanwhile
            if door is not None:
                doors.add(door)
        for door in doors:
            door.ring()

    def fail(self, ended: BaseException) -> None:
        """All that is pending."""
        pending, self._pending = self._pending, {}
        for sink in pending.values():
            sink.fail(ended)

    def _carry_out(self, effect: Effect, sockets: Sockets) -> None:
        if isinstance(effect, Send):
            sockets.send(effect.address, effect.message)
        elif isinstance(effect, Complete):
            self._completed.append(effect)
        elif isinstance(effect, Connect):
            sockets.connect(effect.address)
        elif isinstance(effect, Disconnect):
            sockets.disconnect(effect.address)


class RoundsDriver(ABC):
    """What callers see of a driver: they submit and withdraw, it goes its rounds."""

    def __init__(self, addresses: Sequence[str], *, cluster: str) -> None:
        self.pid = os.getpid()
        self._rounds = Rounds(addresses, client=os.urandom(8), cluster=cluster)

    @property
    def topology(self) -> Topology | None:
        """The cluster as last told by a node; from any thread: it is never changed, only replaced."""
        return self._rounds.core.topology

    def submit(self, request: ClientRequest, deadline_ms: int, sink: Sink, only_at: str = "") -> One:
        """The sink fails if the driver ends or is closed."""
        submitted = One(request, deadline_ms, only_at, sink)
        self._put(submitted)
        return submitted

    def submit_many(self, requests: list[ClientRequest], deadline_ms: int, sink: Sink) -> Several:
        """At least one request. The sink gets the list of their outcomes."""
        submitted = Several(requests, deadline_ms, sink)
        self._put(submitted)
        return submitted

    def withdraw(self, submitted: One | Several) -> None:
        """Nobody waits for it any more."""
        self._put(Given(submitted))

    @abstractmethod
    def _put(self, entry: Entry) -> None:
        """Take it in with the next round, and see to it that there is one."""
