"""Writes where owners are missing: who stands in, what counts, and what is left for later (paper 4.6)."""

import pytest
from support.five import LIMITS, Five, evidence, number_of, to_hold, to_store
from support.nodes import CLUSTER, LoneNode, answers, delete, put, request_id, sent, view

from zdynamo.core.coordinator.forwards import PATIENCE
from zdynamo.core.coordinator.pending import SCAN_MS
from zdynamo.core.events import Effect, FromClient, FromPeer, PeerUnreachable, Reply, Tick, ViewChanged
from zdynamo.core.failures.patience import SAVED_MAX, TIMEOUTS
from zdynamo.core.replicas.hints import Held
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Delete,
    Done,
    Forward,
    Frame,
    HoldReplica,
    OutcomeUnknown,
    Overloaded,
    PathLost,
    Put,
    QuorumNotMet,
    Refused,
    ReplicaRefused,
    ReplicaStored,
    StoreReplica,
)

TIMEOUT_MS = LIMITS.replica_timeout_ms


# Who is asked


def test_paper_4_6_an_owner_that_is_down_is_replaced_at_once_by_the_next_in_the_preference_list() -> None:
    node = Five(down=1)
    up, down = node.others

    begun = node.asked(put(1, node.name))

    assert to_store(begun) == [up]
    assert to_hold(begun) == {node.fallbacks[0]: (down,)}


def test_paper_4_6_the_record_held_is_the_one_that_the_owners_get_and_its_hint_names_the_owner() -> None:
    node = Five(down=1)

    begun = node.asked(put(1, node.name))

    ((_, stored),) = sent(begun, StoreReplica)
    ((_, held),) = sent(begun, HoldReplica)
    assert held == HoldReplica(
        stored.request, stored.deadline_ms, stored.layouts, stored.round, node.key, stored.record, (node.others[1],)
    )


def test_two_owners_that_are_down_have_one_fallback_each() -> None:
    node = Five(down=2)

    begun = node.asked(put(1, node.name))

    assert to_store(begun) == []
    assert to_hold(begun) == {node.fallbacks[0]: (node.others[0],), node.fallbacks[1]: (node.others[1],)}


def test_one_fallback_holds_for_two_owners_where_there_is_no_other() -> None:
    node = Five()
    node.sees_down(*node.others, node.fallbacks[0])

    begun = node.asked(put(1, node.name))
    done = node.hears(node.fallbacks[1], ReplicaStored(number_of(begun)))

    assert to_hold(begun) == {node.fallbacks[1]: node.others}
    assert [type(answer) for answer in answers(done)] == [Done]


def test_a_fallback_that_is_asked_for_two_owners_is_one_copy() -> None:
    node = Five()
    node.sees_down(*node.others, node.fallbacks[0])

    begun = node.asked(put(1, node.name, w=3))

    assert answers(begun) == [QuorumNotMet(request_id(1), 3, 2, f"down: {', '.join(node.others)}")]


def test_with_all_owners_there_nobody_stands_in() -> None:
    node = Five()

    begun = node.asked(put(1, node.name))

    assert (to_store(begun), to_hold(begun), node.held) == ([*node.others], {}, {})


def test_an_owner_whose_connection_is_lost_is_replaced_until_it_is_heard_again() -> None:
    node = Five()
    up, lost = node.others
    node.step(PeerUnreachable(lost))

    away = node.asked(put(1, node.name))
    node.hears(lost, ReplicaStored(0))
    back = node.asked(put(2, node.name))

    assert (to_store(away), to_hold(away)) == ([up], {node.fallbacks[0]: (lost,)})
    assert (to_store(back), to_hold(back)) == ([up, lost], {})


def test_an_owner_with_too_much_to_work_off_is_left_out_and_nobody_is_loaded_for_it() -> None:
    node = Five(limits=NodeLimits(peer_bytes_max=100))
    slow, other = node.others
    begun = node.asked(put(1, node.name))
    node.hears(other, ReplicaStored(number_of(begun)))

    behind = node.asked(put(2, node.name))
    node.step(PeerUnreachable(slow, full=True))

    assert (to_store(behind), to_hold(behind)) == ([other], {})


def test_where_all_are_too_far_behind_the_answer_is_overloaded_and_nothing_is_kept() -> None:
    node = Five(limits=NodeLimits(peer_bytes_max=100))
    node.asked(put(1, node.name))

    behind = node.asked(put(2, node.name))

    assert [type(answer) for answer in answers(behind)] == [Overloaded]
    assert (to_store(behind), to_hold(behind), node.held) == ([], {}, {})


def test_in_a_cluster_of_three_the_coordinator_keeps_the_hint_beside_its_copy() -> None:
    node = LoneNode(view(down="c"))

    begun = node.asked(put(1, b"k"))
    done = node.hears("b", ReplicaStored(number_of(begun)))

    ((_, stored),) = sent(begun, StoreReplica)
    assert (to_store(begun), to_hold(begun)) == (["b"], {})
    assert node.node._state.hints.held == {"c": Held(1, len(stored.record))}  # type: ignore[attr-defined]
    assert [type(answer) for answer in answers(done)] == [Done]


def test_a_hint_beside_the_own_copy_is_no_second_copy() -> None:
    node = LoneNode(view(down="bc"))

    begun = node.asked(put(1, b"k"))

    assert answers(begun)[0].got == 1  # type: ignore[union-attr]
    assert node.node._state.hints.held == {}


def test_where_nobody_stands_in_an_owner_that_was_lost_just_now_is_asked_all_the_same() -> None:
    node = LoneNode()
    node.step(PeerUnreachable("c"))

    assert sorted(to_store(node.asked(put(1, b"k")))) == ["b", "c"]


# Who is silent


def test_paper_4_6_an_owner_that_is_silent_for_longer_than_its_timeout_is_replaced() -> None:
    node = Five()
    begun = node.asked(put(1, node.name))

    early = node.after(TIMEOUT_MS - 1)
    late = node.after(1)
    done = node.hears(node.fallbacks[1], ReplicaStored(number_of(begun)))

    assert early == []
    assert to_hold(late) == {node.fallbacks[0]: (node.others[0],), node.fallbacks[1]: (node.others[1],)}
    assert [type(answer) for answer in answers(done)] == [Done]


def test_a_write_that_has_its_answer_replaces_nobody() -> None:
    node = Five()
    begun = node.asked(put(1, node.name))
    node.hears(node.others[0], ReplicaStored(number_of(begun)))

    assert node.after(TIMEOUT_MS) == []


@pytest.mark.parametrize("first", [0, 1])
def test_an_owner_and_who_stands_in_for_it_are_one_copy(first: int) -> None:
    """When it is handed over, the copy that was held goes, and the owner was counted already."""
    node = Five()
    begun = node.asked(put(1, node.name, w=3))
    node.after(TIMEOUT_MS)
    pair = (node.others[0], node.fallbacks[0])

    effects = [node.hears(peer, ReplicaStored(number_of(begun))) for peer in (pair[first], pair[1 - first])]
    done = node.hears(node.fallbacks[1], ReplicaStored(number_of(begun)))

    assert [[type(answer) for answer in answers(each)] for each in (*effects, done)] == [[], [], [Done]]


def test_who_stands_in_is_counted_once() -> None:
    node = Five(down=2)
    begun = node.asked(put(1, node.name, w=3))

    effects = [node.hears(node.fallbacks[0], ReplicaStored(number_of(begun))) for _ in range(3)]

    assert [answers(each) for each in effects] == [[], [], []]


def test_who_was_not_asked_to_stand_in_does_not_count() -> None:
    node = Five()
    begun = node.asked(put(1, node.name))

    assert answers(node.hears(node.fallbacks[0], ReplicaStored(number_of(begun)))) == []


def test_a_slow_peer_is_waited_for_as_long_as_it_usually_takes() -> None:
    node = Five()
    begun = node.asked(put(1, node.name))
    node.after(2 * TIMEOUT_MS)
    for owner in node.others:
        node.hears(owner, ReplicaStored(number_of(begun)))
    node.asked(put(2, node.name))

    early = node.after(4 * TIMEOUT_MS - SCAN_MS)
    late = node.after(SCAN_MS)

    assert to_hold(early) == {}
    assert set(to_hold(late).values()) == {(owner,) for owner in node.others}


def test_who_stands_in_is_not_slow_because_it_was_asked_late() -> None:
    """Else one silent owner makes this node wait longer for all others, up to ten times as long."""
    node = Five()
    begun = node.asked(put(1, node.name))
    node.after(TIMEOUT_MS)

    node.hears(node.fallbacks[0], ReplicaStored(number_of(begun)))

    assert node.node._state.patience.timeout_ms(node.fallbacks, 0) == TIMEOUT_MS


def test_silent_owners_that_nobody_suspects_are_replaced_in_a_tenth_of_the_requests() -> None:
    """Under overload all are silent, and to load others with it makes it worse."""
    node = Five()
    puts = 200
    for number in range(puts):
        node.asked(put(number, node.name))

    effects = node.after(TIMEOUT_MS)

    assert len(sent(effects, HoldReplica)) == SAVED_MAX
    for number in range(puts):
        node.asked(put(puts + number, node.name))
    assert len(sent(node.after(TIMEOUT_MS), HoldReplica)) == puts // 10


def test_silent_owners_that_are_suspected_are_replaced_in_all_requests() -> None:
    node = Five()
    for number in range(200):
        node.asked(put(number, node.name))
    seen = view(others="bcde", layout="abcde", number=2)
    suspected = tuple(
        type(each)(each.record, "suspect" if each.record.id in node.others else "alive", 0.0) for each in seen.members
    )
    node.step(ViewChanged(type(seen)(seen.number, seen.cluster, seen.constants, seen.me, suspected, seen.layout, 0)))

    assert len(sent(node.after(TIMEOUT_MS), HoldReplica)) == 400


def test_an_owner_that_lets_several_writes_in_a_row_time_out_is_suspected_whether_or_not_they_have_their_answer() -> (
    None
):
    node = Five()
    heard, silent = node.others

    told = []
    for number in range(TIMEOUTS):
        begun = node.asked(put(number, node.name))
        node.hears(heard, ReplicaStored(number_of(begun)))
        told.append(evidence(node.after(TIMEOUT_MS)))

    assert told == [[]] * (TIMEOUTS - 1) + [[PathLost(silent, "timeouts")]]


def test_many_writes_that_time_out_at_once_are_no_reason_to_suspect_an_owner() -> None:
    node = Five()
    for number in range(100):
        node.asked(put(number, node.name))

    assert evidence(node.after(TIMEOUT_MS)) == []


def test_an_owner_whose_answers_come_late_is_not_suspected_for_it() -> None:
    node = Five()

    told = []
    for number in range(2 * TIMEOUTS):
        begun = node.asked(put(number, node.name))
        told += evidence(node.after(TIMEOUT_MS))
        for owner in node.others:
            node.hears(owner, ReplicaStored(number_of(begun)))

    assert told == []


# Who drops out


@pytest.mark.parametrize("reason", ["disk", "limit", "stale layout"])
def test_an_owner_that_cannot_take_it_is_replaced(reason: str) -> None:
    node = Five()
    begun = node.asked(put(1, node.name))

    effects = node.hears(node.others[0], ReplicaRefused(number_of(begun), reason))

    assert to_hold(effects) == {node.fallbacks[0]: (node.others[0],)}


def test_a_refusal_that_comes_twice_is_one() -> None:
    node = Five()
    begun = node.asked(put(1, node.name))
    refusal = ReplicaRefused(number_of(begun), "disk")

    first, second = (node.hears(node.others[0], refusal) for _ in range(2))

    assert len(to_hold(first)) == 1
    assert second == []


def test_a_refusal_of_one_that_was_not_asked_is_nothing() -> None:
    node = Five()
    begun = node.asked(put(1, node.name))

    assert node.hears(node.fallbacks[0], ReplicaRefused(number_of(begun), "disk")) == []


def test_a_fallback_that_holds_as_much_as_it_may_is_replaced_by_the_next() -> None:
    node = Five(down=1)
    begun = node.asked(put(1, node.name, w=3))

    refused = node.hears(node.fallbacks[0], ReplicaRefused(number_of(begun), "limit"))
    node.hears(node.others[0], ReplicaStored(number_of(begun)))
    done = node.hears(node.fallbacks[1], ReplicaStored(number_of(begun)))

    assert to_hold(refused) == {node.fallbacks[1]: (node.others[1],)}
    assert [type(answer) for answer in answers(done)] == [Done]


def test_where_nobody_is_left_to_stand_in_the_coordinator_keeps_the_hint_and_counts_nothing_for_it() -> None:
    node = Five(down=1)
    begun = node.asked(put(1, node.name, w=3))

    for fallback in node.fallbacks:
        effects = node.hears(fallback, ReplicaRefused(number_of(begun), "limit"))

    assert answers(effects) == [OutcomeUnknown(request_id(1), 3, 1)]
    assert list(node.held) == [node.others[1]]


def test_when_a_fallback_goes_down_another_takes_its_part() -> None:
    node = Five(down=1)
    node.asked(put(1, node.name))

    effects = node.sees_down(node.others[1], node.fallbacks[0])

    assert to_hold(effects) == {node.fallbacks[1]: (node.others[1],)}


def test_an_owner_that_drops_out_after_the_answer_is_kept_a_hint_for_by_the_coordinator() -> None:
    node = Five()
    begun = node.asked(put(1, node.name))
    node.hears(node.others[0], ReplicaStored(number_of(begun)))

    effects = node.sees_down(node.others[1])

    assert to_hold(effects) == {}
    assert list(node.held) == [node.others[1]]


def test_what_was_on_its_way_when_a_connection_broke_is_kept_a_hint_for() -> None:
    """Nobody hears that it came; by the time that the peer is called down, the write waits for it no more."""
    node = LoneNode()
    begun = node.asked(put(1, b"k"))
    node.hears("b", ReplicaStored(number_of(begun)))

    node.step(PeerUnreachable("c"))

    assert list(node.node._state.hints.held) == ["c"]


def test_an_owner_that_was_lost_and_stays_silent_to_the_deadline_is_kept_a_hint_for() -> None:
    node = LoneNode()
    node.step(PeerUnreachable("c"))
    begun = node.asked(put(1, b"k"))
    node.hears("b", ReplicaStored(number_of(begun)))

    node.monotonic_ms += 1000
    node.step(Tick())

    assert list(node.node._state.hints.held) == ["c"]
    assert len(node.node._requests.pending) == 0


# pw


def test_paper_6_a_strict_write_counts_owners_only() -> None:
    node = Five(down=1)
    begun = node.asked(put(1, node.name, pw=2))

    held = node.hears(node.fallbacks[0], ReplicaStored(number_of(begun)))
    done = node.hears(node.others[0], ReplicaStored(number_of(begun)))

    assert answers(held) == []
    assert [type(answer) for answer in answers(done)] == [Done]


def test_pw_may_be_less_than_w() -> None:
    node = Five(down=1)
    begun = node.asked(put(1, node.name, w=3, pw=2))

    effects = [node.hears(peer, ReplicaStored(number_of(begun))) for peer in (node.fallbacks[0], node.others[0])]

    assert [[type(answer) for answer in answers(each)] for each in effects] == [[], [Done]]


def test_with_too_few_owners_up_a_strict_write_leaves_nothing_behind() -> None:
    node = Five(down=2)

    begun = node.asked(put(1, node.name, pw=2))

    assert answers(begun) == [QuorumNotMet(request_id(1), 2, 1, f"down: {', '.join(node.others)}")]
    assert (to_hold(begun), node.store.get(node.key)) == ({}, None)


def test_a_strict_write_is_given_up_as_soon_as_too_few_owners_are_left_however_many_hold_it() -> None:
    node = Five()
    begun = node.asked(put(1, node.name, pw=2))
    number = number_of(begun)

    first = node.hears(node.others[0], ReplicaRefused(number, "disk"))
    second = node.hears(node.others[1], ReplicaRefused(number, "disk"))

    assert answers(first) == []
    assert answers(second) == [OutcomeUnknown(request_id(1), 2, 1)]


def test_a_fallback_cannot_take_a_strict_write_for_owners() -> None:
    node = Five(owning=False, down=3)

    assert [type(answer) for answer in answers(node.asked(put(1, node.name, pw=1)))] == [QuorumNotMet]


# A fallback coordinates


def test_paper_4_6_with_no_owner_in_reach_a_fallback_coordinates_and_keeps_hints_for_some_of_them() -> None:
    node = Five(owning=False, down=3)

    begun = node.asked(put(1, node.name))
    done = node.hears(node.fallbacks[0], ReplicaStored(number_of(begun)))

    (targets,) = to_hold(begun).values()
    assert {*targets, *node.held} == set(node.others)
    assert not set(targets) & set(node.held)
    assert [type(answer) for answer in answers(done)] == [Done]


def test_a_fallback_without_room_for_a_hint_takes_nothing() -> None:
    node = Five(owning=False, down=3, limits=NodeLimits(hint_count_max=0))

    begun = node.asked(put(1, node.name))

    (refused,) = answers(begun)
    assert isinstance(refused, Refused) and refused.retry
    assert (to_hold(begun), node.store.get(node.key), node.held) == ({}, None, {})


def test_a_fallback_hands_a_write_on_while_an_owner_is_there() -> None:
    node = Five(owning=False, down=2)

    begun = node.asked(put(1, node.name))

    assert [(to, type(message)) for to, message in sent(begun, Forward)] == [(node.others[0], Forward)]
    assert node.store.get(node.key) is None


def test_a_node_outside_the_layout_hands_a_write_on_to_a_fallback_where_no_owner_is_left() -> None:
    node = LoneNode(view(others="bcdef", layout="bcdef"))
    owners = node.node._placement.owners_of(node.key(b"k"))  # type: ignore[union-attr]
    node.step(ViewChanged(view(others="bcdef", layout="bcdef", number=2, down="".join(owners))))

    begun = node.asked(put(1, b"k"))

    ((to, _),) = sent(begun, Forward)
    assert to in set("bcdef") - set(owners)


def silent_owners(node: Five, request: Put | Delete) -> list[Effect]:
    """Ask this, and let each owner be silent until the node takes it over itself."""
    node.asked(request)
    for _ in node.others:
        effects = node.after(PATIENCE * TIMEOUT_MS)
    return effects


def test_a_fallback_takes_over_what_no_owner_answers_as_a_further_attempt() -> None:
    node = Five(owning=False)
    node.holds(node.others[0])

    taken_over = silent_owners(node, put(1, node.name, b"w", deadline_ms=9000))

    ((_, message), *_) = sent(taken_over, StoreReplica)
    assert set(to_store(taken_over)) == set(node.others)
    assert set(node.held) == set(node.others)
    assert b"v" in message.record  # type: ignore[attr-defined]
    assert b"w" in message.record  # type: ignore[attr-defined]


@pytest.mark.parametrize("limits", [NodeLimits(hint_count_max=0), NodeLimits(peer_bytes_max=1)])
def test_what_cannot_be_taken_over_has_an_unknown_outcome(limits: NodeLimits) -> None:
    """An owner may have done it: *refused* would say that nobody has."""
    node = Five(owning=False, limits=limits)

    effects = silent_owners(node, put(1, node.name, b"w", deadline_ms=9000))
    effects += node.after(9000)

    assert [type(answer) for answer in answers(effects)] == [OutcomeUnknown]


def test_a_delete_that_cannot_be_taken_over_has_an_unknown_outcome() -> None:
    node = Five(owning=False)

    effects = silent_owners(node, delete(1, node.name, deadline_ms=5000))
    effects += node.after(5000)

    assert [type(answer) for answer in answers(effects)] == [OutcomeUnknown]


def test_a_commit_that_fails_when_a_write_is_taken_over_leaves_its_outcome_unknown() -> None:
    node = Five(owning=False)
    node.asked(put(1, node.name, b"w", deadline_ms=9000))
    for _ in node.others[1:]:
        node.after(PATIENCE * TIMEOUT_MS)
    node.monotonic_ms += PATIENCE * TIMEOUT_MS

    instead = node.node.abandon(node.node.step(Tick(), node.now), surely_nothing=True)

    assert [type(answer) for answer in answers(instead)] == [OutcomeUnknown]
    assert (to_store(instead), node.held) == ([], {})


def test_what_owners_have_no_room_for_in_their_queues_is_not_taken_over() -> None:
    """They have too much to do, which is no reason to write it for them once more."""
    node = Five(owning=False)
    node.asked(put(1, node.name))

    effects = [effect for owner in node.others * 3 for effect in node.step(PeerUnreachable(owner, full=True))]

    assert [type(answer) for answer in answers(effects)] == [OutcomeUnknown]
    assert (to_store(effects), to_hold(effects), node.held) == ([], {}, {})


def test_what_was_on_its_way_to_owners_whose_connections_broke_is_taken_over() -> None:
    node = Five(owning=False)
    node.asked(put(1, node.name))

    effects = [effect for owner in node.others * 3 for effect in node.step(PeerUnreachable(owner, full=False))]

    assert set(to_hold(effects)) == {node.fallbacks[0]}
    assert answers(effects) == []


def test_silent_owners_that_nobody_suspects_have_a_tenth_of_their_writes_taken_over() -> None:
    """They are slow, not gone: to write once more, and to hold it for all of them, would load them further."""
    node = Five(owning=False)
    puts = 200
    for number in range(puts):
        node.asked(put(number, node.name, b"w", deadline_ms=9000))

    effects = [effect for _ in node.others for effect in node.after(PATIENCE * TIMEOUT_MS)]

    taken_over = len(sent(effects, StoreReplica)) // len(node.others)
    assert SAVED_MAX <= taken_over < SAVED_MAX + puts // 10


# Commits that fail


def test_a_sloppy_write_whose_commit_fails_leaves_nothing_behind() -> None:
    node = Five(down=1)

    effects = node.node.step(FromClient(b"client", put(1, node.name)), node.now)
    instead = node.node.abandon(effects, surely_nothing=True)

    assert instead == [Reply(b"client", Refused(request_id(1), "the disk is full: nothing was written", retry=True))]
    assert len(node.node._requests.pending) == 0
    assert not any(node.node._requests.pending.bytes_to.values())


def test_a_hint_kept_beside_the_own_copy_goes_with_its_commit() -> None:
    node = LoneNode(view(down="c"))

    effects = node.node.step(FromClient(b"client", put(1, b"k")), node.now)
    node.node.abandon(effects, surely_nothing=True)

    assert node.node._state.hints.held == {}


def test_a_fallback_that_was_not_asked_because_a_commit_failed_is_not_waited_for() -> None:
    """What it was to hold may be what the failed commit should have kept."""
    node = Five()
    begun = node.asked(put(1, node.name, w=3))
    refusals = [
        FromPeer(Frame(CLUSTER, owner, 1, "a", 1, (ReplicaRefused(number_of(begun), "disk"),))) for owner in node.others
    ]

    effects = [effect for event in refusals for effect in node.node.step(event, node.now)]
    instead = node.node.abandon(effects, surely_nothing=True)

    assert (len(to_hold(effects)), to_hold(instead)) == (2, {})
    assert answers(instead) == [OutcomeUnknown(request_id(1), 3, 1)]
    assert len(node.node._requests.pending) == 0
    assert not any(node.node._requests.pending.bytes_to.values())


def test_nothing_is_left_in_memory_when_all_is_answered() -> None:
    node = Five(down=1)
    for number in range(20):
        begun = node.asked(put(number, node.name))
        for peer in (node.others[0], node.fallbacks[0]):
            node.hears(peer, ReplicaStored(number_of(begun)))

    pending = node.node._requests.pending

    assert (len(pending), pending.unanswered, pending.bytes_in_flight) == (0, 0, 0)
    assert not any(pending.bytes_to.values())


def test_the_answer_of_an_owner_that_was_replaced_may_come_at_any_time() -> None:
    node = Five()
    begun = node.asked(put(1, node.name))
    node.after(TIMEOUT_MS)
    for fallback in node.fallbacks:
        node.hears(fallback, ReplicaStored(number_of(begun)))

    late = [node.hears(owner, ReplicaStored(number_of(begun))) for owner in node.others]

    assert late == [[], []]
    assert len(node.node._requests.pending) == 0


def test_an_answer_forwarded_by_one_that_was_not_asked_is_nothing() -> None:
    node = Five(owning=False)
    begun = node.asked(put(1, node.name))
    ((to, forward),) = sent(begun, Forward)

    other = next(owner for owner in node.others if owner != to)
    refused = node.hears(other, ReplicaRefused(forward.request, "disk"))  # type: ignore[attr-defined]

    assert refused == []
