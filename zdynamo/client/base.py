"""What the blocking and the asyncio client share: addresses, the I/O thread of each process, how siblings end."""

import os
import random
import threading
import weakref
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import zmq

from zdynamo.client.io_thread import IoThread
from zdynamo.client.merges import bucket_resolver, can_merge
from zdynamo.client.requests import check_deadline
from zdynamo.client.routes import endpoint
from zdynamo.client.sinks import Sink
from zdynamo.client.updates import Function, Steps, Update
from zdynamo.client.values import Resolver
from zdynamo.errors import RequestError
from zdynamo.messages import ClientRequest, Topology

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

DEADLINE_MS = 5_000
DEFAULT_BUCKET = "default"
SCHEMES = ("tcp", "ipc", "inproc")

_opening = threading.Lock()  # made anew in a fork: in the parent another thread may have held it


class Driver(Protocol):
    """Whoever owns the core of a client and its connections: the I/O thread, or a simulation."""

    @property
    def topology(self) -> Topology | None: ...

    def submit(self, request: ClientRequest, deadline_ms: int, sink: Sink, only_at: str = "") -> Any: ...

    def submit_many(self, requests: list[ClientRequest], deadline_ms: int, sink: Sink) -> Any: ...

    def withdraw(self, submitted: Any) -> None:
        """Nobody waits any more for what `submit` or `submit_many` has returned."""


class OwnedDriver(Driver, Protocol):
    """One that its client makes and closes."""

    pid: int  # the process that it belongs to

    def close(self) -> None: ...


class BaseClient:
    """A connection to a cluster. Nothing is connected before the first call."""

    _only_below = False  # whether calls are traced only where a span is current that is

    def __init__(
        self,
        *addresses: str,
        deadline_ms: int = DEADLINE_MS,
        cluster: str = "",
        context: "zmq.Context[Any] | None" = None,
        tracing: "bool | TracerProvider" = False,
    ) -> None:
        """Any one member's public address (`HOST:PORT`) is enough; give several in case it is down.

        `deadline_ms` is what a call has if it names none. `cluster` is the cluster id to insist on, "" to take any.
        `context` is shared with others, for `inproc://`, and not used in a fork. `tracing` opens an OpenTelemetry span
        for each call, under the current one, and has the nodes open theirs below it: True for the program's
        TracerProvider, or one of its own. Raises: ValueError for what is no address; ImportError if OpenTelemetry is
        wanted and not installed.
        """
        if not addresses:
            raise ValueError('give the public address of at least one node, such as "127.0.0.1:7400"')
        for address in addresses:
            check_address(address)
        self._addresses = addresses
        self._deadline_ms = check_deadline(deadline_ms)
        self._cluster = cluster
        self._context = context
        self._tracing = tracing
        if tracing:
            _check_installed()
        self._chance = random.random  # of 0 to below 1: how long an update waits before it tries again
        self._made_in = os.getpid()
        self._closed = False
        self._io: OwnedDriver | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def _within_ms(self, deadline_ms: int | None) -> int:
        return self._deadline_ms if deadline_ms is None else check_deadline(deadline_ms)

    def _running(self) -> Driver:
        """The I/O thread of this process, started on first use."""
        if self._closed:
            raise RequestError("the client is closed")
        io = self._io
        if io is None or io.pid != os.getpid():
            with _opening:
                io = self._io
                if io is None or io.pid != os.getpid():
                    io = self._io = self._traced(self._open())
                    self._finalizer = weakref.finalize(self, io.close)  # for clients that are dropped, and at exit
        return io

    def _open(self) -> OwnedDriver:
        context = self._context if self._made_in == os.getpid() else None
        return IoThread(self._addresses, cluster=self._cluster, context=context)

    def _traced(self, driver: OwnedDriver) -> OwnedDriver:
        if not self._tracing:
            return driver
        from zdynamo.client.spans import TracingDriver

        provider = None if isinstance(self._tracing, bool) else self._tracing
        return TracingDriver(driver, provider, only_below=self._only_below)

    def _shut(self) -> None:
        self._closed = True
        if self._finalizer is not None:
            self._finalizer()

    def _resolver(self, bucket: str, resolver: Resolver | None) -> Resolver:
        """That of the call, else that of the bucket, which is looked up when it is needed."""
        return resolver or bucket_resolver(self._running(), bucket)

    def _update(
        self,
        key: str | bytes,
        function: Function,
        bucket: str,
        resolver: Resolver | None,
        *,
        r: int | None,
        w: int | None,
        ttl_ms: int | None,
    ) -> Steps:
        io = self._running()
        return Update(
            key,
            function,
            bucket=bucket,
            resolver=self._resolver(bucket, resolver),
            merges=lambda: resolver is not None or can_merge(io, bucket),
            chance=self._chance,
            r=r,
            w=w,
            ttl_ms=ttl_ms,
        ).steps()


def check_address(address: str) -> None:
    """Raises: ValueError."""
    scheme, _, place = endpoint(address).partition("://")
    if scheme not in SCHEMES:
        raise ValueError(f"{address!r} has the scheme {scheme}: write HOST:PORT, or use one of {', '.join(SCHEMES)}")
    port = place.rpartition(":")[2]
    if not place or (scheme == "tcp" and not (":" in place[1:] and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"{address!r} is no address, write it as HOST:PORT")


def _check_installed() -> None:
    """Raises: ImportError."""
    if find_spec("opentelemetry") is None:
        raise ImportError("tracing needs OpenTelemetry: pip install 'zdynamo[otel]', or leave tracing out")


def _after_fork() -> None:
    global _opening  # noqa: PLW0603 - a lock cannot be renewed in place
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
