"""Who is suspected, called down and alive again, and when."""

import pytest

from zdynamo.core.detector import Liveness, phi
from zdynamo.core.settings import Rhythms

RHYTHMS = Rhythms()


def alive_member(now_ms: int = 0) -> Liveness:
    liveness = Liveness(RHYTHMS, now_ms)
    liveness.pong(now_ms)
    return liveness


def beat(liveness: Liveness, start_ms: int, until_ms: int, every_ms: int = 200) -> None:
    for now_ms in range(start_ms, until_ms + 1, every_ms):
        liveness.heartbeat(now_ms)
        liveness.pong(now_ms)
        liveness.look(now_ms)


@pytest.mark.parametrize(
    ("silence_ms", "expected"),
    [(200, 0.3), (300, 0.8), (500, 2.9), (700, 7.3)],
)
def test_phi_rises_with_silence(silence_ms: int, expected: float) -> None:
    assert phi(silence_ms, mean_ms=200, deviation_ms=100) == pytest.approx(expected, abs=0.3)


def test_phi_of_an_endless_silence_is_finite() -> None:
    assert phi(1e9, 200, 100) == 300.0


def test_a_member_is_suspect_until_it_answers_its_first_ping() -> None:
    liveness = Liveness(RHYTHMS, 0)
    before = liveness.state

    liveness.pong(5)

    assert (before, liveness.state) == ("suspect", "alive")


def test_a_new_member_is_pinged_at_once() -> None:
    assert Liveness(RHYTHMS, 0).look(0)


def test_silence_makes_a_member_suspect_and_pings_it_at_once() -> None:
    liveness = alive_member()
    beat(liveness, 0, 10_000)

    quiet = [now_ms for now_ms in range(10_010, 12_000, 10) if liveness.look(now_ms) and liveness.state == "suspect"]

    assert 700 <= quiet[0] - 10_000 <= 900


def test_a_suspect_that_does_not_answer_its_ping_is_down() -> None:
    liveness = alive_member()
    beat(liveness, 0, 10_000)

    states = {now_ms: (liveness.look(now_ms), liveness.state)[1] for now_ms in range(10_010, 13_000, 10)}
    down_ms = min(now_ms for now_ms, state in states.items() if state == "down")

    assert down_ms - 10_000 <= 1500


def test_heartbeats_do_not_save_a_member_whose_data_path_is_dead() -> None:
    liveness = alive_member()

    for now_ms in range(0, 5_000, 200):
        liveness.heartbeat(now_ms)
        liveness.look(now_ms)

    assert liveness.state == "down"


def test_only_an_answered_ping_brings_a_member_back() -> None:
    liveness = alive_member()
    for now_ms in range(0, 5_000, 50):
        liveness.look(now_ms)
    assert liveness.state == "down"

    liveness.heartbeat(5_000)
    after_heartbeat = liveness.state
    liveness.pong(5_010)

    assert (after_heartbeat, liveness.state) == ("down", "alive")


def test_a_node_that_stood_still_itself_blames_nobody() -> None:
    liveness = alive_member()
    beat(liveness, 0, 10_000)

    liveness.paused(60_000)
    liveness.look(70_100)

    assert liveness.state == "alive"
