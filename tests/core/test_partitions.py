"""Is an owner settled? It is not when it may have lost some of what it held."""

import pytest

from zdynamo.core.recovery.partitions import TOOK_OVER, Given, Partitions
from zdynamo.core.recovery.session import COPIED, LOST_DISK, POWER_CUT
from zdynamo.partition import storage_key
from zdynamo.storage.memory import MemoryStore

KEYS = [storage_key(b"default", b"%d" % number, 16) for number in range(200)]
OWNED = range(16)


def settled(partitions: Partitions) -> set[bool]:
    return {partitions.settled(key) for key in KEYS}


@pytest.mark.parametrize(
    ("took_over", "doubt", "why"), [(False, "", ""), (True, "", TOOK_OVER), (False, LOST_DISK, LOST_DISK)]
)
def test_an_owner_is_settled_unless_it_has_lost_what_it_held(took_over: bool, doubt: str, why: str) -> None:
    partitions = Partitions(MemoryStore(), doubt=doubt)

    assert partitions.layout_known(OWNED, took_over=took_over) == why
    assert settled(partitions) == {not why}


def test_only_what_is_owned_is_in_doubt() -> None:
    partitions = Partitions(MemoryStore(), doubt=LOST_DISK)

    partitions.layout_known([3, 5], took_over=False)

    assert sorted(partitions.doubts) == [3, 5]
    assert [partitions.is_settled(partition) for partition in (2, 3, 4, 5)] == [True, False, True, False]


def test_a_loss_is_found_once() -> None:
    partitions = Partitions(MemoryStore(), doubt=LOST_DISK)

    assert partitions.layout_known(OWNED, took_over=False) == LOST_DISK
    assert partitions.layout_known(OWNED, took_over=True) == ""


def test_a_loss_that_was_found_before_there_was_a_layout_is_not_forgotten_by_a_restart() -> None:
    store = MemoryStore()
    Partitions(store, doubt=POWER_CUT)
    store.commit()

    assert Partitions(store).layout_known(OWNED, took_over=False) == POWER_CUT


def test_a_loss_is_remembered_over_a_restart_and_not_found_again() -> None:
    store = MemoryStore()
    Partitions(store, doubt=LOST_DISK).layout_known(OWNED, took_over=False)
    store.commit()

    again = Partitions(store)

    assert again.layout_known(OWNED, took_over=False) == ""
    assert settled(again) == {False}


def test_an_owner_that_has_had_a_layout_is_settled_after_a_restart() -> None:
    store = MemoryStore()
    Partitions(store).layout_known(OWNED, took_over=False)
    store.commit()

    again = Partitions(store)

    assert again.layout_known(OWNED, took_over=True) == ""
    assert settled(again) == {True}


def test_what_has_been_settled_again_stays_so_over_a_restart() -> None:
    store = MemoryStore()
    partitions = Partitions(store, doubt=LOST_DISK)
    partitions.layout_known([3, 5], took_over=False)
    partitions.settle(3)
    store.commit()

    assert sorted(Partitions(store).doubts) == [5]


def test_how_far_a_partition_has_been_compared_outlives_a_restart() -> None:
    store = MemoryStore()
    partitions = Partitions(store, doubt=LOST_DISK)
    partitions.layout_known([3], took_over=False)
    partitions.doubts[3].given["b"] = Given(KEYS[0], sure=False, whole=True)
    partitions.keep(3)
    store.commit()

    assert Partitions(store).doubts[3].given == {"b": Given(KEYS[0], sure=False, whole=True)}


def test_a_new_loss_makes_all_be_compared_again() -> None:
    partitions = Partitions(MemoryStore(), doubt=LOST_DISK)
    partitions.layout_known([3], took_over=False)
    partitions.doubts[3].given["b"] = Given(whole=True)

    partitions.doubt([3], POWER_CUT)

    assert partitions.doubts[3].given == {}


def test_what_was_not_committed_is_not_believed() -> None:
    store = MemoryStore()
    partitions = Partitions(store, doubt=LOST_DISK)
    partitions.layout_known([3], took_over=False)
    store.commit()
    partitions.settle(3)
    store._staged.clear()  # the commit failed

    partitions.reload()

    assert not partitions.is_settled(3)


def test_what_is_lost_is_not_believed_either_while_no_commit_finds_room() -> None:
    store = MemoryStore()
    partitions = Partitions(store)
    partitions.layout_known(OWNED, took_over=True)
    for _ in range(2):  # commits that fail
        store._staged.clear()
        partitions.reload()
        partitions.committed()  # of what has staged nothing
    while_full = settled(partitions)

    partitions.layout_known(OWNED, took_over=True)
    store.commit()
    partitions.committed()
    partitions.settle(3)
    store.commit()
    partitions.committed()
    partitions.reload()

    assert while_full == {False}
    assert [partition for partition in OWNED if partitions.is_settled(partition)] == [3]
    assert sorted(Partitions(store).doubts) == [partition for partition in OWNED if partition != 3]


def test_what_had_been_compared_before_a_loss_does_not_count_though_the_loss_could_not_be_kept() -> None:
    store = MemoryStore()
    partitions = Partitions(store, doubt=POWER_CUT)
    partitions.layout_known([3], took_over=False)
    partitions.doubts[3].given["b"] = Given(whole=True)
    partitions.keep(3)
    store.commit()
    partitions.committed()

    partitions.lose([3], COPIED)
    store._staged.clear()
    partitions.reload()

    assert (partitions.doubts[3].why, partitions.doubts[3].given) == (COPIED, {})


def test_what_a_scan_shows_is_all_only_after_the_commit_that_settled() -> None:
    store = MemoryStore()
    partitions = Partitions(store, doubt=LOST_DISK)
    partitions.layout_known([3], took_over=False)
    store.commit()

    partitions.settle(3)
    before = partitions.knows_scanned(3)
    store.commit()

    assert (partitions.is_settled(3), before, partitions.knows_scanned(3)) == (True, False, True)
    assert Partitions(MemoryStore()).knows_scanned(3)


def test_a_power_cut_hides_no_worse_loss_that_was_found_just_before_it() -> None:
    store = MemoryStore()
    Partitions(store, doubt=LOST_DISK)
    store.commit()

    partitions = Partitions(store, doubt=POWER_CUT)

    assert partitions.layout_known(OWNED, took_over=False) == LOST_DISK
    assert partitions.rounds_lost


@pytest.mark.parametrize(("doubt", "lost"), [("", False), (POWER_CUT, False), (LOST_DISK, True), (COPIED, True)])
def test_rounds_are_lost_with_the_disk_but_not_with_the_power(doubt: str, lost: bool) -> None:
    partitions = Partitions(MemoryStore(), doubt=doubt)
    partitions.layout_known(OWNED, took_over=False)

    assert partitions.rounds_lost == lost
    assert partitions.may_stand_in(9) == (not lost)


def test_lost_rounds_are_known_again_once_all_are_told_also_after_a_restart() -> None:
    store = MemoryStore()
    partitions = Partitions(store, doubt=LOST_DISK)
    partitions.layout_known(OWNED, took_over=False)
    partitions.round_told(9)
    store.commit()
    told, forgotten = partitions.may_stand_in(9), Partitions(store).may_stand_in(9)

    partitions.find_rounds()
    store.commit()

    assert (told, forgotten, Partitions(store).may_stand_in(9)) == (True, False, True)


def test_lost_rounds_stay_lost_when_the_commit_that_says_so_fails() -> None:
    store = MemoryStore()
    partitions = Partitions(store, doubt=LOST_DISK)
    store.commit()
    partitions.layout_known(OWNED, took_over=False)

    store._staged.clear()
    partitions.reload()

    assert not partitions.may_stand_in(9)
    partitions.layout_known(OWNED, took_over=False)
    store.commit()
    assert Partitions(store).rounds_lost
