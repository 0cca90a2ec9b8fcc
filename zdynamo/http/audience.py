"""Everybody who has the page open: the cluster is asked once a second for all of them, and not at all for nobody.

Who reads more slowly than is told misses what came in between: for each there is one place for the latest moment, and
one for the latest layout.
"""

import asyncio
import sys
import time
import traceback
from typing import Any

import msgspec

from zdynamo.client.io_loop import LoopClient
from zdynamo.client.outcomes import answer_of
from zdynamo.client.requests import UNSENT
from zdynamo.errors import RequestError
from zdynamo.figures.live import layout_document, moment_document, remembered
from zdynamo.figures.moments import DOWN, Moment, by_name, moment_of
from zdynamo.http.problems import Problem
from zdynamo.messages import DescribeCluster, DescribeNode, MemberView, NodeDescription, Topology

STREAMS_MAX = 32  # open at a time in one process; the next is refused
PEER_STREAMS_MAX = 16  # of these to one address
EVERY_S = 1.0
CLUSTER_MS = 800  # that a node has to tell who is a member
NODE_MS = 500  # that each has for its own figures: who needs longer is shown without them
LATER_S = 5  # when to come again if there are too many


class Listener:
    """One page. An async iterator of events, as they go over the wire."""

    def __init__(self, peer: str) -> None:
        """`peer`: the address that it is read from."""
        self.peer = peer
        self._layout = b""
        self._moment = b""
        self._news = asyncio.Event()
        self._ended = False

    def offer(self, moment: bytes, layout: bytes = b"") -> None:
        """In the place of what has not been taken yet."""
        self._layout = layout or self._layout
        self._moment = moment
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    def __aiter__(self) -> "Listener":
        return self

    async def __anext__(self) -> bytes:
        await self._news.wait()
        if self._ended:
            raise StopAsyncIteration
        self._news.clear()
        taken = self._layout + self._moment
        self._layout = self._moment = b""
        return taken


class Audience:
    """For one event loop. Invariant: `_telling` runs while there is a listener, and only then."""

    def __init__(self, client: LoopClient, node: str) -> None:
        """`node`: the public address of the one whose view is shown; of a gateway "", and it keeps to one it finds."""
        self._client = client
        self._node = node
        self._asked = node
        self._listeners: set[Listener] = set()
        self._telling: asyncio.Task[None] | None = None
        self._ended = False
        self._forget()

    def join(self, peer: str) -> Listener:
        """Raises: Problem."""
        if self._ended:
            raise Problem(503, "stopping", "this process is ending")
        of_peer = sum(listener.peer == peer for listener in self._listeners)
        if len(self._listeners) >= STREAMS_MAX or of_peer >= PEER_STREAMS_MAX:
            message = f"{len(self._listeners)} pages are open here already: close one, or open that of another node"
            raise Problem(503, "too_many_streams", message, headers={"retry-after": str(LATER_S)})
        listener = Listener(peer)
        self._listeners.add(listener)
        if self._moment:
            listener.offer(self._moment, self._layout)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().create_task(self._run())
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)
        if not self._listeners and self._telling is not None:
            self._telling.cancel()
            self._telling = None
            self._forget()

    def end(self) -> None:
        """All streams end, at once and for good."""
        self._ended = True
        for listener in self._listeners:
            listener.end()

    def _forget(self) -> None:
        self._before: Moment | None = None
        self._topology: Topology | None = None  # whose owners `_layout` tells
        self._layout = b""
        self._moment = b""

    async def _run(self) -> None:
        try:
            await self._tell()
        except Exception:  # ours: the pages connect again, and it begins anew
            self._telling = None
            self._forget()
            for listener in self._listeners:
                listener.end()
            traceback.print_exc(file=sys.stderr)  # last: standard error may be closed

    async def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            try:
                layout = self._take(await self._look())
            except RequestError as error:
                layout, self._asked = b"", self._node
                self._moment = _event("silent", {"at_ms": _wall_ms(), "error": _line(error)})
            for listener in self._listeners:
                listener.offer(self._moment, layout)
            due_s = max(due_s + EVERY_S, loop.time())
            await asyncio.sleep(due_s - loop.time())

    def _take(self, after: Moment) -> bytes:
        """The event of a new layout, if it is one."""
        self._moment = _event("moment", moment_document(self._before, after, _wall_ms()))
        self._before = remembered(self._before, after)
        seen, self._topology = self._topology, after.topology
        if seen is not None and (seen.layout, seen.owners) == (after.topology.layout, after.topology.owners):
            return b""
        self._layout = _event("layout", layout_document(after.topology))
        return self._layout

    async def _look(self) -> Moment:
        """Raises: RequestError."""
        asked = self._client.ask(DescribeCluster(UNSENT, ""), CLUSTER_MS, at=self._asked)
        topology = answer_of(await asked, Topology)
        members = by_name(topology)
        if not self._asked:
            by = [each.record.addresses.client for each in members if each.record.id == topology.answered_by]
            self._asked = "".join(by)
        return moment_of(topology, await asyncio.gather(*map(self._describe, members)))

    async def _describe(self, member: MemberView) -> NodeDescription | str:
        if member.state == "down":
            return DOWN
        asked = self._client.ask(DescribeNode(UNSENT, ""), NODE_MS, at=member.record.addresses.client)
        try:
            return answer_of(await asked, NodeDescription)
        except RequestError as error:
            return _line(error)


def _event(name: str, document: dict[str, Any]) -> bytes:
    """JSON has no line breaks, so it is one line of data."""
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(document) + b"\n\n"


def _line(error: RequestError) -> str:
    return " ".join(str(error).split())


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
