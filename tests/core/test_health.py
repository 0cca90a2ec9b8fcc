"""How a node notices that it stood still itself, and what it makes of it."""

import pytest

from zdynamo.core.failures.health import CALM_MS, LEVEL_MAX, RECENT_MS, STALL_MS, STALLS_MAX, Health


@pytest.mark.parametrize(
    ("late_ms", "stalled_ms"), [(0, 0), (20, 0), (STALL_MS, 0), (STALL_MS + 1, 101), (9_000, 9_000)]
)
def test_a_little_late_is_nothing_unusual(late_ms: int, stalled_ms: int) -> None:
    assert Health().woken(late_ms, 10_000) == stalled_ms


def test_each_stall_makes_it_more_patient_up_to_a_bound() -> None:
    health = Health()

    patience = []
    for _ in range(LEVEL_MAX + 2):
        health.woken(200, 10_000)
        patience.append(health.patience(10_000))

    assert patience == [1.5, 2.0, 2.5, 3.0, 3.0, 3.0]


def test_patience_returns_to_what_it_was_step_by_step() -> None:
    health = Health()
    for _ in range(3):
        health.woken(200, 10_000)

    patience = [health.patience(10_000 + steps * CALM_MS) for steps in (0, 1, 2, 3, 9)]

    assert patience == [2.5, 2.0, 1.5, 1.0, 1.0]


def test_a_stall_is_told_for_a_while() -> None:
    health = Health()
    health.woken(300, 10_000)
    health.woken(500, 10_400)

    told = [health.stalled_ms(now_ms) for now_ms in (10_400, 10_000 + RECENT_MS + 1, 10_400 + RECENT_MS + 1)]

    assert told == [800, 500, 0]


def test_of_very_many_stalls_only_some_are_remembered() -> None:
    health = Health()

    for number in range(10 * STALLS_MAX):
        health.woken(101, 10_000 + number)

    assert health.stalled_ms(10_400) == STALLS_MAX * 101
