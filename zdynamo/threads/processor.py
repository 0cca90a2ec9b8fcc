"""The process thread: owns the node and its store. Drain, step each, commit once, send.

Nothing is acknowledged before it is as durable as configured; one commit serves a whole batch; all messages to one peer
of one round travel as one ZeroMQ message. The thread sleeps until the next message or the next deadline.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import zmq

from zdynamo import codec
from zdynamo.core.events import (
    Effect,
    FromClient,
    FromPeer,
    Mailed,
    News,
    Noted,
    PeerUnreachable,
    Reply,
    Send,
    SendStranger,
    Tick,
    ViewChanged,
)
from zdynamo.core.links import comes_later
from zdynamo.core.members.events import Heard
from zdynamo.core.node import Node
from zdynamo.core.store import Store
from zdynamo.errors import Malformed, StoreFailed, StoreFull
from zdynamo.messages import ClientAnswer, Frame, NodeId, PeerMessage, View
from zdynamo.threads import router, sender
from zdynamo.threads.channel import Socket, offer, waiting
from zdynamo.threads.clock import monotonic_us, now
from zdynamo.threads.log import Log
from zdynamo.threads.pumps import FAREWELL_MS

if TYPE_CHECKING:
    from zdynamo.threads.tracing import Tracer

PEER_FRAMES_MAX = 512  # of one batch: enough to share a commit, few enough to answer a ping soon
CLIENT_FRAMES_MAX = 512
FRAME_BYTES_MAX = 2**20  # of messages of a turn to one peer or client; beyond, they are cut; a single one may be larger
DRAIN_MS = 800  # that requests in progress have when the node stops
LOOK_MS = 100  # between two looks at the sockets at most: a process that was stopped meanwhile notices it
LATE_MS = 20  # that a look may be late without meaning that
STOP, END = b"stop", b"end"

T = TypeVar("T")


class Processor:
    """Owns the node and its store."""

    def __init__(
        self,
        node: Node,
        store: Store,
        *,
        requests: Socket,
        inbox: Socket,
        views: Socket,
        mail: Socket,
        evidence: Socket,
        orders: Socket,
        drained: Socket,
        outbox: Socket,
        news: Socket,
        flush_interval_ms: int,
        log: Log,
        tracer: "Tracer | None" = None,
    ) -> None:
        self._node = node
        self._store = store
        self._requests = requests
        self._inbox = inbox
        self._views = views
        self._mail = mail
        self._evidence = evidence
        self._orders = orders
        self._drained = drained
        self._outbox = outbox
        self._news = news
        self._flush_interval_ms = flush_interval_ms
        self._log = log
        self._tracer = tracer
        self._flush_due_ms = now().monotonic_ms + flush_interval_ms
        self._looked_at_ms = now().monotonic_ms  # what is taken next has waited since then at most
        self._woken_us = 0  # when this turn began
        self._stop_at_ms: int | None = None
        self._ended = False
        self._effects: list[Effect] = []
        self._poller = zmq.Poller()
        for socket in (requests, inbox, views, mail, evidence, orders):
            self._poller.register(socket, zmq.POLLIN)

    def run(self) -> None:
        """Ordered to stop, says when nothing is in progress or `DRAIN_MS` have passed; ordered to end, ends.

        Raises: StoreFailed.
        """
        try:
            while not self._ended:
                self._turn()
                self._tell_if_drained()
            self._leave()
        finally:
            self._close()

    def _leave(self) -> None:
        """All on disk, and a mark there that it is."""
        self._node.leaving()
        with contextlib.suppress(StoreFull):  # then the node compares its copies when it is started again
            self._store.commit()
        self._store.sync()

    def _take_orders(self) -> None:
        if self._orders.recv() == END:
            self._ended = True
        else:
            self._node.stopping = True
            self._stop_at_ms = now().monotonic_ms + DRAIN_MS

    def _tell_if_drained(self) -> None:
        """Nothing is in progress any more. What still arrives is read and refused, so that the pumps never block."""
        if self._stop_at_ms is not None and (self._node.idle or now().monotonic_ms >= self._stop_at_ms):
            self._stop_at_ms = None
            offer(self._drained, [b""])

    def _turn(self) -> None:
        before_ms, wait_ms = now().monotonic_ms, self._wait_ms()
        ready = dict(self._poller.poll(wait_ms))
        woken_ms, self._woken_us = now().monotonic_ms, monotonic_us()
        if 0 < woken_ms - before_ms <= wait_ms + LATE_MS:  # nothing was there: what is now has just come
            self._looked_at_ms = woken_ms
        waited_ms, self._looked_at_ms = woken_ms - self._looked_at_ms, woken_ms
        if self._orders in ready:
            self._take_orders()
        if self._views in ready or self._mail in ready:  # the view is sent before letters to those it brings
            self._take_view()
        if self._mail in ready:
            for parts in waiting(self._mail, PEER_FRAMES_MAX):
                if len(parts) > 1:  # not a letter but something that the router has counted
                    self._node.counters[parts[0].decode()] += int(parts[1])
                    continue
                letter = router.decode_mail(parts[0])
                self._step(Mailed(letter.to, letter.message))
        if self._evidence in ready:
            for parts in waiting(self._evidence, PEER_FRAMES_MAX):
                full = parts[0] == sender.FULL
                if full:
                    self._node.counters["frames.dropped"] += int(parts[2])
                self._step(PeerUnreachable(parts[1].decode(), full=full))
        if self._inbox in ready:
            self._take_frames(waited_ms)
        if self._requests in ready:
            self._take_requests(waited_ms)
        due_ms = self._node.next_due_ms
        if due_ms is not None and now().monotonic_ms >= due_ms:
            self._step(Tick())
        self._finish()
        self._node.turns.add(monotonic_us() - self._woken_us)

    def _wait_ms(self) -> int:
        dues = [due for due in (self._node.next_due_ms, self._flush_due_ms, self._stop_at_ms) if due is not None]
        return max(0, min(LOOK_MS, min(dues) - now().monotonic_ms))

    def _step(self, event: FromClient | FromPeer | Mailed | PeerUnreachable | Tick | ViewChanged) -> None:
        self._effects += self._node.step(event, now())

    def _take_view(self) -> None:
        for parts in waiting(self._views, 1):
            view = codec.decode_view(parts[0])
            self._outbox.send_multipart([sender.PEERS, sender.encode_peers(_peers(view))])
            self._step(ViewChanged(view))

    def _take_frames(self, waited_ms: int) -> None:
        moment = now()
        frames: list[Frame] = []
        for parts in waiting(self._inbox, PEER_FRAMES_MAX):
            try:
                frames.append(codec.decode_frame(parts[-1]))
            except Malformed:
                self._node.counters["frames.malformed"] += 1
                fields: dict[str, object] = {"sender": _printable(parts[0]), "bytes": len(parts[-1])}
                self._log.seldom("warning", "frame.malformed", fields)
        self._node.counters["frames.taken"] += len(frames)
        frames.sort(key=comes_later)
        for frame in frames:
            if frame.traces and self._tracer is not None:
                self._tracer.heard(frame, moment.monotonic_ms)
            self._effects += self._node.step(FromPeer(frame, waited_ms), moment)

    def _take_requests(self, waited_ms: int) -> None:
        moment = now()
        for parts in waiting(self._requests, CLIENT_FRAMES_MAX):
            try:
                requests = codec.decode_requests(parts[-1])
            except Malformed:
                self._node.counters["requests.malformed"] += 1
                fields: dict[str, object] = {"sender": parts[0].hex(), "bytes": len(parts[-1])}
                self._log.seldom("warning", "request.malformed", fields)
                continue
            self._node.counters["requests.taken"] += len(requests)
            self._node.served.taken(requests, self._woken_us - waited_ms * 1000)
            if self._tracer is not None:
                self._tracer.asked(parts[0], requests, moment.monotonic_ms)
            for request in requests:
                self._effects += self._node.step(FromClient(parts[0], request, waited_ms), moment)

    def _finish(self) -> None:
        """Commit, then carry the effects out."""
        effects, self._effects = self._effects, []
        try:
            self._store.commit()
            self._node.committed()
        except StoreFull as error:
            self._log.seldom("error", "store.full", {"reason": str(error)})
            effects = self._node.abandon(effects, surely_nothing=True)
        except StoreFailed:
            self._flush(self._node.abandon(effects, surely_nothing=False))
            raise
        self._flush(effects)
        if now().monotonic_ms >= self._flush_due_ms:
            self._flush_due_ms = now().monotonic_ms + self._flush_interval_ms
            self._store.sync()
            self._log.catch_up()
            if self._tracer is not None:
                self._tracer.look(now().monotonic_ms)

    def _flush(self, effects: list[Effect]) -> None:
        traces = self._tracer.leaving(effects) if self._tracer is not None else {}
        to_peers: defaultdict[NodeId, list[PeerMessage]] = defaultdict(list)
        to_clients: defaultdict[bytes, list[ClientAnswer]] = defaultdict(list)
        for effect in effects:
            if isinstance(effect, Send):
                to_peers[effect.to].append(effect.message)
            elif isinstance(effect, Reply):
                to_clients[effect.client].append(effect.answer)
            elif isinstance(effect, News):
                self._tell_router(effect)
            elif isinstance(effect, Noted):
                self._log.change(effect.level, effect.name, effect.fields)
            elif isinstance(effect, SendStranger):
                frame = codec.encode(self._node.frame("", (effect.message,)))
                self._outbox.send_multipart([sender.STRANGER, effect.address.encode(), frame])
        if to_peers:
            parts = [sender.FRAMES]
            for peer, messages in to_peers.items():
                for _, frame in cut(messages, partial(self._frame, peer, traces)):
                    parts += (peer.encode(), frame)
            self._outbox.send_multipart(parts)
        sent_us = monotonic_us() if to_clients else 0
        for client, answers in to_clients.items():
            self._node.served.answered(answers, sent_us)
            for some, frame in cut(answers, codec.encode):
                if not offer(self._requests, [client, frame]):
                    self._node.counters["answers.dropped"] += len(some)

    def _frame(self, peer: NodeId, traces: dict[int, bytes], messages: list[PeerMessage]) -> bytes:
        frame = self._node.frame(peer, tuple(messages))
        if traces and self._tracer is not None:
            frame = self._tracer.marked(frame, traces)
        return codec.encode(frame)

    def _tell_router(self, news: News) -> None:
        if not offer(self._news, [router.NEWS, router.encode_letter(Heard(news.cluster, news.sender, news.message))]):
            self._node.counters["news.dropped"] += 1

    def _close(self) -> None:
        """Close what this thread reads from, then tell the next ones that nothing more comes."""
        if self._tracer is not None:
            self._tracer.close()
        for socket in (self._inbox, self._views, self._mail, self._evidence, self._orders, self._drained):
            socket.close(0)
        for sink, last_words in ((self._outbox, b""), (self._news, router.STOP)):
            sink.sndtimeo = FAREWELL_MS  # for room: without them the reader would never end
            with contextlib.suppress(zmq.Again):
                sink.send(last_words)
        for socket in (self._requests, self._outbox, self._news):
            socket.close(FAREWELL_MS)


def cut(messages: list[T], encode: Callable[[list[T]], bytes]) -> Iterator[tuple[list[T], bytes]]:
    """All in one if they fit, else in their order as many together as do. Each frame beside the messages in it."""
    encoded = encode(messages)
    if len(encoded) <= FRAME_BYTES_MAX or len(messages) == 1:
        yield messages, encoded
        return
    begin = together = 0
    for place, message in enumerate(messages):
        alone = len(codec.encode(message))
        if place > begin and together + alone > FRAME_BYTES_MAX:
            yield messages[begin:place], encode(messages[begin:place])
            begin, together = place, 0
        together += alone
    yield messages[begin:], encode(messages[begin:])


def _peers(view: View) -> list[sender.PeerAddress]:
    return [
        sender.PeerAddress(member.record.id, member.record.epoch, member.record.addresses.peer)
        for member in view.members
        if member.record.id != view.me.id
    ]


def _printable(identity: bytes) -> str:
    return identity.decode("utf-8", "backslashreplace")[:64]
