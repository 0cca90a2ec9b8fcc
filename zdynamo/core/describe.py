"""What a node tells clients about the cluster and itself."""

from collections.abc import Iterable

from zdynamo.core.events import Effect, Noted, Reply
from zdynamo.core.owners.placement import Placement
from zdynamo.core.records.buckets import table_digest
from zdynamo.core.served import BOUNDS_US, Histogram, Served
from zdynamo.core.state import State
from zdynamo.messages import (
    ClientLimits,
    DescribeCluster,
    DescribeNode,
    Digests,
    Figures,
    HintsHeld,
    NodeDescription,
    Refused,
    Topology,
)


def describe_cluster(client: bytes, request: DescribeCluster, placement: Placement, state: State) -> list[Effect]:
    """The topology, unless another cluster is asked for."""
    cluster = placement.view.cluster
    if not request.cluster or request.cluster == cluster:
        return [Reply(client, _topology(request, placement, state))]
    reason = f"this node is of cluster {cluster}, the other of {request.cluster}: check the address"
    state.counters["requests.foreign"] += 1
    return [
        Reply(client, Refused(request.request, reason)),
        Noted("cluster.refused", {"reason": reason}, "warning"),
    ]


def _topology(request: DescribeCluster, placement: Placement, state: State) -> Topology:
    view, limits = placement.view, state.limits
    return Topology(
        request.request,
        view.cluster,
        view.me.id,
        view.constants,
        view.members,
        view.layout,
        placement.owners,
        view.number,
        view.table_digest,
        state.buckets.table,
        ClientLimits(limits.key_bytes_max, limits.value_bytes_max),
    )


def describe_node(
    request: DescribeNode,
    placement: Placement,
    counters: dict[str, int],
    more_notices: Iterable[str],
    state: State,
    uptime_ms: int,
    hints: tuple[HintsHeld, ...],
    figures: Figures,
) -> NodeDescription:
    view, store = placement.view, state.store
    return NodeDescription(
        request.request,
        view.me.id,
        view.me.name,
        view.cluster,
        counters,
        (*notices(placement), *more_notices),
        store.engine,
        store.durability,
        uptime_ms,
        hints,
        figures,
    )


def figures_of(placement: Placement, state: State, served: Served, turns: Histogram) -> Figures:
    view, limits = placement.view, state.limits
    return Figures(
        limits.r,
        limits.w,
        BOUNDS_US,
        served.requests(),
        turns.spread(),
        state.store.sizes(),
        Digests(view.table_digest, view.layout.digest if view.layout else 0, table_digest(state.buckets.table)),
        view.buckets_differ,
        view.views_differ,
    )


def notices(placement: Placement) -> tuple[str, ...]:
    """What an operator should know, in words."""
    view = placement.view
    found = []
    if view.layout is None:
        joined, needed = len(view.members), view.constants.min_members
        found.append(f"forming: {joined} members, {needed} needed; the first put fixes who owns the data")
    else:
        copies = min(view.constants.n, len(view.layout.members))
        if copies < view.constants.n:
            found.append(f"each key has {copies} of {view.constants.n} copies: there are only so many members")
        if all(member.id != placement.me for member in view.layout.members):
            found.append("joined after data was taken: owns nothing until layouts can change")
    down = [member.record.name for member in view.members if member.state == "down"]
    if down:
        found.append(f"down: {', '.join(sorted(down))}")
    cut = [member.record.name for member in view.members if member.state == "unreachable"]
    if cut:
        found.append(f"unreachable from here, though others reach it: {', '.join(sorted(cut))} (check the links)")
    if view.views_differ:
        others = ", ".join(sorted(placement.name_of(node) for node in view.views_differ))
        found.append(f"other members or another layout are seen by {others}, for long (check the links)")
    if view.buckets_differ:
        others = ", ".join(sorted(placement.name_of(node) for node in view.buckets_differ))
        found.append(f"bucket tables differ: {others} (compare [buckets] in their configuration)")
    return tuple(found)
