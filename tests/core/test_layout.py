"""Layouts: the same members make the same layout, and a changed one is noticed."""

import msgspec
import pytest

from zdynamo.core.owners.layout import is_genuine, is_newer, make_layout
from zdynamo.messages import Layout, LayoutMember

A, B, C = (
    LayoutMember(letter * 16, zone, weight) for letter, zone, weight in (("a", "x", 1), ("b", "y", 2), ("c", "", 1))
)


def test_members_in_any_order_make_the_same_layout() -> None:
    assert make_layout(1, [C, A, B]) == make_layout(1, iter([A, B, C]))
    assert make_layout(1, [C, A, B]).members == (A, B, C)


def test_a_digest_is_the_same_for_ever() -> None:
    assert make_layout(7, [A, B, C]) == Layout(7, 0x0BD04A34DF349FA5, (A, B, C))


@pytest.mark.parametrize(
    "other",
    [make_layout(2, [A, B]), make_layout(1, [A]), make_layout(1, [A, msgspec.structs.replace(B, weight=3)])],
)
def test_layouts_that_differ_have_different_digests(other: Layout) -> None:
    assert make_layout(1, [A, B]).digest != other.digest


def test_a_layout_survives_the_wire() -> None:
    layout = make_layout(3, [A, B, C])

    read = msgspec.msgpack.decode(msgspec.msgpack.encode(layout), type=Layout)

    assert read == layout
    assert is_genuine(read)


@pytest.mark.parametrize(
    "forged",
    [
        msgspec.structs.replace(make_layout(1, [A, B]), number=2),
        msgspec.structs.replace(make_layout(1, [A, B]), members=(B, A)),
        msgspec.structs.replace(make_layout(1, [A, B]), members=(A, B, C)),
        make_layout(1, [A, A]),
        make_layout(1, [msgspec.structs.replace(A, weight=0)]),
    ],
    ids=["number", "order", "members", "twice", "weight"],
)
def test_a_layout_that_is_not_what_it_says_is_noticed(forged: Layout) -> None:
    assert not is_genuine(forged)


def test_of_two_layouts_with_one_number_everybody_takes_the_same() -> None:
    one = make_layout(1, [LayoutMember("a", "", 1)])
    other = make_layout(1, [LayoutMember("b", "", 1)])

    assert is_newer(one, None)
    assert is_newer(one, other) != is_newer(other, one)
    assert is_newer(make_layout(2, one.members), max(one, other, key=lambda layout: layout.digest))
    assert not is_newer(one, one)
