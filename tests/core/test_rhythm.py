"""How long a member may be silent, by the rhythm of its heartbeats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdynamo.core.failures.rhythm import WINDOW, Rhythm, deviations_at, phi


def beating(*intervals_ms: int) -> Rhythm:
    """A rhythm with heartbeats so far apart."""
    rhythm, now_ms = Rhythm(200), 0
    rhythm.beat(now_ms, learn=True)
    for interval_ms in intervals_ms:
        now_ms += interval_ms
        rhythm.beat(now_ms, learn=True)
    return rhythm


@pytest.mark.parametrize(
    ("silence_ms", "expected"),
    [(200, 0.3), (300, 0.8), (500, 2.9), (700, 7.3)],
)
def test_phi_rises_with_silence(silence_ms: int, expected: float) -> None:
    assert phi(silence_ms, mean_ms=200, deviation_ms=100) == pytest.approx(expected, abs=0.3)


def test_phi_of_an_endless_silence_is_finite() -> None:
    assert phi(1e9, 200, 100) == 300.0


@given(st.floats(0.1, 290))
def test_the_silence_for_a_suspicion_has_that_phi(suspicion: float) -> None:
    silence_ms = 200 + deviations_at(suspicion) * 100

    assert phi(silence_ms, 200, 100) == pytest.approx(suspicion, rel=1e-6)


@given(st.lists(st.integers(1, 5_000), min_size=1, max_size=3 * WINDOW))
def test_mean_and_deviation_are_those_of_the_last_intervals(intervals_ms: list[int]) -> None:
    rhythm = beating(*intervals_ms)

    kept = intervals_ms[-WINDOW:]
    mean_ms = sum(kept) / len(kept)
    spread_ms = (sum((each - mean_ms) ** 2 for each in kept) / len(kept)) ** 0.5
    assert rhythm.mean_ms == pytest.approx(mean_ms)
    assert rhythm.deviation_ms == pytest.approx(max(spread_ms, 100.0, mean_ms / 4), abs=0.01)


def test_before_the_second_heartbeat_the_rhythm_is_the_one_that_is_configured() -> None:
    assert (beating().mean_ms, beating().deviation_ms) == (200.0, 100.0)


def test_the_time_in_which_a_member_was_away_is_not_its_rhythm() -> None:
    rhythm = beating(*[200] * 10)

    rhythm.beat(60_000, learn=False)
    rhythm.beat(60_200, learn=True)

    assert (rhythm.mean_ms, rhythm.deviation_ms) == (200.0, 100.0)


def test_the_time_in_which_this_node_stood_still_is_not_the_members_rhythm() -> None:
    rhythm = beating(*[200] * 10)

    rhythm.shift(700)
    rhythm.beat(2_000 + 900, learn=True)

    assert (rhythm.mean_ms, rhythm.deviation_ms) == (200.0, 100.0)
