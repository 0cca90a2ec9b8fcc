"""Handing over what is held: how much at a time, what ends a hint, and what is left when something fails (4.6)."""

import pytest
from support.five import RECORD, Five, handed_over, number_of
from support.nodes import CLUSTER, LoneNode, put, sent, view
from support.records import record

from zdynamo.core.events import Effect, FromPeer, Noted, PeerUnreachable, Tick, ViewChanged
from zdynamo.core.replicas.handoff import AGAIN_MS, ANSWER_MS, LOOKED_MAX, LOOKED_REST_MS, WINDOW, WINDOW_BYTES
from zdynamo.core.replicas.hints import Held
from zdynamo.core.replicas.replica import BIRTH_BYTES
from zdynamo.messages import Frame, HandOver, ReplicaRefused, ReplicaStored, StoreReplica
from zdynamo.storage.memory import MemoryStore
from zdynamo.testing.disk import SimulatedStore

PAUSE_MS = 200  # more than a window has to be paid for


def holding(count: int = 1, *, record: bytes = RECORD, owning: bool = False) -> Five:
    """A fallback that holds so many records for its first owner, who is there."""
    node = Five(owning=owning)
    for key in [node.key, *node.more_keys(count - 1)]:
        node.holds(node.others[0], key=key, record=record)
    return node


def answered(node: Five, over: list[HandOver]) -> list[Effect]:
    """The target says of all of these that it has them."""
    return node.hears(node.others[0], *(ReplicaStored(message.request) for message in over))


def sent_again(node: Five) -> list[HandOver]:
    """What is handed over when it has rested and begun another sweep."""
    return [message for _ in range(4) for message in handed_over(node.after(AGAIN_MS))]


def test_paper_4_6_what_is_held_is_sent_to_its_owner_as_it_is() -> None:
    node = holding()

    effects = node.after(0)

    ((to, message),) = sent(effects, HandOver)
    assert (to, message) == (
        node.others[0],
        HandOver(message.request, ANSWER_MS, node.node._placement.layouts, 0, node.key, RECORD),  # type: ignore[attr-defined, union-attr]
    )


def test_paper_4_6_once_the_owner_has_it_the_fallback_forgets_it() -> None:
    node = holding()

    effects = answered(node, handed_over(node.after(0)))

    assert effects == [Noted("hints.handed_over", {"member": node.others[0]})]
    assert (node.held, node.store.get(node.key)) == ({}, None)
    assert node.node.next_due_ms is None or node.after(AGAIN_MS) == []


def test_a_record_is_kept_until_the_last_for_whom_it_is_held_has_it() -> None:
    node = Five(owning=False)
    first, second = node.others[:2]
    node.holds(first, second)
    over = dict(sent(node.after(0), HandOver))

    node.hears(first, ReplicaStored(over[first].request))  # type: ignore[attr-defined]
    between = node.store.get(node.key)
    node.hears(second, ReplicaStored(over[second].request))  # type: ignore[attr-defined]

    assert between == bytes(BIRTH_BYTES) + RECORD
    assert (node.held, node.store.get(node.key)) == ({}, None)


def test_an_owner_keeps_its_own_copy() -> None:
    node = LoneNode(view(down="c"))
    begun = node.asked(put(1, b"k"))
    node.hears("b", ReplicaStored(number_of(begun)))
    node.step(ViewChanged(view(number=2)))
    (over,) = handed_over(node.step(Tick()))

    node.hears("c", ReplicaStored(over.request))

    assert node.node._state.hints.held == {}
    assert node.store.get(node.key(b"k")) is not None


def test_a_window_is_on_its_way_at_a_time_in_the_order_of_the_keys() -> None:
    node = holding(WINDOW + 10)
    keys = sorted([node.key, *node.more_keys(WINDOW + 9)])

    first = handed_over(node.after(0))
    none = handed_over(node.after(AGAIN_MS))
    answered(node, first[:3])
    next_ = handed_over(node.after(PAUSE_MS))

    assert [message.key for message in first] == keys[:WINDOW]
    assert none == []
    assert [message.key for message in next_] == keys[WINDOW : WINDOW + 3]


def test_the_next_window_waits_until_background_work_may_go_on() -> None:
    node = holding(5, record=record(bytes(WINDOW_BYTES // 2)))

    first = handed_over(node.after(0))
    answered(node, first)
    at_once, later = handed_over(node.after(1)), handed_over(node.after(PAUSE_MS))

    assert (len(first), at_once, len(later)) == (2, [], 2)


def test_so_many_bytes_are_on_their_way_at_a_time() -> None:
    large = record(bytes(WINDOW_BYTES // 2))
    node = holding(5, record=large)

    first = handed_over(node.after(0))
    answered(node, first)
    next_ = handed_over(node.after(PAUSE_MS))

    assert (len(first), len(next_)) == (2, 2)


def test_all_that_is_held_drains() -> None:
    node = holding(3 * WINDOW)

    for _ in range(10):
        answered(node, handed_over(node.after(PAUSE_MS)))

    assert node.held == {}
    assert node.node.counters["hints.handed_over"] == 3 * WINDOW
    assert len(node.node._requests.pending) == 0
    assert not any(node.node._requests.pending.bytes_to.values())


def test_a_target_that_is_down_is_sent_nothing_until_it_is_back() -> None:
    node = holding()
    node.sees_down(node.others[0])

    away = node.after(AGAIN_MS)
    node.sees_down()
    back = node.after(0)

    assert (handed_over(away), len(handed_over(back))) == ([], 1)


def test_a_target_whose_connection_is_lost_is_sent_nothing_until_it_is_heard() -> None:
    node = holding()
    node.step(PeerUnreachable(node.others[0]))

    away = node.after(AGAIN_MS)
    node.hears(node.others[0], ReplicaStored(0))
    back = node.after(AGAIN_MS)

    assert (handed_over(away), len(handed_over(back))) == ([], 1)


def test_a_target_that_has_restarted_is_sent_nothing_before_it_has_said_hello() -> None:
    """It would drop it."""
    node = holding()
    seen = node.seen
    restarted = tuple(
        type(each)(type(each.record)(**{**_fields(each.record), "epoch": 2}), "alive", 0.0)
        if each.record.id == node.others[0]
        else each
        for each in seen.members
    )
    node.step(ViewChanged(type(seen)(2, seen.cluster, seen.constants, seen.me, restarted, seen.layout, 0)))

    assert handed_over(node.after(0)) == []


def _fields(record: object) -> dict[str, object]:
    return {name: getattr(record, name) for name in record.__struct_fields__}  # type: ignore[attr-defined]


def test_what_is_written_over_meanwhile_is_sent_once_more() -> None:
    node = holding()
    first = handed_over(node.after(0))
    later = record(b"later", 2)
    node.holds(node.others[0], record=later)

    answered(node, first)
    again = sent_again(node)
    held = node.held
    answered(node, again)

    assert [message.record for message in again] == [later]
    assert held == {node.others[0]: Held(1, len(later))}
    assert (node.held, node.store.get(node.key)) == ({}, None)


@pytest.mark.parametrize("reason", ["disk", "clock skew", "stale layout"])
def test_after_a_refusal_it_rests_and_tries_again(reason: str) -> None:
    node = holding()
    (over,) = handed_over(node.after(0))

    node.hears(node.others[0], ReplicaRefused(over.request, reason))
    early = handed_over(node.after(AGAIN_MS - 1))
    late = sent_again(node)

    assert (early, len(late)) == ([], 1)
    assert node.held == {node.others[0]: Held(1, len(RECORD))}


def test_after_a_silence_it_tries_again() -> None:
    node = holding()
    node.after(0)

    node.after(ANSWER_MS)
    late = sent_again(node)

    assert len(late) == 1
    assert node.held == {node.others[0]: Held(1, len(RECORD))}


def test_an_answer_after_that_is_none() -> None:
    """Something older may have been stored in between by another process of the target."""
    node = holding()
    (over,) = handed_over(node.after(0))
    node.after(ANSWER_MS)

    node.hears(node.others[0], ReplicaStored(over.request))

    assert node.held == {node.others[0]: Held(1, len(RECORD))}


def test_another_than_the_target_can_neither_take_nor_refuse_it() -> None:
    node = holding()
    (over,) = handed_over(node.after(0))

    node.hears(node.others[1], ReplicaStored(over.request))
    node.hears(node.others[1], ReplicaRefused(over.request, "disk"))
    held = node.held
    answered(node, [over])

    assert held == {node.others[0]: Held(1, len(RECORD))}
    assert node.held == {}


def test_the_same_answer_twice_is_one() -> None:
    node = holding(2)
    over = handed_over(node.after(0))

    for _ in range(2):
        answered(node, over[:1])

    assert node.held == {node.others[0]: Held(1, len(RECORD))}
    assert node.node.counters["hints.handed_over"] == 1


def test_what_was_on_its_way_to_a_target_that_restarts_is_sent_again() -> None:
    node = holding(3)
    node.after(0)

    node.sees_down(node.others[0])
    node.sees_down()
    again = sent_again(node)

    assert len({message.key for message in again}) == len(again) == 3


def test_a_hint_without_a_record_ends() -> None:
    node = holding()
    node.node._state.replica.drop(node.key)
    node.store.commit()

    effects = node.after(0)

    assert (handed_over(effects), node.held) == ([], {})


def test_while_a_partition_is_in_doubt_its_hints_stay() -> None:
    """Its records are out of sight, and may come back."""
    node = Five()
    node.sees_down(node.others[0])
    begun = node.asked(put(1, node.name))
    for peer in (node.others[1], node.fallbacks[0]):
        node.hears(peer, ReplicaStored(number_of(begun)))
    node.node._state.hints.add(node.others[0], node.key, 1)
    node.store.commit()
    node.node._state.partitions.doubt([node.partition], "a test")
    node.node._state.replica.drop(node.key)
    node.store.commit()
    node.sees_down()

    node.after(0)

    assert list(node.held) == [node.others[0]]


def test_hints_without_a_record_end_so_many_in_a_step() -> None:
    node = Five()
    node.sees_down(node.others[0])
    for number in range(2 * LOOKED_MAX):
        node.node._state.hints.add(node.others[0], node.key_of(b"%d" % number), 1)
    node.store.commit()
    node.node.committed()
    node.sees_down()
    left = []

    while node.held:
        node.after(LOOKED_REST_MS)
        left.append(node.held[node.others[0]].count if node.held else 0)

    assert left == [LOOKED_MAX, 0]


# Commits that fail


def test_what_was_to_be_sent_when_a_commit_fails_is_sent_later() -> None:
    node = holding()
    instead = node.node.abandon(node.node.step(Tick(), node.now), surely_nothing=True)

    later = sent_again(node)

    assert (handed_over(instead), len(later)) == ([], 1)
    assert len(node.node._requests.pending) == 1


def test_when_the_end_of_a_hint_is_not_kept_it_is_handed_over_once_more() -> None:
    node = holding()
    over = handed_over(node.after(0))
    told = FromPeer(Frame(CLUSTER, node.others[0], 1, "a", 1, (ReplicaStored(over[0].request),)))

    node.node.step(told, node.now)
    node.store._staged.clear()
    node.node.abandon([], surely_nothing=True)
    held = node.held
    again = sent_again(node)
    answered(node, again)

    assert held == {node.others[0]: Held(1, len(RECORD))}
    assert (len(again), node.held, node.store.get(node.key)) == (1, {}, None)


def test_what_is_on_its_way_when_a_commit_fails_may_be_answered_twice() -> None:
    """An owner has its own copy still, so that both answers are of what it holds."""
    node = LoneNode(view(down="c"))
    begun = node.asked(put(1, b"k"))
    node.hears("b", ReplicaStored(number_of(begun)))
    node.step(ViewChanged(view(number=2)))
    (first,) = handed_over(node.step(Tick()))
    node.node.abandon([], surely_nothing=True)
    node.monotonic_ms += AGAIN_MS
    second = handed_over(node.step(Tick()))

    for message in [first, *second]:
        node.hears("c", ReplicaStored(message.request))

    assert node.node._state.hints.held == {}
    assert node.node.counters["hints.handed_over"] == 1


def test_a_late_second_answer_after_that_does_not_keep_what_is_held_by_then_from_being_swept() -> None:
    node = holding()
    (first,) = handed_over(node.after(0))
    node.node.abandon([], surely_nothing=True)
    (second,) = handed_over(node.after(AGAIN_MS))
    answered(node, [second])
    (other,) = node.more_keys(1)
    node.holds(node.others[0], key=other)
    (third,) = handed_over(node.after(AGAIN_MS))

    answered(node, [first])
    node.hears(node.others[0], ReplicaRefused(third.request, "disk"))

    assert [message.key for message in sent_again(node)] == [other]


# At the target


class Synced(MemoryStore):
    """Tells whether an fsync is wanted."""

    wanted = 0

    def want_sync(self) -> None:
        self.wanted += 1


def over_to(node: LoneNode, key: bytes, record: bytes = RECORD, round: int = 0) -> HandOver:
    return HandOver(9, 1000, (), round, key, record)


def test_the_owner_says_that_it_has_it_only_after_an_fsync() -> None:
    store = Synced()
    node = Five(store=store)

    effects = node.hears(node.fallbacks[0], over_to(node, node.key))

    assert (store.wanted, sent(effects, ReplicaStored)) == (1, [(node.fallbacks[0], ReplicaStored(9))])
    assert store.get(node.key) == bytes(8) + RECORD


def test_what_the_owner_has_already_is_fsynced_too() -> None:
    """It may be in memory only, and the fallback forgets it now."""
    store = SimulatedStore()
    node = Five(store=store)
    node.hears(node.fallbacks[0], StoreReplica(8, 1000, (), 0, node.key, RECORD))

    node.hears(node.fallbacks[0], over_to(node, node.key))
    store.cut_power()

    assert store.get(node.key) == bytes(8) + RECORD


def test_a_hand_over_whose_commit_fails_is_refused() -> None:
    node = Five()
    event = FromPeer(Frame(CLUSTER, "b", 1, "a", 1, (over_to(node, node.key),)))

    instead = node.node.abandon(node.node.step(event, node.now), surely_nothing=True)

    assert sent(instead, ReplicaRefused) == [("b", ReplicaRefused(9, "disk"))]


def test_who_does_not_own_it_does_not_say_that_it_has_it() -> None:
    """The fallback would forget it, and nobody would bring it to an owner."""
    node = Five(owning=False)

    effects = node.hears("b", over_to(node, node.key))

    assert sent(effects, ReplicaRefused) == [("b", ReplicaRefused(9, "stale layout"))]
    assert node.store.get(node.key) is None


@pytest.mark.parametrize("kind", [StoreReplica, HandOver])
def test_a_copy_is_not_left_with_a_node_that_does_not_own_it(kind: type) -> None:
    """It has no hint: nobody would ever take it away, and no reaping round would be told of it."""
    node = Five(owning=False)

    effects = node.hears("b", kind(9, 1000, (), 0, node.key, RECORD))

    assert sent(effects, ReplicaRefused) == [("b", ReplicaRefused(9, "stale layout"))]
    assert node.store.get(node.key) is None
