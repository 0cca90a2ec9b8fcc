"""What the configuration says, in the words of the core."""

import msgspec

from zdynamo.config import Config
from zdynamo.core.members.events import Profile
from zdynamo.core.members.joining import constants_for
from zdynamo.core.records.buckets import table_digest
from zdynamo.core.settings import NodeLimits, Rhythms
from zdynamo.messages import Addresses, Bucket


def addresses_of(config: Config) -> Addresses:
    """The four addresses of a node, as they are given; ports not set follow the client port."""
    node = config.node
    if "://" in node.host:  # inproc and ipc have no ports: the host names them all
        return Addresses(*(f"{node.host}-{part}" for part in ("client", "peer", "gossip", "http")))
    ports = (node.port, node.peer_port, node.gossip_port, node.http_port)
    return Addresses(*(f"{node.host}:{port or node.port + place}" for place, port in enumerate(ports)))


def profile_of(config: Config, name: str, addresses: Addresses) -> Profile:
    cluster = config.cluster
    return Profile(
        name=name,
        addresses=addresses,
        zone=config.node.zone,
        weight=config.node.weight,
        seeds=tuple(cluster.seeds),
        found=cluster.found,
        data=config.node.data,
        buckets_digest=table_digest(buckets_of(config)),
        constants=constants_for(
            partitions=cluster.partitions, n=cluster.n, min_members=cluster.min_members, seeds=cluster.seeds
        ),
    )


def buckets_of(config: Config) -> tuple[Bucket, ...]:
    return tuple(Bucket(name, **msgspec.to_builtins(rules)) for name, rules in config.buckets.items())


def limits_of(config: Config) -> NodeLimits:
    quorum, limits = config.quorum, msgspec.to_builtins(config.limits)
    return NodeLimits(
        r=quorum.r,
        w=quorum.w,
        replica_timeout_ms=quorum.replica_timeout_ms,
        reap_interval_ms=config.storage.reap_interval_ms,
        repair_interval_ms=config.repair.interval_ms,
        **limits,
    )


def rhythms_of(config: Config) -> Rhythms:
    return Rhythms(**msgspec.to_builtins(config.membership))
