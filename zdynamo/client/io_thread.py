"""The thread that owns a client's core and sockets; callers hand it requests and say where the outcomes go."""

import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import zmq

from zdynamo.client.bell import Bell
from zdynamo.client.events import Tick
from zdynamo.client.rounds import CLOSED, Entry, Given, RoundsDriver
from zdynamo.client.sockets import Sockets
from zdynamo.errors import RequestError

JOIN_S = 2.0  # the thread only has to close its sockets


class IoThread(RoundsDriver):
    """Starts at once. Belongs to the process that made it: in a fork it is neither running nor to be touched."""

    def __init__(self, addresses: Sequence[str], *, cluster: str, context: "zmq.Context[Any] | None") -> None:
        super().__init__(addresses, cluster=cluster)
        self._context = context
        self._bell = Bell()
        self._inbox: deque[Entry] = deque()
        self._closing = False
        self._ended: BaseException | None = None  # set before the last look at the inbox
        self._thread = threading.Thread(target=self._run, name="zdynamo-client", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Calls in flight fail. Safe to repeat."""
        if self.pid != os.getpid():
            return
        self._closing = True
        self._bell.ring()
        if threading.current_thread() is not self._thread:
            self._thread.join(JOIN_S)

    def _put(self, entry: Entry) -> None:
        self._inbox.append(entry)
        self._bell.ring()
        if self._ended is not None:
            self._fail_inbox(self._ended)

    def _run(self) -> None:
        ended: BaseException = RequestError(CLOSED)
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
        self._rounds.fail(ended)
        self._fail_inbox(ended)

    def _serve(self, sockets: Sockets) -> None:
        """Wait, step all that happened, send what follows: one frame a node and round. Then wake who waits."""
        while not self._closing:
            due_ms = self._rounds.core.next_due_ms
            events = sockets.wait(None if due_ms is None else max(0, due_ms - now_ms()))
            events += self._rounds.take(self._inbox.popleft() for _ in range(len(self._inbox)))
            now = now_ms()
            if due_ms is not None and due_ms <= now:
                events.append(Tick())
            self._rounds.step(events, now, sockets)
            self._rounds.hand_over()

    def _fail_inbox(self, ended: BaseException) -> None:
        while True:
            try:
                entry = self._inbox.popleft()
            except IndexError:
                return
            if not isinstance(entry, Given):
                entry.sink.fail(ended)


def now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
