"""Layouts: numbered sets of the members that own data; equal ones have equal digests."""

from collections.abc import Iterable
from itertools import pairwise

import msgspec
import xxhash

from zdynamo.messages import Layout, LayoutMember

_encode = msgspec.msgpack.Encoder().encode


def make_layout(number: int, members: Iterable[LayoutMember]) -> Layout:
    """The same members in any order give the same layout."""
    ordered = tuple(sorted(members))
    return Layout(number, _digest(number, ordered), ordered)


def is_newer(one: Layout, other: Layout | None) -> bool:
    """Whether `one` is to be taken in place of the other; of two with one number everybody takes the same."""
    return other is None or (one.number, one.digest) > (other.number, other.digest)


def is_genuine(layout: Layout) -> bool:
    """Whether a layout from elsewhere is one that `make_layout` makes: sorted, each id once, and its digest right."""
    ids = [member.id for member in layout.members]
    return (
        all(one < other for one, other in pairwise(ids))
        and all(member.weight >= 1 for member in layout.members)
        and layout.digest == _digest(layout.number, layout.members)
    )


def _digest(number: int, members: tuple[LayoutMember, ...]) -> int:
    return xxhash.xxh3_64_intdigest(_encode((number, members)))
