"""Who may talk to this node: the handshake of each epoch with each peer.

A frame says who it is from and for. Who is not the addressee, or has no Hello from that sender's epoch, drops it and
says Hello; who is of another cluster, or speaks no common version, is told so.
"""

from dataclasses import dataclass

from zdynamo.core.events import Effect, Noted, Send, SendStranger
from zdynamo.core.members.table import is_sound
from zdynamo.core.owners.placement import Placement
from zdynamo.messages import (
    PROTOCOL_HIGHEST,
    PROTOCOL_LOWEST,
    Frame,
    Hello,
    NodeId,
    PeerMessage,
    Ping,
    Pong,
    Probe,
    Probed,
    Refusal,
    Table,
)

HELLO_EVERY_MS = 100  # to one peer that does not know us
REFUSAL_EVERY_MS = 5_000  # to one stranger, and in the log
CONTROL = (Hello, Ping, Pong, Probe, Probed, Table)
LINKS_MAX = 4096  # senders remembered; beyond, the Hello of one who is no member yet is forgotten
REFUSED_MAX = 256  # strangers remembered; beyond, the oldest may be told again


@dataclass(slots=True)
class Link:
    """What has been said between this node and a peer."""

    epoch: int = 0  # of the peer, as far as known
    connected: int = 0  # the epoch that our connection was made for
    heard: int = 0  # the epoch of the peer's last Hello
    greeted: int = 0  # the epoch that our last Hello went to
    greeted_at_ms: int = -HELLO_EVERY_MS


class Links:
    """The handshakes. Frames dropped are counted in `counters`."""

    def __init__(self, counters: dict[str, int]) -> None:
        self._links: dict[NodeId, Link] = {}
        self._refused: dict[str, int] = {}  # sender -> when it was last told
        self._counters = counters
        self._epoch = 0  # under which this node has greeted

    def epoch_of(self, peer: NodeId) -> int:
        link = self._links.get(peer)
        return link.epoch if link else 0

    def heard(self, peer: NodeId) -> bool:
        """Whether the peer's present process has said Hello."""
        link = self._links.get(peer)
        return link is not None and link.heard == link.epoch

    def view_changed(self, placement: Placement, now_ms: int) -> list[Effect]:
        """Greet whoever is new, or has restarted; and everybody when this node has a new epoch itself."""
        effects: list[Effect] = []
        if placement.view.me.epoch != self._epoch:
            self._epoch = placement.view.me.epoch
            for link in self._links.values():
                link.greeted = 0
        for peer in list(self._links):
            if peer not in placement.members:
                del self._links[peer]
        for peer, member in placement.members.items():
            if peer == placement.me:
                continue
            link = self._links.setdefault(peer, Link())
            link.epoch = max(link.epoch, member.record.epoch)
            if link.connected < member.record.epoch or link.greeted < link.epoch:
                link.connected = member.record.epoch
                effects.append(self.greet(peer, placement, now_ms))
        return effects

    def greet(self, peer: NodeId, placement: Placement, now_ms: int) -> Effect:
        link = self._links[peer]
        link.greeted, link.greeted_at_ms = link.epoch, now_ms
        return Send(peer, self._hello(link.heard, placement.members[peer].record.addresses.client, placement))

    def accept(self, frame: Frame, placement: Placement, now_ms: int) -> tuple[tuple[PeerMessage, ...], list[Effect]]:
        """The messages that count, and what to say to the sender. A Hello among them goes to `heard_hello`."""
        me = placement.view.me
        link = self._links.get(frame.sender)
        addressed = frame.to == me.id and frame.to_epoch == me.epoch and frame.cluster == placement.view.cluster
        if addressed and link is not None and link.heard == frame.sender_epoch:
            return frame.messages, []
        hello = next((message for message in frame.messages if isinstance(message, Hello)), None)
        problem = _mismatch(frame, hello, placement)
        if problem:
            return (), self._refuse(frame, hello, problem, now_ms)
        if hello is not None:
            return frame.messages, []
        self._counters["frames.unexpected"] += 1
        if link is None or frame.sender not in placement.members:
            return (), []
        if now_ms - link.greeted_at_ms < HELLO_EVERY_MS:
            return (), []
        return (), [self.greet(frame.sender, placement, now_ms)]

    def heard_hello(self, sender: NodeId, hello: Hello, placement: Placement, now_ms: int) -> list[Effect]:
        """Remember it; answer it if the sender has no Hello from this epoch of ours."""
        if hello.member.id != sender or not is_sound(hello.member):
            return []
        if sender not in self._links and len(self._links) >= LINKS_MAX:
            return []
        link = self._links.setdefault(sender, Link())
        link.epoch = link.heard = max(link.epoch, hello.member.epoch)
        if hello.heard_epoch == placement.view.me.epoch or link.connected < link.epoch:
            return []  # a process that is new to us is greeted when the connection to it is made
        if link.greeted == link.epoch and now_ms - link.greeted_at_ms < HELLO_EVERY_MS:
            return []
        return [self.greet(sender, placement, now_ms)]

    def _refuse(self, frame: Frame, hello: Hello | None, reason: str, now_ms: int) -> list[Effect]:
        self._counters["frames.foreign"] += 1
        last = self._refused.get(frame.sender)
        if last is not None and now_ms - last < REFUSAL_EVERY_MS:
            return []
        while len(self._refused) >= REFUSED_MAX:
            del self._refused[next(iter(self._refused))]
        self._refused[frame.sender] = now_ms
        for message in frame.messages:
            if isinstance(message, Refusal):
                told: dict[str, object] = {"sender": frame.sender, "reason": message.reason}
                return [Noted("peer.refused_us", told, "warning")]
        address = hello.member.addresses.peer if hello else ""
        fields: dict[str, object] = {"sender": frame.sender, "address": address, "reason": reason}
        effects: list[Effect] = [Noted("peer.refused", fields, "warning")]
        if hello is not None:
            effects.append(SendStranger(address, Refusal(reason)))
        return effects

    def _hello(self, heard: int, to_address: str, placement: Placement) -> Hello:
        view = placement.view
        return Hello(PROTOCOL_LOWEST, PROTOCOL_HIGHEST, view.me, view.constants, heard, to_address)


def _mismatch(frame: Frame, hello: Hello | None, placement: Placement) -> str:
    """Why the two cannot work together, "" if they can."""
    if frame.cluster != placement.view.cluster:
        return f"this node is of cluster {placement.view.cluster}, the other of {frame.cluster}"
    if hello is None:
        return ""
    if hello.lowest > PROTOCOL_HIGHEST or hello.highest < PROTOCOL_LOWEST:
        return (
            f"no protocol version in common: this node speaks {PROTOCOL_LOWEST} to {PROTOCOL_HIGHEST}, "
            f"the other {hello.lowest} to {hello.highest}"
        )
    mine, theirs = placement.view.constants, hello.constants
    for name in ("partitions", "n", "hash_version"):
        if getattr(mine, name) != getattr(theirs, name):
            return f"{name} differs: {getattr(mine, name)} here, {getattr(theirs, name)} there"
    return ""


def comes_later(frame: Frame) -> bool:
    """A sort key: what keeps links and opinions alive is taken before the data that waits with it."""
    return not (frame.messages and isinstance(frame.messages[0], CONTROL))
