"""What happens to the membership, what it wants done, and what it starts from."""

from msgspec import Struct
from msgspec.structs import replace

from zdynamo.core.events import Noted
from zdynamo.messages import (
    Addresses,
    Constants,
    Gossip,
    Layout,
    MemberRecord,
    NodeId,
    PeerMessage,
    Refused,
    Topology,
    View,
)


class Profile(Struct, frozen=True, kw_only=True):
    """What the configuration says of this node."""

    name: str
    addresses: Addresses
    zone: str
    weight: int
    seeds: tuple[str, ...]
    found: bool
    data: str = ""  # the data folder, to name it
    buckets_digest: int = 0  # of the bucket table, to compare with the members'; 0: not compared
    constants: Constants  # for a cluster that this node founds, and to compare with one that it joins


class Kept(Struct, frozen=True):
    """What a node keeps of the membership over a restart."""

    node: NodeId = ""
    cluster: str = ""
    epoch: int = 0
    constants: Constants | None = None
    records: tuple[MemberRecord, ...] = ()
    layout: Layout | None = None
    took_over: bool = False
    old_copy: int = 0  # see `View`

    def tells_more_of_others_than(self, before: "Kept") -> bool:
        """Whether all that is new since then is what members will tell again, so that it may be lost."""
        return replace(self, records=before.records) == before


class Ticked(Struct, frozen=True):
    """Time has passed `Membership.next_due_ms`."""


class Gossiped(Struct, frozen=True):
    """A gossip message arrived."""

    message: Gossip


class Heard(Struct, frozen=True):
    """A membership message arrived on the streams."""

    cluster: str
    sender: NodeId
    message: PeerMessage


class SeedAnswered(Struct, frozen=True):
    """A seed has told its topology, or why not."""

    address: str
    answer: Topology | Refused


class Persist(Struct, frozen=True):
    """Keep this, fsynced, before any later effect."""

    kept: Kept


class Publish(Struct, frozen=True):
    """Tell all subscribers."""

    message: Gossip


class Mail(Struct, frozen=True):
    """Send over the stream to a member."""

    to: NodeId
    message: PeerMessage


class AskSeed(Struct, frozen=True):
    """Ask the node at a public address for its topology; one of another cluster than ours refuses."""

    address: str
    cluster: str = ""  # ours, if we have one


class NewView(Struct, frozen=True):
    """Show this view to whoever wants it."""

    view: View


class Fail(Struct, frozen=True):
    """Stop the node; the reason says what to do."""

    reason: str


MembershipEvent = Ticked | Gossiped | Heard | SeedAnswered
MembershipEffect = Persist | Publish | Mail | AskSeed | NewView | Fail | Noted
