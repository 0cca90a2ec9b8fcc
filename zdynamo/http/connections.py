"""Connections that cannot hold the process up: limits that uvicorn lacks, and errors in our one shape.

A request has to arrive in time, an answer has to be read in time, and there is a bound on heads and on connections.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from zdynamo.http.problems import Problem, busy, malformed

CONNECTIONS_MAX = 1_000  # the next is answered *overloaded* and closed
HEAD_BYTES_MAX = 64 * 2**10  # of request line and headers, give or take what is read at once; more is refused
REQUEST_S = 30.0  # for all of a request to arrive, and for the first one of a connection to begin; then it is closed
READING_S = 30.0  # that nothing of an answer is read; then it is closed
KEEP_ALIVE_S = 75  # between requests
UNREAD_BYTES_MAX = 128 * 2**20  # of answers that wait to be read; beyond, who has not read for longest is cut off
LOOK_S = 1.0  # between looks at who is too slow


class Connection(HttpToolsProtocol):
    """One connection. Invariant: `waits_since` is set while a request is on its way in."""

    waits_since: float | None = None
    unread_since: float | None = None
    _head_bytes = 0
    _in_head = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.waits_since = self.loop.time()
        if len(self.connections) > CONNECTIONS_MAX:
            self._refuse(busy(f"there are {CONNECTIONS_MAX} connections already: try again later"))

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self.waits_since is None:
            self.waits_since = self.loop.time()
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(Problem(431, "head_too_large", f"the headers have more than {HEAD_BYTES_MAX} bytes"))

    def on_message_begin(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self.waits_since = None
        super().on_message_complete()

    def pause_writing(self) -> None:
        self.unread_since = self.loop.time()
        super().pause_writing()
        for slowest in beyond(UNREAD_BYTES_MAX, self.connections):
            slowest.transport.abort()

    def resume_writing(self) -> None:
        self.unread_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(malformed("this is no HTTP request that can be read"))

    def close_if_slow(self, now: float) -> None:
        if self.unread_since is not None and now - self.unread_since > READING_S:
            self.transport.abort()
        elif self.waits_since is not None and now - self.waits_since > REQUEST_S:
            self._refuse(Problem(408, "too_slow", f"the request did not arrive within {REQUEST_S:.0f} s"))

    def _refuse(self, problem: Problem) -> None:
        """Answer it, unless an answer is under way, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            response = problem.response()
            head = [STATUS_LINE[response.status_code]]
            head += [b"%s: %s\r\n" % header for header in response.raw_headers]
            self.transport.write(b"".join([*head, b"connection: close\r\n\r\n", response.body]))
        self.transport.close()


def beyond(most: int, connections: Iterable[Any]) -> list[Any]:
    """Those to cut off so that no more than so many bytes are unread: who has not read for longest first."""
    unread = sorted((each for each in connections if each.unread_since is not None), key=lambda each: each.unread_since)
    sizes = [each.transport.get_write_buffer_size() for each in unread]
    left, cut = sum(sizes), 0
    while left > most:
        left -= sizes[cut]
        cut += 1
    return unread[:cut]


async def close_slow(connections: Iterable[Any]) -> None:
    """Look after all, until cancelled. A timer for each request would cost more."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(LOOK_S)
        now = loop.time()
        for connection in list(connections):
            connection.close_if_slow(now)
