"""The HTTP server as it runs in its process, but in a thread of this one, over a cluster of this one."""

import asyncio
import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from zdynamo.client.io_loop import LoopClient
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.http.app import application
from zdynamo.http.door import Door
from zdynamo.http.server import Server, attend, names_of, settings_of
from zdynamo.http.settings import Serving

WITHIN_S = 10.0


class Place(NamedTuple):
    port: int
    server: Server
    loop: asyncio.AbstractEventLoop

    def end(self) -> None:
        """In the server's own thread, as all that is done to it."""
        with suppress(RuntimeError):  # it has ended already
            self.loop.call_soon_threadsafe(self.server.end)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), WITHIN_S)


@contextmanager
def served(cluster: InProcessCluster, served_by: str = "") -> Iterator[Place]:
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    made: queue.SimpleQueue[Place] = queue.SimpleQueue()

    async def run() -> None:
        client = LoopClient(*cluster.addresses, deadline_ms=3_000, context=cluster.context)
        await client.topology()
        serving = Serving(0, (), served_by or f"127.0.0.1:{port}", names=("proxy.example",))
        door = Door(client, serving.served_by, names=names_of(serving, listening))
        server = Server(settings_of(application(door)), door)
        made.put(Place(port, server, asyncio.get_running_loop()))
        await attend(server, listening, client)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    place = made.get(timeout=WITHIN_S)
    try:
        yield place
    finally:
        place.end()
        thread.join(WITHIN_S)
