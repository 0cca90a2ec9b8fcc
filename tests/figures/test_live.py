"""What the page is told, made from two looks at the cluster."""

from msgspec.structs import replace
from support.moments import description, moment

from zdynamo.figures.live import layout_document, moment_document, remembered
from zdynamo.figures.loads import Latency, latency_together
from zdynamo.messages import HintsHeld, Layout, LayoutMember


def test_a_node_has_a_load_as_soon_as_there_are_two_looks_at_it() -> None:
    before = moment(description("a", uptime_ms=1_000), "silent", "down", down="c")
    after = moment(
        description("a", uptime_ms=2_000, puts_us=(700,) * 40, busy_us=250_000, pulls__records=3),
        description("b", uptime_ms=2_000, held=(HintsHeld("c", 5, 100, 900),), compare__known=2, trees__built=7),
        "down",
        down="c",
    )

    a, b, c = moment_document(before, after, 5)["nodes"]

    assert a["load"]["requests_per_s"] == {"get": 0.0, "put": 40.0, "delete": 0.0, "list": 0.0}
    assert a["load"]["brought_per_s"] == {"read_repair": 0.0, "anti_entropy": 0.0, "transfer": 3.0, "handoff": 0.0}
    assert (b["load"], b["hints"]) == (None, [{"target": "c", "count": 5, "bytes": 100, "held_ms": 900}])
    assert b["counters"] == {"compare.known": 2}
    assert (c["state"], c["error"], "load" in c) == ("down", "down", False)


def test_together_they_have_the_sum_of_rates_and_the_percentiles_of_all_requests() -> None:
    before = moment(description("a", uptime_ms=1_000), description("b", uptime_ms=1_000))
    after = moment(
        description("a", uptime_ms=2_000, puts_us=(700,) * 99, repairs__sent=1),
        description("b", uptime_ms=3_000, puts_us=(90_000,) * 2, repairs__sent=4),
    )

    shown = moment_document(before, after, 5)

    assert (shown["at_ms"], shown["quorum"]) == (5, 2)
    assert shown["total"]["requests_per_s"]["put"] == 100.0
    assert shown["total"]["brought_per_s"]["read_repair"] == 3.0
    assert 0.5 <= shown["total"]["latency_ms"]["put"]["p50"] <= 1.0
    assert 64.0 <= shown["total"]["latency_ms"]["put"]["p99"] <= 125.0


def test_without_an_earlier_look_nothing_is_said_of_rates() -> None:
    shown = moment_document(None, moment(description("a", puts_us=(700,))), 5)

    assert (shown["total"], shown["nodes"][0]["load"]) == (None, None)


def test_a_node_that_was_started_again_has_no_rates_until_the_next_look() -> None:
    before, after = moment(description("a", uptime_ms=9_000)), moment(description("a", uptime_ms=100))

    assert moment_document(before, after, 5)["nodes"][0]["load"] is None


def test_rates_bridge_a_look_that_a_node_has_missed() -> None:
    first = moment(description("a", uptime_ms=1_000))
    known = remembered(remembered(None, first), moment("silent"))

    shown = moment_document(known, moment(description("a", uptime_ms=3_000, puts_us=(700,) * 10)), 5)

    assert shown["nodes"][0]["load"]["requests_per_s"]["put"] == 5.0


def test_owners_are_told_as_places_among_the_ids() -> None:
    topology = moment(description("a")).topology
    layout = Layout(3, 0, tuple(LayoutMember(id, "", 1) for id in "yx"))

    shown = layout_document(replace(topology, layout=layout, owners=(("y", "x"), ("x", "y"), ("x",))))

    assert (shown["layout"], shown["ids"], shown["owners"]) == (3, ["x", "y"], [[1, 0], [0, 1], [0]])


def test_nodes_that_measure_otherwise_are_left_out_of_what_is_said_of_all() -> None:
    then, now = description("a"), description("a", puts_us=(700,) * 10)
    assert now.figures is not None
    other = replace(now, figures=replace(now.figures, bounds_us=(1,)))

    assert latency_together([(then, now), (then, other)]) == latency_together([(then, now)])
    assert latency_together([]) == {}
    assert latency_together([(then, then)])["put"] == Latency(None, None)
