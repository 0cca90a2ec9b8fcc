"""Every setting of a node: its default, unit and reason, and nowhere else.

A setting is named `section.key` in messages, `[section] key` in the TOML file and `ZDYNAMO_SECTION_KEY` in the
environment. Command-line flags beat the environment, which beats the file, which beats the defaults here.
"""

import ipaddress
import json
import tomllib
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from zdynamo.errors import ConfigError

CLIENT_PORT = 7400
ENVIRONMENT_PREFIX = "ZDYNAMO_"
CLIENT_ENVIRONMENT = frozenset({"ZDYNAMO_ADDRESS"})  # read by the verbs that are clients
UNKNOWN = "Object contains unknown field "  # as msgspec says it
LOOPBACK_HOSTS = ("localhost", "ip6-localhost")


def _option(description: str, **bounds: Any) -> Meta:
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
    bind: Annotated[str, _option("The address that the node listens on. Empty: the advertised host.")] = ""
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
            "Milliseconds within which a healthy replica answers. A node that a request was handed to has three times "
            "as long before another is asked as well.",
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


class MembershipSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """How nodes find each other and notice who is gone."""

    heartbeat_ms: Annotated[
        int,
        _option(
            "Milliseconds between heartbeats. Silence is judged against the rhythm actually seen. Lower: faster "
            "detection; cost: one message of about 100 bytes to each member.",
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
        int, _option("Milliseconds that a suspect has to answer a ping before it is called down.", ge=10)
    ] = 600
    exchange_ms: Annotated[
        int,
        _option("Milliseconds between exchanges of the member table with one member in turn, heard or not.", ge=100),
    ] = 5000
    listen_ms: Annotated[
        int,
        _option(
            "Milliseconds that a new node without seeds listens for a cluster that knows its address, before it "
            "founds one.",
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
    siblings_max: Annotated[int, _option("Siblings of a key from which client puts to it are refused.", ge=2)] = 100
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


class LogSettings(Struct, forbid_unknown_fields=True, kw_only=True):
    """What is logged, to standard error."""

    level: Annotated[Literal["debug", "info", "warning", "error"], _option("The lowest level that is logged.")] = "info"
    format: Annotated[
        Literal["auto", "human", "json"], _option("`auto`: for people on a terminal, JSON lines otherwise.")
    ] = "auto"


class Config(Struct, forbid_unknown_fields=True, kw_only=True):
    """The whole configuration of a node. Only `cli` and `threads.server` see it whole."""

    node: NodeSettings = field(default_factory=NodeSettings)
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    quorum: QuorumSettings = field(default_factory=QuorumSettings)
    storage: StorageSettings = field(default_factory=StorageSettings)
    membership: MembershipSettings = field(default_factory=MembershipSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    log: LogSettings = field(default_factory=LogSettings)


def load(path: Path | None, environment: Mapping[str, str], flags: Mapping[str, Any]) -> Config:
    """Defaults, then the file, then `ZDYNAMO_SECTION_KEY`, then flags (`section.key` to value; None is left out).

    Raises: ConfigError, one line that names the key and what to do.
    """
    settings: dict[str, dict[str, Any]] = _from_file(path) if path else {}
    for section, key, value in _from_environment(environment):
        settings.setdefault(section, {})[key] = value
    for dotted, value in flags.items():
        if value is not None:
            section, key = dotted.split(".")
            settings.setdefault(section, {})[key] = value
    config = _converted(settings, "")
    check(config)
    return config


def check(config: Config) -> None:
    """What holds between settings. Raises: ConfigError."""
    cluster, quorum, node = config.cluster, config.quorum, config.node
    if cluster.partitions & (cluster.partitions - 1):
        raise ConfigError(f"cluster.partitions is {cluster.partitions}: use a power of two, such as 256")
    for key, value in (("quorum.r", quorum.r), ("quorum.w", quorum.w)):
        if value > cluster.n:
            raise ConfigError(f"{key} is {value}, more than cluster.n = {cluster.n}: lower it to at most {cluster.n}")
    for address in cluster.seeds:
        check_address("cluster.seeds", address)
    if not node.host:
        raise ConfigError("node.host is empty: set it to the host that others reach this node at, such as 127.0.0.1")
    for key, host in (("node.host", node.host), ("node.bind", node.bind)):
        if host and "://" not in host and not is_loopback(host) and not node.insecure:
            raise ConfigError(
                f"{key} is {host}, beyond loopback, and links are not encrypted yet: "
                "set node.insecure = true (--insecure) if the network is trusted"
            )
    _check_ports(node)


def _check_ports(node: NodeSettings) -> None:
    if not node.port:
        return
    taken: dict[int, str] = {}
    for step, key in enumerate(("port", "peer_port", "gossip_port", "http_port")):
        port = getattr(node, key) or node.port + step
        if port > 65535:
            raise ConfigError(f"node.{key} would be {port} (node.port + {step}): set it, or lower node.port")
        if port in taken:
            raise ConfigError(f"node.{key} is {port}, and so is node.{taken[port]}: give each its own port")
        taken[port] = key


def check_address(key: str, address: str) -> None:
    """Raises: ConfigError unless it is HOST:PORT or an endpoint with a scheme."""
    host, _, port = address.rpartition(":")
    if "://" not in address and not (host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"{key} has {address!r}: write it as HOST:PORT, such as 127.0.0.1:{CLIENT_PORT}")


def is_loopback(host: str) -> bool:
    """Whether the host surely names this machine only."""
    if host in LOOPBACK_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _from_file(path: Path) -> dict[str, dict[str, Any]]:
    try:
        loaded = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): give --config a file that can") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    for section, keys in loaded.items():
        if not isinstance(keys, dict):
            raise ConfigError(f"{path}: {section} stands outside a section: put it under one of {_sections()}")
    _converted(loaded, f"{path}: ")
    return loaded


def _converted(settings: Mapping[str, Any], source: str) -> Config:
    try:
        return msgspec.convert(settings, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(source + _teach(str(error))) from None


def _from_environment(environment: Mapping[str, str]) -> list[tuple[str, str, Any]]:
    found = []
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in CLIENT_ENVIRONMENT:
            continue
        section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        kind = kinds(section).get(key)
        if kind is None:
            raise ConfigError(
                f"{name} names no setting: the form is {ENVIRONMENT_PREFIX}SECTION_KEY, see docs/options.md"
            )
        value: Any = text.split(",") if typing.get_args(kind)[0] == list[str] else text
        try:
            found.append((section, key, msgspec.convert(value, kind, strict=False)))
        except msgspec.ValidationError as error:
            raise ConfigError(f"{name} is {text!r}: {_lowered(error)}, {_example(section, key)}") from None
    return found


def kinds(section: str) -> dict[str, Any]:
    """The settings of a section, by name, with their type and description; empty if there is no such section."""
    settings = typing.get_type_hints(Config).get(section)
    return typing.get_type_hints(settings, include_extras=True) if settings else {}


def _sections() -> str:
    return ", ".join(f"[{name}]" for name in Config.__struct_fields__)


def _teach(problem: str) -> str:
    """`Expected `int`, got `str` - at `$.node.port`` as a line that names the key first."""
    what, _, where = problem.partition(" - at ")
    place = where.strip("`").removeprefix("$").removeprefix(".").partition("[")[0]
    section, _, key = place.partition(".")
    if what.startswith(UNKNOWN):
        unknown = what.removeprefix(UNKNOWN).strip("`")
        if not section:
            return f"[{unknown}] is no section: there are {_sections()}"
        return f"{section}.{unknown} is no setting: [{section}] knows {', '.join(kinds(section))}"
    if not key:
        return f"{section or 'the file'}: {_lowered(what)}"
    return f"{place}: {_lowered(what)}, {_example(section, key)}"


def _lowered(text: object) -> str:
    return str(text)[:1].lower() + str(text)[1:]


def _example(section: str, key: str) -> str:
    """What to write instead."""
    kind = typing.get_args(kinds(section)[key])[0]
    if typing.get_origin(kind) is Literal:
        return f"use one of {', '.join(typing.get_args(kind))}"
    if typing.get_origin(kind) is list:
        return f'write it as {key} = ["127.0.0.1:{CLIENT_PORT}"]'
    return f"write it as {key} = {json.dumps(getattr(getattr(Config(), section), key))}"
