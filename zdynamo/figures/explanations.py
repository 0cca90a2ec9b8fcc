"""Where a key belongs, and what each of its owners holds, as a document; what may be beyond 53 bits is text."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from zdynamo.plain import plain

if TYPE_CHECKING:
    from zdynamo.messages import Dot, Explained, ReplicaState, SiblingState, Topology


class Named(Struct):
    """A node."""

    id: str
    name: str


class Rules(Struct):
    """Those of the key's bucket."""

    r: int
    w: int
    pr: int
    pw: int
    expiry_ms: int
    conflict: str


class SiblingHeld(Struct):
    """One sibling as a replica holds it, without its value."""

    dot: str
    written_ms: int
    expires_ms: int
    tombstone: bool
    content_type: str
    size: int
    request: str


class ReplicaHeld(Struct):
    """What one node holds under the key."""

    id: str
    name: str
    reachable: bool
    settled: bool
    round: int
    digest: str | None
    differs_from: list[str]
    clock: list[str]
    cloud: list[str]
    siblings: list[SiblingHeld]
    waits: str
    hints: list[str]


class Explanation(Struct):
    """All that `zdynamo explain` tells."""

    key: Any  # bytes that are no text: {"base64": ...}
    bucket: str
    partition: int
    owners: list[Named]
    fallbacks: list[Named]
    rules: Rules
    replicas: list[ReplicaHeld]


def explanation(key: bytes, explained: "Explained", names: dict[str, str]) -> Explanation:
    rules = explained.bucket
    return Explanation(
        plain(key),
        rules.name,
        explained.partition,
        [_named(owner, names) for owner in explained.owners],
        [_named(fallback, names) for fallback in explained.fallbacks],
        Rules(rules.r, rules.w, rules.pr, rules.pw, rules.expiry_ms, rules.conflict),
        [_replica(replica, explained, names) for replica in explained.replicas],
    )


def names_of(topology: "Topology") -> dict[str, str]:
    return {member.record.id: member.record.name for member in topology.members}


def differs_from(replica: "ReplicaState", explained: "Explained") -> list[str]:
    """The owners that hold another record, as far as both are known."""
    others = (other for other in explained.replicas if other.reachable and replica.reachable)
    return [other.node for other in others if other.digest != replica.digest]


def hex_of(number: int) -> str:
    return f"{number:016x}"


def _replica(replica: "ReplicaState", explained: "Explained", names: dict[str, str]) -> ReplicaHeld:
    return ReplicaHeld(
        replica.node,
        names.get(replica.node, replica.node),
        replica.reachable,
        replica.settled,
        replica.round,
        hex_of(replica.digest) if replica.digest else None,
        _known(differs_from(replica, explained), names),
        [_dot(dot) for dot in replica.clock],
        [_dot(dot) for dot in replica.cloud],
        [_sibling(sibling) for sibling in replica.siblings],
        replica.waits,
        _known([target for target in replica.hint.split(",") if target], names),
    )


def _sibling(sibling: "SiblingState") -> SiblingHeld:
    return SiblingHeld(
        _dot(sibling.dot),
        sibling.time_ms,
        sibling.expires_ms,
        sibling.tombstone,
        sibling.content_type,
        sibling.size,
        sibling.request.hex(),
    )


def _named(node: str, names: dict[str, str]) -> Named:
    return Named(node, names.get(node, node))


def _known(nodes: Sequence[str], names: dict[str, str]) -> list[str]:
    return [names.get(node, node) for node in nodes]


def _dot(dot: "Dot") -> str:
    """As text, since JSON readers may round large numbers."""
    return f"{hex_of(dot[0])}.{dot[1]}.{dot[2]}"
