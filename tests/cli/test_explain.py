"""What `explain` makes of an explanation: who differs from whom, what is dead, and what cannot be known."""

import pytest
from msgspec import to_builtins

from zdynamo.cli.explain import show
from zdynamo.figures.explanations import explanation
from zdynamo.messages import Bucket, Explained, ReplicaState, SiblingState

NAMES = {"1": "a", "2": "b", "3": "c"}
ACTOR = 0xABCDEF0123456789
OLD, NEW, DEAD = (ACTOR, 0, 1), (ACTOR, 0, 2), (7, 3, 1)
LONG_AGO, FAR_AHEAD = 1_700_000_000_000, 9_000_000_000_000
REQUEST = bytes(16)

old = SiblingState(OLD, LONG_AGO, LONG_AGO + 1, False, "text/plain", 4, REQUEST)
new = SiblingState(NEW, LONG_AGO, FAR_AHEAD, False, "", 5, REQUEST)
dead = SiblingState(DEAD, LONG_AGO, 0, True, "", 0, REQUEST)


def explained(*replicas: ReplicaState) -> Explained:
    rules = Bucket("carts", 2, 2, 0, 1, 60_000, "lww")
    return Explained(REQUEST, 17, tuple(replica.node for replica in replicas), ("4",), rules, replicas)


@pytest.fixture
def differing() -> Explained:
    return explained(
        ReplicaState("1", True, True, 2, 0xFF, (NEW,), (), (new,)),
        ReplicaState("2", True, False, 2, 0xEE, (OLD,), (DEAD,), (old, dead), "c is down"),
        ReplicaState("3", False),
    )


def told(capsys: pytest.CaptureFixture[str], key: str, shown: Explained) -> list[str]:
    show(key, shown, NAMES)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_each_owner_is_a_line_and_who_cannot_be_reached_differs_from_nobody(
    capsys: pytest.CaptureFixture[str], differing: Explained
) -> None:
    lines = told(capsys, "cart", differing)

    assert "a settled 2 00000000 3 b abcdef.0.2" in lines
    assert "b unsettled 2 00000000 2, 1 a abcdef.0.1 000000.3.1" in lines
    assert "c unreachable - - - - -" in lines


def test_each_sibling_is_a_line_that_says_whether_it_is_a_value_expired_or_a_tombstone(
    capsys: pytest.CaptureFixture[str], differing: Explained
) -> None:
    lines = told(capsys, "cart", differing)

    written = "2023-11-14 22:13:20.000 UTC"
    assert f"1 000000.3.1 tombstone - - {written} -" in lines
    assert f"2 abcdef.0.1 expired text 4 {written} 2023-11-14 22:13:20.001 UTC" in lines
    assert f"3 abcdef.0.2 value bytes 5 {written} 2255-03-14 16:00:00.000 UTC" in lines


def test_what_is_dead_says_what_it_waits_for(capsys: pytest.CaptureFixture[str], differing: Explained) -> None:
    assert "b c is down" in told(capsys, "cart", differing)


def test_the_place_of_the_key_and_the_rules_of_its_bucket_come_first(
    capsys: pytest.CaptureFixture[str], differing: Explained
) -> None:
    assert told(capsys, "cart", differing)[:4] == [
        "key cart, in partition 17",
        "bucket carts: r=2 w=2 pw=1, values expire after 60000 ms, conflict lww",
        "owners a, b, c",
        "fallbacks 4",
    ]


def test_for_scripts_it_says_the_same_with_exact_dots(differing: Explained) -> None:
    shown = to_builtins(explanation(b"cart", differing, NAMES))

    a, b, c = shown["replicas"]
    assert [replica["differs_from"] for replica in (a, b, c)] == [["b"], ["a"], []]
    assert (a["clock"], b["cloud"]) == (["abcdef0123456789.0.2"], ["0000000000000007.3.1"])
    assert (a["digest"], c["digest"]) == ("00000000000000ff", None)
    assert (b["waits"], c["reachable"]) == ("c is down", False)
    assert shown["fallbacks"] == [{"id": "4", "name": "4"}]


def test_a_time_that_no_calendar_has_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    strange = SiblingState(NEW, 2**60, 0, False, "x/y", 1, REQUEST)

    lines = told(capsys, "k", explained(ReplicaState("1", True, True, 0, 1, (NEW,), (), (strange,))))

    assert f"1 abcdef.0.2 value x/y 1 {2**60} ms -" in lines


def test_before_the_first_layout_nobody_owns_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    show("k", Explained(REQUEST, 3, (), (), Bucket("default", 2, 2), ()), NAMES)

    assert capsys.readouterr().err == "zdynamo: no layout yet: it is decided with the first put\n"
