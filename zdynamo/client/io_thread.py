"""The thread that owns a client's core and sockets; callers hand it requests and say where the outcomes go."""

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import zmq
from msgspec import Struct

from zdynamo.client.bell import Bell
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
    Tick,
    Withdrawn,
)
from zdynamo.client.sinks import Batch, Sink
from zdynamo.client.sockets import Sockets
from zdynamo.errors import RequestError
from zdynamo.messages import ClientRequest, Topology

if TYPE_CHECKING:
    from zdynamo.client.doors import Door

JOIN_S = 2.0  # the thread only has to close its sockets


class One(Struct, eq=False):
    """A request of a caller; `number` is set when the thread has taken it in."""

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


class IoThread:
    """Starts at once. Belongs to the process that made it: in a fork it is neither running nor to be touched."""

    def __init__(self, addresses: Sequence[str], *, cluster: str, context: "zmq.Context[Any] | None") -> None:
        self.pid = os.getpid()
        self._core = ClientCore(addresses, client=os.urandom(8), cluster=cluster)
        self._context = context
        self._bell = Bell()
        self._number = 1  # of the next call
        self._inbox: deque[One | Several | Given] = deque()
        self._pending: dict[int, Sink] = {}
        self._completed: list[Complete] = []
        self._closing = False
        self._ended: BaseException | None = None  # set before the last look at the inbox
        self._thread = threading.Thread(target=self._run, name="zdynamo-client", daemon=True)
        self._thread.start()

    @property
    def topology(self) -> Topology | None:
        """The cluster as last told by a node; from any thread: it is never changed, only replaced."""
        return self._core.topology

    def submit(self, request: ClientRequest, deadline_ms: int, sink: Sink, only_at: str = "") -> One:
        """From any thread. The sink fails if the thread dies or is closed."""
        submitted = One(request, deadline_ms, only_at, sink)
        self._put(submitted)
        return submitted

    def submit_many(self, requests: list[ClientRequest], deadline_ms: int, sink: Sink) -> Several:
        """From any thread; at least one request. The sink gets the list of their outcomes."""
        submitted = Several(requests, deadline_ms, sink)
        self._put(submitted)
        return submitted

    def withdraw(self, submitted: One | Several) -> None:
        """Nobody waits for it any more."""
        self._put(Given(submitted))

    def close(self) -> None:
        """Calls in flight fail. Safe to repeat."""
        if self.pid != os.getpid():
            return
        self._closing = True
        self._bell.ring()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

    def _put(self, entry: One | Several | Given) -> None:
        self._inbox.append(entry)
        self._bell.ring()
        if self._ended is not None:
            self._fail_inbox(self._ended)

    def _run(self) -> None:
        ended: BaseException = RequestError("the client is closed; a write in flight may or may not have been kept")
        try:
            context = self._context or zmq.Context()
            try:
                with Sockets(context, self._bell) as sockets:
                    self._serve(sockets)
            finally:
                if self._context is None:
                    context.term()
        except BaseException as error:  # whatever it is, nobody may wait for a thread that is gone
            ended = error
        self._ended = ended
        self._bell.close()
        for sink in self._pending.values():
            sink.fail(ended)
        self._fail_inbox(ended)

    def _serve(self, sockets: Sockets) -> None:
        """Wait, step all that happened, send what follows: one frame a node and round. Then wake who waits."""
        while not self._closing:
            due_ms = self._core.next_due_ms
            events = sockets.wait(None if due_ms is None else max(0, due_ms - _now_ms()))
            self._take(events)
            now_ms = _now_ms()
            if due_ms is not None and due_ms <= now_ms:
                events.append(Tick())
            for event in events:
                for effect in self._core.step(event, now_ms):
                    self._carry_out(effect, sockets)
            sockets.flush()
            self._hand_over()

    def _take(self, events: list[Event]) -> None:
        for _ in range(len(self._inbox)):
            entry = self._inbox.popleft()
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

    def _carry_out(self, effect: Effect, sockets: Sockets) -> None:
        if isinstance(effect, Send):
            sockets.send(effect.address, effect.message)
        elif isinstance(effect, Complete):
            self._completed.append(effect)
        elif isinstance(effect, Connect):
            sockets.connect(effect.address)
        elif isinstance(effect, Disconnect):
            sockets.disconnect(effect.address)

    def _hand_over(self) -> None:
        doors: set[Door] = set()
        completed, self._completed = self._completed, []
        for complete in completed:
            sink = self._pending.pop(complete.call, None)
            door = sink.take(complete.call, complete.outcome) if sink else None  # none: it was withdrawn meanwhile
            if door is not None:
                doors.add(door)
        for door in doors:
            door.ring()

    def _fail_inbox(self, ended: BaseException) -> None:
        while True:
            try:
                entry = self._inbox.popleft()
            except IndexError:
                return
            if not isinstance(entry, Given):
                entry.sink.fail(ended)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
