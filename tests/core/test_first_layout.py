"""The first layout: decided by the founder alone, and after a new start only when nobody can know of another."""

import pytest
from support.memberships import Started
from support.nodes import member

from zdynamo.core.events import Noted
from zdynamo.core.members.events import Gossiped, Heard, Kept, Mail, Ticked
from zdynamo.core.owners.layout import make_layout
from zdynamo.core.settings import Rhythms
from zdynamo.messages import (
    Constants,
    Heartbeat,
    Hello,
    Layout,
    LayoutMember,
    LayoutWanted,
    MemberRecord,
    NodeId,
    Table,
)
from zdynamo.partition import HASH_VERSION

CLUSTER = "cluster"
LISTEN_MS = Rhythms().listen_ms
REAL = make_layout(1, [LayoutMember(node, "", 1) for node in "abc"])


class Restarted(Started):
    """Founder `a`, which goes on from a folder that knows of these members and of no layout."""

    def __init__(self, known: str, *, min_members: int = 1, took_over: bool = False) -> None:
        constants = Constants(16, 3, HASH_VERSION, min_members, "a")
        kept = Kept("a", CLUSTER, 1, constants, tuple(member(node) for node in known), None, took_over)
        super().__init__(kept, min_members=min_members)

    @property
    def awaited(self) -> tuple[NodeId, ...]:
        """As the last view that was shown says."""
        return [effect.view for effect in self.effects if hasattr(effect, "view")][-1].awaited

    @property
    def owners(self) -> list[NodeId]:
        return [owner.id for owner in self.view.layout.members] if self.view.layout else []

    def listens(self) -> None:
        """Long enough."""
        self.ms += LISTEN_MS
        self.step(Ticked())

    def hello(self, node: NodeId) -> None:
        self.step(Heard(CLUSTER, node, Hello(1, 1, member(node), self.view.constants, 1, "a:client")))

    def table(self, node: NodeId, known: str, layout: Layout | None = None) -> None:
        records: tuple[MemberRecord, ...] = tuple(member(each) for each in known)
        self.step(Heard(CLUSTER, node, Table(records, layout, answer=False)))


def test_a_founder_started_again_decides_when_all_others_have_told_that_they_know_of_no_layout() -> None:
    a = Restarted("abc", min_members=3)
    a.listens()
    a.table("b", "abc")
    before = (a.awaited, a.owners)

    a.table("c", "abc")

    assert before == (("c",), [])
    assert (a.awaited, a.owners) == ((), ["a", "b", "c"])


def test_a_hello_makes_a_founder_that_was_started_again_wait_for_that_member_too() -> None:
    a = Restarted("a", min_members=2)
    a.listens()

    a.hello("b")
    awaited = (a.awaited, a.owners)
    a.table("b", "ab")

    assert awaited == (("b",), [])
    assert a.owners == ["a", "b"]


def test_who_is_first_told_of_by_a_table_is_waited_for_as_well() -> None:
    a = Restarted("a", min_members=3)
    a.listens()

    a.table("b", "abcd")
    a.hello("c")

    assert (a.awaited, a.owners) == (("c", "d"), [])


def test_a_founder_restored_from_before_the_layout_takes_the_one_that_a_member_tells() -> None:
    a = Restarted("a", min_members=2)
    a.listens()
    a.hello("b")

    a.table("b", "abc", REAL)

    assert a.view.layout == REAL
    assert a.awaited == ()
    assert not [effect for effect in a.effects if isinstance(effect, Noted) and effect.name == "layout.decided"]


@pytest.mark.parametrize("known", ["a", "abc"])
def test_a_founder_started_again_listens_before_it_decides_for_data(known: str) -> None:
    a = Restarted(known)
    for other in known[1:]:
        a.hello(other)
        a.table(other, known)
    a.step(Heard(CLUSTER, "a", LayoutWanted()))
    before = (a.awaited, a.owners)

    a.listens()

    assert before == (("a",), [])
    assert (a.awaited, a.owners) == ((), list(known))


def test_a_founder_started_again_that_nobody_gave_data_decides_nothing() -> None:
    a = Restarted("a")

    a.listens()

    assert (a.awaited, a.owners) == ((), [])


def test_who_took_over_the_place_of_a_founder_waits_as_well() -> None:
    a = Restarted("ab", min_members=2, took_over=True)

    a.listens()

    assert (a.awaited, a.owners) == (("b",), [])


def test_a_member_that_was_removed_is_not_waited_for() -> None:
    a = Restarted("abc", min_members=2)
    a.listens()
    a.table("b", "abc")

    removed = member("c", version=2, status="removed")
    a.step(Heard(CLUSTER, "b", Table((removed,), None, answer=False)))

    assert a.owners == ["a", "b"]


def test_a_heartbeat_of_a_member_that_may_know_of_a_layout_has_it_asked_for_its_table() -> None:
    a = Restarted("ab", min_members=2)
    a.ms += 1_000

    told = a.step(Gossiped(Heartbeat(CLUSTER, "b", 1, "boot-b-1", 1, a.view.table_digest, 0, 0)))

    assert [effect for effect in told if isinstance(effect, Mail)] == [
        Mail("b", Table(a.membership._table.all, None, answer=True))
    ]
