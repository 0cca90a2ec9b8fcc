"""How long a member that falls again and again has to be steady."""

import pytest

from zdynamo.core.failures.flaps import CRASHES_MS, FORGIVEN_MS, Flaps, steady_ms


@pytest.mark.parametrize(
    ("beyond_free", "expected_ms"),
    [(-1, 0), (0, 0), (1, 1_000), (2, 2_000), (3, 4_000), (4, 8_000), (5, 8_000), (1_000, 8_000)],
)
def test_the_time_doubles_and_is_bounded(beyond_free: int, expected_ms: int) -> None:
    assert steady_ms(beyond_free) == expected_ms


def test_the_first_fall_costs_nothing_and_each_further_one_more() -> None:
    flaps = Flaps()

    times = []
    for number in range(5):
        flaps.fell(number * 100)
        times.append(flaps.steady_ms(number * 100))

    assert times == [0, 1_000, 2_000, 4_000, 8_000]


def test_a_fall_is_forgiven_after_a_quiet_while() -> None:
    flaps = Flaps()
    for _ in range(3):
        flaps.fell(1_000)

    assert [flaps.steady_ms(1_000 + ms) for ms in (FORGIVEN_MS - 1, FORGIVEN_MS)] == [2_000, 0]


def test_another_process_does_not_answer_for_the_falls_of_the_one_before() -> None:
    flaps = Flaps()
    for _ in range(5):
        flaps.fell(1_000)

    flaps.restarted(1_000)

    assert flaps.steady_ms(1_000) == 0


def test_restarts_cost_nothing_unless_they_are_a_crash_loop() -> None:
    slow, fast = Flaps(), Flaps()

    slowly, quickly = [], []
    for number in range(6):
        slow.restarted(number * CRASHES_MS // 3)
        slowly.append(slow.steady_ms(number * CRASHES_MS // 3))
        fast.restarted(number * 500)
        quickly.append(fast.steady_ms(number * 500))

    assert slowly == [0, 0, 0, 0, 0, 0]
    assert quickly == [0, 0, 0, 1_000, 2_000, 4_000]


def test_a_crash_loop_is_forgiven_when_it_has_ended() -> None:
    flaps = Flaps()
    for number in range(6):
        flaps.restarted(number)

    assert flaps.steady_ms(CRASHES_MS + 6) == 0
