"""Whose turn it is, and how long a partition rests."""

from random import Random

import pytest

from zdynamo.core.reaping.turns import LATE_MS_MAX, Turn, Turns


def test_the_first_that_is_due_comes_first() -> None:
    turns = Turns()
    turns.set(1, 300)
    turns.set(2, 200)
    turns.set(3, 100)
    turns.set(3, 400)

    found = []
    for now_ms in (199, 200, 300, 400):
        partition = turns.due(now_ms)
        found.append(partition)
        if partition is not None:
            turns.set(partition, 1_000)

    assert found == [None, 2, 1, 3]
    assert turns.due(999) is None
    assert turns.next_due_ms == 1_000


def test_nothing_is_due_when_nothing_is_left() -> None:
    turns = Turns()
    turns.set(1, 100)
    turns.drop(1)
    turns.drop(1)

    assert turns.due(500) is None
    assert turns.next_due_ms is None
    assert turns.of(1) is None


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_put_forward_put_off_or_dropped_each_turn_comes_once_when_it_is_due(seed: int) -> None:
    random, turns = Random(seed), Turns()
    dues: dict[int, int] = {}
    for now_ms in range(0, 2_000, 5):
        for _ in range(random.randrange(6)):
            partition = random.randrange(20)
            if random.random() < 0.2:
                turns.drop(partition)
                dues.pop(partition, None)
            else:
                dues[partition] = now_ms + random.randrange(300)
                turns.set(partition, dues[partition])
        first_ms = min(dues.values(), default=None)
        assert first_ms is None or (turns.next_due_ms is not None and turns.next_due_ms <= first_ms)
        came = []
        while (partition_due := turns.due(now_ms)) is not None:
            came.append(dues.pop(partition_due))
        assert came == sorted(came)
        assert all(due_ms > now_ms for due_ms in dues.values())
        assert all(due_ms <= now_ms for due_ms in came)


def test_turns_that_are_put_off_over_and_over_take_no_more_room() -> None:
    turns = Turns()
    for now_ms in range(10_000):
        for partition in range(4):
            turns.set(partition, now_ms + 10_000)
        turns.drop(4)
        turns.set(4, now_ms + 10_000 - now_ms % 7)

    assert turns.due(9_999) is None
    assert len(turns) <= 4 * 5


def test_a_partition_in_which_nothing_has_expired_rests_until_something_does() -> None:
    turn = Turn(due_ms=0, fresh=False)
    turn.begin_sweep()
    turn.will_end(70_000)
    turn.will_end(50_000)

    assert turn.rest_ms(10_000, 20_000) == 30_000
    assert turn.rest_ms(10_000, 45_000) == 10_000
    assert turn.rest_ms(10_000, -(10**9)) == LATE_MS_MAX


def test_a_partition_with_something_dead_or_new_rests_as_usual() -> None:
    dead, fresh = Turn(due_ms=0, fresh=False), Turn(due_ms=0)
    for turn in (dead, fresh):
        turn.begin_sweep()
        turn.will_end(70_000)
    dead.again = True

    assert [turn.rest_ms(10_000, 20_000) for turn in (dead, fresh)] == [10_000, 10_000]
