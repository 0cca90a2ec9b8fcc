"""Serving: uvicorn on an inherited socket, from start to the end of standard input or SIGTERM."""

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import uvicorn
from starlette.types import ASGIApp

from zdynamo.client.io_loop import LoopClient
from zdynamo.http.app import application
from zdynamo.http.connections import KEEP_ALIVE_S, Connection, close_slow
from zdynamo.http.door import Door
from zdynamo.http.settings import Serving
from zdynamo.tracing.setup import open_export

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from zdynamo.http.spans import RequestSpans

FINISH_S = 1  # that requests in progress have when the process is to end
GONE_S = 3.0  # a process whose parent is gone, and that has not ended by then, is ended hard
GC_THRESHOLD = 50_000  # as in nodes: messages are many, short-lived, and hold no cycles
BACKLOG = 1_024  # connections that wait to be accepted; it is what the system makes of it


class Server(uvicorn.Server):
    """Ends when it is told to; signals are ours."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config)
        self._door = door

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def end(self) -> None:
        """At once for new connections: a node that is started again may want the port."""
        self.should_exit = True
        for listener in getattr(self, "servers", ()):
            listener.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Pages that are open would never end by themselves."""
        self._door.audience.end()
        await super().shutdown(sockets)


def serve(serving: Serving) -> None:
    """Until the parent ends or says so."""
    try:
        import uvloop
    except ImportError:  # not made for this system
        asyncio.run(_serve(serving))
    else:
        uvloop.run(_serve(serving))


async def _serve(serving: Serving) -> None:
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # what clients do wrong is answered, not logged
    logging.getLogger("uvicorn").propagate = False
    export = open_export(serving.tracing, instance=f"{serving.served_by}/http", say=_say_lost)
    provider = export.provider if export else None
    client = LoopClient(*serving.members, tracing=provider or False)
    listening = socket.socket(fileno=serving.listen)
    spans = _spans(serving, provider) if provider else None
    door = Door(client, serving.served_by, serving.node, spans, names_of(serving, listening))
    server = Server(settings_of(application(door)), door)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.end)
    threading.Thread(target=_end_with_stdin, args=(loop, server), name="stdin", daemon=True).start()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    try:
        await attend(server, listening, client)
    finally:
        if export:
            export.close()


async def attend(server: Server, listening: socket.socket, client: LoopClient) -> None:
    """Until the server is told to end; then everything is closed."""
    looking = asyncio.create_task(close_slow(server.server_state.connections))
    try:
        await server.serve(sockets=[listening])
    finally:
        looking.cancel()
        await client.close()


def settings_of(app: ASGIApp) -> uvicorn.Config:
    """Without what is not used here: websockets, lifespan, access log, and headers of proxies."""
    return uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=FINISH_S,
    )


def names_of(serving: Serving, listening: socket.socket) -> frozenset[str] | None:
    """Only this machine reaches a loopback address, and by known names; any other may have whatever names."""
    if not ipaddress.ip_address(listening.getsockname()[0]).is_loopback:
        return None
    return frozenset(name.lower() for name in (*serving.names, serving.served_by.rpartition(":")[0]))


def _spans(serving: Serving, provider: "TracerProvider") -> "RequestSpans":
    from zdynamo.http.spans import RequestSpans

    return RequestSpans(provider, sample_ratio=serving.tracing.sample_ratio, chance=random.random)


def _say_lost(reason: str) -> None:
    sys.stderr.write(f"zdynamo: traces are not exported: {reason}\n")


def _end_with_stdin(loop: asyncio.AbstractEventLoop, server: Server) -> None:
    """The parent holds the other end; it closes however that process ends, kill -9 included."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        loop.call_soon_threadsafe(server.end)
    threading.Event().wait(GONE_S)
    os._exit(1)
