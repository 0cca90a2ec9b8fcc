"""Outcomes for event loops: each loop is woken once for all that a round of the I/O thread has for it."""

import asyncio
from collections import deque
from typing import Any

from zdynamo.client.sinks import Read


class Door:
    """The way into one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._arrived: deque[tuple[asyncio.Future[Any], Read, Any]] = deque()

    def bring(self, future: "asyncio.Future[Any]", read: Read, outcome: Any) -> None:
        self._arrived.append((future, read, outcome))

    def ring(self) -> None:
        """Nothing, if the loop is closed: nobody waits then."""
        try:
            self.loop.call_soon_threadsafe(self._deliver)
        except RuntimeError:
            self._arrived.clear()

    def _deliver(self) -> None:
        while self._arrived:
            future, read, outcome = self._arrived.popleft()
            if future.done():  # cancelled
                continue
            try:
                value = read(outcome)
            except Exception as error:
                future.set_exception(error)
            else:
                future.set_result(value)


class ForLoop:
    """A future of an event loop; read there too."""

    __slots__ = ("_door", "_read", "future")

    def __init__(self, door: Door, read: Read) -> None:
        self.future: asyncio.Future[Any] = door.loop.create_future()
        self._door = door
        self._read = read

    def take(self, number: int, outcome: Any) -> Door:
        self._door.bring(self.future, self._read, outcome)
        return self._door

    def fail(self, error: BaseException) -> None:
        def raising(_: Any) -> Any:
            raise error

        self._door.bring(self.future, raising, None)
        self._door.ring()
