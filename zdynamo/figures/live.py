"""The cluster as the page shows it, second by second: what changes all the time, and the layout, which hardly does."""

from collections import Counter
from typing import TYPE_CHECKING, Any

from zdynamo.figures.documents import hints_document, store_document
from zdynamo.figures.loads import Load, agreement, latency_document, latency_together, load_document, load_of
from zdynamo.figures.moments import Moment

if TYPE_CHECKING:
    from zdynamo.messages import MemberView, NodeDescription, Topology

SHOWN = ("partitions.unsettled", "compare.known", "compare.known_ms")  # counters that say how things are


def layout_document(topology: "Topology") -> dict[str, Any]:
    """Owners of each partition, in order of preference, as places in `ids`."""
    ids = sorted({owner for owners in topology.owners for owner in owners})
    places = {id: place for place, id in enumerate(ids)}
    return {
        "layout": topology.layout.number if topology.layout else None,
        "partitions": topology.constants.partitions,
        "n": topology.constants.n,
        "ids": ids,
        "owners": [[places[owner] for owner in owners] for owners in topology.owners],
    }


def moment_document(before: Moment | None, after: Moment, at_ms: int) -> dict[str, Any]:
    """`load` is null where there is nothing to compare with yet; so are all of its rates."""
    topology = after.topology
    owns = Counter(owner for owners in topology.owners for owner in owners)
    pairs = _pairs(before, after)
    loads = {id: load_of(*pair) for id, pair in pairs.items()}
    return {
        "at_ms": at_ms,
        "cluster": topology.cluster,
        "seen_by": topology.answered_by,
        "layout": topology.layout.number if topology.layout else None,
        "agree": agreement(after),
        "quorum": _quorum(after),
        "total": _total(pairs, loads),
        "nodes": [_node(member, after, loads, owns[member.record.id]) for member in after.members],
    }


def remembered(before: Moment | None, after: Moment) -> Moment:
    """What each node has told last, for rates across a look that it missed."""
    past = before.told if before else {}
    return after._replace(
        told={id: past.get(id, answer) if isinstance(answer, str) else answer for id, answer in after.told.items()}
    )


def _pairs(before: Moment | None, after: Moment) -> "dict[str, tuple[NodeDescription, NodeDescription]]":
    """What nodes told then and now; nothing of those that were started meanwhile."""
    pairs = {}
    for id, now in after.told.items():
        then = before.told.get(id) if before else None
        if not isinstance(now, str) and not isinstance(then, str | None) and then.uptime_ms < now.uptime_ms:
            pairs[id] = then, now
    return pairs


def _quorum(after: Moment) -> int:
    """Owners that a partition needs for both R and W, where nothing else is asked for; 0: nobody has told."""
    return max((max(told.figures.r, told.figures.w) for told in after.told.values() if _tells(told)), default=0)  # type: ignore[union-attr]


def _tells(answer: "NodeDescription | str") -> bool:
    return not isinstance(answer, str) and answer.figures is not None


def _total(
    pairs: "dict[str, tuple[NodeDescription, NodeDescription]]", loads: dict[str, Load]
) -> dict[str, Any] | None:
    if not loads:
        return None
    kinds = sorted({kind for load in loads.values() for kind in load.requests})
    ways = next(iter(loads.values())).brought
    return {
        "requests_per_s": {kind: sum(load.requests.get(kind, 0.0) for load in loads.values()) for kind in kinds},
        "latency_ms": latency_document(latency_together(pairs.values())),
        "failed_per_s": sum(load.failed for load in loads.values()),
        "brought_per_s": {way: sum(load.brought[way] for load in loads.values()) for way in ways},
    }


def _node(member: "MemberView", after: Moment, loads: dict[str, Load], owns: int) -> dict[str, Any]:
    record, answer = member.record, after.of(member)
    named = {
        "id": record.id,
        "name": record.name,
        "address": record.addresses.client,
        "http": record.addresses.http,
        "zone": record.zone,
        "state": member.state,
        "phi": round(member.phi, 2),
        "owns": owns,
    }
    if isinstance(answer, str):
        return {**named, "error": answer}
    load = loads.get(record.id)
    return {
        **named,
        "uptime_ms": answer.uptime_ms,
        "load": {**load_document(load), "brought_per_s": load.brought} if load else None,
        "hints": hints_document(answer),
        "store": store_document(answer.figures.store) if answer.figures else None,
        "counters": {name: answer.counters[name] for name in SHOWN if name in answer.counters},
        "notices": answer.notices,
    }
