"""Who takes what, on every state that a cluster of three to five can be in (paper 4.3, 4.6)."""

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st
from support.five import LIMITS, Five
from support.nodes import PARTITIONS, LoneNode, view

from zdynamo.core.owners.placement import Placement
from zdynamo.core.owners.ring import Ring
from zdynamo.core.owners.standins import Takers, next_fallback, readers, takers

FULL = LIMITS.peer_bytes_max
States = dict[str, str]  # of each other member: "up", "down", "lost", or "full"


def scene(names: str, states: States, partition: int) -> tuple[LoneNode, Placement, bytes, dict[str, int]]:
    """Node `a`, its placement, a storage key of the partition, and what each peer has to work off."""
    others = names.replace("a", "")
    node = LoneNode(view(others=others, layout=names), limits=LIMITS)
    down = "".join(name for name in others if states[name] == "down")
    node.node._state.patience.lost |= {name for name in others if states[name] == "lost"}
    key = next(key for number in range(10_000) if (key := node.key(b"%d" % number))[1] == partition)
    placement = Placement(view(others=others, layout=names, down=down))
    return node, placement, key, {name: FULL * (states[name] == "full") for name in names if name != "a"} | {"a": 0}


def chosen(names: str, states: States, partition: int) -> tuple[Takers, Placement, bytes]:
    node, placement, key, bytes_to = scene(names, states, partition)
    return takers(key, placement, node.node._state, bytes_to), placement, key


def members(names: str) -> st.SearchStrategy[States]:
    return st.fixed_dictionaries({name: st.sampled_from(("up", "down", "lost", "full")) for name in names[1:]})


SCENES = st.sampled_from(("abc", "abcd", "abcde", "abcdefg")).flatmap(
    lambda names: st.tuples(st.just(names), members(names), st.integers(0, PARTITIONS - 1))
)


@settings(deadline=None, max_examples=300)
@given(SCENES)
def test_paper_4_6_each_owner_is_asked_or_held_for_or_has_too_much_to_work_off(
    drawn: tuple[str, States, int],
) -> None:
    names, states, partition = drawn

    taken, placement, key = chosen(names, states, partition)

    held = [target for targets in taken.hold.values() for target in targets] + list(taken.mine)
    for owner in placement.owners_of(key):
        if owner == "a":
            continue
        assert (owner in taken.owners) or (owner in held) or states[owner] in ("full", "lost")
    assert len(held) == len(set(held))
    assert taken.owners == [owner for owner in taken.owners if owner in placement.owners_of(key)]
    assert len(taken.owners) == len(set(taken.owners))


@settings(deadline=None, max_examples=300)
@given(SCENES)
def test_only_members_of_the_layout_that_can_be_reached_and_own_nothing_stand_in(
    drawn: tuple[str, States, int],
) -> None:
    names, states, partition = drawn

    taken, placement, key = chosen(names, states, partition)

    assert all(states[node] == "up" and node not in placement.owners_of(key) for node in taken.hold)
    assert all(states[owner] in ("up", "lost") for owner in taken.owners)
    assert set(taken.mine) <= set(placement.owners_of(key)) - {"a"}


@settings(deadline=None, max_examples=300)
@given(SCENES)
def test_a_coordinator_that_does_not_own_the_key_holds_it_for_somebody(drawn: tuple[str, States, int]) -> None:
    """Or its copy would have no hint, and count to W."""
    names, states, partition = drawn

    taken, placement, key = chosen(names, states, partition)

    assert taken.mine or "a" in placement.owners_of(key)


@settings(deadline=None, max_examples=300)
@given(SCENES)
def test_those_who_stand_in_are_the_next_of_the_preference_list(drawn: tuple[str, States, int]) -> None:
    names, states, partition = drawn

    taken, placement, _ = chosen(names, states, partition)

    layout = placement.view.layout
    assert layout is not None
    able = [node for node in Ring(layout, PARTITIONS, 3).fallbacks(partition) if states.get(node) == "up"]
    assert list(taken.hold) == able[: len(taken.hold)]


def test_paper_4_3_the_preference_list_has_all_members_of_the_layout_once() -> None:
    layout = view(others="bcdefg", layout="abcdefg").layout
    assert layout is not None
    ring = Ring(layout, PARTITIONS, 3)

    for partition in range(PARTITIONS):
        listed = ring.preference_list(partition)

        assert sorted(listed) == list("abcdefg")
        assert listed[:3] == ring.owners[partition]


def test_fallbacks_differ_from_partition_to_partition() -> None:
    """Or one member would hold all that another misses."""
    layout = view(others="bcdefg", layout="abcdefg").layout
    assert layout is not None
    ring = Ring(layout, PARTITIONS, 3)

    first = {ring.fallbacks(partition)[0] for partition in range(PARTITIONS)}

    assert len(first) > 3


def test_who_is_no_member_of_the_layout_never_stands_in() -> None:
    placement = Placement(view(others="bcdef", layout="abcd", down="b"))

    for partition in range(PARTITIONS):
        key = partition.to_bytes(2, "big")
        assert set(placement.fallbacks_of(key)) <= set("cd")


def test_an_owner_and_a_coordinator_are_never_their_own_fallback() -> None:
    for names, partition in product(("abc", "abcde"), range(PARTITIONS)):
        placement = Placement(view(others=names[1:], layout=names))
        key = partition.to_bytes(2, "big")

        assert not {"a", *placement.owners_of(key)} & set(placement.fallbacks_of(key))


@settings(deadline=None, max_examples=300)
@given(SCENES)
def test_a_read_asks_a_fallback_for_each_owner_that_is_missing_while_there_are_any(
    drawn: tuple[str, States, int],
) -> None:
    names, states, partition = drawn
    node, placement, key, _ = scene(names, states, partition)

    asked, standing = readers(key, placement, node.node._state)

    owners = [owner for owner in placement.owners_of(key) if owner != "a"]
    able = [other for other in placement.fallbacks_of(key) if states[other] in ("up", "full")]
    missing = [owner for owner in owners if states[owner] in ("down", "lost")]
    assert list(standing) == able[: len(missing)]
    assert set(asked) >= set(owners) - set(missing)
    assert not set(asked) & {owner for owner in owners if states[owner] == "down"}


def test_the_next_to_stand_in_is_one_that_was_not_asked_and_can_be_reached() -> None:
    node = Five()
    first, second = node.fallbacks
    state, placement = node.node._state, Placement(node.seen)

    found = [
        next_fallback(node.key, placement, state, (), {first: 0, second: 0}),
        next_fallback(node.key, placement, state, (first,), {first: 0, second: 0}),
        next_fallback(node.key, placement, state, (), {first: FULL, second: 0}),
        next_fallback(node.key, placement, state, (first, second), {first: 0, second: 0}),
    ]
    state.patience.lost.add(first)

    assert found == [first, second, second, None]
    assert next_fallback(node.key, placement, state, (), {first: 0, second: 0}) == second
