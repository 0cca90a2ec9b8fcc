"""Dots are unique, whatever is lost: blocks are reserved on disk before they are used."""

from zdynamo.core.records.dots import BLOCK, COUNTER_KEY, Dots
from zdynamo.storage.memory import MemoryStore
from zdynamo.testing.disk import SimulatedStore


class Disk:
    """A store with the dots of a node that starts on it, and whether it takes anything."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.starts = 0

    def start(self) -> Dots:
        self.starts += 1
        dots = Dots(self.store, actor=self.starts)
        self.store.commit()
        dots.committed()
        return dots

    @property
    def reserved(self) -> int:
        return int.from_bytes(self.store.get(COUNTER_KEY) or b"", "big")


def commit(disk: Disk, dots: Dots) -> None:
    disk.store.commit()
    dots.committed()


def refuse(disk: Disk, dots: Dots) -> None:
    """The disk takes nothing: what was staged is gone."""
    disk.store._staged.clear()
    dots.discarded()


def test_nothing_is_minted_before_the_first_block_is_on_disk() -> None:
    store = MemoryStore()
    dots = Dots(store, actor=1)

    before = dots.mint(0)
    store.commit()
    dots.committed()
    after = dots.mint(0)

    assert (before, after) == (None, (1, 1, 1))


def test_counters_are_not_handed_out_again_after_a_power_cut() -> None:
    store = SimulatedStore()
    dots = Dots(store, actor=1)
    store.commit()
    dots.committed()
    before = dots.mint(0)

    store.cut_power()
    again = Dots(store, actor=1)
    store.commit()
    again.committed()

    assert (before, again.mint(0)) == ((1, 1, 1), (1, BLOCK + 1, BLOCK + 1))


def test_counters_go_up_by_one_and_never_beyond_what_is_reserved() -> None:
    disk = Disk()
    dots = disk.start()

    minted = [dots.mint(1) for _ in range(1000)]

    assert minted == [(1, 1, counter) for counter in range(1, 1001)]
    assert disk.reserved >= 1000


def test_no_counter_is_used_twice_over_a_hundred_restarts() -> None:
    disk = Disk()
    counters: list[int] = []

    for restart in range(100):
        dots = disk.start()
        for _ in range(restart % 7):
            dot = dots.mint(0)
            assert dot is not None
            counters.append(dot[2])

    assert len(counters) == len(set(counters))
    assert counters == sorted(counters)


def test_the_next_block_is_reserved_while_half_of_this_one_is_left() -> None:
    disk = Disk()
    dots = disk.start()
    dots._next = BLOCK // 2 - 1

    dots.mint(1)

    assert disk.reserved == 2 * BLOCK


def test_nothing_is_minted_beyond_the_block_when_the_disk_refuses_another() -> None:
    disk = Disk()
    dots = disk.start()
    dots._next = BLOCK - 2

    minted = []
    for _ in range(5):
        minted.append(dots.mint(1))
        refuse(disk, dots)

    assert minted == [(1, 1, BLOCK - 1), (1, 1, BLOCK), None, None, None]
    assert disk.reserved == BLOCK


def test_when_the_disk_takes_a_block_again_minting_goes_on() -> None:
    disk = Disk()
    dots = disk.start()
    dots._next = BLOCK

    refused = dots.mint(1)
    refuse(disk, dots)
    staged = dots.mint(1)
    commit(disk, dots)
    minted = dots.mint(1)

    assert (refused, staged, minted) == (None, None, (1, 1, BLOCK + 1))


def test_a_block_that_was_refused_is_asked_for_again_before_the_counters_run_out() -> None:
    disk = Disk()
    dots = disk.start()
    dots._next = BLOCK // 2 - 1

    dots.mint(1)
    refuse(disk, dots)
    dots.mint(1)
    commit(disk, dots)

    assert disk.reserved == 2 * BLOCK


def test_a_copy_is_born_with_the_first_dot_minted_in_it() -> None:
    dots = Disk().start()

    first = dots.mint(0)
    second = dots.mint(1)
    other = dots.mint(0)

    assert (first, second, other) == ((1, 1, 1), (1, 1, 2), (1, 3, 3))


def test_a_birth_of_an_earlier_process_is_not_continued_by_another_actor() -> None:
    disk = Disk()
    before = disk.start().mint(0)
    assert before is not None

    after = disk.start().mint(before[1])

    assert after == (2, BLOCK + 1, BLOCK + 1)
