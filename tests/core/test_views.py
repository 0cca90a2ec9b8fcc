"""Members that see another table or layout for long are told; for moments, everybody does."""

from msgspec.structs import replace
from support.memberships import LoneMembership
from support.nodes import LoneNode, answers, member, request_id, view

from zdynamo.core.events import Noted
from zdynamo.core.members.events import MembershipEffect, NewView
from zdynamo.core.members.views import LASTING_MS, REMEDY, Views
from zdynamo.messages import DescribeNode, NodeDescription

ANOTHER = 7  # digest of a table
B = {"member": "b", "id": "b", "address": "b:1"}
FIELDS = {"member": "b", "id": "b", "address": "b:client"}


def test_a_difference_is_told_once_when_it_has_lasted() -> None:
    views = Views()

    told = [views.said(member("b"), differs=True, now_ms=ms) for ms in (1_000, 1_000 + LASTING_MS - 1)]
    lasting = views.said(member("b"), differs=True, now_ms=1_000 + LASTING_MS)
    again = views.said(member("b"), differs=True, now_ms=2_000 + LASTING_MS)

    assert told == [None, None]
    assert lasting == Noted("views.differ", {**FIELDS, "for_ms": LASTING_MS, "remedy": REMEDY}, "warning")
    assert again is None
    assert views.differing == {"b"}


def test_differences_that_end_in_between_do_not_add_up() -> None:
    views = Views()
    views.said(member("b"), differs=True, now_ms=0)
    views.said(member("b"), differs=False, now_ms=LASTING_MS - 1)

    assert views.said(member("b"), differs=True, now_ms=LASTING_MS) is None
    assert views.differing == set()


def test_the_end_of_a_lasting_difference_is_told() -> None:
    views = Views()
    for now_ms in (0, LASTING_MS):
        views.said(member("b"), differs=True, now_ms=now_ms)

    assert views.said(member("b"), differs=False, now_ms=LASTING_MS + 1) == Noted("views.agree", FIELDS)
    assert views.differing == set()


def test_a_heartbeat_with_another_table_for_long_makes_a_new_view_that_says_so() -> None:
    a = LoneMembership()

    told: list[MembershipEffect] = []
    for _ in range(0, LASTING_MS + 1, 200):
        told += a.beat(table=ANOTHER)
        a.ms += 200
    differing = a.view.views_differ
    ended = a.beat()

    assert [effect.name for effect in told if isinstance(effect, Noted)] == ["views.differ"]
    assert isinstance(told[-1], NewView) and told[-1].view.views_differ == ("b",) == differing
    assert ended == [Noted("views.agree", B), NewView(a.view)]
    assert a.view.views_differ == ()


def test_an_operator_is_told_who_sees_another_cluster_for_long() -> None:
    node = LoneNode(replace(view(), views_differ=("c",)))

    (described,) = answers(node.asked(DescribeNode(request_id(1), "")))

    assert isinstance(described, NodeDescription) and described.figures is not None
    assert described.figures.views_differ == ("c",)
    assert described.notices == ("other members or another layout are seen by c, for long (check the links)",)
