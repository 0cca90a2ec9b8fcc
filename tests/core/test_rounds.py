"""The reaping round of each partition: kept on disk, never going back, and what comes too late for it."""

from zdynamo.core.reaping.rounds import Rounds
from zdynamo.partition import storage_key
from zdynamo.storage.memory import MemoryStore
from zdynamo.testing.disk import SimulatedStore

KEY = storage_key(b"default", b"k", 1)


def test_every_partition_begins_in_round_0() -> None:
    rounds = Rounds(MemoryStore())

    assert (rounds.of(0), rounds.of(5), rounds.of_key(KEY)) == (0, 0, 0)


def test_a_round_never_goes_back() -> None:
    rounds = Rounds(MemoryStore())

    rounds.raise_to(5, 3)
    rounds.raise_to(5, 2)

    assert (rounds.of(5), rounds.of(4)) == (3, 0)


def test_a_round_that_is_committed_outlives_a_power_cut() -> None:
    store = SimulatedStore()
    Rounds(store).raise_to(5, 3)
    store.commit()

    store.cut_power()

    assert Rounds(store).of(5) == 3


def test_rounds_are_kept_by_the_store() -> None:
    store = MemoryStore()
    rounds = Rounds(store)
    for partition in (0, 1, 255, 256, 32_767):
        rounds.raise_to(partition, partition + 1)
    store.commit()

    again = Rounds(store)

    assert [again.of(partition) for partition in (0, 1, 2, 255, 256, 32_767)] == [1, 2, 0, 256, 257, 32_768]


def test_only_what_is_from_before_the_previous_round_comes_too_late() -> None:
    rounds = Rounds(MemoryStore())
    rounds.raise_to(0, 5)

    assert [rounds.is_straggler(KEY, round) for round in (0, 3, 4, 5, 6)] == [True, True, False, False, False]


def test_a_round_that_was_not_kept_is_taken_back_and_earlier_ones_stay() -> None:
    store = MemoryStore()
    rounds = Rounds(store)
    rounds.raise_to(0, 1)
    store.commit()
    rounds.committed()

    rounds.raise_to(0, 2)
    rounds.raise_to(0, 3)
    rounds.raise_to(1, 1)
    rounds.discarded()

    assert (rounds.of(0), rounds.of(1)) == (1, 0)
