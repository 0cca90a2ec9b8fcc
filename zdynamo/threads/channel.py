"""Channels: ZeroMQ inproc pipes used as Go uses channels, and the sockets at a node's borders.

Each end has one owner thread. Along the flow a sender waits for room; against the flow (answers, evidence, news) it
offers and drops. A slot holds one message, in which the newer replaces the older.
"""

import contextlib
import socket as system
from collections.abc import Iterator

import zmq

from zdynamo.errors import ConfigError

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

CAPACITY = 10_000  # messages in a channel: along the flow the sender then waits, against it the message is dropped
BORDER_HWM = 1_000  # messages (of up to 1 MiB) queued for or from one connection; beyond, TCP pushes back
RECONNECT_MS = 50
RECONNECT_MAX_MS = 500


class Channels:
    """Makes the pipes of one node; several nodes may share a context."""

    def __init__(self, context: Context, node: str) -> None:
        self._context = context
        self._node = node

    def pipe(self, name: str) -> tuple[Socket, Socket]:
        """A one-way channel: its sink and its source."""
        return self._pair(name, zmq.PUSH, zmq.PULL)

    def slot(self, name: str) -> tuple[Socket, Socket]:
        """A one-way channel of one message."""
        return self._pair(name, zmq.PUSH, zmq.PULL, conflate=True)

    def duplex(self, name: str) -> tuple[Socket, Socket]:
        """A channel both ways between a pump and a thread."""
        return self._pair(name, zmq.DEALER, zmq.DEALER)

    def control(self, name: str) -> tuple[Socket, Socket]:
        """How a pump is told to stop."""
        return self._pair(name, zmq.PAIR, zmq.PAIR)

    def source(self, name: str) -> Socket:
        """The receiving end of a channel with many sinks, each made by `sink`."""
        return self._end(zmq.PULL, name, bind=True)

    def sink(self, name: str) -> Socket:
        return self._end(zmq.PUSH, name, bind=False)

    def _end(self, kind: int, name: str, *, bind: bool) -> Socket:
        end = self._context.socket(kind)
        end.linger = 0
        (end.bind if bind else end.connect)(f"inproc://zdynamo-{self._node}-{name}")
        return end

    def _pair(self, name: str, sink_kind: int, source_kind: int, *, conflate: bool = False) -> tuple[Socket, Socket]:
        sink, source = self._context.socket(sink_kind), self._context.socket(source_kind)
        for end in (sink, source):
            end.linger = 0
            end.hwm = CAPACITY // 2  # a pipe holds the sum of both
            if conflate:
                end.setsockopt(zmq.CONFLATE, 1)
        sink.bind(f"inproc://zdynamo-{self._node}-{name}")
        source.connect(f"inproc://zdynamo-{self._node}-{name}")
        return sink, source


def offer(sink: Socket, parts: list[bytes]) -> bool:
    """Send if there is room now."""
    try:
        sink.send_multipart(parts, zmq.NOBLOCK)
    except zmq.Again:
        return False
    return True


def waiting(source: Socket, at_most: int) -> Iterator[list[bytes]]:
    """What is there already, without waiting."""
    try:
        for _ in range(at_most):
            yield source.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return


def border(context: Context, kind: int, *, message_bytes_max: int = -1) -> Socket:
    """A socket to the outside."""
    made = context.socket(kind)
    made.linger = 0
    made.hwm = BORDER_HWM
    made.setsockopt(zmq.MAXMSGSIZE, message_bytes_max)
    made.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    made.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    made.setsockopt(zmq.TCP_KEEPALIVE, 1)
    return made


def endpoint(address: str, source: str = "") -> str:
    """`HOST:PORT`, or an endpoint with its scheme, as ZeroMQ takes it; `source`: the host to connect from."""
    if "://" in address:
        return address
    return f"tcp://{source}:0;{address}" if source else f"tcp://{address}"


def connect(socket: Socket, address: str, source: str = "") -> bool:
    """False if it is no address: others may say what they like of where they are."""
    try:
        socket.connect(endpoint(address, source))
    except zmq.ZMQError:
        return False
    return True


def disconnect(socket: Socket, address: str, source: str = "") -> None:
    """It may be gone already: an inproc pipe goes with whoever bound it."""
    with contextlib.suppress(zmq.ZMQError):
        socket.disconnect(endpoint(address, source))


def bind(socket: Socket, option: str, address: str, host: str = "") -> None:
    """Bind to an address as given; `host` replaces its host. Raises: ConfigError that names the option."""
    if "://" in address:
        target = address
    else:
        advertised, _, port = address.rpartition(":")
        target = f"tcp://{numeric('node.bind' if host else 'node.host', host or advertised)}:{port}"
    try:
        socket.bind(target)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise ConfigError(
                f"{option}: {address} is in use by another process: stop it or choose another port"
            ) from None
        raise ConfigError(
            f"{option}: {address} cannot be bound ({error.strerror}): set node.bind to an address of this machine"
        ) from None


def numeric(option: str, host: str) -> str:
    """What to bind to. Raises: ConfigError that names the option, which is that of the host."""
    if host in ("*", "0.0.0.0"):
        return host
    try:
        return system.getaddrinfo(host, None, system.AF_INET)[0][4][0]  # type: ignore[return-value]
    except OSError:
        raise ConfigError(f"{option}: the host {host} is not known: use a name or an address of this machine") from None
