"""The index of what is held for others: what it counts, what it refuses, and what is left of it (paper 4.6)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from support.five import LIMITS, RECORD, Five
from support.nodes import CLUSTER, LoneNode, sent, view
from support.records import record

from zdynamo.core.events import FromPeer, Send, Tick
from zdynamo.core.replicas.hints import Held, Hints
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Frame, HintsHeld, HoldReplica, ReplicaRefused, ReplicaStored
from zdynamo.partition import storage_key
from zdynamo.storage.memory import MemoryStore

ROOM = 1000


def index(store: MemoryStore | None = None, *, count_max: int = ROOM, bytes_max: int = 2**20) -> Hints:
    return Hints(store or MemoryStore(), count_max=count_max, bytes_max=bytes_max)


def key(number: int) -> bytes:
    return storage_key(b"default", b"%d" % number, 16)


def test_an_entry_is_counted_once_however_often_it_is_added() -> None:
    hints = index()

    for _ in range(3):
        hints.add("b", key(1), 100)

    assert hints.held == {"b": Held(1, 100)}


def test_an_entry_has_the_size_of_the_record_that_came_last() -> None:
    """Else a small record that grows under its hint would take any amount of the disk."""
    hints = index()
    hints.add("b", key(1), 100)

    hints.add("b", key(1), 5000)

    assert hints.held == {"b": Held(1, 5000)}


def test_the_end_of_what_is_not_there_is_nothing() -> None:
    hints = index()
    hints.add("b", key(1), 100)

    for _ in range(2):
        hints.remove("b", key(2))
        hints.remove("c", key(1))

    assert hints.held == {"b": Held(1, 100)}


def test_with_its_last_entry_a_target_is_forgotten() -> None:
    hints = index()
    hints.add("b", key(1), 100)

    hints.remove("b", key(1))

    assert hints.held == {}
    assert hints.targets_of(key(1)) == []


def test_a_record_is_held_for_all_its_targets() -> None:
    hints = index()
    for target in ("b", "c"):
        hints.add(target, key(1), 100)
    hints.add("d", key(2), 100)

    assert sorted(hints.targets_of(key(1))) == ["b", "c"]


def test_the_keys_of_a_target_come_in_order_and_none_of_another() -> None:
    store = MemoryStore()
    hints = index(store)
    keys = sorted(key(number) for number in range(20))
    for each in keys:
        hints.add("b", each, 100)
        hints.add("bb", each + b"x", 100)  # its name begins with the other's
    store.commit()

    assert list(hints.keys("b", b"")) == keys
    assert list(hints.keys("b", keys[4])) == keys[5:]
    assert list(hints.keys("b", keys[-1])) == []


def test_there_is_room_for_so_many_records_for_each_target() -> None:
    hints = index(count_max=2)
    for number in range(2):
        hints.add("b", key(number), 100)

    assert not hints.has_room("b", key(2))
    assert hints.has_room("b", key(1))
    assert hints.has_room("c", key(2))


def test_there_is_room_for_so_many_bytes_and_the_last_may_go_over() -> None:
    hints = index(bytes_max=150)
    rooms = []
    for number in range(2):
        rooms.append(hints.has_room("b", key(number)))
        hints.add("b", key(number), 100)

    assert (rooms, hints.has_room("b", key(2))) == ([True, True], False)


def test_what_was_kept_is_counted_again_after_a_restart() -> None:
    store = MemoryStore()
    hints = index(store)
    for target, count in (("b", 3), ("long-name-of-a-node", 2)):
        for number in range(count):
            hints.add(target, key(number), 100 + number)
    store.commit()

    assert index(store).held == hints.held == {"b": Held(3, 303), "long-name-of-a-node": Held(2, 201)}


def test_what_was_staged_and_is_gone_is_counted_no_more() -> None:
    store = MemoryStore()
    hints = index(store)
    hints.add("b", key(1), 100)
    hints.add("c", key(1), 100)
    store.commit()
    hints.committed()
    hints.add("b", key(1), 500)
    hints.add("b", key(2), 100)
    hints.remove("c", key(1))

    hints.discarded()

    assert hints.held == {"b": Held(1, 100), "c": Held(1, 100)}


def test_what_is_held_anew_is_noticed_by_partition() -> None:
    hints = index()
    before = hints.added(key(1)[1])

    hints.add("b", key(1), 100)
    once = hints.added(key(1)[1])
    hints.add("b", key(1), 100)

    assert before < once < hints.added(key(1)[1])


CHANGES = st.lists(st.tuples(st.sampled_from("bc"), st.integers(0, 3), st.integers(0, 999), st.booleans()), max_size=30)


@settings(deadline=None)
@given(st.lists(st.tuples(CHANGES, st.booleans()), max_size=6))
def test_counts_are_what_a_recount_finds_whatever_is_kept_and_lost(batches: list[tuple[list[object], bool]]) -> None:
    store = MemoryStore()
    hints = index(store)

    for changes, kept in batches:
        for target, number, size, added in changes:  # type: ignore[misc]
            if added:
                hints.add(target, key(number), size)
            else:
                hints.remove(target, key(number))
        if kept:
            store.commit()
            hints.committed()
        else:
            store._staged.clear()
            hints.discarded()

    assert index(store).held == hints.held


# At a node


def hold(node: Five, *targets: str, number: int = 7, round: int = 0) -> HoldReplica:
    return HoldReplica(number, 1000, (), round, node.key, RECORD, targets)


def test_paper_4_6_a_fallback_stores_the_record_and_a_hint_that_tells_whose_it_is() -> None:
    node = Five(owning=False)

    effects = node.hears("b", hold(node, node.others[1]))

    assert sent(effects, ReplicaStored) == [("b", ReplicaStored(7))]
    assert node.store.get(node.key) == bytes(8) + RECORD
    assert node.held == {node.others[1]: Held(1, len(RECORD))}


def test_what_is_held_for_nobody_is_not_taken() -> None:
    node = Five(owning=False)

    for targets in ((), ("a",), ("nobody",), (node.fallbacks[0],), ("",)):
        effects = node.hears("b", hold(node, *targets))

        assert effects == [Send("b", ReplicaRefused(7, "limit"))]
    assert (node.store.get(node.key), node.held) == (None, {})


def test_only_owners_are_held_for() -> None:
    node = Five(owning=False)

    node.hears("b", hold(node, "a", "nobody", node.fallbacks[0], node.others[0], node.others[0]))

    assert node.held == {node.others[0]: Held(1, len(RECORD))}


def test_a_refused_hint_is_no_acknowledgement() -> None:
    node = Five(owning=False, limits=NodeLimits(hint_count_max=0))

    effects = node.hears("b", hold(node, node.others[0]))

    assert sent(effects, ReplicaRefused) == [("b", ReplicaRefused(7, "limit"))]
    assert sent(effects, ReplicaStored) == []
    assert (node.store.get(node.key), node.held) == (None, {})
    assert node.node.counters["hints.refused"] == 1


def test_what_is_held_for_one_of_two_is_acknowledged_and_comes_to_that_one() -> None:
    node = Five(owning=False, limits=NodeLimits(hint_count_max=1))
    full, other = node.others[:2]
    node.holds(full, key=node.more_keys(1)[0])

    effects = node.hears("b", hold(node, full, other))

    assert sent(effects, ReplicaStored) == [("b", ReplicaStored(7))]
    assert node.node._state.hints.targets_of(node.key) == [other]


def test_a_record_that_is_refused_leaves_no_hint() -> None:
    node = Five(owning=False)
    node.node._state.rounds.raise_to(node.partition, 2)

    effects = node.hears("b", hold(node, node.others[0]))

    assert sent(effects, ReplicaRefused) == [("b", ReplicaRefused(7, "stale round", 2))]
    assert (node.store.get(node.key), node.held) == (None, {})


def test_an_owner_that_is_asked_to_hold_takes_it_as_an_owner() -> None:
    node = Five()

    effects = node.hears("b", hold(node, "a"))

    assert sent(effects, ReplicaStored) == [("b", ReplicaStored(7))]
    assert (node.store.get(node.key), node.held) == (bytes(8) + RECORD, {})


def test_a_later_record_is_merged_into_what_is_held() -> None:
    node = Five(owning=False)
    node.holds(node.others[0])

    node.holds(node.others[0], record=record(b"longer", 2))

    assert node.store.get(node.key) == bytes(8) + record(b"longer", 2)
    assert node.held == {node.others[0]: Held(1, len(record(b"longer", 2)))}


def test_a_hold_whose_commit_fails_is_refused_and_leaves_no_hint() -> None:
    node = Five(owning=False)
    asked = FromPeer(Frame(CLUSTER, "b", 1, "a", 1, (hold(node, node.others[0]),)))

    instead = node.node.abandon(node.node.step(asked, node.now), surely_nothing=True)

    assert sent(instead, ReplicaRefused) == [("b", ReplicaRefused(7, "disk"))]
    assert sent(instead, ReplicaStored) == []
    assert node.held == {}


def test_hints_are_described_after_a_restart_as_before() -> None:
    node = Five(owning=False)
    node.holds(*node.others)

    again = Five(owning=False, store=node.store)

    described = tuple(HintsHeld(target, 1, len(RECORD), 0) for target in sorted(node.others))
    assert again.node._handoff.describe(again.now) == node.node._handoff.describe(node.now) == described


def test_how_long_something_is_held_is_told_from_when_there_was_nothing() -> None:
    node = Five(owning=False)
    node.holds("b")
    node.step(Tick())

    node.monotonic_ms += 5_000
    node.holds("b", "c")

    held_ms = {held.target: held.held_ms for held in node.node._handoff.describe(node.now)}
    assert held_ms == {"b": 5_000, "c": 0}


def test_a_node_without_a_layout_holds_nothing() -> None:
    node = LoneNode(view(layout=None), limits=LIMITS)

    effects = node.hears("b", HoldReplica(7, 1000, (), 0, node.key(b"k"), RECORD, ("c",)))

    assert sent(effects, ReplicaRefused) == [("b", ReplicaRefused(7, "stale layout"))]
