"""A client's request on its way to whoever coordinates it: forwarded, held for the first layout, or refused."""

from functools import partial

import pytest
from support import nodes
from support.nodes import CLUSTER, LoneNode, answers, delete, request_id, sent, view

from zdynamo import codec
from zdynamo.core.coordinator.forming import HELD_MAX
from zdynamo.core.coordinator.forwards import HOPS_MAX, PATIENCE, REMEMBERED, Arrivals
from zdynamo.core.events import Effect, FromPeer, News, PeerUnreachable, Reply, Send, Tick, ViewChanged
from zdynamo.core.records.context import encode_context
from zdynamo.core.records.record import NOTHING_SEEN
from zdynamo.core.settings import NodeLimits
from zdynamo.core.store import OWN_KEYS
from zdynamo.messages import (
    Absent,
    ConditionFailed,
    Delete,
    Done,
    Forward,
    Forwarded,
    Frame,
    Get,
    LayoutWanted,
    ListKeys,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
    StoreReplica,
)

LIMITS = NodeLimits(replica_timeout_ms=100)
PATIENCE_MS = PATIENCE * LIMITS.replica_timeout_ms
put = partial(nodes.put, deadline_ms=5000)
get = partial(nodes.get, deadline_ms=5000)


def one_of_five() -> tuple[LoneNode, bytes]:
    """A node of five, and a key that it does not own."""
    node = LoneNode(view(me="a", others="bcde", layout="abcde"), limits=LIMITS)
    key = next(name for name in (b"%d" % number for number in range(99)) if "a" not in owners(node, name))
    return node, key


def owners(node: LoneNode, key: bytes) -> tuple[str, ...]:
    return node.node._placement.owners_of(node.key(key))  # type: ignore[union-attr]


def forwards(effects: list[Effect]) -> list[tuple[str, Forward]]:
    return sent(effects, Forward)  # type: ignore[return-value]


def after(node: LoneNode, ms: int) -> list[Effect]:
    node.monotonic_ms += ms
    return node.step(Tick())


def test_a_put_to_a_node_that_is_no_replica_goes_to_one_owner_and_its_answer_to_the_client() -> None:
    node, key = one_of_five()

    ((owner, forward),) = forwards(node.asked(put(key=key)))
    effects = node.hears(owner, Forwarded(forward.request, Done(request_id(1), b"context")))

    assert owner in owners(node, key)
    assert (forward.hops, forward.deadline_ms, forward.message) == (1, 5000, put(key=key))
    assert effects == [Reply(b"client", Done(request_id(1), b"context"))]
    assert node.node.idle


def test_a_get_is_coordinated_where_it_arrives() -> None:
    node, key = one_of_five()

    assert forwards(node.asked(get(key=key))) == []


def test_requests_are_spread_over_the_owners() -> None:
    node, key = one_of_five()

    asked = {forwards(node.asked(put(number, key)))[0][0] for number in range(30)}

    assert asked == set(owners(node, key))


def test_conditional_puts_of_a_key_are_handed_to_the_same_owner() -> None:
    node, key = one_of_five()

    asked = {forwards(node.asked(put(number, key, condition="absent")))[0][0] for number in range(30)}

    assert asked == {owners(node, key)[0]}


def test_who_does_not_answer_soon_is_passed_over_and_the_next_gets_a_further_attempt() -> None:
    node, key = one_of_five()

    asked = forwards(node.asked(put(key=key)))
    too_soon = after(node, PATIENCE_MS - 1)
    asked += forwards(after(node, 1))
    asked += forwards(after(node, PATIENCE_MS))
    nobody_left = forwards(after(node, PATIENCE_MS))

    assert (too_soon, nobody_left) == ([], [])
    assert {owner for owner, _ in asked} == set(owners(node, key))
    assert [forward.message.attempt for _, forward in asked] == [1, 2, 3]  # type: ignore[union-attr]
    assert [forward.deadline_ms for _, forward in asked] == [5000, 5000 - PATIENCE_MS, 5000 - 2 * PATIENCE_MS]


def test_the_first_success_of_several_is_the_answer_and_later_ones_are_dropped() -> None:
    node, key = one_of_five()
    ((first, forward),) = forwards(node.asked(put(key=key)))
    ((second, _),) = forwards(after(node, PATIENCE_MS))

    answered = node.hears(second, Forwarded(forward.request, Done(request_id(1), b"second")))
    late = node.hears(first, Forwarded(forward.request, Done(request_id(1), b"first")))

    assert answers(answered) == [Done(request_id(1), b"second")]
    assert late == []


def test_a_node_that_cannot_be_reached_is_passed_over_at_once() -> None:
    node, key = one_of_five()
    ((first, _),) = forwards(node.asked(put(key=key)))

    ((second, forward),) = forwards(node.step(PeerUnreachable(first)))

    assert second != first
    assert forward.message.attempt == 2  # type: ignore[union-attr]


def test_whoever_could_not_be_reached_is_asked_last_until_heard_again() -> None:
    node, key = one_of_five()
    gone = owners(node, key)[0]
    node.step(PeerUnreachable(gone))

    asked = {forwards(node.asked(put(number, key)))[0][0] for number in range(20)}
    node.hears(gone)
    node.hears(gone, Forwarded(1, Done(request_id(99), b"")))
    again = {forwards(node.asked(put(number, key)))[0][0] for number in range(30, 60)}

    assert asked == set(owners(node, key)) - {gone}
    assert again == set(owners(node, key))


def test_a_member_that_is_down_is_not_asked() -> None:
    node, key = one_of_five()
    down = owners(node, key)[0]
    node.step(ViewChanged(view(me="a", others="bcde", layout="abcde", number=2, down=down)))

    asked = {forwards(node.asked(put(number, key)))[0][0] for number in range(30)}

    assert asked == set(owners(node, key)) - {down}


def test_a_put_that_nobody_has_answered_has_an_unknown_outcome_at_its_deadline() -> None:
    node, key = one_of_five()
    node.asked(put(key=key))

    effects = [effect for _ in range(60) for effect in after(node, 100)]

    assert answers(effects) == [OutcomeUnknown(request_id(1), 2, 1)]
    assert node.node.idle


def test_a_put_that_no_owner_answers_is_coordinated_here_as_a_further_attempt() -> None:
    node, key = one_of_five()
    node.asked(put(key=key))

    for _ in owners(node, key):
        taken_over = after(node, PATIENCE_MS)

    assert {to for to, _ in sent(taken_over, StoreReplica)} == set(owners(node, key))
    assert set(node.node._state.hints.held) == set(owners(node, key))


def test_with_all_owners_down_a_node_outside_the_layout_refuses_a_put_and_names_them() -> None:
    node = LoneNode(view(me="a", others="bcde", layout="bcd"), limits=LIMITS)
    node.step(ViewChanged(view(me="a", others="bcde", layout="bcd", number=2, down="bcd")))

    (refused,) = answers(node.asked(put()))

    assert isinstance(refused, Refused)
    assert refused.retry
    assert all(owner in refused.reason for owner in "bcd")


def test_a_request_is_forwarded_no_further_than_the_limit() -> None:
    node, key = one_of_five()

    below = node.hears("b", Forward(7, 1000, HOPS_MAX - 1, put(1, key)))
    beyond = node.hears("b", Forward(8, 1000, HOPS_MAX, put(2, key)))

    assert [forward.hops for _, forward in forwards(below)] == [HOPS_MAX]
    assert beyond == [
        Send(
            "b",
            Forwarded(8, Refused(request_id(2), "the nodes do not agree yet on who owns the key", retry=True)),
        )
    ]


def test_a_forwarded_request_that_comes_too_late_is_dropped() -> None:
    node = LoneNode()

    assert node.hears("b", Forward(7, 0, 1, put())) == []
    assert not node.store.has_records()


def test_of_a_forward_that_comes_twice_one_copy_is_done() -> None:
    """The other could be refused and the client be told so, while this one writes."""
    node = LoneNode()
    forward = Forward(7, 1000, 1, put(w=1))

    once = node.hears("b", forward)
    again = node.hears("b", forward)
    of_another = node.hears("c", forward)

    assert (len(sent(once, Forwarded)), again) == (1, [])
    assert len(sent(of_another, Forwarded)) == 1


def test_forwards_are_remembered_for_long_but_not_for_ever() -> None:
    arrivals = Arrivals()

    assert all(arrivals.is_new(("b", number)) for number in range(3 * REMEMBERED))
    assert not arrivals.is_new(("b", 3 * REMEMBERED - 1))
    assert not arrivals.is_new(("b", 2 * REMEMBERED))
    assert arrivals.is_new(("b", 0))


def test_an_owner_answers_whoever_forwarded_to_it() -> None:
    node = LoneNode()

    effects = node.hears("b", Forward(7, 1000, 1, put(w=1)))

    ((to, forwarded),) = sent(effects, Forwarded)
    assert to == "b"
    assert isinstance(forwarded.answer, Done)  # type: ignore[attr-defined]


def test_whatever_attempt_a_client_counts_its_forwards_can_be_sent() -> None:
    node, key = one_of_five()
    effects = node.asked(put(key=key, attempt=1_000_000))

    effects += after(node, PATIENCE_MS)
    effects += after(node, PATIENCE_MS)

    assert len(forwards(effects)) == 3
    assert all(codec.encode(forward) for _, forward in forwards(effects))


def test_a_get_before_any_data_is_absent_at_the_founder_and_decides_nothing() -> None:
    node = LoneNode(view(layout=None))

    effects = node.asked(get())

    assert effects == [Reply(b"client", Absent(request_id(1), encode_context(NOTHING_SEEN, node.key(b"k"))))]


def test_the_first_put_asks_for_a_layout_once_and_all_that_wait_are_served_when_it_is_there() -> None:
    node = LoneNode(view(layout=None), limits=NodeLimits(w=1))

    first = node.asked(put(1))
    second = node.asked(put(2, b"other"))
    served = node.step(ViewChanged(view(number=2)))

    assert first == [News(CLUSTER, "a", LayoutWanted())]
    assert second == []
    assert {message.request for _, message in sent(served, StoreReplica)} or answers(served)  # type: ignore[attr-defined]
    if len(answers(served)) < 2:  # those it does not own are forwarded
        assert len(answers(served)) + len({f.request for _, f in forwards(served)}) == 2


def test_a_put_elsewhere_before_the_layout_goes_to_the_founder_that_holds_it() -> None:
    other = LoneNode(view(me="b", others="ac", layout=None))
    founder = LoneNode(view(layout=None), limits=NodeLimits(w=1))

    ((to, forward),) = forwards(other.asked(put()))
    wanted = founder.hears("b", forward)
    served = founder.step(ViewChanged(view(number=2)))

    assert to == "a"
    assert wanted == [News(CLUSTER, "a", LayoutWanted())]
    ((back, forwarded),) = sent(served, Forwarded)
    assert back == "b"
    assert answers(other.hears("a", forwarded)) == [forwarded.answer]  # type: ignore[attr-defined, arg-type]


def test_while_the_founder_is_down_data_is_refused_with_its_name() -> None:
    node = LoneNode(view(me="b", others="ac", layout=None, down="a"))

    effects = node.asked(put())

    reason = "the cluster has taken no data yet and its founder a is down: start it"
    assert effects == [Reply(b"client", Refused(request_id(1), reason, retry=True))]


@pytest.mark.parametrize("request_", [put(), get(), delete(1), ListKeys(request_id(1), "", 1000, "default", 0)])
def test_until_enough_members_have_joined_data_is_refused(request_: Put | Get | Delete | ListKeys) -> None:
    node = LoneNode(view(layout=None, min_members=4))

    effects = node.asked(request_)

    reason = "the cluster is forming: 3 of 4 members have joined, start the others"
    assert effects == [Reply(b"client", Refused(request_id(1), reason, retry=True))]


@pytest.mark.parametrize("request_", [put(), get(), delete(1)])
@pytest.mark.parametrize(
    ("awaited", "asked"), [(("b", "c"), "b, c"), (("a",), "its members")], ids=["others", "listens"]
)
def test_a_founder_refuses_data_while_members_may_know_of_a_layout(
    awaited: tuple[str, ...], asked: str, request_: Put | Get | Delete
) -> None:
    node = LoneNode(view(layout=None, awaited=awaited))

    effects = node.asked(request_)

    reason = f"the cluster is forming: its founder was started again and asks {asked} first whether there is data"
    assert effects == [Reply(b"client", Refused(request_id(1), reason, retry=True))]


def test_what_waits_for_a_layout_that_does_not_come_is_refused_at_its_deadline() -> None:
    node = LoneNode(view(layout=None))
    node.asked(put())

    due_ms = node.node.next_due_ms
    effects = after(node, 5000)

    assert due_ms == node.monotonic_ms
    reason = "the cluster is still deciding who owns the data"
    assert answers(effects) == [Refused(request_id(1), reason, retry=True)]
    assert node.node.next_due_ms is None


def test_what_waits_for_a_layout_is_bounded() -> None:
    node = LoneNode(view(layout=None))

    effects = [effect for number in range(HELD_MAX + 5) for effect in node.asked(put(number))]

    assert [type(answer) for answer in answers(effects)] == [Overloaded] * 5


def test_a_node_keeps_from_stopping_while_requests_wait_for_a_layout() -> None:
    node = LoneNode(view(layout=None))

    node.asked(put())

    assert not node.node.idle


def test_over_its_limit_of_requests_a_node_is_overloaded_and_stages_nothing() -> None:
    node = LoneNode(limits=NodeLimits(requests_max=2))
    for number in range(2):
        node.asked(put(number, w=3))
    stored = list(node.store.scan(b"", OWN_KEYS))

    effects = node.asked(put(9, b"other", w=3))

    assert answers(effects) == [Overloaded(request_id(9), 50)]
    assert list(node.store.scan(b"", OWN_KEYS)) == stored


def test_a_replica_that_refuses_counts_as_missing() -> None:
    node = LoneNode(view(down="c"))
    effects = node.asked(put())
    ((_, message),) = sent(effects, StoreReplica)

    lost = node.step(PeerUnreachable("b"))

    assert answers(lost) == [OutcomeUnknown(request_id(1), 2, 1)]
    assert message.request  # type: ignore[attr-defined]


def test_with_too_few_replicas_up_nothing_is_written() -> None:
    node = LoneNode(view(down="bc"))

    effects = node.asked(put())

    assert answers(effects) == [QuorumNotMet(request_id(1), 2, 1, "down: b, c")] or answers(effects) == [
        QuorumNotMet(request_id(1), 2, 1, "down: c, b")
    ]
    assert not node.store.has_records()


def test_a_forwarded_request_ages_while_it_waits_to_be_taken() -> None:
    node = LoneNode()
    frame = Frame(CLUSTER, "b", 1, "a", 1, (Forward(7, 300, 1, put()),))

    in_time = node.step(FromPeer(frame, waited_ms=299))
    late = node.step(FromPeer(frame, waited_ms=300))

    assert len(sent(in_time, StoreReplica)) == 2
    assert late == []


def test_after_a_node_that_surely_did_nothing_the_next_gets_a_first_attempt() -> None:
    node, key = one_of_five()
    ((first, forward),) = sent(node.asked(put(key=key)), Forward)

    again = node.hears(first, Forwarded(forward.request, Refused(request_id(1), "stopping", retry=True)))

    assert [message.message.attempt for _, message in sent(again, Forward)] == [1]


def test_a_condition_that_failed_at_the_only_node_asked_is_the_answer() -> None:
    node, key = one_of_five()
    ((owner, forward),) = forwards(node.asked(put(key=key, condition="absent")))

    effects = node.hears(owner, Forwarded(forward.request, ConditionFailed(request_id(1), b"context")))

    assert answers(effects) == [ConditionFailed(request_id(1), b"context")]
    assert node.node.idle


def test_a_condition_that_failed_after_an_attempt_that_may_have_been_written_leaves_the_outcome_unknown() -> None:
    node, key = one_of_five()
    ((first, _),) = forwards(node.asked(put(key=key, condition="absent")))
    ((second, forward),) = forwards(node.step(PeerUnreachable(first)))

    effects = node.hears(second, Forwarded(forward.request, ConditionFailed(request_id(1), b"context")))

    assert answers(effects) == [OutcomeUnknown(request_id(1), 1, 0)]


def test_a_condition_that_failed_because_a_slow_attempt_was_written_is_not_the_answer() -> None:
    node, key = one_of_five()
    ((first, _),) = forwards(node.asked(put(key=key, condition="absent")))
    ((second, forward),) = forwards(after(node, PATIENCE_MS))

    failed = node.hears(second, Forwarded(forward.request, ConditionFailed(request_id(1), b"context")))
    done = node.hears(first, Forwarded(forward.request, Done(request_id(1), b"mine")))

    assert failed == []
    assert answers(done) == [Done(request_id(1), b"mine")]
