"""What a node did between two looks at its figures: rates, latencies, how busy it was."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from zdynamo.figures.moments import Moment
    from zdynamo.messages import Figures, NodeDescription, Spread

FAILED = ("quorum_not_met", "outcome_unknown", "overloaded", "refused")
WAYS = {  # in which records are brought to replicas that lacked them
    "read_repair": ("repairs.sent",),
    "anti_entropy": ("compare.stored_here", "compare.stored_there"),
    "transfer": ("pulls.records",),
    "handoff": ("hints.handed_over",),
}


class Latency(NamedTuple):
    """Milliseconds; None: nothing was measured."""

    p50: float | None
    p99: float | None


class Load(NamedTuple):
    """A second, but for the shares."""

    requests: dict[str, float]  # by kind
    latency: dict[str, Latency]  # by kind
    failed: float  # of the requests
    failures: int  # so many of them, in all of the time
    brought: dict[str, float]  # records, by way
    busy: float  # share of the time that the process loop was at work

    @property
    def repaired(self) -> float:
        """In whatever way."""
        return sum(self.brought.values())


def load_of(before: "NodeDescription | str | None", after: "NodeDescription") -> Load:
    """Since the earlier look; since its start if there was none, or the node has been started again meanwhile."""
    earlier = None if before is None or isinstance(before, str) or before.uptime_ms > after.uptime_ms else before
    seconds = max(0.001, (after.uptime_ms - (earlier.uptime_ms if earlier else 0)) / 1000)
    counted = _grown(earlier.counters if earlier else {}, after.counters)
    brought = {way: sum(counted.get(name, 0) for name in names) / seconds for way, names in WAYS.items()}
    if after.figures is None:
        return Load({}, {}, 0.0, 0, brought, 0.0)
    figures, past = after.figures, earlier.figures if earlier else None
    kinds = {of.kind: of for of in past.requests} if past else {}
    pairs = [(kinds.get(of.kind), of) for of in figures.requests]
    outcomes = {of.kind: _grown(then.outcomes if then else {}, of.outcomes) for then, of in pairs}
    spreads = {of.kind: _counts_between(then.took if then else None, of.took) for then, of in pairs}
    failures = sum(each.get(name, 0) for each in outcomes.values() for name in FAILED)
    turns_us = figures.turns.sum_us - (past.turns.sum_us if past else 0)
    return Load(
        {kind: sum(each.values()) / seconds for kind, each in outcomes.items()},
        {kind: _latency(figures, counts) for kind, counts in spreads.items()},
        failures / seconds,
        failures,
        brought,
        min(1.0, turns_us / 1e6 / seconds),
    )


def latency_together(pairs: "Iterable[tuple[NodeDescription, NodeDescription]]") -> dict[str, Latency]:
    """Of all requests of several nodes between two looks, by kind; nodes that measure otherwise are left out."""
    known = [(before.figures, after.figures) for before, after in pairs if before.figures and after.figures]
    if not known:
        return {}
    measure = known[0][1]
    counts: dict[str, list[int]] = {}
    for past, figures in known:
        if figures.bounds_us != measure.bounds_us:
            continue
        kinds = {of.kind: of.took for of in past.requests}
        for of in figures.requests:
            grown = _counts_between(kinds.get(of.kind), of.took)
            counts[of.kind] = [sum(pair) for pair in zip(counts.get(of.kind, [0] * len(grown)), grown, strict=True)]
    return {kind: _latency(measure, each) for kind, each in counts.items()}


def percentile(share: float, counts: Sequence[int], bounds_us: Sequence[int]) -> float | None:
    """Microseconds that so large a share took at most, as if evenly spread within each bucket; None: there is nothing.

    What took longer than every bound is told as the last bound.
    """
    rank, below = share * sum(counts), 0
    if not rank:
        return None
    for place, count in enumerate(counts):
        if below + count >= rank and count:
            if place == len(bounds_us):
                break
            low = bounds_us[place - 1] if place else 0
            return low + (bounds_us[place] - low) * (rank - below) / count
        below += count
    return float(bounds_us[-1])


def agreement(moment: "Moment") -> dict[str, bool]:
    """Whether all nodes that have answered have the same table of members, layout and buckets."""
    figures = [told.figures for told in moment.told.values() if not isinstance(told, str) and told.figures]
    return {
        "members": len({each.digests.table for each in figures}) < 2,
        "layout": len({each.digests.layout for each in figures}) < 2,
        "buckets": len({each.digests.buckets for each in figures}) < 2,
    }


def load_document(load: Load) -> dict[str, Any]:
    """For scripts."""
    return {
        "requests_per_s": load.requests,
        "latency_ms": latency_document(load.latency),
        "failed_per_s": load.failed,
        "repaired_per_s": load.repaired,
        "busy": load.busy,
    }


def latency_document(latency: Mapping[str, Latency]) -> dict[str, Any]:
    return {kind: {"p50": took.p50, "p99": took.p99} for kind, took in latency.items()}


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """Never less than nothing: some of what is counted is how things are, and may fall."""
    return {name: max(0, count - before.get(name, 0)) for name, count in after.items()}


def _counts_between(before: "Spread | None", after: "Spread") -> list[int]:
    if before is None or len(before.counts) != len(after.counts):
        return list(after.counts)
    return [max(0, now - then) for then, now in zip(before.counts, after.counts, strict=True)]


def _latency(figures: "Figures", counts: Sequence[int]) -> Latency:
    p50, p99 = (percentile(share, counts, figures.bounds_us) for share in (0.5, 0.99))
    return Latency(None if p50 is None else p50 / 1000, None if p99 is None else p99 / 1000)
