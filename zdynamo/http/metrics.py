"""What Prometheus is told of a node: its description and the cluster as it sees it, in the text format.

Names and units follow Prometheus: counters end in `_total`, times are seconds, sizes are bytes. Without state: all
figures count from the start of the node, and two scrapers disturb each other no more than two readers of a page.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from zdynamo.http.health import short_of_quorum
from zdynamo.http.metric_names import METRICS, Metric

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from zdynamo.messages import Figures, NodeDescription, Spread, Topology

CONTENT_TYPE = CONTENT_TYPE_LATEST
STATES = ("alive", "suspect", "unreachable", "down")
FAILURES = ("quorum_not_met", "outcome_unknown", "overloaded", "refused")
ZEROS = {name: 0 for name, metric in METRICS.items() if metric.name.endswith("_total")}


def exposition(topology: "Topology", description: "NodeDescription") -> bytes:
    """Both by the same node."""
    return generate_latest(_Told(topology, description))  # all that it calls is `collect`


class _Told:
    """What is told once, in the place of a registry."""

    def __init__(self, topology: "Topology", description: "NodeDescription") -> None:
        self._topology = topology
        self._description = description

    def collect(self) -> "Iterator[Family]":
        topology, description = self._topology, self._description
        yield from _node(topology, description)
        yield from _counters(description.counters)
        yield from _members(topology)
        yield from _partitions(topology, description)
        yield from _hints(topology, description)
        if description.figures is not None:
            yield from _figures(description.figures)


def _node(topology: "Topology", description: "NodeDescription") -> "Iterator[Family]":
    labels = {
        "node": description.id,
        "name": description.name,
        "cluster": description.cluster,
        "engine": description.engine,
        "durability": description.durability,
    }
    yield _gauge("node_info", "Always 1: which node this is.", 1, labels)
    yield _gauge("uptime_seconds", "Since the node was started.", description.uptime_ms / 1000)
    yield _gauge("notices", "Notices for operators, as `zdynamo status` shows them.", len(description.notices))
    yield _gauge(
        "layout_number", "Of the layout; 0: there is none yet.", topology.layout.number if topology.layout else 0
    )
    yield _gauge("view", "Number of the view: it grows with each change of a member or its state.", topology.view)


def _counters(counters: dict[str, int]) -> "Iterator[Family]":
    """What is counted under a name that is not known here is by a later node, and is told as it is.

    What has not happened yet is 0: of a series that begins with its first event, Prometheus would not see that event.
    """
    families: dict[str, Family] = {}
    for name, count in sorted((ZEROS | counters).items()):
        metric = METRICS.get(name) or Metric("zdynamo_other", "What a later version counts.", {"what": name})
        if count < 0:  # there has been nothing to measure
            continue
        family = families.get(metric.name)
        if family is None:
            kind = CounterMetricFamily if metric.name.endswith("_total") else GaugeMetricFamily
            family = families[metric.name] = kind(metric.name, metric.about, labels=list(metric.labels))
        family.add_metric(list(metric.labels.values()), count / metric.per)  # type: ignore[attr-defined]
    yield from families.values()


def _members(topology: "Topology") -> "Iterator[Family]":
    members = GaugeMetricFamily("zdynamo_members", "Members by state, as this node sees them.", labels=["state"])
    for state in STATES:
        members.add_metric([state], sum(member.state == state for member in topology.members))
    yield members
    labels = ["member", "member_name"]
    alive = GaugeMetricFamily("zdynamo_member_alive", "Whether this node sees the member as alive.", labels=labels)
    phi = GaugeMetricFamily("zdynamo_member_phi", "How suspicious the silence of a member is.", labels=labels)
    for member in topology.members:
        named = [member.record.id, member.record.name]
        alive.add_metric(named, member.state == "alive")
        phi.add_metric(named, member.phi)
    yield from (alive, phi)


def _partitions(topology: "Topology", description: "NodeDescription") -> "Iterator[Family]":
    owned = sum(description.id in owners for owners in topology.owners)
    yield _gauge("partitions_owned", "Partitions that this node has a copy of.", owned)
    if description.figures is not None:
        short = short_of_quorum(topology, max(description.figures.r, description.figures.w))
        about = "Partitions of which this node reaches fewer owners than R or W; fallbacks stand in for them."
        yield _gauge("partitions_short_of_quorum", about, short)


def _hints(topology: "Topology", description: "NodeDescription") -> "Iterator[Family]":
    names = {member.record.id: member.record.name for member in topology.members}
    labels = ["target", "target_name"]
    count = GaugeMetricFamily("zdynamo_hints", "Records held for a member that could not take them.", labels=labels)
    size = GaugeMetricFamily("zdynamo_hints_bytes", "Of those records.", labels=labels)
    age = GaugeMetricFamily(
        "zdynamo_hints_held_seconds", "For how long something has been held for it without a break.", labels=labels
    )
    for held in description.hints:
        named = [held.target, names.get(held.target, held.target)]
        count.add_metric(named, held.count)
        size.add_metric(named, held.bytes)
        if held.held_ms >= 0:
            age.add_metric(named, held.held_ms / 1000)
    yield from (count, size, age)


def _figures(figures: "Figures") -> "Iterator[Family]":
    about = "Requests that clients have sent to this node, by how they were answered."
    requests = CounterMetricFamily("zdynamo_requests_total", about, labels=["kind", "outcome"])
    about = "From when a request may have arrived until its answer leaves; not of those refused or overloaded."
    duration = HistogramMetricFamily("zdynamo_request_duration_seconds", about, labels=["kind"])
    for kind in figures.requests:
        for outcome, count in sorted((dict.fromkeys(FAILURES, 0) | kind.outcomes).items()):
            requests.add_metric([kind.kind, outcome], count)
        _add(duration, [kind.kind], kind.took, figures)
    yield from (requests, duration)
    about = "A turn of the process loop, from waking up until all is sent: what arrives meanwhile waits so long."
    turns = HistogramMetricFamily("zdynamo_loop_turn_seconds", about)
    _add(turns, [], figures.turns, figures)
    yield turns
    store = figures.store
    yield _gauge("store_keys", "About so many keys are stored, the node's own among them.", store.keys)
    yield _gauge("store_disk_bytes", "That the store takes up.", store.disk_bytes)
    if store.free_bytes >= 0:
        yield _gauge("store_free_bytes", "Left on its disk.", store.free_bytes)
    digests = GaugeMetricFamily(
        "zdynamo_digest_info", "Always 1: digests that have to be the same on all nodes.", labels=["of", "digest"]
    )
    for of in ("table", "layout", "buckets"):
        digests.add_metric([of, f"{getattr(figures.digests, of):016x}"], 1)
    yield digests
    about = "Members that have said that they have another table of buckets."
    yield _gauge("buckets_differ", about, len(figures.buckets_differ))
    about = "Members that have seen another table of members or another layout for longer than news takes."
    yield _gauge("views_differ", about, len(figures.views_differ))


def _add(family: HistogramMetricFamily, labels: list[str], spread: "Spread", figures: "Figures") -> None:
    """Prometheus wants to know how many took so long *at most*."""
    buckets, total = [], 0
    bounds = [str(bound_us / 1e6) for bound_us in figures.bounds_us]
    for bound, count in zip([*bounds, "+Inf"], spread.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    family.add_metric(labels, buckets, spread.sum_us / 1e6)


def _gauge(name: str, about: str, value: float, labels: dict[str, str] | None = None) -> GaugeMetricFamily:
    gauge = GaugeMetricFamily(f"zdynamo_{name}", about, labels=list(labels or ()))
    gauge.add_metric(list((labels or {}).values()), value)
    return gauge
