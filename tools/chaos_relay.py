#!/usr/bin/env python3
"""A TCP relay whose links can be cut, slowed and made lossy while they carry a cluster's traffic.

A process with one thread: the first line on stdin says where to listen (`chaos_links.Setup`), each other line what is
wrong from now on (`Order`); each is answered by a line (`Report`). It ends with stdin.

A rule is about bytes from one place to another, whoever made the connection. Over a silent cut nothing moves, a new
connection is held unopened, and the end of one is told to the other side when the cut has healed. A door whose node
does not listen is shut as well, so that a dead node turns connections down as it would by itself. Kinder than a real
network: what has stood still goes on the moment a cut heals, without TCP's pauses between tries.
"""

import heapq
import os
import random
import selectors
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count

import msgspec
from chaos_flows import Connection, End, Flow, is_gone
from chaos_links import Door, Order, Report, Rule, Setup

CHUNK_BYTES = 256 * 1024  # read at a time
BUFFER_BYTES = 1024 * 1024  # on their way in one direction of a connection; beyond, TCP pushes back
DOOR_SECONDS = 0.05  # between looks whether a node listens again
CONNECTIONS_MAX = 400  # beyond, those that are held for a cut make room, then new ones are turned away
STDIN = 0
FINE = Rule()
READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Switchboard:
    """All connections, and what is wrong with them."""

    def __init__(self, setup: Setup) -> None:
        """Raises: OSError if it cannot listen."""
        self.report = Report()
        self._sources = setup.sources
        self._chance = random.Random(setup.seed)
        self._rules: dict[tuple[str, str], Rule] = {}
        self._connections: dict[Connection, tuple[str, Door]] = {}  # with who made it and through which door
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._selector = selectors.DefaultSelector()
        self._doors: dict[Door, socket.socket] = {}  # that are open
        for door in setup.doors:
            self._open(door)

    def run(self, orders: int = STDIN) -> None:
        """Until `orders` ends."""
        self._selector.register(orders, READ, None)
        unread = b""
        while True:
            timeout = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, mask in self._selector.select(timeout):
                if key.data is None:
                    got = os.read(orders, 2**20)
                    if not got:
                        return
                    *lines, unread = (unread + got).split(b"\n")
                    for line in lines:
                        self._obey(msgspec.json.decode(line, type=Order))
                elif isinstance(key.data, End):
                    self._ready(key.data, mask)
                else:
                    self._accept(key.data)
            self._time_passes()

    def _obey(self, order: Order) -> None:
        self._rules = {(link.source, link.target): link.rule for link in order.links}
        for connection, (source, door) in list(self._connections.items()):
            self._rule(connection, *self._rules_between(source, door.node))
        self.report.connections = len(self._connections)
        self.report.held = sum(connection.held for connection in self._connections)
        say(self.report)

    def _rule(self, connection: Connection, *rules: Rule) -> None:
        for flow, rule in zip(connection.flows, rules, strict=True):
            if flow.rule != rule:
                flow.rule, flow.still_until = rule, 0.0
                self._plan_losses(flow)
        self._go_on(connection)

    def _rules_between(self, source: str, target: str) -> tuple[Rule, Rule]:
        return self._rules.get((source, target), FINE), self._rules.get((target, source), FINE)

    def _open(self, door: Door) -> None:
        listener = socket.create_server(place_of(door.address), backlog=128)
        listener.setblocking(False)
        self._doors[door] = listener
        self._selector.register(listener, READ, door)

    def _shut(self, door: Door) -> None:
        """Until the node listens again."""
        listener = self._doors.pop(door, None)
        if listener:
            self._selector.unregister(listener)
            listener.close()
            self._try(door)

    def _try(self, door: Door) -> None:
        probe = socket.socket()
        probe.setblocking(False)
        probe.connect_ex(place_of(door.target))
        self._wake(time.monotonic() + DOOR_SECONDS, partial(self._tried, door, probe))

    def _tried(self, door: Door, probe: socket.socket) -> None:
        listens = is_connected(probe)
        probe.close()
        if listens:
            self._open(door)
        else:
            self._try(door)

    def _accept(self, door: Door) -> None:
        listener = self._doors.get(door)
        if listener is None:  # shut in the same round
            return
        try:
            made, (host, _) = listener.accept()
        except OSError:  # it is gone already
            return
        if len(self._connections) >= CONNECTIONS_MAX and not self._made_room():
            made.close()
            return
        source = self._sources.get(host, "")
        connection = Connection(made, *self._rules_between(source, door.node))
        self._connections[connection] = (source, door)
        for flow in connection.flows:
            self._plan_losses(flow)
        self._go_on(connection)

    def _made_room(self) -> bool:
        held = next((connection for connection in self._connections if connection.held), None)
        if held:
            self._close(held)
        return held is not None

    def _go_on(self, connection: Connection) -> None:
        """As its rules are now: end it, open it, carry what waits."""
        cuts = {flow.rule.cut for flow in connection.flows}
        if "refused" in cuts:
            self._close(connection, reset=True)
            return
        if connection.held:
            if "silent" in cuts:
                return
            if is_gone(connection.near.socket):
                self._close(connection)
                return
            connection.held = False
            connection.far.socket.connect_ex(place_of(self._connections[connection][1].target))
            connection.forth.blocked = True  # until it is writable, which it is when it is connected
        for flow in connection.flows:
            self._carry(flow)

    def _ready(self, end: End, mask: int) -> None:
        if mask & WRITE and not end.outgoing.connection.closed:
            end.outgoing.blocked = False
            self._carry(end.outgoing)
        if mask & READ and not end.incoming.connection.closed:
            self._read(end.incoming)

    def _read(self, flow: Flow) -> None:
        try:
            got = flow.source.socket.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except ConnectionRefusedError:
            door = self._connections[flow.connection][1]
            self._close(flow.connection, reset=True)
            self._shut(door)
            return
        except OSError:
            got = b""
        if got:
            now = time.monotonic()
            flow.queue.append((flow.arrival(len(got), now, self._chance), memoryview(got)))
            flow.queued += len(got)
            self.report.chunks += 1
        else:
            flow.ended = True
        self._carry(flow)

    def _carry(self, flow: Flow) -> None:
        """Send what may arrive by now, and see to what comes next."""
        if flow.connection.closed:
            return
        now = time.monotonic()
        while flow.queue and flow.queue[0][0] <= now and not flow.blocked and flow.moves(now):
            due_at, chunk = flow.queue.popleft()
            try:
                sent = flow.sink.socket.send(chunk)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._broken(flow)
                return
            flow.queued -= sent
            self.report.carried_bytes += sent
            if sent < len(chunk):
                flow.queue.appendleft((due_at, chunk[sent:]))
                flow.blocked = True
        if flow.ended and not flow.queue and flow.moves(now):
            self._close(flow.connection)
            return
        at = max(flow.queue[0][0] if flow.queue and not flow.blocked else 0.0, flow.still_until)
        if at > now and not flow.rule.cut and not now < flow.wakes_at <= at:
            flow.wakes_at = at
            self._wake(at, partial(self._carry, flow))
        self._watch(flow.source)
        self._watch(flow.sink)

    def _broken(self, flow: Flow) -> None:
        """The sink is gone; the source hears of it unless nothing gets there."""
        back = flow.sink.incoming
        back.ended = True
        flow.queue.clear()
        flow.queued = 0
        flow.blocked = True
        if back.moves(time.monotonic()):
            self._close(flow.connection, reset=True)
        else:
            self._watch(flow.source)
            self._watch(flow.sink)

    def _watch(self, end: End) -> None:
        """Have the selector wait for what this socket is needed for."""
        incoming, now = end.incoming, time.monotonic()
        held = incoming.connection.held
        reads = not held and not incoming.ended and incoming.queued < BUFFER_BYTES and incoming.moves(now)
        writes = not held and end.outgoing.blocked and end.outgoing.moves(now) and not end.incoming.ended
        mask = (READ if reads else 0) | (WRITE if writes else 0)
        if mask == end.mask:
            return
        if not end.mask:
            self._selector.register(end.socket, mask, end)
        elif mask:
            self._selector.modify(end.socket, mask, end)
        else:
            self._selector.unregister(end.socket)
        end.mask = mask

    def _close(self, connection: Connection, *, reset: bool = False) -> None:
        if connection.closed:
            return
        del self._connections[connection]
        self.report.reset += reset
        for end in (connection.near, connection.far):
            if end.mask:
                self._selector.unregister(end.socket)
        connection.end(reset=reset)

    def _plan_losses(self, flow: Flow) -> None:
        now, rule = time.monotonic(), flow.rule
        if rule.resets_per_s:
            self._wake(now + self._chance.expovariate(rule.resets_per_s), partial(self._lose, flow, rule))
        if rule.stalls_per_s:
            self._wake(now + self._chance.expovariate(rule.stalls_per_s), partial(self._stall, flow, rule))

    def _lose(self, flow: Flow, rule: Rule) -> None:
        if flow.rule is rule:
            self._close(flow.connection, reset=True)

    def _stall(self, flow: Flow, rule: Rule) -> None:
        if flow.rule is rule and not flow.connection.closed:
            now = time.monotonic()
            flow.still_until = now + rule.stall_ms / 1000
            self._wake(now + self._chance.expovariate(rule.stalls_per_s), partial(self._stall, flow, rule))
            self._carry(flow)

    def _wake(self, at: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (at, next(self._numbers), what))

    def _time_passes(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            heapq.heappop(self._timers)[2]()


def place_of(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def is_connected(probe: socket.socket) -> bool:
    try:
        probe.getpeername()
    except OSError:
        return False
    return True


def say(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    line = b""
    while not line.endswith(b"\n"):  # byte by byte: what follows is for the switchboard
        got = os.read(STDIN, 1)
        if not got:
            return 0
        line += got
    try:
        board = Switchboard(msgspec.json.decode(line, type=Setup))
    except OSError as error:
        say(Report(error=f"cannot listen ({error}): links are relayed at 127.x.x.x, which only Linux has by itself"))
        return 1
    say(board.report)
    board.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
