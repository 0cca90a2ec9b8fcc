"""What a node did between two looks."""

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.moments import description, moment

from zdynamo.figures.loads import Latency, agreement, load_of, percentile
from zdynamo.messages import Digests

BOUNDS = (1_000, 2_000, 4_000)


def test_rates_are_of_the_time_between_two_looks() -> None:
    before = description(uptime_ms=10_000, puts_us=(700,) * 10, busy_us=5_000_000, repairs__sent=5)
    after = description(
        uptime_ms=12_000, puts_us=(700,) * 30, missed=4, busy_us=5_500_000, repairs__sent=9, compare__stored_here=2
    )

    load = load_of(before, after)

    assert load.requests["put"] == 12.0  # the 4 that missed their quorum among them
    assert load.failed == 2.0
    assert load.repaired == 3.0
    assert load.busy == 0.25


def test_without_an_earlier_look_they_are_of_all_the_time_since_the_start() -> None:
    load = load_of(None, description(uptime_ms=10_000, gets_us=(3_000,) * 20))

    assert load.requests["get"] == 2.0


def test_a_node_that_was_started_again_meanwhile_is_not_compared_with_what_it_was() -> None:
    before = description(uptime_ms=10_000, puts_us=(700,) * 100)

    load = load_of(before, description(uptime_ms=1_000, puts_us=(700,) * 3))

    assert load.requests["put"] == 3.0


def test_a_node_that_did_not_answer_before_is_looked_at_since_its_start() -> None:
    assert load_of("does not answer", description(uptime_ms=2_000, puts_us=(700,) * 4)).requests["put"] == 2.0


def test_latencies_are_of_the_requests_between_two_looks() -> None:
    before = description(uptime_ms=10_000, puts_us=(2_000_000,) * 50)
    after = description(uptime_ms=11_000, puts_us=(2_000_000,) * 50 + (1_100,) * 99 + (60_000,))

    took = load_of(before, after).latency["put"]

    assert took.p50 is not None and took.p99 is not None
    assert 1.0 < took.p50 <= 1.5
    assert took.p99 <= 1.5
    assert load_of(before, after).latency["get"] == Latency(None, None)


def test_a_node_of_an_earlier_version_has_no_rates_but_what_it_counts() -> None:
    load = load_of(None, replace(description(uptime_ms=1_000, repairs__sent=2), figures=None))

    assert (load.requests, load.latency, load.repaired) == ({}, {}, 2.0)


@pytest.mark.parametrize(
    ("share", "counts", "expected"),
    [
        (0.5, (4, 0, 0, 0), 500.0),
        (0.5, (0, 2, 2, 0), 2_000.0),
        (0.99, (0, 0, 100, 0), 3_980.0),
        (0.5, (0, 0, 0, 3), 4_000.0),
        (0.5, (0, 0, 0, 0), None),
    ],
)
def test_a_percentile_is_where_it_would_be_if_times_were_evenly_spread_in_their_bucket(
    share: float, counts: tuple[int, ...], expected: float | None
) -> None:
    assert percentile(share, counts, BOUNDS) == expected


@given(st.lists(st.integers(1, 3_999), min_size=1), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_percentile_is_in_the_bucket_of_the_time_that_it_stands_for(each_us: list[int], share: float) -> None:
    counts = [0] * (len(BOUNDS) + 1)
    for us in each_us:
        counts[bisect_left(BOUNDS, us)] += 1

    found = percentile(share, counts, BOUNDS)

    below = -(-int(share * len(each_us) * 100) // 100)
    exact = sorted(each_us)[max(0, min(len(each_us) - 1, below - 1))]
    assert found is not None
    assert abs(bisect_left(BOUNDS, found) - bisect_left(BOUNDS, exact)) <= 1


def test_nodes_agree_when_all_that_answer_have_the_same_digests() -> None:
    one, other = description("a"), description("b")
    assert one.figures is not None
    differing = replace(one, figures=replace(one.figures, digests=Digests(1, 2, 4)))

    assert agreement(moment(one, other, "down")) == {"members": True, "layout": True, "buckets": True}
    assert agreement(moment(differing, other)) == {"members": True, "layout": True, "buckets": False}
