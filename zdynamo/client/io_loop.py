"""A client whose event loop does its I/O as well: no thread beside it, and nobody to wake.

For a process that does little else than wait for the cluster, as the HTTP door does. There a thread of its own costs
more than the work: the two would hand the GIL to each other for each request.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import zmq

from zdynamo.client.aio import AsyncClient, awaited
from zdynamo.client.base import Driver, OwnedDriver
from zdynamo.client.doors import Door, ForLoop
from zdynamo.client.events import Outcome, Tick
from zdynamo.client.io_thread import now_ms
from zdynamo.client.merges import bucket_resolver, can_merge
from zdynamo.client.rounds import CLOSED, Entry, RoundsDriver
from zdynamo.client.sinks import as_it_is
from zdynamo.client.sockets import Sockets, sooner
from zdynamo.client.values import Resolver
from zdynamo.errors import RequestError
from zdynamo.messages import ClientRequest, Topology


class IoLoop(RoundsDriver):
    """Made, used and closed in one event loop. What is submitted goes out when the loop comes round."""

    def __init__(self, addresses: Sequence[str], *, cluster: str, context: "zmq.Context[Any] | None") -> None:
        super().__init__(addresses, cluster=cluster)
        self._loop = asyncio.get_running_loop()
        self._own_context = context is None
        self._context: zmq.Context[Any] = context or zmq.Context()
        self._sockets = Sockets(self._context, opened=self._opened, closing=self._closing)
        self._inbox: list[Entry] = []
        self._scheduled = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_ms = 0  # when it rings
        self._closed = False

    def close(self) -> None:
        """Calls in flight fail. Safe to repeat, and when the loop has ended."""
        if self._closed:
            return
        self._closed = True
        if self._alarm is not None:
            self._alarm.cancel()
        self._sockets.close()
        if self._own_context:
            self._context.term()
        if not self._loop.is_closed():
            self._rounds.take(self._inbox)
            self._rounds.fail(RequestError(CLOSED))

    def _put(self, entry: Entry) -> None:
        self._inbox.append(entry)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._round)

    def _round(self) -> None:
        """All that has happened, until nothing more has: a socket tells of news once, and sending may swallow that."""
        self._scheduled = False
        if self._closed:
            return
        while True:
            inbox, self._inbox = self._inbox, []
            events = self._sockets.wait(0) + self._rounds.take(inbox)
            now = now_ms()
            due_ms = self._rounds.core.next_due_ms
            if due_ms is not None and due_ms <= now:
                events.append(Tick())
            if not events:
                break
            self._rounds.step(events, now, self._sockets)
        self._rounds.hand_over()
        self._set_alarm(now)

    def _set_alarm(self, now: int) -> None:
        """One that rings too early does no harm, so it is set anew only if it would ring too late."""
        in_ms = self._sockets.replaces_in_ms
        due_ms = sooner(self._rounds.core.next_due_ms, None if in_ms is None else now + in_ms)
        if due_ms is None or (self._alarm is not None and now < self._alarm_ms <= due_ms):
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_ms = due_ms
        self._alarm = self._loop.call_later(max(0, due_ms - now) / 1000, self._round)

    def _opened(self, socket: "zmq.Socket[bytes]") -> None:
        self._loop.add_reader(int(socket.getsockopt(zmq.FD)), self._round)

    def _closing(self, socket: "zmq.Socket[bytes]") -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(int(socket.getsockopt(zmq.FD)))


class LoopDoor(Door):
    """The way into the loop that is running this."""

    def ring(self) -> None:
        self._deliver()


class LoopClient(AsyncClient):
    """An `AsyncClient` for one event loop, which does its I/O as well. Whoever calls it decides what is traced."""

    _only_below = True

    def _running(self) -> Driver:
        """Without asking each time which process this is: a loop does not outlive a fork."""
        return self._io if self._io is not None and not self._closed else super()._running()

    def _open(self) -> OwnedDriver:
        return IoLoop(self._addresses, cluster=self._cluster, context=self._context)

    def _door(self) -> Door:
        door: Door | None = getattr(self._doors, "door", None)
        if door is None:
            door = self._doors.door = LoopDoor(asyncio.get_running_loop())
        return door

    async def ask(self, request: ClientRequest, deadline_ms: int | None = None, *, at: str = "") -> Outcome:
        """The outcome as it is, for who reads it himself; `at`: the address of the one node to ask."""
        return await self._ask(request, deadline_ms, only_at=at)

    async def ask_many(self, requests: list[ClientRequest], deadline_ms: int | None = None) -> list[Outcome]:
        """The outcome of each; a bounded number is in flight at a time."""
        if not requests:
            return []
        sink, io = ForLoop(self._door(), as_it_is), self._running()
        return await awaited(io, io.submit_many(requests, self._within_ms(deadline_ms), sink), sink)  # type: ignore[no-any-return]

    def merger(self, bucket: str) -> Resolver | None:
        """What the bucket says siblings amount to; None if it leaves that to readers. Raises: MergeFunctionError."""
        io = self._running()
        return bucket_resolver(io, bucket) if can_merge(io, bucket) else None

    @property
    def topology_known(self) -> Topology | None:
        """The cluster as last told by a node, without asking."""
        return self._running().topology

    async def close(self) -> None:
        """As `AsyncClient.close`, in the loop that has used it."""
        self._shut()
