"""What nodes, clients and threads say to each other: every message, with its wire shape.

Each message is a MessagePack array `[tag, field, ...]`. Tags and fields are only ever added at the end. The three
families (client, peer, gossip) have tags of their own; `codec` puts messages into frames.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

NodeId = str  # 16 hex digits, made once and kept in the data folder
Dot = tuple[int, int, int]  # (node actor, birth, counter): one write
RequestId = Annotated[bytes, Meta(min_length=16, max_length=16)]  # 8 random bytes of the client, 8 of its counter

PROTOCOL_LOWEST = 1
PROTOCOL_HIGHEST = 1


class Addresses(Struct, array_like=True, frozen=True):
    """Where a member is reached, as it was given: `HOST:PORT`, or a ZeroMQ endpoint with its scheme."""

    client: str  # the public address: the only one that users and seeds name
    peer: str
    gossip: str
    http: str


class MemberRecord(Struct, array_like=True, frozen=True):
    """What a member says of itself; the one with the higher version replaces the other."""

    id: NodeId
    version: int  # raised only by the member itself
    name: str
    epoch: int  # raised at every start
    boot: str  # random, drawn at every start
    started_ms: int  # wall clock of that start: of two processes with one id the later stops
    addresses: Addresses
    zone: str
    weight: int
    status: Literal["member", "removed"] = "member"


class LayoutMember(Struct, array_like=True, frozen=True, order=True):
    """A member as far as ownership depends on it."""

    id: NodeId
    zone: str
    weight: int


class Layout(Struct, array_like=True, frozen=True):
    """A numbered version of who owns which partition; the owners follow from it by `core.ring`."""

    number: int
    digest: int  # of number and members, 64 bits
    members: tuple[LayoutMember, ...]  # sorted by id


class Constants(Struct, array_like=True, frozen=True):
    """What is fixed when a cluster is created; a node that differs is refused."""

    partitions: int
    n: int
    hash_version: int
    min_members: int
    founder: NodeId  # the member that decides on the first layout


MemberState = Literal["alive", "suspect", "down"]


class MemberView(Struct, array_like=True, frozen=True):
    """A member as one node sees it."""

    record: MemberRecord
    state: MemberState
    phi: float  # suspicion: -log10 of the chance that a heartbeat is still on its way


class View(Struct, array_like=True, frozen=True):
    """The membership as the router thread last saw it; immutable, replaced as a whole."""

    number: int
    cluster: str
    constants: Constants
    me: MemberRecord
    members: tuple[MemberView, ...]  # with this node, sorted by id; removed members are left out
    layout: Layout | None  # None until the first layout is decided: no data is taken before
    table_digest: int
    took_over: bool = False  # this process took over the id of a member whose data it does not have


class Get(Struct, array_like=True, tag=0, frozen=True):
    """Read one key from R replicas."""

    request: RequestId
    cluster: str  # the cluster id that the client knows, "" if none yet
    deadline_ms: int  # milliseconds left
    bucket: str
    key: bytes
    r: int = 0  # 0: the default
    pr: int = 0


class Put(Struct, array_like=True, tag=1, frozen=True):
    """Write one value to W replicas."""

    request: RequestId  # the same for every attempt: a retry is recognised by it
    cluster: str
    deadline_ms: int
    bucket: str
    key: bytes
    value: bytes
    content_type: str
    attempt: int = 1  # from the second on, only what the context names is covered
    context: bytes = b""  # from a read; b"" overwrites what the coordinator knows
    w: int = 0
    pw: int = 0


class Delete(Struct, array_like=True, tag=2, frozen=True):
    """Write a tombstone to W replicas; without a context over what R replicas hold."""

    request: RequestId
    cluster: str
    deadline_ms: int
    bucket: str
    key: bytes
    attempt: int = 1
    context: bytes = b""
    r: int = 0
    w: int = 0


class DescribeCluster(Struct, array_like=True, tag=3, frozen=True):
    """Ask for the topology; clients route by it, joining nodes start from it."""

    request: RequestId
    cluster: str


class DescribeNode(Struct, array_like=True, tag=4, frozen=True):
    """Ask one node for its own figures."""

    request: RequestId
    cluster: str


class SiblingValue(Struct, array_like=True, frozen=True):
    """One value as a reader is shown it."""

    content_type: str
    value: bytes
    written_ms: int  # wall clock of the coordinator, milliseconds


class Found(Struct, array_like=True, tag=0, frozen=True):
    """R replicas answered and the key has one value or several siblings."""

    request: RequestId
    context: bytes
    siblings: tuple[SiblingValue, ...]


class Absent(Struct, array_like=True, tag=1, frozen=True):
    """R replicas agree that there is no value; the context covers a tombstone where there is one."""

    request: RequestId
    context: bytes


class Done(Struct, array_like=True, tag=2, frozen=True):
    """W replicas hold the write; the context covers it. `changed` is false for a delete of what was absent."""

    request: RequestId
    context: bytes
    changed: bool = True


class QuorumNotMet(Struct, array_like=True, tag=3, frozen=True):
    """Too few replicas answered; a write surely left nothing behind."""

    request: RequestId
    needed: int
    got: int
    reason: str = ""


class OutcomeUnknown(Struct, array_like=True, tag=4, frozen=True):
    """A write reached some replicas but not W in time: it may or may not be seen later."""

    request: RequestId
    needed: int
    got: int


class Overloaded(Struct, array_like=True, tag=5, frozen=True):
    """The node sheds load; nothing was done."""

    request: RequestId
    retry_after_ms: int


class Refused(Struct, array_like=True, tag=6, frozen=True):
    """The request cannot be served as it is; nothing was done. `retry` says that another node or a later try may."""

    request: RequestId
    reason: str
    retry: bool = False


class Topology(Struct, array_like=True, tag=7, frozen=True):
    """The cluster as the answering node sees it."""

    request: RequestId
    cluster: str
    answered_by: NodeId
    constants: Constants
    members: tuple[MemberView, ...]
    layout: Layout | None
    owners: tuple[tuple[NodeId, ...], ...]  # by partition, empty without a layout
    view: int
    table_digest: int


class NodeDescription(Struct, array_like=True, tag=8, frozen=True):
    """One node's own figures."""

    request: RequestId
    id: NodeId
    name: str
    cluster: str
    counters: dict[str, int]
    notices: tuple[str, ...]  # what an operator should know, in words
    engine: str
    durability: str
    uptime_ms: int


ClientWrite = Put | Delete
ClientRequest = Get | Put | Delete | DescribeCluster | DescribeNode
ClientAnswer = Found | Absent | Done | QuorumNotMet | OutcomeUnknown | Overloaded | Refused | Topology | NodeDescription


class Hello(Struct, array_like=True, tag=0, frozen=True):
    """The first message of an epoch to a peer, and the answer to whatever comes from a stranger."""

    lowest: int  # protocol versions spoken
    highest: int
    member: MemberRecord  # of the sender
    constants: Constants
    heard_epoch: int  # the addressee's epoch that the sender has a Hello of; 0: none, please answer
    to_address: str  # the public address by which the sender knows the addressee
    capabilities: tuple[str, ...] = ()


class Refusal(Struct, array_like=True, tag=1, frozen=True):
    """The sender will not talk to the addressee."""

    reason: str


class Ping(Struct, array_like=True, tag=2, frozen=True):
    """Answered at once by the processor: proves the data path."""

    sequence: int


class Pong(Struct, array_like=True, tag=3, frozen=True):
    """The answer to the ping of that sequence."""

    sequence: int


class Table(Struct, array_like=True, tag=4, frozen=True):
    """The sender's whole member table and layout."""

    members: tuple[MemberRecord, ...]
    layout: Layout | None
    answer: bool  # true: send yours back


class LayoutWanted(Struct, array_like=True, tag=5, frozen=True):
    """A node that has data to take asks the founder to decide on the first layout."""


class Forward(Struct, array_like=True, tag=6, frozen=True):
    """A client's request, handed to a node that can coordinate it."""

    request: int
    deadline_ms: int
    hops: int  # forwards so far; bounded
    message: Get | Put | Delete


class Forwarded(Struct, array_like=True, tag=7, frozen=True):
    """The answer to a Forward, for the client."""

    request: int
    answer: Found | Absent | Done | QuorumNotMet | OutcomeUnknown | Overloaded | Refused


class StoreReplica(Struct, array_like=True, tag=8, frozen=True):
    """Merge this record into yours."""

    request: int
    deadline_ms: int
    layouts: tuple[int, ...]  # digests of the layouts it was sent under
    round: int  # the partition's reaping round that the record was read or minted under
    key: bytes  # a storage key: partition, bucket, key
    record: bytes


class ReplicaStored(Struct, array_like=True, tag=9, frozen=True):
    """The record is merged and as durable as configured."""

    request: int
    beyond: tuple[Dot, ...] = ()  # the clock's entries of what the replica holds and the record does not cover


class FetchReplica(Struct, array_like=True, tag=10, frozen=True):
    """Send me your record of this key."""

    request: int
    deadline_ms: int
    layouts: tuple[int, ...]
    key: bytes


class ReplicaFetched(Struct, array_like=True, tag=11, frozen=True):
    """The record, or b"": then *absent* if the replica is a settled owner, else *don't know*."""

    request: int
    settled: bool
    round: int
    record: bytes


class ReplicaRefused(Struct, array_like=True, tag=12, frozen=True):
    """The replica did not do it, and why."""

    request: int
    reason: Literal["stale layout", "stale round", "clock skew", "malformed", "disk", "limit"]


PeerMessage = (
    Hello
    | Refusal
    | Ping
    | Pong
    | Table
    | LayoutWanted
    | Forward
    | Forwarded
    | StoreReplica
    | ReplicaStored
    | FetchReplica
    | ReplicaFetched
    | ReplicaRefused
)


class Frame(Struct, array_like=True, frozen=True):
    """One ZeroMQ message between peers: who it is from and for, and all messages of one round."""

    cluster: str
    sender: NodeId
    sender_epoch: int
    to: NodeId  # "" in a Hello to a stranger
    to_epoch: int
    messages: tuple[PeerMessage, ...]


class Heartbeat(Struct, array_like=True, tag=0, frozen=True):
    """I am alive, and this is what I know, as digests."""

    cluster: str
    id: NodeId
    epoch: int
    boot: str
    sequence: int
    table_digest: int
    layout_digest: int  # 0: none yet


class Rumor(Struct, array_like=True, tag=1, frozen=True):
    """Records that have just changed, told to everybody at once."""

    cluster: str
    id: NodeId
    members: tuple[MemberRecord, ...]
    layout: Layout | None


Gossip = Heartbeat | Rumor
