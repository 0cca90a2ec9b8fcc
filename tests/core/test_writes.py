"""Coordinating puts and deletes: when they are answered, with what, and what the replicas are sent."""

import pytest
from support.nodes import CLUSTER, LoneNode, answers, delete, get, put, request_id, sent, view

from zdynamo.core.events import Effect, FromClient, FromPeer, Noted, PeerUnreachable, Send, Tick, ViewChanged
from zdynamo.core.records.context import clock_in, encode_context
from zdynamo.core.records.hybrid_clock import DOUBT_MS
from zdynamo.core.records.record import (
    EMPTY,
    NOTHING_SEEN,
    Clock,
    Record,
    Sibling,
    covers,
    decode_record,
    encode_record,
    write,
)
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Absent,
    Done,
    FetchReplica,
    Found,
    Frame,
    OutcomeUnknown,
    Overloaded,
    QuorumNotMet,
    Refused,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
    StoreReplica,
)
from zdynamo.partition import partition_of_storage_key

ANOTHER_CLIENT = 1 << 64  # in the numbers of requests


def stored(effects: list[object]) -> StoreReplica:
    return sent(effects, StoreReplica)[0][1]  # type: ignore[arg-type, return-value]


def test_a_put_goes_to_all_owners_and_is_answered_at_the_second_copy() -> None:
    node = LoneNode()

    begun = node.asked(put(1))
    first = node.hears("b", ReplicaStored(stored(begun).request))
    second = node.hears("c", ReplicaStored(stored(begun).request))

    assert [to for to, _ in sent(begun, StoreReplica)] == ["b", "c"] or [to for to, _ in sent(begun, StoreReplica)] == [
        "c",
        "b",
    ]
    assert answers(begun) == []
    assert [type(answer) for answer in answers(first)] == [Done]
    assert second == []


def test_one_replica_that_answers_twice_is_one_copy() -> None:
    node = LoneNode(limits=NodeLimits(w=3))

    begun = node.asked(put(1))
    repeated = [node.hears("b", ReplicaStored(stored(begun).request)) for _ in range(3)]

    assert [answers(effects) for effects in repeated] == [[], [], []]


def test_a_put_with_w_1_is_answered_after_the_own_commit_alone() -> None:
    node = LoneNode()

    begun = node.asked(put(1, w=1))

    assert [type(answer) for answer in answers(begun)] == [Done]
    assert len(sent(begun, StoreReplica)) == 2


def test_a_put_short_of_w_at_its_deadline_has_an_unknown_outcome() -> None:
    node = LoneNode()
    node.asked(put(1))

    node.monotonic_ms += 1000
    late = node.step(Tick())

    assert answers(late) == [OutcomeUnknown(request_id(1), needed=2, got=1)]


def test_a_put_is_answered_as_soon_as_w_cannot_be_reached() -> None:
    node = LoneNode()
    begun = node.asked(put(1))

    node.step(PeerUnreachable("b"))
    lost = node.hears("c", ReplicaRefused(stored(begun).request, "disk"))

    assert answers(lost) == [OutcomeUnknown(request_id(1), needed=2, got=1)]


def test_a_put_without_enough_owners_up_leaves_nothing_behind() -> None:
    node = LoneNode(view(down="bc"))

    begun = node.asked(put(1))

    assert answers(begun) == [QuorumNotMet(request_id(1), 2, 1, "down: b, c")] or answers(begun) == [
        QuorumNotMet(request_id(1), 2, 1, "down: c, b")
    ]
    assert node.store.get(node.key(b"k")) is None


def test_a_node_that_is_down_is_not_sent_to() -> None:
    node = LoneNode(view(down="b"))

    begun = node.asked(put(1))

    assert [to for to, _ in sent(begun, StoreReplica)] == ["c"]


def test_a_retried_put_mints_nothing_and_waits_for_w_again() -> None:
    node = LoneNode()
    first = node.asked(put(1))

    again = node.asked(put(1, attempt=2))

    assert answers(again) == []
    assert stored(again).record == stored(first).record
    assert len(decode_record(stored(again).record).siblings) == 1


def test_a_retry_that_meets_a_coordinator_without_the_first_attempt_covers_only_its_context() -> None:
    node = LoneNode()
    node.asked(put(1, value=b"older", w=1))

    retried = node.asked(put(2, value=b"retried", attempt=2))

    assert {sibling.value for sibling in decode_record(stored(retried).record).siblings} == {b"older", b"retried"}


def test_puts_in_a_row_without_context_leave_one_value() -> None:
    node = LoneNode()

    node.asked(put(1, value=b"one", w=1))
    second = node.asked(put(2, value=b"two", w=1))

    assert [sibling.value for sibling in decode_record(stored(second).record).siblings] == [b"two"]


def test_a_put_over_a_lagging_coordinator_writes_once_more_over_what_a_replica_holds_beyond() -> None:
    node = LoneNode()
    begun = node.asked(put(1))

    again = node.hears("b", ReplicaStored(stored(begun).request, beyond=((99, 1, 7),)))
    over = stored(again)
    done = node.hears("b", ReplicaStored(over.request, beyond=((99, 1, 8),)))

    assert answers(again) == []
    record = decode_record(over.record)
    assert covers(record.clock, (99, 1, 7))
    assert len(record.siblings) == 1
    assert [type(answer) for answer in answers(done)] == [Done]


def test_a_put_with_a_context_keeps_what_the_context_has_not_seen() -> None:
    node = LoneNode()
    (done,) = answers(node.asked(put(1, value=b"seen", w=1)))
    node.asked(put(2, value=b"unseen", w=1, context=done.context))

    third = node.asked(put(3, value=b"mine", w=1, context=done.context))

    assert {sibling.value for sibling in decode_record(stored(third).record).siblings} == {b"unseen", b"mine"}


def test_the_context_of_a_put_covers_that_put_and_nothing_it_had_not_seen() -> None:
    node = LoneNode()
    (first,) = answers(node.asked(put(1, value=b"seen", w=1)))
    node.asked(put(2, value=b"unseen", w=1, context=first.context))
    (mine,) = answers(node.asked(put(3, value=b"mine", w=1, context=first.context)))

    fourth = node.asked(put(4, value=b"after mine", w=1, context=mine.context))

    assert {sibling.value for sibling in decode_record(stored(fourth).record).siblings} == {b"unseen", b"after mine"}


def test_two_puts_never_share_a_dot_even_after_a_restart() -> None:
    node = LoneNode()
    first = stored(node.asked(put(1, w=1)))
    restarted = LoneNode(store=node.store)

    second = stored(restarted.asked(put(2, key=b"other", w=1)))

    assert decode_record(first.record).siblings[0].dot != decode_record(second.record).siblings[0].dot
    assert decode_record(first.record).siblings[0].dot[2] < decode_record(second.record).siblings[0].dot[2]


def test_a_copy_that_was_dropped_takes_its_birth_along() -> None:
    node = LoneNode()
    first = decode_record(stored(node.asked(put(1, w=1))).record).siblings[0].dot
    node.store.delete(node.key(b"k"))
    node.store.commit()

    second = decode_record(stored(node.asked(put(2, w=1))).record).siblings[0].dot

    assert first[0] == second[0]
    assert first[1] != second[1]


def test_a_put_over_the_limit_of_siblings_is_refused_but_the_merge_of_them_is_not() -> None:
    node = LoneNode(limits=NodeLimits(siblings_max=3))
    for number in range(3):
        node.asked(put(number, attempt=2, w=1))
    (found,) = answers(node.asked(get(9, r=1)))

    refused = answers(node.asked(put(10, attempt=2, w=1)))
    merged = answers(node.asked(put(11, w=1, context=found.context)))

    assert len(found.siblings) == 3
    assert [type(answer) for answer in refused] == [Refused]
    assert [type(answer) for answer in merged] == [Done]


def test_a_delete_covers_what_r_replicas_hold() -> None:
    node = LoneNode()
    node.asked(put(1, w=1))

    begun = node.asked(delete(2))
    fetch = sent(begun, FetchReplica)[0][1]
    written = node.hears("b", ReplicaFetched(fetch.request, True, 0, b""))  # type: ignore[attr-defined]
    done = node.hears("b", ReplicaStored(stored(written).request))

    record = decode_record(stored(written).record)
    assert [sibling.tombstone for sibling in record.siblings] == [True]
    assert answers(done)[0].changed  # type: ignore[union-attr]
    assert isinstance(answers(node.asked(get(3, r=1)))[0], Absent)


def test_a_delete_of_what_is_absent_writes_nothing() -> None:
    node = LoneNode()

    begun = node.asked(delete(2, r=1))

    assert answers(begun) == [Done(request_id(2), b"", changed=False)]
    assert sent(begun, StoreReplica) == []


def test_a_retried_delete_still_waits_for_w_copies_of_the_tombstone() -> None:
    node = LoneNode()
    node.asked(put(1, w=1))
    node.asked(delete(2, r=1))

    again = node.asked(delete(2, attempt=2, r=1))
    done = node.hears("b", ReplicaStored(stored(again).request))

    assert answers(again) == []
    assert [type(answer) for answer in answers(done)] == [Done]


def test_a_node_over_its_requests_answers_overloaded_and_stages_nothing() -> None:
    node = LoneNode(limits=NodeLimits(requests_max=2))
    node.asked(put(1, key=b"1"))
    node.asked(put(2, key=b"2"))

    third = node.asked(put(3, key=b"3"))

    assert [type(answer) for answer in answers(third)] == [Overloaded]
    assert node.store.get(node.key(b"3")) is None


def test_answered_requests_make_room_again() -> None:
    node = LoneNode(limits=NodeLimits(requests_max=1))
    for number in range(5):
        begun = node.asked(put(number, key=b"%d" % number))
        node.hears("b", ReplicaStored(stored(begun).request))

    assert node.node.idle
    assert [type(answer) for answer in answers(node.asked(put(9, w=1)))] == [Done]


def test_a_peer_far_behind_is_left_out_and_caught_up_with_later() -> None:
    node = LoneNode(limits=NodeLimits(peer_bytes_max=2000))
    begun = [node.asked(put(number, key=b"%d" % number, value=bytes(600))) for number in range(2)]
    for effects in begun:
        node.hears("c", ReplicaStored(stored(effects).request))

    behind = node.asked(put(3))
    for effects in begun:
        node.hears("b", ReplicaStored(stored(effects).request))
    after = node.asked(put(4))

    assert [to for to, _ in sent(behind, StoreReplica)] == ["c"]
    assert {to for to, _ in sent(after, StoreReplica)} == {"b", "c"}


@pytest.mark.parametrize(
    ("surely_nothing", "expected"),
    [
        (True, Refused(request_id(1), "the disk is full: nothing was written", retry=True)),
        (False, OutcomeUnknown(request_id(1), 2, 0)),
    ],
)
def test_a_commit_that_fails_acknowledges_nothing_and_leaves_the_node_as_before(
    surely_nothing: bool, expected: object
) -> None:
    node = LoneNode()
    effects = node.node.step(FromClient(b"client", put(1)), node.now)
    instead = node.node.abandon(effects, surely_nothing=surely_nothing)

    assert answers(instead) == [expected]
    assert sent(instead, StoreReplica) == []
    assert node.node.idle


def test_an_attempt_that_was_done_is_told_so_though_another_in_the_same_batch_fails() -> None:
    node = LoneNode()
    number = stored(node.asked(put(1))).request
    acknowledged = FromPeer(Frame(CLUSTER, "b", 1, "a", 1, (ReplicaStored(number),)))

    effects = node.node.step(acknowledged, node.now)
    effects += node.node.step(FromClient(b"another", put(1, attempt=2)), node.now)
    instead = node.node.abandon(effects, surely_nothing=True)

    assert [type(answer) for answer in answers(instead)] == [Done, OutcomeUnknown]


def test_a_replica_whose_commit_fails_refuses_instead_of_acknowledging() -> None:
    other = LoneNode(view(me="b", others="ac"))
    message = stored(LoneNode().asked(put(1)))
    effects = other.node.step(FromPeer(Frame("cluster-of-tests", "a", 1, "b", 1, (message,))), other.now)
    instead = other.node.abandon(effects, surely_nothing=True)

    assert instead == [Send("a", ReplicaRefused(message.request, "disk"))]


def test_a_replica_answers_after_merging_and_names_what_it_holds_beyond() -> None:
    other = LoneNode(view(me="b", others="ac"))
    mine = stored(LoneNode().asked(put(1, value=b"mine")))
    held = other.asked(put(2 + ANOTHER_CLIENT, value=b"held", w=1))
    own = decode_record(stored(held).record).clock.entries

    effects = other.hears("a", mine)

    ((to, answer),) = sent(effects, ReplicaStored)
    assert to == "a"
    assert set(own) < set(answer.beyond)  # type: ignore[attr-defined]


def test_a_record_from_too_far_in_the_future_is_refused() -> None:
    other = LoneNode(view(me="b", others="ac"))
    ahead = LoneNode()
    ahead.wall_ms += 10_000
    ahead.asked(get(9, r=1))
    for node in (ahead, other):  # until the clock is believed
        node.wall_ms += DOUBT_MS
        node.monotonic_ms += DOUBT_MS

    effects = other.hears("a", stored(ahead.asked(put(1))))

    assert [message.reason for _, message in sent(effects, ReplicaRefused)] == ["clock skew"]  # type: ignore[attr-defined]
    assert other.store.get(other.key(b"k")) is None


def test_a_pending_put_ends_when_its_replicas_are_called_down() -> None:
    node = LoneNode()
    node.asked(put(1))

    effects = node.step(ViewChanged(view(number=2, down="bc")))

    assert answers(effects) == [OutcomeUnknown(request_id(1), needed=2, got=1)]


def test_what_was_put_is_found_again() -> None:
    node = LoneNode()
    node.asked(put(1, value=b"milk", w=1))

    (found,) = answers(node.asked(get(2, r=1)))

    assert isinstance(found, Found)
    assert [sibling.value for sibling in found.siblings] == [b"milk"]
    assert clock_in(found.context).entries


def test_a_late_first_attempt_does_not_eat_what_its_client_has_written_since() -> None:
    node = LoneNode()
    node.asked(put(2, value=b"second", w=1))

    late = node.asked(put(1, value=b"first", w=1))

    assert {sibling.value for sibling in decode_record(stored(late).record).siblings} == {b"first", b"second"}


def test_the_context_of_a_late_first_attempt_does_not_cover_what_was_written_since() -> None:
    node = LoneNode()
    node.asked(put(2, value=b"second", w=1))
    (late,) = answers(node.asked(put(1, value=b"first", w=1)))

    after = node.asked(put(3, value=b"third", w=1, context=late.context))

    assert {sibling.value for sibling in decode_record(stored(after).record).siblings} == {b"second", b"third"}


def test_a_replica_does_not_ask_a_late_attempt_to_write_over_what_its_client_has_written_since() -> None:
    other = LoneNode(view(me="b", others="ac"))
    other.asked(put(2, value=b"second", w=1))

    effects = other.hears("a", stored(LoneNode().asked(put(1, value=b"first"))))

    assert [message.beyond for _, message in sent(effects, ReplicaStored)] == [()]  # type: ignore[attr-defined]


def test_a_read_in_a_batch_whose_commit_fails_tells_nothing_of_it() -> None:
    node = LoneNode()
    effects = node.node.step(FromClient(b"client", put(1, w=1)), node.now)
    effects += node.node.step(FromClient(b"client", get(2, r=1)), node.now)

    instead = node.node.abandon(effects, surely_nothing=True)

    assert [type(answer) for answer in answers(instead)] == [Refused, Refused]


def test_a_retried_delete_says_that_there_was_something() -> None:
    node = LoneNode()
    node.asked(put(1, w=1))
    (first,) = answers(node.asked(delete(2, r=1, w=1)))

    (again,) = answers(node.asked(delete(2, attempt=2, r=1, w=1)))

    assert (first.changed, again.changed) == (True, True)


def test_writing_once_more_covers_the_whole_past_of_what_a_replica_holds() -> None:
    """Else what that past has covered would come back from a replica that missed it."""
    node = LoneNode()
    begun = node.asked(put(1))

    over = node.hears("b", ReplicaStored(stored(begun).request, beyond=((98, 1, 3), (99, 1, 7))))

    clock = decode_record(stored(over).record).clock
    assert covers(clock, (98, 1, 3))
    assert covers(clock, (98, 1, 1))


def in_round(node: LoneNode, round: int) -> None:
    node.node._state.rounds.raise_to(partition_of_storage_key(node.key(b"k")), round)
    node.store.commit()
    node.node.committed()


def test_what_came_too_late_for_a_replicas_round_is_sent_again_as_it_is_held_by_now() -> None:
    node = LoneNode()
    first = stored(node.asked(put(1, value=b"one")))
    node.asked(put(2, value=b"two"))
    in_round(node, 2)

    again = node.hears("b", ReplicaRefused(first.request, "stale round", 2))
    done = node.hears("b", ReplicaStored(first.request))

    ((to, message),) = sent(again, StoreReplica)
    assert (to, message.request, message.round) == ("b", first.request, 2)  # type: ignore[attr-defined]
    assert [sibling.value for sibling in decode_record(message.record).siblings] == [b"two"]  # type: ignore[attr-defined]
    assert [type(answer) for answer in answers(done)] == [Done]


def test_it_is_sent_again_once_then_the_replica_counts_as_missing() -> None:
    node = LoneNode(view(down="c"))
    first = stored(node.asked(put(1)))
    in_round(node, 2)

    node.hears("b", ReplicaRefused(first.request, "stale round", 2))
    lost = node.hears("b", ReplicaRefused(first.request, "stale round", 3))

    assert answers(lost) == [OutcomeUnknown(request_id(1), 2, 1)]


def test_who_is_more_than_one_round_behind_sends_nothing_again_that_may_be_gone_for_good() -> None:
    node = LoneNode()
    older = stored(LoneNode(view(me="b", others="ac")).asked(put(5 + ANOTHER_CLIENT, value=b"older")))
    node.hears("b", older)
    first = stored(node.asked(put(1, value=b"mine", attempt=2)))

    effects = node.hears("b", ReplicaRefused(first.request, "stale round", 2))

    assert [sibling.value for sibling in decode_record(first.record).siblings] == [b"mine", b"older"]
    assert not any(b"older" in message.record for _, message in sent(effects, StoreReplica))  # type: ignore[attr-defined]


def test_what_is_no_longer_held_is_not_sent_again() -> None:
    node = LoneNode(view(down="c"))
    first = stored(node.asked(put(1)))
    in_round(node, 2)
    node.store.delete(node.key(b"k"))
    node.store.commit()

    lost = node.hears("b", ReplicaRefused(first.request, "stale round", 2))

    assert answers(lost) == [OutcomeUnknown(request_id(1), 2, 1)]
    assert sent(lost, StoreReplica) == []


def test_nothing_is_sent_again_by_a_batch_whose_commit_fails() -> None:
    node = LoneNode()
    first = stored(node.asked(put(1)))
    in_round(node, 2)
    refused = ReplicaRefused(first.request, "stale round", 2)
    effects = node.node.step(FromClient(b"client", put(2, value=b"uncommitted")), node.now)
    effects += node.node.step(FromPeer(Frame("cluster-of-tests", "b", 1, "a", 1, (refused,))), node.now)

    instead = node.node.abandon(effects, surely_nothing=True)

    assert sent(instead, StoreReplica) == []


def test_a_delete_brings_what_it_read_under_the_round_it_was_read_under() -> None:
    node = LoneNode()
    in_round(node, 2)
    tombstone = decode_record(stored(_deleting(LoneNode())).record)

    begun = node.asked(delete(3))
    fetch = sent(begun, FetchReplica)[0][1]
    settled = node.hears("b", ReplicaFetched(fetch.request, True, 1, encode_record(tombstone)))  # type: ignore[attr-defined]

    assert {message.round for _, message in sent(settled, StoreReplica)} == {1}  # type: ignore[attr-defined]


def _deleting(node: LoneNode) -> list[Effect]:
    node.asked(put(1, w=1))
    return node.asked(delete(2, r=1))


def test_a_value_or_a_number_of_siblings_that_is_large_is_told_of_with_its_key_and_without_its_content() -> None:
    node = LoneNode(limits=NodeLimits(value_warn_bytes=100, siblings_warn=3))

    small = node.asked(put(1, value=bytes(99)))
    large = node.asked(put(2, value=bytes(100)))
    second = node.asked(put(3, attempt=2))
    third = node.asked(put(4, attempt=2))

    assert [notes(effects) for effects in (small, large, second, third)] == [
        [],
        [{"bucket": "default", "key": "k", "siblings": 1, "bytes": 100}],
        [],
        [{"bucket": "default", "key": "k", "siblings": 3, "bytes": 1}],
    ]


def notes(effects: list[Effect]) -> list[dict[str, object]]:
    return [effect.fields for effect in effects if isinstance(effect, Noted) and effect.name == "record.large"]


def test_a_record_that_has_seen_a_replica_but_not_its_past_brings_nothing_back() -> None:
    """A late attempt may name a write and not what that had covered: the replica that knows better keeps its own."""
    past, held, late = (Sibling((actor, 1, 1), 1 << 16, 0, False, "", b"", bytes(16)) for actor in (1, 2, 3))
    knows = write(write(EMPTY, NOTHING_SEEN, past), Clock((past.dot,)), held)
    brings = Record(Clock((past.dot, held.dot, late.dot)), (past, late))
    node = LoneNode()
    for record in (knows, brings):
        node.hears("b", StoreReplica(1, 1000, (), 0, node.key(b"k"), encode_record(record)))

    (found,) = answers(node.asked(get(9, r=1)))

    assert decode_record(node.store.get(node.key(b"k"))[8:]).siblings == (late,)  # type: ignore[index]
    assert len(found.siblings) == 1


def test_a_context_of_somebodys_making_does_not_eat_what_is_written_with_it() -> None:
    node = LoneNode()
    (done,) = answers(node.asked(put(1, w=1)))
    assert isinstance(done, Done)
    ((actor, birth, counter),) = clock_in(done.context).entries
    forged = encode_context(Clock(((actor, birth, counter + 1000),)), node.key(b"k"))

    record = decode_record(stored(node.asked(put(2, value=b"new", context=forged, w=1))).record)
    other = LoneNode(view(me="b", others="ac"))
    other.hears("a", StoreReplica(1, 1000, (), 0, other.key(b"k"), encode_record(record)))

    assert [sibling.value for sibling in record.siblings] == [b"new"]
    assert not covers(Clock(((actor, birth, counter + 1000),)), record.siblings[0].dot)


def test_a_context_longer_than_any_read_gives_is_refused() -> None:
    (refused,) = answers(LoneNode().asked(put(1, context=bytes(100_000))))

    assert refused == Refused(request_id(1), "the context has 100000 bytes: pass on what a get or put gave")
