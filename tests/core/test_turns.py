"""Whose turn it is, and how long a partition rests."""

from zdynamo.core.turns import LATE_MS_MAX, Turn, Turns


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
