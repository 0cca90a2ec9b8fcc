"""The pace of background work: as fast as clients do not notice, and never slower than its floor."""

from itertools import takewhile
from random import Random

import pytest

from zdynamo.core.anti_entropy.pace import DEBT_MS_MAX, FLOOR, INTERVAL_MS, QUIET_MS, REST_MS_MAX, Pace

MIB = 2**20
MOST = 32 * MIB


class Loop:
    """Clients in a closed loop with a node, and background work that never ends."""

    def __init__(self, *, clients: int = 10, usual_ms: int = 4, slowed_from: float = MOST / 4, works: bool = True):
        self.pace = Pace(MOST)
        self.clients = clients
        self.usual_ms = usual_ms
        self.slowed_from = slowed_from  # bytes a second; at twice that, answers take twice as long, and so on
        self.works = works
        self.now_ms = 0
        self.moved = 0
        self.answers = 0
        self._random = Random(1)
        self._rest_until_ms = 0
        self._moved_at: list[tuple[int, int]] = []

    def run(self, for_ms: int) -> None:
        for _ in range(for_ms):
            self.now_ms += 1
            self._answer()
            if self.works and self.now_ms >= self._rest_until_ms:
                self._work()

    def rate(self, over_ms: int) -> float:
        """Bytes a second that were moved in the last so many milliseconds."""
        lately = takewhile(lambda moved: moved[0] > self.now_ms - over_ms, reversed(self._moved_at))
        return sum(size for _, size in lately) * 1000 / over_ms

    def _answer(self) -> None:
        slowed = max(1.0, self.rate(100) / self.slowed_from) if self.slowed_from else 1.0
        took_ms = self.usual_ms * slowed
        for _ in range(self.clients):
            if self._random.random() < 1 / took_ms:
                self.answers += 1
                self.pace.answered(round(took_ms), self.now_ms)

    def _work(self) -> None:
        pause_ms = self.pace.pause_ms(self.now_ms)
        if pause_ms:
            self._rest_until_ms = self.now_ms + pause_ms
            return
        self.pace.spend(64 * 1024)
        self.moved += 64 * 1024
        self._moved_at = [*self._moved_at[-600:], (self.now_ms, 64 * 1024)]


def test_without_clients_it_is_the_maximum() -> None:
    loop = Loop(clients=0)

    loop.run(3_000)

    assert loop.rate(1_000) == pytest.approx(MOST, rel=0.05)


def test_clients_that_are_not_slowed_down_do_not_slow_it_down() -> None:
    loop = Loop(slowed_from=0)
    loop.works = False
    loop.run(2_000)

    loop.works = True
    loop.run(3_000)

    assert loop.rate(1_000) == pytest.approx(MOST, rel=0.05)


@pytest.mark.parametrize("slowed_from", [MOST / 4, MOST / 16, MOST / 32])
def test_it_settles_where_clients_begin_to_wait_longer(slowed_from: float) -> None:
    loop = Loop(usual_ms=10, slowed_from=slowed_from)
    loop.works = False
    loop.run(2_000)
    loop.answers = 0
    loop.run(2_000)
    before = loop.answers

    loop.works = True
    loop.run(4_000)
    loop.answers = 0
    loop.run(4_000)

    assert loop.answers / 2 > 0.7 * before
    assert slowed_from / 2 < loop.rate(2_000) < 2 * slowed_from


@pytest.mark.parametrize("clients", [1, 2, 4])
def test_clients_that_get_few_answers_because_of_it_are_not_taken_for_nobody(clients: int) -> None:
    loop = Loop(clients=clients, usual_ms=10, slowed_from=MOST / 32)
    loop.works = False
    loop.run(3_000)
    loop.answers = 0
    loop.run(2_000)
    before = loop.answers / 2

    loop.works = True
    loop.run(10_000)
    loop.answers = 0
    loop.run(4_000)

    assert loop.answers / 4 > 0.6 * before


def test_few_quick_answers_are_nobody_to_be_slowed_down() -> None:
    pace = Pace(MOST)

    for now_ms in range(0, 5_000, 100):
        pace.spend(1)
        pace.answered(5, now_ms)

    assert pace.bytes_per_s == MOST


def test_it_begins_at_the_floor_where_nobody_knows_what_is_usual() -> None:
    """A node that has lost its disk has work from its first moment on."""
    loop = Loop(usual_ms=10, slowed_from=MOST / 8)

    loop.run(6_000)

    assert loop.pace._usual_ms == pytest.approx(10, abs=1)
    assert loop.rate(2_000) > MOST / 16


def test_slow_answers_at_the_floor_have_another_reason_and_become_the_usual() -> None:
    loop = Loop(slowed_from=0)
    loop.run(2_000)

    loop.usual_ms *= 10
    loop.run(1_000)
    at_once = loop.pace.bytes_per_s
    loop.run(20_000)

    assert at_once < MOST / 8
    assert loop.rate(1_000) == pytest.approx(MOST, rel=0.05)


def test_it_never_goes_slower_than_its_floor() -> None:
    loop = Loop(slowed_from=1)  # any work at all is felt

    loop.run(20_000)

    assert loop.moved >= 0.9 * MOST / FLOOR * 20


def test_it_is_fast_again_soon_after_the_clients_have_left() -> None:
    loop = Loop(slowed_from=MOST / 32)
    loop.run(3_000)

    loop.clients = 0
    loop.run(2 * QUIET_MS)

    assert loop.pace.bytes_per_s == MOST


def test_a_millisecond_more_is_not_slower() -> None:
    pace = Pace(MOST)
    for now_ms in range(0, 10 * INTERVAL_MS):
        pace.answered(1, now_ms)

    for now_ms in range(10 * INTERVAL_MS, 20 * INTERVAL_MS):
        pace.spend(1_000)
        pace.answered(3, now_ms)

    assert pace.bytes_per_s == MOST


def test_what_is_spent_by_one_is_waited_for_by_all() -> None:
    pace = Pace(1_000_000)

    pace.spend(50_000)
    pace.spend(50_000)

    assert [pace.pause_ms(now_ms) for now_ms in (0, 60, 100)] == [100, 40, 0]


def test_however_much_others_want_of_a_node_its_own_work_goes_on_after_a_while() -> None:
    pace = Pace(MIB)

    pace.spend(300 * MIB)
    rested_ms = 0
    while pause_ms := pace.pause_ms(rested_ms):
        rested_ms += pause_ms

    assert rested_ms == DEBT_MS_MAX


def test_no_rest_is_longer_than_its_bound() -> None:
    pace = Pace(1_000)

    pace.spend(MIB)

    assert pace.pause_ms(0) == REST_MS_MAX


def test_what_took_very_long_counts_as_long() -> None:
    pace = Pace(MOST)

    for now_ms in range(INTERVAL_MS + 1):
        pace.spend(1)
        pace.answered(10**9, now_ms)

    assert pace.bytes_per_s == MOST / FLOOR
