"""Who can be asked for a key."""

import pytest
from msgspec.structs import replace
from support.nodes import PARTITIONS, view

from zdynamo.core.owners.placement import Placement
from zdynamo.messages import MemberState
from zdynamo.partition import storage_key

KEY = storage_key(b"default", b"k", PARTITIONS)


@pytest.mark.parametrize(
    ("state", "others_up"),
    [("alive", {"b", "c"}), ("suspect", {"b", "c"}), ("unreachable", {"b"}), ("down", {"b"})],
)
def test_a_suspect_is_asked_and_who_is_not_reached_from_here_is_not(state: MemberState, others_up: set[str]) -> None:
    seen = view()
    members = tuple(replace(each, state=state) if each.record.id == "c" else each for each in seen.members)

    placement = Placement(replace(seen, members=members))

    assert set(placement.others_up(KEY)) == others_up
    assert placement.is_down("c") == ("c" not in others_up)
