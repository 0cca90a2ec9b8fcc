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

CONTEXT_BYTES_MAX = 64 * 2**10  # far above the context of any read
TTL_MS_MAX = 100 * 366 * 86_400_000  # a hundred years


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
    """A numbered version of who owns which partition; the owners follow from it by `core/owners/ring.py`."""

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


MemberState = Literal["alive", "suspect", "unreachable", "down"]  # unreachable: others reach it, this node does not


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
    old_copy: int = 0  # above 0: members remembered a later start of this node; of each restored copy a greater number
    buckets_differ: tuple[NodeId, ...] = ()  # members whose bucket tables are not the one of this node
    views_differ: tuple[NodeId, ...] = ()  # members that have had another table or layout for longer than news takes
    awaited: tuple[NodeId, ...] = ()  # who may know of a layout before the founder decides; itself: it listens still


class Bucket(Struct, array_like=True, frozen=True):
    """The rules of a bucket; 0 and "" are the cluster's defaults."""

    name: str
    r: int = 0
    w: int = 0
    pr: int = 0
    pw: int = 0
    expiry_ms: int = 0  # after its write a value expires; 0: never
    conflict: str = "siblings"  # or "lww", or "merge:MODULE:FUNCTION"


class ClientLimits(Struct, array_like=True, frozen=True):
    """What clients check before they send."""

    key_bytes_max: int
    value_bytes_max: int


class Get(Struct, array_like=True, tag=0, frozen=True):
    """Read one key from R replicas."""

    request: RequestId
    cluster: str  # the cluster id that the client knows, "" if none yet
    deadline_ms: int  # milliseconds left
    bucket: str
    key: bytes
    r: int = 0  # 0: the default
    pr: int = 0
    trace: bytes = b""  # W3C trace context: 16 bytes of the trace, 8 of the parent span, 1 of flags; b"": none


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
    ttl_ms: int = -1  # expires so long after it is written; 0: never, -1: as the bucket says
    condition: Literal["", "absent", "unchanged"] = ""  # unchanged: there is nothing that the context has not seen
    trace: bytes = b""  # as of a get


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
    trace: bytes = b""  # as of a get


class DescribeCluster(Struct, array_like=True, tag=3, frozen=True):
    """Ask for the topology; clients route by it, joining nodes start from it."""

    request: RequestId
    cluster: str


class DescribeNode(Struct, array_like=True, tag=4, frozen=True):
    """Ask one node for its own figures."""

    request: RequestId
    cluster: str


class ListKeys(Struct, array_like=True, tag=5, frozen=True):
    """List the keys of a bucket in one partition, as R owners agree on them, in order."""

    request: RequestId
    cluster: str
    deadline_ms: int
    bucket: str
    partition: int
    prefix: bytes = b""
    after: bytes = b""  # a key: only those behind it
    limit: int = 1000  # keys at most
    r: int = 0


class Explain(Struct, array_like=True, tag=6, frozen=True):
    """Tell all that the owners hold under a key, and how they differ."""

    request: RequestId
    cluster: str
    deadline_ms: int
    bucket: str
    key: bytes


class Repair(Struct, array_like=True, tag=7, frozen=True):
    """Compare at once what you and the other owners hold, and bring it together; or tell how far that has come."""

    request: RequestId
    cluster: str
    partition: int = -1  # -1: all that this node owns
    run: int = 0  # 0: begin; else the one to tell of


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
    buckets: tuple[Bucket, ...] = ()  # of the answering node
    limits: ClientLimits | None = None


class HintsHeld(Struct, array_like=True, frozen=True):
    """What a node holds for a member that could not take it."""

    target: NodeId
    count: int  # records
    bytes: int  # of them as they were when they were stored
    held_ms: int = -1  # for how long there has been something to hold, as far as this process knows; -1: not told


class Spread(Struct, array_like=True, frozen=True):
    """How long something took: how often, by `Figures.bounds_us`."""

    sum_us: int
    counts: tuple[int, ...]  # above the bound before, up to this one; the last: above all


class RequestsOf(Struct, array_like=True, frozen=True):
    """Requests of one kind that clients have sent to this node."""

    kind: str  # "get", "put", "delete", "list"
    outcomes: dict[str, int]  # how they were answered, and how many
    took: Spread  # of those neither refused nor overloaded


class StoreSizes(Struct, array_like=True, frozen=True):
    """What a store holds and has room for."""

    keys: int  # about so many, the node's own among them
    disk_bytes: int
    free_bytes: int  # on its disk; -1: it has none


class Digests(Struct, array_like=True, frozen=True):
    """What nodes have to agree on, 64 bits each; 0: there is none."""

    table: int  # of members
    layout: int
    buckets: int


class Figures(Struct, array_like=True, frozen=True):
    """What a node counts and measures beside its counters, since it was started."""

    r: int  # where neither the request nor its bucket says otherwise
    w: int
    bounds_us: tuple[int, ...]  # of all spreads
    requests: tuple[RequestsOf, ...]
    turns: Spread  # of the process loop: from waking up until all effects are sent
    store: StoreSizes
    digests: Digests
    buckets_differ: tuple[NodeId, ...]  # members with another table of buckets
    views_differ: tuple[NodeId, ...]  # members that have seen another table of members or layout for long


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
    hints: tuple[HintsHeld, ...] = ()
    figures: Figures | None = None  # an earlier version does not tell them


class KeysListed(Struct, array_like=True, tag=9, frozen=True):
    """The keys that have a value. Go on after `last` for more, even if there are none."""

    request: RequestId
    keys: tuple[bytes, ...]
    last: bytes  # what has been looked at reaches so far
    more: bool


class SiblingState(Struct, array_like=True, frozen=True):
    """One sibling as a replica holds it, without its value."""

    dot: Dot
    time_ms: int  # wall clock of the coordinator
    expires_ms: int
    tombstone: bool
    content_type: str
    size: int  # bytes of the value
    request: bytes


class ReplicaState(Struct, array_like=True, frozen=True):
    """What one replica holds under a key."""

    node: NodeId
    reachable: bool
    settled: bool = False
    round: int = 0  # the partition's reaping round
    digest: int = 0  # of the record, 64 bits; 0: there is none
    clock: tuple[Dot, ...] = ()
    cloud: tuple[Dot, ...] = ()
    siblings: tuple[SiblingState, ...] = ()
    waits: str = ""  # why what is dead has not been removed yet
    hint: str = ""  # for whom it is held, with commas between


class Explained(Struct, array_like=True, tag=10, frozen=True):
    """Everything about a key."""

    request: RequestId
    partition: int
    owners: tuple[NodeId, ...]
    fallbacks: tuple[NodeId, ...]  # in the order in which they would be asked
    bucket: Bucket
    replicas: tuple[ReplicaState, ...]  # of the owners, in their order; then of fallbacks that hold it for them


class ConditionFailed(Struct, array_like=True, tag=11, frozen=True):
    """R replicas hold what the writer ruled out; nothing was written. The context covers what is there."""

    request: RequestId
    context: bytes


class RepairProgress(Struct, array_like=True, tag=12, frozen=True):
    """How far a repair has come. Each partition counts once for each other owner that it is compared with."""

    request: RequestId
    run: int  # to ask with again
    done: bool
    total: int
    compared: int
    differing: int  # of those compared
    stored_here: int  # keys of which this node had less
    stored_there: int
    failed: tuple[tuple[str, int], ...]  # why, and how many
    waits: str = ""  # for what, in words


ClientRequest = Get | Put | Delete | DescribeCluster | DescribeNode | ListKeys | Explain | Repair
ClientAnswer = (
    Found
    | Absent
    | Done
    | QuorumNotMet
    | OutcomeUnknown
    | Overloaded
    | Refused
    | Topology
    | NodeDescription
    | KeysListed
    | Explained
    | ConditionFailed
    | RepairProgress
)


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
    answer: Found | Absent | Done | QuorumNotMet | OutcomeUnknown | Overloaded | Refused | ConditionFailed


class StoreReplica(Struct, array_like=True, tag=8, frozen=True):
    """Merge this record into yours.

    Replicas do not read `deadline_ms`, except to trace it, nor `layouts`, which wait for layouts that change.
    """

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
    reason: Literal["stale layout", "stale round", "clock skew", "malformed", "disk", "limit", "unsettled"]
    round: int = 0  # with "stale round": the one of the replica


class PullPage(Struct, array_like=True, tag=13, frozen=True):
    """Send me your records of a partition, from behind a storage key on."""

    request: int
    partition: int
    after: bytes
    bytes_max: int  # of the page; one record may be larger
    round: int = 0  # the partition's reaping round at the sender


class Page(Struct, array_like=True, tag=14, frozen=True):
    """A stretch of a partition."""

    request: int
    partition: int
    settled: bool  # whether the sender is sure of what it holds
    round: int
    records: tuple[tuple[bytes, bytes], ...]  # storage key, record
    last: bool  # there is nothing behind


class ReapAsk(Struct, array_like=True, tag=15, frozen=True):
    """Do you hold exactly these dead records?"""

    request: int
    partition: int
    round: int  # of the sender
    items: tuple[tuple[bytes, int], ...]  # storage key, digest of the record


class ReapHeld(Struct, array_like=True, tag=16, frozen=True):
    """The answer, and whether anything is against removing them."""

    request: int
    partition: int
    round: int
    blocked: str  # by what, in words; "": by nothing
    differs: tuple[int, ...]  # places in `items` of what is not held like that


class BeginRound(Struct, array_like=True, tag=17, frozen=True):
    """Begin this reaping round of the partition, if you are one before it."""

    request: int
    partition: int
    round: int


class RoundBegun(Struct, array_like=True, tag=18, frozen=True):
    """The round that the sender is in, kept on its disk."""

    request: int
    partition: int
    round: int
    blocked: str


class Reap(Struct, array_like=True, tag=19, frozen=True):
    """Every owner held these dead records before the round before this one began: remove them if you still do."""

    request: int
    partition: int
    round: int
    items: tuple[tuple[bytes, int], ...]


class Reaped(Struct, array_like=True, tag=20, frozen=True):
    """Done."""

    request: int
    partition: int
    kept: tuple[int, ...]  # places in `items` of what is still there


class ListReplica(Struct, array_like=True, tag=21, frozen=True):
    """Send me your keys between two storage keys of one bucket in one partition."""

    request: int
    deadline_ms: int
    start: bytes  # the first that there may be
    end: bytes  # the first that is not wanted
    limit: int


class ReplicaListed(Struct, array_like=True, tag=22, frozen=True):
    """The storage keys that show a value, each with a digest of its record."""

    request: int
    settled: bool
    round: int
    entries: tuple[tuple[bytes, int], ...]
    reached: bytes  # all keys up to this one have been looked at
    last: bool  # and there is nothing behind


class Inspect(Struct, array_like=True, tag=23, frozen=True):
    """Tell what you hold under this key."""

    request: int
    deadline_ms: int
    key: bytes


class Inspected(Struct, array_like=True, tag=24, frozen=True):
    """What is held."""

    request: int
    state: ReplicaState


class HoldReplica(Struct, array_like=True, tag=25, frozen=True):
    """Merge this record, and hold it for these owners: you stand in for them."""

    request: int
    deadline_ms: int
    layouts: tuple[int, ...]
    round: int
    key: bytes
    record: bytes
    targets: tuple[NodeId, ...]


class HandOver(Struct, array_like=True, tag=26, frozen=True):
    """Merge this record that was held for you, and say so when that is fsynced: the sender then forgets it."""

    request: int
    deadline_ms: int
    layouts: tuple[int, ...]
    round: int
    key: bytes
    record: bytes


class Probe(Struct, array_like=True, tag=27, frozen=True):
    """Can you reach this member? I cannot."""

    number: int
    target: NodeId
    wait_ms: int  # for its answer to your ping


class Probed(Struct, array_like=True, tag=28, frozen=True):
    """Whether the sender has had an answer to a ping in that time."""

    number: int
    target: NodeId
    reached: bool
    stalled: bool  # the sender has just stood still itself: that it was not reached says little


class PathLost(Struct, array_like=True, tag=29, frozen=True):
    """What the process thread tells its own router: data does not get through to this member."""

    member: NodeId
    cause: Literal["lost", "timeouts"]  # its connection is closed; requests to it time out


class CompareHashes(Struct, array_like=True, tag=30, frozen=True):
    """Send me the roots of what we both own, or the leaves of one partition, if they are not as mine."""

    request: int
    layout: int  # the digest of the one that says what both own
    partition: int  # -1: the roots of all
    digest: int  # of the sender's roots; its root of the one partition
    round: int = 0  # the partition's reaping round at the sender


class Hashes(Struct, array_like=True, tag=31, frozen=True):
    """The hashes that were asked for."""

    request: int
    partition: int
    same: bool  # the digest is the sender's too
    round: int
    hashes: bytes  # 8 each, the least significant first; b"": they are the same, or there are none


class CompareKeys(Struct, array_like=True, tag=32, frozen=True):
    """Send me the keys of some leaves of a partition, from behind a storage key on."""

    request: int
    partition: int
    round: int
    places: tuple[int, ...]  # of the leaves; (): all
    after: bytes


class LeafKeys(Struct, array_like=True, tag=33, frozen=True):
    """A stretch of them."""

    request: int
    partition: int
    round: int
    entries: tuple[tuple[bytes, int], ...]  # storage key, what its record adds to the leaf
    reached: bytes  # all keys up to this one have been looked at
    last: bool  # and there is nothing behind


class SwapRecords(Struct, array_like=True, tag=34, frozen=True):
    """Merge these records into yours, and send me those of which you then hold more."""

    request: int
    partition: int
    round: int  # that they were read under
    records: tuple[tuple[bytes, bytes], ...]  # storage key, record; b"": there is none


class RecordsSwapped(Struct, array_like=True, tag=35, frozen=True):
    """The first of them are merged."""

    request: int
    partition: int
    round: int
    done: int  # so many of those that came
    stored: int  # the sender had less of
    refused: int
    records: tuple[tuple[bytes, bytes], ...]


class RoundsWanted(Struct, array_like=True, tag=36, frozen=True):
    """In which reaping rounds are the partitions that you own?"""


class RoundsTold(Struct, array_like=True, tag=37, frozen=True):
    """Which rounds those are, by partition."""

    rounds: tuple[int, ...]  # -1: the sender is no owner, or not sure of the round


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
    | PullPage
    | Page
    | ReapAsk
    | ReapHeld
    | BeginRound
    | RoundBegun
    | Reap
    | Reaped
    | ListReplica
    | ReplicaListed
    | Inspect
    | Inspected
    | HoldReplica
    | HandOver
    | Probe
    | Probed
    | PathLost
    | CompareHashes
    | Hashes
    | CompareKeys
    | LeafKeys
    | SwapRecords
    | RecordsSwapped
    | RoundsWanted
    | RoundsTold
)


class Frame(Struct, array_like=True, frozen=True):
    """One ZeroMQ message between peers: who it is from and for, and all messages of one round."""

    cluster: str
    sender: NodeId
    sender_epoch: int
    to: NodeId  # "" in a Hello to a stranger
    to_epoch: int
    messages: tuple[PeerMessage, ...]
    traces: tuple[tuple[int, bytes], ...] = ()  # trace contexts by `request` of those messages that are traced


class Heartbeat(Struct, array_like=True, tag=0, frozen=True):
    """I am alive, and this is what I know, as digests."""

    cluster: str
    id: NodeId
    epoch: int
    boot: str
    sequence: int
    table_digest: int
    layout_digest: int  # 0: none yet
    buckets_digest: int = 0  # of the bucket table
    incarnation: int = 0  # raised by the sender's process each time it hears that it is suspected
    suspects: tuple[tuple[NodeId, int], ...] = ()  # whom the sender suspects, with the incarnation it knows of them
    stalled_ms: int = 0  # for which the sender has stood still in the last second


class Rumor(Struct, array_like=True, tag=1, frozen=True):
    """Records that have just changed, told to everybody at once."""

    cluster: str
    id: NodeId
    members: tuple[MemberRecord, ...]
    layout: Layout | None


Gossip = Heartbeat | Rumor
