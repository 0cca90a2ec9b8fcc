"""Does a node notice at its start that its store may not hold all that it has acknowledged?"""

from random import Random

import pytest
from msgspec.structs import replace
from support.nodes import WALL_MS

from zdynamo.core.events import Noted, Now
from zdynamo.core.members.events import Gossiped, Kept, NewView, Persist, Profile
from zdynamo.core.members.membership import Membership
from zdynamo.core.members.table import MemberTable
from zdynamo.core.recovery.session import COPIED, LOST_DISK, OLD_STORE, POWER_CUT, Session
from zdynamo.core.settings import NodeLimits, Rhythms
from zdynamo.core.state import State
from zdynamo.messages import Addresses, Constants, MemberRecord, Rumor, View
from zdynamo.partition import HASH_VERSION
from zdynamo.testing.disk import SimulatedStore


def start(
    store: SimulatedStore, *, had_data: bool = True, epoch: int = 1, machine: str = "one", place: str = "here"
) -> State:
    """Started, and its first commit done."""
    state = State(
        store=store, limits=NodeLimits(), random=Random(1), buckets=(),
        had_data=had_data, epoch=epoch, machine_boot=machine, place=place,
    )  # fmt: skip
    store.commit()
    return state


def store_of(epoch: int = 0, machine: str = "one", *, clean: bool = False, place: str = "here") -> SimulatedStore:
    """What a first process has left: it was started when the membership had kept that epoch."""
    store = SimulatedStore()
    state = start(store, had_data=False, epoch=epoch, machine=machine, place=place)
    if clean:
        state.session.leave()
        store.commit()
    return store


def test_a_new_node_has_lost_nothing() -> None:
    assert start(SimulatedStore(), had_data=False, epoch=0).session.doubt == ""


def test_a_member_with_an_empty_store_has_lost_its_disk() -> None:
    assert start(SimulatedStore()).session.doubt == LOST_DISK


def test_a_killed_process_has_lost_nothing() -> None:
    assert start(store_of()).session.doubt == ""


def test_a_machine_that_went_down_may_have_lost_what_was_not_fsynced() -> None:
    assert start(store_of(), machine="two").session.doubt == POWER_CUT


def test_after_a_clean_stop_the_machine_may_be_started_again() -> None:
    assert start(store_of(clean=True), machine="two").session.doubt == ""


def test_a_clean_stop_counts_once() -> None:
    store = store_of(clean=True)
    start(store)

    assert start(store, epoch=2, machine="two").session.doubt == POWER_CUT


def test_a_start_takes_the_mark_of_a_clean_stop_back_also_through_a_power_cut() -> None:
    store = store_of(clean=True)
    Session(store, epoch=1, machine="one", place="here", had_data=True)
    store.commit()

    store.cut_power()

    assert start(store, epoch=2, machine="two").session.doubt == POWER_CUT


@pytest.mark.parametrize(("before", "after"), [("", "two"), ("one", ""), ("", "")])
def test_where_the_boot_is_not_known_only_a_clean_stop_is_safe(before: str, after: str) -> None:
    assert start(store_of(machine=before), machine=after).session.doubt == POWER_CUT
    assert start(store_of(machine=before, clean=True), machine=after).session.doubt == ""


def test_with_every_commit_fsynced_a_power_cut_takes_nothing() -> None:
    store = store_of()
    store.durability = "always"

    assert start(store, machine="two").session.doubt == ""


def test_a_store_from_before_the_last_start_is_an_old_copy() -> None:
    store = store_of(epoch=3)

    assert start(store.copy(), epoch=4).session.doubt == ""
    assert start(store.copy(), epoch=5).session.doubt == OLD_STORE


@pytest.mark.parametrize("clean", [False, True])
def test_a_store_that_was_copied_or_moved_may_be_an_old_copy_and_that_is_found_once(clean: bool) -> None:
    """Taken while a process ran, and given to the next one: no start in between has left a greater epoch."""
    store = store_of(clean=clean)

    assert start(store, place="there").session.doubt == COPIED
    assert start(store, epoch=2, place="there").session.doubt == ""


def test_a_copy_that_is_known_to_be_old_is_called_that() -> None:
    assert start(store_of(epoch=3), epoch=5, place="there").session.doubt == OLD_STORE


@pytest.mark.parametrize(("before", "after"), [("", "there"), ("here", ""), ("", "")])
def test_where_the_place_is_not_known_no_store_is_taken_for_a_copy(before: str, after: str) -> None:
    assert start(store_of(place=before), place=after).session.doubt == ""


def test_a_place_that_is_not_known_for_a_while_is_not_forgotten() -> None:
    store = store_of(place="here")
    start(store, place="")

    assert start(store.copy(), epoch=2, place="here").session.doubt == ""
    assert start(store.copy(), epoch=2, place="there").session.doubt == COPIED


def test_an_epoch_raised_while_the_node_ran_is_no_old_copy() -> None:
    store = store_of()
    state = start(store)
    state.session.epoch_seen(9)
    store.commit()

    assert start(store, epoch=9).session.doubt == ""


def test_each_old_copy_is_told_of_once_over_restarts_too() -> None:
    store = store_of()
    first = start(store)

    assert first.session.old_copy_seen(5)
    store.commit()
    second = start(store, epoch=5)

    assert not second.session.old_copy_seen(5)
    assert second.session.old_copy_seen(8)


# The members remember


def membership(kept: Kept) -> Membership:
    profile = Profile(
        name="a", addresses=Addresses("a:1", "a:2", "a:3", ""), zone="", weight=1, seeds=(), found=True,
        constants=Constants(16, 3, HASH_VERSION, 1, ""),
    )  # fmt: skip
    return Membership(kept=kept, profile=profile, rhythms=Rhythms(), random=Random(1), now=Now(0, WALL_MS))


def kept(epoch: int = 4, old_copy: int = 0) -> Kept:
    return Kept("a", "cluster", epoch, Constants(16, 3, HASH_VERSION, 1, "a"), old_copy=old_copy)


def remembered(epoch: int, *, boot: str = "another", started_ms: int = WALL_MS - 1) -> MemberRecord:
    return MemberRecord("a", 50, "a", epoch, boot, started_ms, Addresses("a:1", "a:2", "a:3", ""), "", 1)


def views_after(node: Membership, record: MemberRecord) -> tuple[list[View], list[Kept], list[str]]:
    node.start(Now(0, WALL_MS))
    effects = node.step(Gossiped(Rumor("cluster", "b", (record,), None)), Now(10, WALL_MS + 10))
    return (
        [effect.view for effect in effects if isinstance(effect, NewView)],
        [effect.kept for effect in effects if isinstance(effect, Persist)],
        [effect.name for effect in effects if isinstance(effect, Noted)],
    )


@pytest.mark.parametrize("started_ms", [WALL_MS - 1, WALL_MS + 3_600_000], ids=["clock-right", "clock-behind"])
def test_a_later_start_that_others_remember_makes_the_folder_an_old_copy_and_that_is_kept_first(
    started_ms: int,
) -> None:
    views, keeps, noted = views_after(membership(kept(epoch=4)), remembered(epoch=7, started_ms=started_ms))

    assert [(view.me.epoch, view.old_copy) for view in views] == [(8, 8)]
    assert [(keep.epoch, keep.old_copy) for keep in keeps] == [(8, 8)]
    assert noted == ["member.old_copy"]


def test_an_old_copy_that_was_found_is_told_again_after_a_restart() -> None:
    node = membership(kept(epoch=8, old_copy=8))
    effects = node.start(Now(0, WALL_MS))

    assert [effect.view.old_copy for effect in effects if isinstance(effect, NewView)] == [8]


def test_a_later_start_is_remembered_against_a_record_that_replaced_it_until_a_greater_epoch_is_told() -> None:
    """Whichever of the two records is believed, the old copy has to hear of the other."""
    later, old_copy = remembered(epoch=7, boot="later"), remembered(epoch=7, boot="old")
    table = MemberTable([later])

    table.merge([replace(old_copy, version=51)])
    told = table.told_to("a")
    table.merge([replace(old_copy, version=52, epoch=8)])

    assert [record.boot for record in told] == ["old", "later"]
    assert not table.has_to_hear("a")
    assert [record.boot for record in table.told_to("a")] == ["old"]


def test_an_old_copy_that_has_said_more_than_the_later_start_hears_of_it_all_the_same() -> None:
    node = membership(kept(epoch=4))
    node.start(Now(0, WALL_MS))
    for version in (60, 70):  # nobody's: it says what is true above them
        nobodys = replace(remembered(epoch=4), version=version)
        node.step(Gossiped(Rumor("cluster", "b", (nobodys,), None)), Now(9, WALL_MS))

    effects = node.step(Gossiped(Rumor("cluster", "b", (remembered(epoch=7, boot="c"),), None)), Now(10, WALL_MS))

    assert [effect.view.old_copy for effect in effects if isinstance(effect, NewView)] == [8]


def test_the_start_before_this_one_makes_no_old_copy() -> None:
    views, _, noted = views_after(membership(kept(epoch=4)), remembered(epoch=4))

    assert [view.old_copy for view in views] == [0]
    assert noted == []


def test_of_two_processes_that_say_the_same_version_the_earlier_is_believed() -> None:
    """Or a copy from just before the last start would take its place without ever hearing of it."""
    earlier, later = remembered(epoch=7, boot="a"), remembered(epoch=7, boot="b", started_ms=WALL_MS)

    for first, second in ((earlier, later), (later, earlier)):
        table = MemberTable([first])
        table.merge([second])
        assert table.get("a") == earlier
