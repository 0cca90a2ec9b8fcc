#!/usr/bin/env python3
"""Writes the table of `docs/metrics.md` and `configs/grafana/zdynamo.json`; a test compares them with the code."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from prometheus_client.parser import text_string_to_metric_families

from zdynamo.http.metric_names import METRICS
from zdynamo.http.metrics import exposition
from zdynamo.messages import (
    Addresses,
    Constants,
    Digests,
    Figures,
    HintsHeld,
    MemberRecord,
    MemberView,
    NodeDescription,
    RequestsOf,
    Spread,
    StoreSizes,
    Topology,
)

ROOT = Path(__file__).parents[1]
MARKDOWN = ROOT / "docs" / "metrics.md"
DASHBOARD = ROOT / "configs" / "grafana" / "zdynamo.json"
BEGIN, END = "<!-- made by tools/metrics.py -->\n", "<!-- end -->\n"
WIDTH, HEIGHT = 8, 7  # of a panel: three in a row of 24

NODE = 'instance=~"$node"'
RATE = "[$__rate_interval]"


class Panel(NamedTuple):
    """A graph. Queries with the legend of each."""

    title: str
    about: str
    unit: str  # as Grafana calls it
    queries: tuple[tuple[str, str], ...]


def rate(metric: str, by: str) -> str:
    return f"sum by ({by}) (rate({metric}{{{NODE}}}{RATE}))"


def total(metric: str, by: str = "instance") -> str:
    return f"sum by ({by}) ({metric}{{{NODE}}})"


def percentile(share: float, metric: str, by: str = "kind") -> str:
    return f"histogram_quantile({share}, sum by (le, {by}) (rate({metric}_bucket{{{NODE}}}{RATE})))"


PANELS: dict[str, tuple[Panel, ...]] = {
    "Requests": (
        Panel("Requests", "Of clients, by kind.", "reqps", ((rate("zdynamo_requests_total", "kind"), "{{kind}}"),)),
        Panel(
            "Latency of puts and gets", "From when a request may have arrived until its answer leaves.", "s",
            (
                (percentile(0.5, "zdynamo_request_duration_seconds"), "{{kind}} p50"),
                (percentile(0.99, "zdynamo_request_duration_seconds"), "{{kind}} p99"),
            ),
        ),
        Panel(
            "Failures", "Too few replicas answered, or the node could not take it on.", "reqps",
            (
                (
                    'sum by (kind, outcome) (rate(zdynamo_requests_total{instance=~"$node",'
                    'outcome=~"quorum_not_met|outcome_unknown|overloaded|refused"}[$__rate_interval]))',
                    "{{kind}} {{outcome}}",
                ),
            ),
        ),
    ),
    "Cluster": (
        Panel(
            "Members", "By state, as the least fortunate node sees them.", "none",
            ((f"max by (state) (zdynamo_members{{{NODE}}})", "{{state}}"),),
        ),
        Panel(
            "Agreement", "How many different digests there are of each: 1 when all nodes agree.", "none",
            (("count by (of) (count by (of, digest) (zdynamo_digest_info))", "{{of}}"),),
        ),
        Panel(
            "Partitions", "Of which records may be lacking, or too few owners are reached.", "none",
            (
                (total("zdynamo_partitions_unsettled"), "unsettled {{instance}}"),
                (total("zdynamo_partitions_short_of_quorum"), "short of a quorum {{instance}}"),
            ),
        ),
    ),
    "Repair": (
        Panel(
            "Held for others", "Hints, by the member that they are for.", "none",
            ((total("zdynamo_hints", "target_name"), "{{target_name}}"),),
        ),
        Panel(
            "Oldest", "For how long something has been held, or a difference is known.", "s",
            (
                (f"max by (target_name) (zdynamo_hints_held_seconds{{{NODE}}})", "held for {{target_name}}"),
                (f"max(zdynamo_difference_oldest_seconds{{{NODE}}})", "difference"),
                (f"max(zdynamo_alike_age_seconds{{{NODE}}})", "since all were alike"),
            ),
        ),
        Panel(
            "Repairs", "Records brought to replicas that lacked them.", "ops",
            (
                (rate("zdynamo_read_repairs_total", "outcome"), "read repair {{outcome}}"),
                (rate("zdynamo_compared_records_total", "outcome"), "anti-entropy {{outcome}}"),
                (rate("zdynamo_hints_handed_over_total", "job"), "hints handed over"),
                (rate("zdynamo_pulled_records_total", "job"), "pulled"),
            ),
        ),
    ),
    "Data": (
        Panel(
            "Siblings and discards", "Reads that showed several values; writes that last-write-wins dropped.", "ops",
            (
                (rate("zdynamo_reads_with_siblings_total", "job"), "reads with siblings"),
                (rate("zdynamo_lww_discarded_total", "job"), "discarded"),
            ),
        ),
        Panel(
            "Tombstones", "Waiting for proof, and removed.", "none",
            (
                (total("zdynamo_tombstones_waiting"), "waiting {{instance}}"),
                (rate("zdynamo_tombstones_reaped_total", "instance"), "removed a second {{instance}}"),
            ),
        ),
        Panel(
            "Disk", "Taken up by the store, and free.", "bytes",
            (
                (total("zdynamo_store_disk_bytes"), "used {{instance}}"),
                (total("zdynamo_store_free_bytes"), "free {{instance}}"),
            ),
        ),
    ),
    "Node": (
        Panel(
            "Process loop", "Share of its time that it is at work; and how long a turn takes.", "percentunit",
            ((rate("zdynamo_loop_turn_seconds_sum", "instance"), "busy {{instance}}"),),
        ),
        Panel(
            "Turns of the loop", "What arrives meanwhile waits so long.", "s",
            ((percentile(0.99, "zdynamo_loop_turn_seconds", "instance"), "p99 {{instance}}"),),
        ),
        Panel(
            "Dropped", "No room in a channel, or in the queue to a peer.", "ops",
            ((rate("zdynamo_dropped_total", "channel"), "{{channel}}"),),
        ),
    ),
}  # fmt: skip


def main() -> None:
    before = MARKDOWN.read_text()
    MARKDOWN.write_text(before.partition(BEGIN)[0] + BEGIN + table() + END + before.partition(END)[2])
    DASHBOARD.parent.mkdir(parents=True, exist_ok=True)
    DASHBOARD.write_text(dashboard())


def table() -> str:
    """Every metric, in Markdown."""
    lines = ["| metric | type | labels | what it is |", "|---|---|---|---|"]
    for family in sorted(text_string_to_metric_families(exposition(*example()).decode()), key=lambda each: each.name):
        labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
        name = family.name + "_total" * (family.type == "counter")
        told = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {family.type} | {told} | {family.documentation.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


def example() -> tuple[Topology, NodeDescription]:
    """By a node that has something to tell of everything."""
    me = MemberRecord("a", 1, "a", 1, "", 0, Addresses("", "", "", ""), "", 1)
    constants = Constants(1, 3, 1, 1, "a")
    topology = Topology(bytes(16), "c", "a", constants, (MemberView(me, "alive", 0.0),), None, (("a",),), 1, 0)
    spread, bounds_us = Spread(0, (0, 0)), (1000,)
    kinds = tuple(RequestsOf(kind, {}, spread) for kind in ("get", "put", "delete", "list"))
    store, digests = StoreSizes(0, 0, 0), Digests(0, 0, 0)
    figures = Figures(2, 2, bounds_us, kinds, spread, store, digests, (), ())
    counters, held = dict.fromkeys(METRICS, 0), (HintsHeld("b", 1, 1, 1),)
    return topology, NodeDescription(bytes(16), "a", "a", "c", counters, (), "rocksdb", "interval", 0, held, figures)


def dashboard() -> str:
    """For Grafana 10 and later, as JSON."""
    panels: list[dict[str, Any]] = []
    for row, (title, of_row) in enumerate(PANELS.items()):
        y = row * (HEIGHT + 1)
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
        )
        for place, panel in enumerate(of_row):
            at = {"x": place * WIDTH, "y": y + 1, "w": WIDTH, "h": HEIGHT}
            panels.append({"id": len(panels) + 1, "gridPos": at, **_graph(panel)})
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    nodes = {
        "name": "node", "label": "Node", "type": "query", "datasource": {"type": "prometheus", "uid": "${source}"},
        "query": "label_values(zdynamo_node_info, instance)", "refresh": 2, "multi": True, "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip
    document = {
        "title": "zdynamo", "uid": "zdynamo", "schemaVersion": 39, "editable": True, "tags": ["zdynamo"],
        "refresh": "10s", "time": {"from": "now-1h", "to": "now"}, "templating": {"list": [source, nodes]},
        "panels": panels,
    }  # fmt: skip
    return json.dumps(document, indent=2) + "\n"


def _graph(panel: Panel) -> dict[str, Any]:
    source = {"type": "prometheus", "uid": "${source}"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": source,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": source, "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(panel.queries)
        ],
    }


if __name__ == "__main__":
    main()
