"""One connection through the relay: two sockets, and a flow each way that a rule holds up."""

import contextlib
import random
import select
import socket
import struct
from collections import deque

from chaos_links import Rule

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close by a reset


class Flow:
    """One direction of a connection."""

    __slots__ = (
        "blocked", "connection", "due_at", "ended", "free_at", "queue", "queued", "rule", "sink", "source",
        "still_until", "wakes_at",
    )  # fmt: skip

    def __init__(self, connection: "Connection", source: "End", sink: "End", rule: Rule) -> None:
        self.connection = connection
        self.source, self.sink = source, sink
        self.rule = rule
        self.queue: deque[tuple[float, memoryview]] = deque()  # when it may arrive, and what
        self.queued = 0
        self.due_at = 0.0  # of the last in the queue: bytes never overtake each other
        self.free_at = 0.0  # when the bandwidth is free for the next
        self.still_until = 0.0  # a stall
        self.blocked = False  # the sink takes no more for now
        self.ended = False  # the source has
        self.wakes_at = 0.0  # a timer is set for then, if that is not past

    def moves(self, now: float) -> bool:
        return not self.rule.cut and now >= self.still_until

    def arrival(self, size: int, now: float, chance: random.Random) -> float:
        """When a chunk that is read now arrives."""
        rule = self.rule
        if rule.bytes_per_s:
            self.free_at = max(now, self.free_at) + size / rule.bytes_per_s
            now = self.free_at
        jitter_ms = rule.jitter_ms * chance.random() if rule.jitter_ms else 0.0
        self.due_at = max(self.due_at, now + (rule.latency_ms + jitter_ms) / 1000)
        return self.due_at


class End:
    """One socket of a connection."""

    __slots__ = ("incoming", "mask", "outgoing", "socket")

    def __init__(self, made: socket.socket) -> None:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = made
        self.mask = 0
        self.incoming: Flow  # from this socket
        self.outgoing: Flow  # to it


class Connection:
    """Two sockets and two flows. Held: the second is not connected yet, for the link is cut."""

    __slots__ = ("back", "closed", "far", "forth", "held", "near")

    def __init__(self, near: socket.socket, forth: Rule, back: Rule) -> None:
        self.near = End(near)
        self.far = End(socket.socket())
        self.forth = Flow(self, self.near, self.far, forth)
        self.back = Flow(self, self.far, self.near, back)
        self.near.incoming = self.far.outgoing = self.forth
        self.far.incoming = self.near.outgoing = self.back
        self.held = True
        self.closed = False

    @property
    def flows(self) -> tuple[Flow, Flow]:
        return self.forth, self.back

    def end(self, *, reset: bool) -> None:
        self.closed = True
        for end in (self.near, self.far):
            if reset:
                with contextlib.suppress(OSError):
                    end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.socket.close()


def is_gone(connected: socket.socket) -> bool:
    """Whether the other side has closed it."""
    poller = select.poll()
    poller.register(connected, select.POLLRDHUP)
    return bool(poller.poll(0))
