"""What Prometheus is told: all that a node counts, under names and units as Prometheus has them."""

import ast
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from support.nodes import LoneNode, answers, get, put, request_id, view

from zdynamo.core.served import Served
from zdynamo.http.metric_names import METRICS
from zdynamo.http.metrics import exposition
from zdynamo.messages import (
    Absent,
    ClientAnswer,
    DescribeCluster,
    DescribeNode,
    Done,
    Found,
    HintsHeld,
    NodeDescription,
    Overloaded,
    QuorumNotMet,
    Refused,
    SiblingValue,
    StoreSizes,
    Topology,
)

ANSWERS = (
    Found(request_id(1), b"", ()),
    Absent(request_id(1), b""),
    QuorumNotMet(request_id(1), 2, 1),
    Overloaded(request_id(1), 50),
    Refused(request_id(1), "why"),
)
PACKAGE = Path(__file__).parents[2] / "zdynamo"


def described(node: LoneNode) -> tuple[Topology, NodeDescription]:
    (topology,) = answers(node.asked(DescribeCluster(request_id(1), "")))
    (description,) = answers(node.asked(DescribeNode(request_id(2), "")))
    assert isinstance(topology, Topology) and isinstance(description, NodeDescription)
    return topology, description


def samples(topology: Topology, description: NodeDescription) -> list[Sample]:
    text = exposition(topology, description).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(found: list[Sample], name: str, **labels: str) -> float:
    (sample,) = [sample for sample in found if sample.name == name and sample.labels == labels]
    return sample.value


def busy() -> LoneNode:
    """A node that has served a few requests and knows trouble."""
    node = LoneNode(view(down="c"))
    node.node.served.taken([put(1), get(2)], 0)
    two = (SiblingValue("", b"", 0), SiblingValue("", b"", 0))
    node.node.served.answered([Done(request_id(1), b"")], 700)
    node.node.served.answered([Found(request_id(2), b"", two)], 1_500)
    node.node.counters["repairs.sent"] = 3
    return node


def test_requests_are_told_by_kind_and_outcome_and_their_times_in_seconds() -> None:
    found = samples(*described(busy()))

    assert value(found, "zdynamo_requests_total", kind="put", outcome="done") == 1
    assert value(found, "zdynamo_requests_total", kind="get", outcome="found") == 1
    assert value(found, "zdynamo_request_duration_seconds_sum", kind="put") == 0.0007
    assert value(found, "zdynamo_request_duration_seconds_count", kind="put") == 1
    assert value(found, "zdynamo_request_duration_seconds_bucket", kind="put", le="0.0005") == 0
    assert value(found, "zdynamo_request_duration_seconds_bucket", kind="put", le="0.001") == 1
    assert value(found, "zdynamo_reads_with_siblings_total") == 1
    assert value(found, "zdynamo_read_repairs_total", outcome="sent") == 3


def test_members_partitions_hints_and_digests_are_told_as_the_node_sees_them() -> None:
    topology, description = described(busy())
    assert description.figures is not None
    held = replace(description, hints=(HintsHeld("c", 7, 4096, 2_500),), notices=("c is down",))

    found = samples(topology, held)

    assert {state: value(found, "zdynamo_members", state=state) for state in ("alive", "down")} == {
        "alive": 2,
        "down": 1,
    }
    assert value(found, "zdynamo_member_alive", member="c", member_name="c") == 0
    assert value(found, "zdynamo_partitions_owned") == 16
    assert value(found, "zdynamo_partitions_short_of_quorum") == 0
    assert value(found, "zdynamo_hints", target="c", target_name="c") == 7
    assert value(found, "zdynamo_hints_bytes", target="c", target_name="c") == 4096
    assert value(found, "zdynamo_hints_held_seconds", target="c", target_name="c") == 2.5
    assert value(found, "zdynamo_notices") == 1
    assert topology.layout is not None
    assert value(found, "zdynamo_digest_info", of="layout", digest=f"{topology.layout.digest:016x}") == 1


def test_partitions_of_which_too_few_owners_are_reached_are_counted() -> None:
    found = samples(*described(LoneNode(view(down="bc"))))

    assert value(found, "zdynamo_partitions_short_of_quorum") == 16


def test_free_space_is_told_only_where_there_is_a_disk() -> None:
    topology, description = described(LoneNode())
    assert description.figures is not None
    on_disk = replace(description, figures=replace(description.figures, store=StoreSizes(5, 4096, 8192)))

    names = {sample.name for sample in samples(topology, description)}

    assert "zdynamo_store_free_bytes" not in names
    assert value(samples(topology, on_disk), "zdynamo_store_free_bytes") == 8192


def test_what_was_never_measured_is_left_out() -> None:
    topology, description = described(LoneNode())
    never = replace(description, counters={"compare.alike_ms": -1, "compare.known_ms": 1_500})

    found = samples(topology, never)

    assert "zdynamo_alike_age_seconds" not in {sample.name for sample in found}
    assert value(found, "zdynamo_difference_oldest_seconds") == 1.5


def test_a_node_of_an_earlier_version_is_told_without_figures() -> None:
    topology, description = described(busy())

    names = {sample.name for sample in samples(topology, replace(description, figures=None))}

    assert {"zdynamo_members", "zdynamo_read_repairs_total"} < names
    assert "zdynamo_requests_total" not in names


def test_what_has_not_happened_yet_is_told_as_0_so_that_its_first_time_is_seen() -> None:
    found = samples(*described(LoneNode()))

    assert value(found, "zdynamo_hints_refused_total") == 0
    assert value(found, "zdynamo_requests_total", kind="put", outcome="outcome_unknown") == 0


def test_what_a_later_version_counts_is_told_by_its_own_name() -> None:
    topology, description = described(LoneNode())

    found = samples(topology, replace(description, counters={"stars.fallen": 3}))

    assert value(found, "zdynamo_other", what="stars.fallen") == 3


def test_every_metric_has_one_help_one_type_and_no_series_twice() -> None:
    text = exposition(*described(busy())).decode()
    found = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples(*described(busy()))]

    for line in ("# HELP ", "# TYPE "):
        named = [each.split()[2] for each in text.splitlines() if each.startswith(line)]
        assert len(named) == len(set(named))
    assert len(found) == len(set(found))
    assert all(re.fullmatch(r"zdynamo_[a-z_]+", name) for name, _ in found)


def test_counters_end_in_total_and_units_are_seconds_and_bytes() -> None:
    for family in text_string_to_metric_families(exposition(*described(busy())).decode()):
        assert family.type in ("counter", "gauge", "histogram"), family.name
        assert family.documentation
        assert not re.search("_(ms|us|mib|kib)$", family.name)
        if family.type == "counter":
            assert {sample.name for sample in family.samples} <= {f"{family.name}_total"}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ANSWERS), st.integers(0, 20_000_000)), max_size=30))
def test_a_histogram_grows_with_its_bounds_up_to_its_count(each: list[tuple[ClientAnswer, int]]) -> None:
    served = Served()
    for answer, took_us in each:
        served.taken([get(1)], 0)
        served.answered([answer], took_us)
    topology, description = described(LoneNode())
    assert description.figures is not None
    counted = replace(description, figures=replace(description.figures, requests=served.requests()))

    found = samples(topology, counted)

    buckets = [
        (float(sample.labels["le"]), sample.value)
        for sample in found
        if sample.name == "zdynamo_request_duration_seconds_bucket" and sample.labels["kind"] == "get"
    ]
    timed = sum(not isinstance(answer, Overloaded | Refused) for answer, _ in each)
    assert buckets == sorted(buckets)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert buckets[-1] == (float("inf"), timed)
    assert value(found, "zdynamo_request_duration_seconds_count", kind="get") == timed


def counted_in(path: Path) -> set[str]:
    """Names under which a module counts something: what stands in brackets after `counters`, and in figures."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Subscript) and "counters" in ast.unparse(node.value):
            constants = [each.value for each in ast.walk(node.slice) if isinstance(each, ast.Constant)]
            names |= {name for name in constants if isinstance(name, str) and name}
        if isinstance(node, ast.Dict):
            keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
            names |= {key for key in keys if isinstance(key, str) and re.fullmatch(r"[a-z]+\.[a-z_]+", key)}
    return names


@pytest.mark.parametrize("folder", ["core", "threads"])
def test_everything_that_a_node_counts_has_a_metric(folder: str) -> None:
    counted = set().union(*(counted_in(path) for path in sorted((PACKAGE / folder).rglob("*.py"))))

    assert len(counted) > 5
    assert counted - METRICS.keys() == set()


def test_no_two_counters_are_one_series_and_a_metric_has_one_description() -> None:
    series = [(metric.name, tuple(metric.labels.items())) for metric in METRICS.values()]
    kinds = {(metric.name, metric.about, tuple(metric.labels)) for metric in METRICS.values()}

    assert len(series) == len(set(series))
    assert len(kinds) == len({name for name, _, _ in kinds})
