"""Every setting of a node: its default, unit and reason, and nowhere else.

A setting is named `section.key` in messages, `[section] key` in the TOML file and `ZDYNAMO_SECTION_KEY` in the
environment. `loading` says which of them wins.
"""

import typing
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

CLIENT_PORT = 7400
BUCKETS = "buckets"  # the one section that is made of tables: [buckets.NAME]
BUCKETS_MAX = 1000
BUCKET_NAME_BYTES_MAX = 255
EXPIRY_MS_MAX = 100 * 366 * 86_400_000  # a hundred years, as of one value


def _option(description: str, **bounds: Any) -> Meta:
    """`examples`: what an error may advise, where the default says nothing."""
    return Meta(description=description, **bounds)


class NodeSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Who this node is and where it is reached."""

    name: Annotated[str, _option("The name that people know the node by. Empty: its public address.")] = ""
    host: Annotated[
        str,
        _option("The host that this node advertises: what clients and peers connect to, kept as it is given."),
    ] = "127.0.0.1"
    port: Annotated[
        int,
        _option(
            "The client port: the public address is HOST:PORT, the only one that users and seeds name.", ge=0, le=65535
        ),
    ] = CLIENT_PORT
    peer_port: Annotated[
        int, _option("The port for the streams between peers. 0: the client port + 1.", ge=0, le=65535)
    ] = 0
    gossip_port: Annotated[int, _option("The port for gossip. 0: the client port + 2.", ge=0, le=65535)] = 0
    http_port: Annotated[int, _option("The port for HTTP. 0: the client port + 3.", ge=0, le=65535)] = 0
    http: Annotated[
        Literal["process", "off"],
        _option(
            "Whether HTTP is served: `process` by one beside the node, which the node starts, stops and, if it dies, "
            "starts again; about 40 MB. It is a client like any other, so that no request over HTTP runs in the node."
        ),
    ] = "process"
    http_names: Annotated[
        list[str],
        _option(
            "Names under which HTTP is reached, such as by a proxy here, while the node listens on loopback: beside "
            "`localhost` and the advertised host no others are taken there, lest a page on the web get at it by a name "
            "of its own."
        ),
    ] = []
    bind: Annotated[str, _option("The address that the node listens on. Empty: the advertised host.")] = ""
    connect_from: Annotated[
        str,
        _option(
            "The address of this machine that connections to other nodes come from, for firewalls that go by it. "
            "Empty: the system chooses."
        ),
    ] = ""
    insecure: Annotated[
        bool,
        _option(
            "Allow addresses beyond loopback. Links are not encrypted yet: whoever reaches a port can read and write."
        ),
    ] = False
    data: Annotated[str, _option("The data folder: identity, member table and records. It survives restarts.")] = "data"
    zone: Annotated[
        str,
        _option(
            "The failure domain (rack, room, region): the copies of a key go to different zones while there are enough."
        ),
    ] = ""
    weight: Annotated[int, _option("The node's share of the data relative to the others'.", ge=1, le=1000)] = 1


class ClusterSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What the nodes have in common."""

    seeds: Annotated[
        list[str],
        _option("Public addresses (HOST:PORT) of members, any one is enough. Empty: this node founds a cluster."),
    ] = []
    found: Annotated[
        bool,
        _option("Found a cluster at once, without listening for an existing one that knows this address."),
    ] = False
    partitions: Annotated[
        int, _option("Partitions of the key space, a power of two; fixed when the cluster is founded.", ge=1, le=32768)
    ] = 256
    n: Annotated[int, _option("Copies of each key (N); fixed when the cluster is founded.", ge=1, le=16)] = 3
    min_members: Annotated[
        int,
        _option(
            "A new cluster refuses data until so many nodes have joined; fixed when the cluster is founded.",
            ge=1,
            le=1000,
        ),
    ] = 1


class QuorumSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How many answers a request waits for, and how long."""

    r: Annotated[int, _option("Replicas that a read waits for (R).", ge=1, le=16)] = 2
    w: Annotated[
        int, _option("Replicas that a write waits for (W). R + W > N: a read sees the last write.", ge=1, le=16)
    ] = 2
    replica_timeout_ms: Annotated[
        int,
        _option(
            "Milliseconds within which a healthy replica answers; another node stands in for one that does not. A node "
            "that a request was handed to has three times as long before another is asked as well.",
            ge=1,
        ),
    ] = 100


class StorageSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How records are kept."""

    engine: Annotated[
        Literal["rocksdb", "memory"], _option("`rocksdb` keeps records on disk; `memory` loses them with the process.")
    ] = "rocksdb"
    durability: Annotated[
        Literal["always", "interval", "never"],
        _option(
            "When a write is fsynced: `always` before it is acknowledged (one fsync a batch), `interval` every "
            "`flush_interval_ms`, `never` by the system. It always reaches the operating system before it is "
            "acknowledged, so kill -9 loses nothing; a power cut may lose the last interval."
        ),
    ] = "interval"
    flush_interval_ms: Annotated[int, _option("Milliseconds between fsyncs with `interval`.", ge=1)] = 1000
    disk_free_min: Annotated[
        int,
        _option("Bytes that stay free on the disk: below, client puts are refused, deletes and repair are not.", ge=0),
    ] = 256 * 2**20
    reap_interval_ms: Annotated[
        int,
        _option(
            "Milliseconds between looks at what is deleted or expired in one partition. It is removed when every "
            "owner has proved to hold it. Lower: the disk is freed sooner; cost: two fsyncs on each owner when there "
            "is some.",
            ge=100,
        ),
    ] = 10_000


class RepairSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How owners find out that they do not hold the same."""

    interval_ms: Annotated[
        int,
        _option(
            "Milliseconds between comparisons of hashes with each other owner. Lower: a missed write is made up "
            "sooner; cost: about 100 bytes each while nothing differs, 8 for each partition else. 0: only "
            "`zdynamo repair` compares.",
            ge=0,
            examples=[1000],
        ),
    ] = 1000


class MembershipSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How nodes find each other and notice who is gone."""

    heartbeat_ms: Annotated[
        int,
        _option(
            "Milliseconds between heartbeats. Silence is judged against the rhythm actually seen. Lower: faster "
            "detection of nodes that hang; cost: one message of about 100 bytes to each member. (A process that is "
            "killed is noticed by its closed connections.)",
            ge=10,
        ),
    ] = 200
    ping_ms: Annotated[
        int, _option("Milliseconds between pings on the streams: they prove the path that data takes.", ge=10)
    ] = 500
    suspect_phi: Annotated[
        float,
        _option(
            "Suspicion (phi) at which a silent member is suspect: 8 means one false alarm in 10^8 heartbeats.", gt=0
        ),
    ] = 8.0
    probe_timeout_ms: Annotated[
        int,
        _option(
            "Milliseconds that a suspect has to answer a ping before it is called down, if three others miss it too; "
            "up to three times as long if nobody does, half as long if its connection is closed. Lower: faster "
            "detection; cost: nodes that are only busy are called down.",
            ge=10,
        ),
    ] = 600
    exchange_ms: Annotated[
        int,
        _option("Milliseconds between exchanges of the member table with one member in turn, heard or not.", ge=100),
    ] = 5000
    listen_ms: Annotated[
        int,
        _option(
            "Milliseconds that a new node without seeds listens for a cluster that knows its address before it founds "
            "one, and a founder that is started again for its members before it decides who owns the data.",
            ge=0,
        ),
    ] = 2000
    seed_retry_max_ms: Annotated[
        int, _option("Milliseconds at most between two tries of a seed that does not answer; tries never end.", ge=100)
    ] = 5000


class LimitSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What a node takes at most; above, it says so and sheds load."""

    key_bytes_max: Annotated[int, _option("Bytes of a key.", ge=1, le=65536)] = 4096
    value_bytes_max: Annotated[int, _option("Bytes of a value.", ge=1, le=64 * 2**20)] = 8 * 2**20
    value_warn_bytes: Annotated[
        int, _option("Bytes of a value from which each put of such a one is logged as a warning.", ge=1)
    ] = 2**20
    siblings_max: Annotated[int, _option("Siblings of a key from which client puts to it are refused.", ge=2)] = 100
    siblings_warn: Annotated[
        int, _option("Siblings of a key from which a write that leaves them is logged as a warning.", ge=2)
    ] = 25
    record_bytes_max: Annotated[int, _option("Bytes of a record above which client puts to it are refused.", ge=1)] = (
        32 * 2**20
    )
    requests_max: Annotated[
        int, _option("Client requests that a node works on at a time; above, it answers *overloaded*.", ge=1)
    ] = 2000
    in_flight_bytes_max: Annotated[
        int, _option("Bytes of client writes that a node works on at a time; above, it answers *overloaded*.", ge=1)
    ] = 64 * 2**20
    peer_bytes_max: Annotated[
        int, _option("Bytes sent to one peer and not yet answered; above, writes go on without that replica.", ge=1)
    ] = 32 * 2**20
    deadline_ms_max: Annotated[int, _option("Milliseconds of the longest deadline that a request may have.", ge=1)] = (
        60_000
    )
    clock_skew_ms: Annotated[
        int,
        _option("Milliseconds that a peer's clock may be ahead; records from further in the future are refused.", ge=1),
    ] = 500
    hint_count_max: Annotated[
        int,
        _option(
            "Records that a node holds for one member that is away (hints); what is beyond is not taken for it, and "
            "made up by repair when it is back.",
            ge=0,
        ),
    ] = 1_000_000
    hint_bytes_max: Annotated[int, _option("Bytes of records that a node holds for one member that is away.", ge=0)] = (
        2**30
    )
    background_bytes_per_s: Annotated[
        int,
        _option(
            "Bytes a second that a node moves at most in the background: what it pulls after a lost disk, hands over "
            "and compares. Each record counts 512 bytes more. A node goes slower by itself, down to a 64th, while "
            "clients wait longer for its answers than usual.",
            ge=1024,
        ),
    ] = 32 * 2**20


class BucketSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """The rules of one bucket, where they are not the cluster's. Every node needs the same tables."""

    r: Annotated[int, _option("Replicas that a read waits for (R). 0: as `quorum.r`.", ge=0, le=16, examples=[2])] = 0
    w: Annotated[int, _option("Replicas that a write waits for (W). 0: as `quorum.w`.", ge=0, le=16, examples=[2])] = 0
    pr: Annotated[
        int,
        _option("How many of the answers to a read have to come from owners of the key.", ge=0, le=16, examples=[1]),
    ] = 0
    pw: Annotated[
        int,
        _option("How many of the answers to a write have to come from owners of the key.", ge=0, le=16, examples=[1]),
    ] = 0
    expiry_ms: Annotated[
        int,
        _option(
            "Milliseconds after which a value expires, unless its put says another time. 0: never.",
            ge=0,
            le=EXPIRY_MS_MAX,
            examples=[3_600_000],
        ),
    ] = 0
    conflict: Annotated[
        str,
        _option(
            "How concurrent writes end. `siblings`: readers get all of them. `lww`: the last write wins by the clocks, "
            "the others are lost and counted. `merge:MODULE:FUNCTION`: readers get what this function makes of them; "
            "it has to be importable where the clients run, and `zdynamo check-merge` has to find nothing against it."
        ),
    ] = "siblings"


class LogSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is logged, to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _option("The lowest level that is logged.")] = "info"
    format: Annotated[
        Literal["auto", "human", "json"], _option("`auto`: for people on a terminal, JSON lines otherwise.")
    ] = "auto"


class TracingSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """Traces of requests through the cluster, by OpenTelemetry (`zdynamo[otel]`)."""

    exporter: Annotated[
        Literal["off", "otlp", "console"],
        _option(
            "Where spans go: `otlp` to a collector over HTTP, `console` to standard error, for trying it out; `off` "
            "costs nothing."
        ),
    ] = "off"
    endpoint: Annotated[
        str,
        _option(
            "The URL of the collector for `otlp`; without a path, /v1/traces is added. Empty: as "
            "`OTEL_EXPORTER_OTLP_ENDPOINT` says, else http://localhost:4318.",
            examples=["http://127.0.0.1:4318"],
        ),
    ] = ""
    sample_ratio: Annotated[
        float,
        _option(
            "The share of requests that is traced, of those that come without a trace; what comes with one is traced "
            "if that is. Lower: fewer are seen; cost: docs/tracing.md has what it takes of the throughput.",
            ge=0,
            le=1,
        ),
    ] = 0.01


class Config(Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole configuration of a node. Only `loading`, `cli` and `threads.server` see it whole."""

    node: NodeSettings = field(default_factory=NodeSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    quorum: QuorumSettings = field(default_factory=QuorumSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    repair: RepairSettings = field(default_factory=RepairSettings)
    membership: MembershipSettings = field(default_factory=MembershipSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    log: LogSettings = field(default_factory=LogSettings)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    buckets: dict[str, BucketSettings] = field(default_factory=dict)


def kinds(section: str) -> dict[str, Any]:
    """The settings of a section, by name, with their type and description; empty if there is no such section."""
    settings = BucketSettings if section == BUCKETS else typing.get_type_hints(Config).get(section)
    return typing.get_type_hints(settings, include_extras=True) if settings else {}
