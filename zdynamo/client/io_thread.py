"""The thread that owns a client's core and sockets; callers hand it requests and wait for futures."""

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from itertools import count
from typing import Any

import zmq

from zdynamo.client.bell import Bell
from zdynamo.client.core import ClientCore
from zdynamo.client.events import Complete, Connect, Disconnect, Effect, Event, Outcome, Send, Submitted, Tick
from zdynamo.client.sockets import Sockets
from zdynamo.errors import RequestError
from zdynamo.messages import ClientRequest

JOIN_S = 2.0  # the thread only has to close its sockets


class IoThread:
    """Starts at once. Belongs to the process that made it: in a fork it is neither running nor to be touched."""

    def __init__(self, addresses: Sequence[str], *, cluster: str, context: "zmq.Context[Any] | None") -> None:
        self.pid = os.getpid()
        self._core = ClientCore(addresses, client=os.urandom(8), cluster=cluster)
        self._context = context
        self._bell = Bell()
        self._numbers = count(1)
        self._inbox: deque[tuple[Submitted, Future[Outcome]]] = deque()
        self._pending: dict[int, Future[Outcome]] = {}
        self._closing = False
        self._ended: BaseException | None = None  # set before the last look at the inbox
        self._thread = threading.Thread(target=self._run, name="zdynamo-client", daemon=True)
        self._thread.start()

    def submit(self, request: ClientRequest, deadline_ms: int, only_at: str = "") -> "Future[Outcome]":
        """From any thread. The future fails if the thread dies or is closed."""
        future: Future[Outcome] = Future()
        self._inbox.append((Submitted(next(self._numbers), request, deadline_ms, only_at), future))
        self._bell.ring()
        if self._ended is not None:
            self._fail_inbox(self._ended)
        return future

    def close(self) -> None:
        """Calls in flight fail. Safe to repeat."""
        if self.pid != os.getpid():
            return
        self._closing = True
        self._bell.ring()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

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
        for future in self._pending.values():
            future.set_exception(ended)
        self._fail_inbox(ended)

    def _serve(self, sockets: Sockets) -> None:
        """Wait, step all that happened, send what follows: one frame a node and round."""
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

    def _take(self, events: list[Event]) -> None:
        for _ in range(len(self._inbox)):
            submitted, future = self._inbox.popleft()
            self._pending[submitted.call] = future
            events.append(submitted)

    def _carry_out(self, effect: Effect, sockets: Sockets) -> None:
        if isinstance(effect, Send):
            sockets.send(effect.address, effect.message)
        elif isinstance(effect, Complete):
            self._pending.pop(effect.call).set_result(effect.outcome)
        elif isinstance(effect, Connect):
            sockets.connect(effect.address)
        elif isinstance(effect, Disconnect):
            sockets.disconnect(effect.address)

    def _fail_inbox(self, ended: BaseException) -> None:
        while True:
            try:
                _, future = self._inbox.popleft()
            except IndexError:
                return
            future.set_exception(ended)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
