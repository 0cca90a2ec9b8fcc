"""The send thread: one DEALER a peer, never waiting for any of them."""

from collections import Counter
from typing import NamedTuple

import msgspec
import zmq

from zdynamo.messages import NodeId
from zdynamo.threads.channel import Context, Socket, border, connect, offer, waiting
from zdynamo.threads.clock import now

PEERS, FRAMES, STRANGER = b"p", b"f", b"s"  # on the outbox
FULL, LOST = b"full", b"lost"  # as evidence: the queue to a peer has no room, its connection is gone
STRANGERS_MAX = 8  # connections to strangers at a time; the oldest makes room
STRANGER_MS = 2_000  # that a message to a stranger has to get through
AGAIN_MS = 1_000  # until a connection is tried again for which there was no descriptor
ROUNDS_MAX = 256
FAREWELL_MS = 200  # that messages on their way out have when the node stops


class PeerAddress(msgspec.Struct, array_like=True, frozen=True):
    """Where to connect to for a peer; another epoch or address is another connection."""

    id: NodeId
    epoch: int
    address: str


_peers = msgspec.msgpack.Decoder(list[PeerAddress])
encode_peers = msgspec.msgpack.Encoder().encode


class Connection(NamedTuple):
    """A DEALER to a peer, and the socket that tells of its connection."""

    target: PeerAddress
    dealer: Socket
    monitor: Socket


class Sender:
    """Owns the DEALERs. `outbox` says whom to connect to and what to send; `evidence` tells who cannot be reached."""

    def __init__(
        self, context: Context, *, boot: bytes, outbox: Socket, evidence: Socket, connect_from: str = ""
    ) -> None:
        """`boot`: of this process. Routing ids begin with it and are never used twice, or a ROUTER could take a
        connection that is just closing for the one that has just been made.
        """
        self._context = context
        self._connect_from = connect_from
        self._boot = boot
        self._made = 0  # connections so far
        self._outbox = outbox
        self._evidence = evidence
        self._connections: dict[bytes, Connection] = {}
        self._strangers: list[tuple[Socket, int]] = []  # with the time they are closed at
        self._poller = zmq.Poller()
        self._poller.register(outbox, zmq.POLLIN)
        self._full: Counter[bytes] = Counter()  # frames that the queue to a peer had no room for in this turn
        self._gone: set[bytes] = set()  # peers that could not be reached in this turn
        self._unmade: list[PeerAddress] = []  # there was no descriptor for them
        self._again_ms = 0  # when to try it again
        self._monitored: dict[Socket, bytes] = {}

    def run(self) -> None:
        """Until the outbox says that it is closed (an empty message)."""
        try:
            while True:
                timeout = AGAIN_MS if self._unmade else STRANGER_MS if self._strangers else None
                for ready, _ in self._poller.poll(timeout):
                    if ready is not self._outbox:
                        self._connection_event(ready)
                for round_ in waiting(self._outbox, ROUNDS_MAX):
                    if not round_[0]:
                        return
                    self._carry_out(round_)
                if self._unmade and now().monotonic_ms >= self._again_ms:
                    self._make(self._unmade)
                self._tell()
                self._close_strangers()
        finally:
            self._close()

    def _carry_out(self, parts: list[bytes]) -> None:
        if parts[0] == FRAMES:
            for position in range(1, len(parts), 2):
                self._send(parts[position], parts[position + 1])
        elif parts[0] == PEERS:
            self._connect(_peers.decode(parts[1]))
        else:
            self._send_stranger(parts[1].decode(), parts[2])

    def _send(self, peer: bytes, frame: bytes) -> None:
        connection = self._connections.get(peer)
        if connection is None:
            return
        try:
            connection.dealer.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            if connection.target.address.startswith("inproc:"):  # its pipe goes with the peer, and nobody tells
                self._gone.add(peer)
            else:
                self._full[peer] += 1

    def _tell(self) -> None:
        while self._full:
            peer, dropped = self._full.popitem()
            offer(self._evidence, [FULL, peer, b"%d" % dropped])
        while self._gone:
            offer(self._evidence, [LOST, self._gone.pop()])

    def _connect(self, targets: list[PeerAddress]) -> None:
        wanted = {target.id.encode(): target for target in targets}
        for peer, connection in list(self._connections.items()):
            if wanted.get(peer) != connection.target:
                self._disconnect(peer)
        self._make([target for peer, target in wanted.items() if peer not in self._connections])

    def _make(self, targets: list[PeerAddress]) -> None:
        self._unmade = []
        for target in targets:
            try:
                self._open(target)
            except zmq.ZMQError:  # out of descriptors
                self._unmade.append(target)
                self._gone.add(target.id.encode())
        self._again_ms = now().monotonic_ms + AGAIN_MS

    def _open(self, target: PeerAddress) -> None:
        """Raises: ZMQError if there is no descriptor for it."""
        dealer = border(self._context, zmq.DEALER)
        self._made += 1
        dealer.routing_id = b"%s-%d" % (self._boot, self._made)
        try:
            monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        except zmq.ZMQError:
            dealer.close(0)
            raise
        monitor.linger = 0
        connect(dealer, target.address, self._connect_from)  # one that is not connected always has a full queue
        peer = target.id.encode()
        self._connections[peer] = Connection(target, dealer, monitor)
        self._monitored[monitor] = peer
        self._poller.register(monitor, zmq.POLLIN)

    def _disconnect(self, peer: bytes, linger: int = 0) -> None:
        connection = self._connections.pop(peer)
        self._poller.unregister(connection.monitor)
        del self._monitored[connection.monitor]
        connection.dealer.disable_monitor()
        connection.monitor.close(0)
        connection.dealer.close(linger)

    def _connection_event(self, monitor: Socket) -> None:
        peer = self._monitored.get(monitor)
        for _ in waiting(monitor, ROUNDS_MAX):
            if peer is not None:
                offer(self._evidence, [LOST, peer])

    def _send_stranger(self, address: str, frame: bytes) -> None:
        if len(self._strangers) >= STRANGERS_MAX:
            self._strangers.pop(0)[0].close(0)
        try:
            dealer = border(self._context, zmq.DEALER)
        except zmq.ZMQError:  # out of descriptors
            return
        connect(dealer, address, self._connect_from)
        try:
            dealer.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            dealer.close(0)
            return
        self._strangers.append((dealer, now().monotonic_ms + STRANGER_MS))

    def _close_strangers(self) -> None:
        if not self._strangers:
            return
        now_ms = now().monotonic_ms
        while self._strangers and self._strangers[0][1] <= now_ms:
            self._strangers.pop(0)[0].close(0)

    def _close(self) -> None:
        for peer in list(self._connections):
            self._disconnect(peer, FAREWELL_MS)
        for dealer, _ in self._strangers:
            dealer.close(0)
        self._outbox.close(0)
        self._evidence.close(0)
