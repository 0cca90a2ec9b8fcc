"""The cluster between two moments as one document: what `zdynamo top --json` prints."""

from typing import TYPE_CHECKING, Any

from zdynamo.figures.loads import Load, agreement, load_document, load_of
from zdynamo.figures.moments import Moment

if TYPE_CHECKING:
    from zdynamo.messages import MemberView, NodeDescription, StoreSizes


TOLD = (  # by a node that answers
    "uptime_ms", "requests_per_s", "latency_ms", "failed_per_s", "repaired_per_s", "busy", "hints", "store", "notices",
)  # fmt: skip


def cluster_document(before: Moment | None, after: Moment) -> dict[str, Any]:
    """Rates are those since `before`, of a node that had not answered then since its start."""
    topology = after.topology
    return {
        "cluster": topology.cluster,
        "seen_by": topology.answered_by,
        "layout": topology.layout.number if topology.layout else None,
        "agree": agreement(after),
        "nodes": [node_document(member, before, after) for member in after.members],
    }


def node_document(member: "MemberView", before: Moment | None, after: Moment) -> dict[str, Any]:
    """What a node does not tell is null."""
    record, answer = member.record, after.of(member)
    named = {"name": record.name, "id": record.id, "address": record.addresses.client, "state": member.state}
    unknown = dict.fromkeys(TOLD)
    if isinstance(answer, str):
        return {**named, "reachable": False, "error": answer, **unknown}
    return {
        **named,
        "reachable": True,
        "error": None,
        **unknown,
        "uptime_ms": answer.uptime_ms,
        **load_document(load_between(member, before, after) or load_of(None, answer)),
        "hints": hints_document(answer),
        "store": store_document(answer.figures.store) if answer.figures is not None else None,
        "notices": answer.notices,
    }


def load_between(member: "MemberView", before: Moment | None, after: Moment) -> Load | None:
    """None if it does not answer."""
    answer = after.of(member)
    if isinstance(answer, str):
        return None
    return load_of(before.told.get(member.record.id) if before else None, answer)


def hints_document(answer: "NodeDescription") -> list[dict[str, Any]]:
    """What a node holds for others; `held_ms` is -1 where it does not tell."""
    return [
        {"target": held.target, "count": held.count, "bytes": held.bytes, "held_ms": held.held_ms}
        for held in answer.hints
    ]


def store_document(store: "StoreSizes") -> dict[str, int]:
    return {"keys": store.keys, "disk_bytes": store.disk_bytes, "free_bytes": store.free_bytes}
