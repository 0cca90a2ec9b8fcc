"""A DEALER for each node, and a monitor beside it that tells when the connection comes and goes.

Over inproc there is nothing to monitor, and a pipe does not mend: there a node is connected when it has answered a
question, and once a pipe is broken the next one is made and the question asked anew.

ZeroMQ connects again when a connection breaks, but not when it has heard something impossible there, such as an answer
that is too large: then the socket is replaced.

Only connected nodes are sent to, and with IMMEDIATE set ZeroMQ forgets what it could not deliver when a connection
breaks: a write that waited in a queue for a dead node must not be carried out when the node is back.
"""

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from struct import unpack_from
from types import TracebackType
from typing import Any

import zmq

from zdynamo import codec
from zdynamo.client.bell import Bell
from zdynamo.client.events import Answered, Connected, Disconnected, Event
from zdynamo.errors import Malformed
from zdynamo.messages import ClientRequest, Delete, DescribeNode, Get, Put

FRAME_BYTES = 2**20  # requests beyond go in the next frame
REQUEST_BYTES = 512  # of a request without key, value and context, and more: few enough fit for a node to take them
ANSWER_BYTES_MAX = 256 * 2**20  # above any legal frame; a node that sends more loses the connection
FRAMES_AT_ONCE = 64  # read from one node before the others have their turn
RECONNECT_MS = 50
RECONNECT_MAX_MS = 500
CONNECT_TIMEOUT_MS = 1_000
GIVEN_UP_S = 0.5  # after a loss ZeroMQ tells at once that it tries again; by then it would have
HEARTBEAT_MS = 1_000  # by ZeroMQ, so that a machine that vanished is noticed
HEARTBEAT_TIMEOUT_MS = 3_000

Watch = Callable[["zmq.Socket[bytes]"], None]

COMING = zmq.EVENT_HANDSHAKE_SUCCEEDED
GOING = zmq.EVENT_DISCONNECTED | zmq.EVENT_CONNECT_RETRIED


class Connection:
    """The socket to one node, and what goes out to it at the end of the round."""

    def __init__(self, context: "zmq.Context[Any]", address: str) -> None:
        self.address = address
        self.outbox: list[ClientRequest] = []
        self.socket = context.socket(zmq.DEALER)
        self.monitor: zmq.Socket[bytes] | None = None
        self._answered = False
        try:
            self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        options = {
            zmq.LINGER: 0,
            zmq.IMMEDIATE: 1,
            zmq.SNDHWM: 0,  # the core bounds what is in flight, in calls and in bytes
            zmq.RCVHWM: 0,
            zmq.MAXMSGSIZE: ANSWER_BYTES_MAX,
            zmq.RECONNECT_IVL: RECONNECT_MS,
            zmq.RECONNECT_IVL_MAX: RECONNECT_MAX_MS,
            zmq.CONNECT_TIMEOUT: CONNECT_TIMEOUT_MS,
            zmq.HEARTBEAT_IVL: HEARTBEAT_MS,
            zmq.HEARTBEAT_TIMEOUT: HEARTBEAT_TIMEOUT_MS,
            zmq.TCP_KEEPALIVE: 1,
            zmq.IPV6: int("[" in self.address),
        }
        for option, setting in options.items():
            self.socket.setsockopt(option, setting)
        if not self.address.startswith("inproc:"):
            self.monitor = self.socket.get_monitor_socket(COMING | GOING)
            self.monitor.linger = 0
        self.socket.connect(self.address)
        if self.monitor is None:  # waits there until somebody binds the address
            self._sent(codec.encode([DescribeNode(os.urandom(16), "")]))

    def close(self) -> None:
        self.socket.close(0)  # ends the monitor too; disable_monitor() would fail once the context is terminated
        if self.monitor is not None:
            self.monitor.close(0)

    def news(self) -> Iterator[int]:
        """The kind of each event that the monitor saw."""
        while self.monitor is not None and (parts := _received(self.monitor)):
            yield unpack_from("=H", parts[0])[0]

    def answers(self) -> Iterator[Event]:
        for _ in range(FRAMES_AT_ONCE):
            parts = _received(self.socket)
            if parts and self.monitor is None and not self._answered:
                self._answered = True
                yield Connected(self.address)
            for frame in parts:
                try:
                    for answer in codec.decode_answers(frame):
                        yield Answered(self.address, answer)
                except Malformed:
                    continue  # as good as no answer: the core goes elsewhere
            if not parts:
                return

    def flush(self) -> bool:
        """False: the connection has just broken, and what was to go out is lost."""
        outbox, self.outbox = self.outbox, []
        return all(self._sent(codec.encode(frame)) for frame in cut(outbox))

    def _sent(self, frame: bytes) -> bool:
        for _ in range(2):
            try:
                self.socket.send(frame, zmq.DONTWAIT)
            except zmq.Again:
                self.socket.getsockopt(zmq.EVENTS)  # lets the socket see a connection that has only just been made
            else:
                return True
        return False


class Sockets:
    """All connections of one client. Made, used and closed by one thread."""

    def __init__(
        self,
        context: "zmq.Context[Any]",
        bell: Bell | None = None,
        *,
        opened: Watch | None = None,
        closing: Watch | None = None,
    ) -> None:
        """`bell`: ends `wait` as well; `opened`, `closing`: told of each socket, by who does not wait here."""
        self._context = context
        self._bell = bell
        self._opened = opened
        self._closing = closing
        self._connections: dict[str, Connection] = {}
        self._by_socket: dict[Any, Callable[[], Iterator[Event]]] = {}
        self._full: dict[str, Connection] = {}  # connections with something to go out
        self._lost: dict[str, float] = {}  # addresses that nobody tries again, as far as is told, and since when
        self._news: list[Event] = []
        self._poller = zmq.Poller()
        if bell is not None:
            self._poller.register(bell.fd, zmq.POLLIN)

    def __enter__(self) -> "Sockets":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for address in list(self._connections):
            self.disconnect(address)

    def connect(self, address: str) -> None:
        try:
            connection = Connection(self._context, address)
        except zmq.ZMQError:  # not an address, or no descriptors left
            self._news.append(Disconnected(address))
            self._lost[address] = time.monotonic()
            return
        self._connections[address] = connection
        self._watch(connection.socket, connection.answers)  # before the monitor: answers count before the loss
        if connection.monitor is not None:
            self._watch(connection.monitor, partial(self._news_of, connection))

    def disconnect(self, address: str) -> None:
        self._lost.pop(address, None)
        connection = self._connections.pop(address, None)
        if connection is None:
            return
        for socket in filter(None, (connection.socket, connection.monitor)):
            if self._by_socket.pop(socket, None):
                self._poller.unregister(socket)
                if self._closing is not None:
                    self._closing(socket)
        self._full.pop(address, None)
        connection.close()

    def send(self, address: str, message: ClientRequest) -> None:
        """Goes out with the next `flush`."""
        connection = self._connections.get(address)
        if connection is None:  # it could not be made anew, which is in the news
            return
        connection.outbox.append(message)
        self._full[address] = connection

    def flush(self) -> None:
        full, self._full = self._full, {}
        for address, connection in full.items():
            if connection.flush():
                continue
            self._news.append(Disconnected(address))
            if connection.monitor is None:
                self.disconnect(address)
                self.connect(address)

    def wait(self, timeout_ms: int | None) -> list[Event]:
        """What has happened; waits for something, or the bell."""
        if self._lost:
            self._replace_lost()
            timeout_ms = sooner(timeout_ms, self.replaces_in_ms)
        events, self._news = self._news, []
        for socket, _ in self._poller.poll(0 if events else timeout_ms):
            if self._bell is not None and socket == self._bell.fd:
                self._bell.silence()
            else:
                events.extend(self._by_socket[socket]())
        return events

    def _news_of(self, connection: Connection) -> Iterator[Event]:
        for kind in connection.news():
            if kind == zmq.EVENT_DISCONNECTED:
                self._lost[connection.address] = time.monotonic()
            else:
                self._lost.pop(connection.address, None)
            yield Connected(connection.address) if kind == COMING else Disconnected(connection.address)

    @property
    def replaces_in_ms(self) -> int | None:
        """When `wait` has something to do of itself; None: never."""
        if not self._lost:
            return None
        return max(0, int((min(self._lost.values()) + GIVEN_UP_S - time.monotonic()) * 1000) + 1)

    def _replace_lost(self) -> None:
        """Those that ZeroMQ has given up, or that could not be made."""
        given_up = time.monotonic() - GIVEN_UP_S
        for address in [address for address, since in self._lost.items() if since <= given_up]:
            self.disconnect(address)
            self.connect(address)

    def _watch(self, socket: "zmq.Socket[bytes]", read: Callable[[], Iterator[Event]]) -> None:
        self._by_socket[socket] = read
        self._poller.register(socket, zmq.POLLIN)
        if self._opened is not None:
            self._opened(socket)


def sooner(one_ms: int | None, other_ms: int | None) -> int | None:
    """None: never."""
    return min((ms for ms in (one_ms, other_ms) if ms is not None), default=None)


def cut(messages: list[ClientRequest]) -> Iterator[list[ClientRequest]]:
    """Into frames of about `FRAME_BYTES`, or one message."""
    frame: list[ClientRequest] = []
    frame_bytes = 0
    for message in messages:
        message_bytes = REQUEST_BYTES
        if isinstance(message, Put):
            message_bytes += len(message.key) + len(message.value) + len(message.context)
        elif isinstance(message, Get):
            message_bytes += len(message.key)
        elif isinstance(message, Delete):
            message_bytes += len(message.key) + len(message.context)
        if frame and frame_bytes + message_bytes > FRAME_BYTES:
            yield frame
            frame, frame_bytes = [], 0
        frame.append(message)
        frame_bytes += message_bytes
    if frame:
        yield frame


def _received(socket: "zmq.Socket[bytes]") -> list[bytes]:
    """The parts of the next message, none if there is none."""
    try:
        return socket.recv_multipart(zmq.DONTWAIT)
    except zmq.Again:
        return []
