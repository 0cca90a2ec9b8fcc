"""What happens to a node (events: facts, in the past tense) and what it wants done (effects: wishes).

The threads and the simulator turn frames into events and carry effects out; `Node.step` is all in between.
"""

from typing import NamedTuple, Protocol

from msgspec import Struct

from zdynamo.messages import ClientAnswer, ClientRequest, Frame, NodeId, PeerMessage, View


class Randomness(Protocol):
    """A seeded generator, such as `random.Random`."""

    def getrandbits(self, bits: int, /) -> int: ...


class Now(NamedTuple):
    """The time, as an argument."""

    monotonic_ms: int
    wall_ms: int


class FromPeer(Struct, frozen=True):
    """A frame arrived on the peer streams."""

    frame: Frame
    waited_ms: int = 0  # at most so long before this node took it


class FromClient(Struct, frozen=True):
    """A request arrived on the client socket."""

    client: bytes  # the ROUTER's identity of the connection
    request: ClientRequest
    waited_ms: int = 0  # at most so long before this node took it


class Mailed(Struct, frozen=True):
    """The router wants a message sent over the streams."""

    to: NodeId
    message: PeerMessage


class ViewChanged(Struct, frozen=True):
    """The router has a newer view."""

    view: View


class PeerUnreachable(Struct, frozen=True):
    """The queue to a peer is full or its connection is gone: what waits for it need not wait."""

    peer: NodeId
    full: bool = False  # it has too much to work off, which is no death: nobody is to take its place


class Tick(Struct, frozen=True):
    """Time has passed `Node.next_due_ms`."""


class Send(Struct, frozen=True):
    """Send to a member, over its stream."""

    to: NodeId
    message: PeerMessage


class SendStranger(Struct, frozen=True):
    """Send to an address that is no member's, once."""

    address: str
    message: PeerMessage


class Reply(Struct, frozen=True):
    """Answer a client."""

    client: bytes
    answer: ClientAnswer


class News(Struct, frozen=True):
    """Hand a membership message to the router."""

    cluster: str  # of its sender
    sender: NodeId
    message: PeerMessage


class Noted(Struct, frozen=True):
    """A rare change of state, for the log."""

    name: str
    fields: dict[str, object]
    level: str = "info"


Event = FromPeer | FromClient | Mailed | ViewChanged | PeerUnreachable | Tick
Effect = Send | SendStranger | Reply | News | Noted
