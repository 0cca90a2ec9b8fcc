"""Members whose bucket tables differ are seen by their heartbeats, told loudly, and forgotten once they agree."""

import pytest
from support.memberships import MINE, LoneMembership

from zdynamo.core.events import Noted
from zdynamo.core.members.bucket_tables import REMEDY, REMIND_MS
from zdynamo.core.members.events import (
    NewView,
    Publish,
    Ticked,
)
from zdynamo.core.records.buckets import table_digest
from zdynamo.messages import Bucket, Heartbeat
from zdynamo.testing.simulator import Simulation

OTHER, UNKNOWN = 2, 0
FIELDS = {"member": "b", "id": "b", "address": "b:1"}
DIFFER = Noted("buckets.differ", {**FIELDS, "remedy": REMEDY}, "warning")
AGREE = Noted("buckets.agree", FIELDS)


def test_a_heartbeat_carries_the_digest_of_the_own_table() -> None:
    a = LoneMembership()

    told = [effect.message for effect in a.step(Ticked()) if isinstance(effect, Publish)]

    assert [message.buckets_digest for message in told if isinstance(message, Heartbeat)] == [MINE]


def test_a_member_with_another_table_is_told_once_and_shown_in_the_view() -> None:
    a = LoneMembership()

    first, second = a.beat(OTHER), a.beat(OTHER)

    assert first == [DIFFER, NewView(a.membership.view(a.now))]
    assert second == []
    assert a.view.buckets_differ == ("b",)


def test_a_member_that_is_started_again_with_the_right_table_is_no_longer_shown() -> None:
    a = LoneMembership()
    a.beat(OTHER)

    a.joins(2)
    effects = a.beat(MINE, epoch=2)

    assert effects == [AGREE, NewView(a.membership.view(a.now))]
    assert a.view.buckets_differ == ()


@pytest.mark.parametrize(("mine", "theirs"), [(MINE, MINE), (MINE, UNKNOWN), (UNKNOWN, OTHER)])
def test_the_same_table_and_one_that_is_not_known_are_no_difference(mine: int, theirs: int) -> None:
    a = LoneMembership(mine)

    assert a.beat(theirs) == []


def test_a_late_heartbeat_of_an_earlier_process_says_nothing_of_the_table_now() -> None:
    a = LoneMembership()
    a.joins(2)
    a.beat(MINE, epoch=2)

    assert a.beat(OTHER, epoch=1) == []


def test_a_difference_that_stays_is_told_again_once_a_minute() -> None:
    a = LoneMembership()
    a.beat(OTHER)

    a.ms += REMIND_MS - 1
    early = a.step(Ticked())
    a.ms += 1
    due = a.step(Ticked())
    a.ms += 1
    just_told = a.step(Ticked())

    assert [DIFFER in effects for effects in (early, due, just_told)] == [False, True, False]


def test_who_is_removed_is_not_told_of_any_more() -> None:
    a = LoneMembership()
    a.beat(OTHER)

    a.joins(2, "removed")
    a.ms += REMIND_MS

    assert a.view.buckets_differ == ()
    assert DIFFER not in a.step(Ticked())


def test_the_order_of_the_tables_makes_no_difference_but_every_rule_does() -> None:
    carts, sessions = Bucket("carts", r=1), Bucket("sessions", conflict="lww")

    assert table_digest([carts, sessions]) == table_digest([sessions, carts])
    assert len({table_digest(table) for table in ([], [carts], [Bucket("carts", w=1)], [Bucket("cart", r=1)])}) == 4


def test_a_cluster_sees_who_was_started_with_another_table_until_it_is_started_with_theirs() -> None:
    simulation = Simulation(1)
    simulation.buckets = (Bucket("carts", conflict="lww"),)
    simulation.other_buckets["c"] = (Bucket("carts"),)
    simulation.start("a")
    simulation.start("b", "a")
    simulation.start("c", "a")

    def seen_by(name: str) -> set[str]:
        view = simulation.nodes[name].view
        assert view is not None
        return {member.record.name for member in view.members if member.record.id in view.buckets_differ}

    simulation.run_until(lambda: simulation.all_see("abc"))
    simulation.run_until(lambda: [seen_by(name) for name in "abc"] == [{"c"}, {"c"}, {"a", "b"}])

    simulation.kill("c")
    del simulation.other_buckets["c"]
    simulation.start("c", "a")
    simulation.run_until(lambda: simulation.all_see("abc") and not any(seen_by(name) for name in "abc"))
