"""Pings on behalf of others."""

from zdynamo.core.failures.probes import SERVED_MAX, WAIT_MAX_MS, Errands
from zdynamo.messages import Probe, Probed


def errands(wait_ms: int = 300) -> Errands:
    """With one errand for `a` about `x`, by ping 5."""
    made = Errands()
    assert made.take("a", Probe(1, "x", wait_ms), ping=5, now_ms=1_000)
    return made


def test_an_answered_ping_is_told_to_whoever_asked() -> None:
    made = errands()
    made.take("b", Probe(9, "x", 300), ping=6, now_ms=1_000)
    made.take("b", Probe(10, "y", 300), ping=7, now_ms=1_000)

    told = made.ponged("x", 6)

    assert told == [("a", Probed(1, "x", True, False)), ("b", Probed(9, "x", True, False))]
    assert made.ponged("x", 6) == []


def test_an_answer_to_an_earlier_ping_proves_nothing() -> None:
    assert errands().ponged("x", 4) == []


def test_a_ping_without_an_answer_is_told_when_the_time_is_over() -> None:
    made = errands()

    early, late, again = (made.overdue(now_ms, stalled=False) for now_ms in (1_299, 1_300, 1_301))

    assert (early, late, again) == ([], [("a", Probed(1, "x", False, False))], [])


def test_who_stood_still_says_so_and_gives_the_target_that_time_too() -> None:
    made = errands()

    made.shift(500)
    early, late = (made.overdue(now_ms, stalled=True) for now_ms in (1_799, 1_800))

    assert (early, late) == ([], [("a", Probed(1, "x", False, True))])


def test_errands_are_bounded() -> None:
    made = errands()

    taken = [made.take("a", Probe(number, "x", 300), 5, 1_000) for number in range(SERVED_MAX + 10)]

    assert sum(taken) == SERVED_MAX - 1


def test_nobody_makes_us_wait_for_ever_or_backwards() -> None:
    assert errands(wait_ms=2**60).next_due_ms == 1_000 + WAIT_MAX_MS
    assert errands(wait_ms=-(2**60)).next_due_ms == 1_000
    assert Errands().next_due_ms is None
