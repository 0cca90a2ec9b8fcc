"""The router thread: owns the membership, PUB, SUB, and the connections to seeds."""

import os
from collections.abc import Callable

import msgspec
import zmq

from zdynamo import codec
from zdynamo.core.events import Noted
from zdynamo.core.members.events import (
    AskSeed,
    Fail,
    Gossiped,
    Heard,
    Kept,
    Mail,
    MembershipEffect,
    MembershipEvent,
    NewView,
    Persist,
    Publish,
    SeedAnswered,
    Ticked,
)
from zdynamo.core.members.membership import Membership
from zdynamo.errors import Malformed, StoreFailed
from zdynamo.messages import DescribeCluster, Refused, Topology, View
from zdynamo.threads.channel import Context, Socket, border, connect, disconnect, offer, waiting
from zdynamo.threads.clock import now
from zdynamo.threads.log import Log

SEEDS_MAX = 32  # connections to nodes that are asked for their topology; the oldest makes room
SEED_HWM = 2  # questions that wait for a seed; beyond, it is asked again later anyway
MESSAGES_MAX = 512  # taken from one socket in a row
KEEP_AGAIN_MS = 1_000  # after what could not be kept

STOP, NEWS = b"stop", b"news"

encode_letter = msgspec.msgpack.Encoder().encode  # of a Heard on its way in, a Mail on its way out
decode_heard = msgspec.msgpack.Decoder(Heard).decode
decode_mail = msgspec.msgpack.Decoder(Mail).decode


class NodeFailed(Exception):
    """The node has to stop; the message is the one line for the operator."""


class Router:
    """Owns the membership. `commands` brings news from the streams and the word to stop; `views` and `mail` go out."""

    def __init__(
        self,
        context: Context,
        membership: Membership,
        *,
        pub: Socket,
        sub: Socket,
        commands: Socket,
        views: Socket,
        mail: Socket,
        keep: Callable[[Kept], None],
        log: Log,
        connect_from: str = "",
    ) -> None:
        self._context = context
        self._membership = membership
        self._pub = pub
        self._sub = sub
        self._commands = commands
        self._views = views
        self._mail = mail
        self._keep = keep
        self._kept: Kept | None = None  # last
        self._unkept: Kept | None = None  # for want of room
        self._keep_again_ms = 0
        self._log = log
        self._connect_from = connect_from
        self._mail_dropped = 0  # that is still to be told
        self._subscribed: dict[str, int] = {}  # address -> epoch of whoever it was connected for
        self._seeds: dict[str, Socket] = {}
        self._poller = zmq.Poller()
        for socket in (sub, commands):
            self._poller.register(socket, zmq.POLLIN)

    def run(self) -> None:
        """Until told to stop. Raises: NodeFailed."""
        try:
            self._act(self._membership.start(now()))
            while self._turn():
                pass
        finally:
            self._close()

    def _turn(self) -> bool:
        wait_ms = max(0, self._membership.next_due_ms - now().monotonic_ms)
        for ready, _ in self._poller.poll(wait_ms):
            if ready is self._commands:
                for parts in waiting(ready, MESSAGES_MAX):
                    if parts[0] == STOP:
                        return False
                    self._step(decode_heard(parts[1]))
            elif ready is self._sub:
                self._hear_gossip()
            else:
                self._hear_seed(ready)
        moment = now()
        if self._unkept is not None and moment.monotonic_ms >= self._keep_again_ms:
            self._persist(self._unkept)
        if moment.monotonic_ms >= self._membership.next_due_ms:
            self._act(self._membership.step(Ticked(), moment))
            self._log.catch_up()
        return True

    def _hear_gossip(self) -> None:
        for parts in waiting(self._sub, MESSAGES_MAX):
            try:
                message = codec.decode_gossip(parts[0])
            except Malformed:
                self._log.seldom("warning", "gossip.malformed", {"bytes": len(parts[0])})
                self._send_mail([b"gossip.malformed", b"1"])
                continue
            self._step(Gossiped(message))

    def _hear_seed(self, dealer: Socket) -> None:
        address = next((address for address, socket in self._seeds.items() if socket is dealer), None)
        if address is None:  # it has just made room
            return
        for parts in waiting(dealer, MESSAGES_MAX):
            try:
                answers = codec.decode_answers(parts[-1])
            except Malformed:
                self._log.seldom("warning", "seed.malformed", {"seed": address, "bytes": len(parts[-1])})
                continue
            for answer in answers:
                if isinstance(answer, Topology | Refused):
                    self._step(SeedAnswered(address, answer))

    def _step(self, event: MembershipEvent) -> None:
        self._act(self._membership.step(event, now()))

    def _act(self, effects: list[MembershipEffect]) -> None:
        for effect in effects:
            match effect:
                case Mail():
                    self._send_mail([encode_letter(effect)])
                case Publish(message):
                    offer(self._pub, [codec.encode(message)])
                case NewView(view):
                    self._subscribe(view)
                    offer(self._views, [codec.encode(view)])  # a slot takes it, unless nobody reads it any more
                case Persist(kept):
                    self._persist(kept)
                case AskSeed(address, cluster):
                    self._ask(address, cluster)
                case Noted(name, fields, level):
                    self._log.change(level, name, fields)
                case Fail(reason):
                    raise NodeFailed(reason)

    def _persist(self, kept: Kept) -> None:
        """What others will tell again may wait for room on the disk; what only this node knows may not."""
        try:
            self._keep(kept)
        except StoreFailed as failure:
            if self._kept is None or not kept.tells_more_of_others_than(self._kept):
                raise
            self._log.seldom("error", "membership.not_kept", {"reason": str(failure)})
            self._unkept, self._keep_again_ms = kept, now().monotonic_ms + KEEP_AGAIN_MS
        else:
            self._kept, self._unkept = kept, None

    def _send_mail(self, parts: list[bytes]) -> None:
        """A letter, or what is to be counted and how many: both are dropped, and counted, if there is no room."""
        if not offer(self._mail, parts):
            self._mail_dropped += 1
        elif self._mail_dropped and offer(self._mail, [b"mail.dropped", b"%d" % self._mail_dropped]):
            self._mail_dropped = 0

    def _subscribe(self, view: View) -> None:
        """One connection an address, however many members say that it is theirs.

        An inproc pipe does not mend as TCP does: for the next process at the address there has to be a new one.
        """
        wanted: dict[str, int] = {}
        for member in view.members:
            if member.record.id != view.me.id:
                address = member.record.addresses.gossip
                wanted[address] = max(wanted.get(address, 0), member.record.epoch)
        for address, epoch in list(self._subscribed.items()):
            if address not in wanted or (address.startswith("inproc:") and wanted[address] != epoch):
                disconnect(self._sub, address, self._connect_from)
                del self._subscribed[address]
        for address, epoch in wanted.items():
            if address in self._subscribed or connect(self._sub, address, self._connect_from):
                self._subscribed[address] = epoch

    def _ask(self, address: str, cluster: str) -> None:
        dealer = self._seeds.get(address)
        if dealer is None:
            while len(self._seeds) >= SEEDS_MAX:
                oldest = self._seeds.pop(next(iter(self._seeds)))
                self._poller.unregister(oldest)
                oldest.close(0)
            try:
                dealer = self._seeds[address] = border(self._context, zmq.DEALER)
            except zmq.ZMQError:  # out of descriptors: it is asked later
                return
            dealer.hwm = SEED_HWM
            connect(dealer, address, self._connect_from)
            self._poller.register(dealer, zmq.POLLIN)
        offer(dealer, [codec.encode([DescribeCluster(os.urandom(16), cluster)])])

    def _close(self) -> None:
        for socket in (self._sub, self._commands, self._views, self._mail, *self._seeds.values()):
            socket.close(0)
        self._pub.close(0)
