"""Conditional puts: written only over what the writer wants to find at R replicas; optimistic, not linearizable."""

import pytest
from support.nodes import PARTITIONS, WALL_MS, LoneNode, answers, delete, get, put, request_id, sent, view
from support.records import merged

from zdynamo.core.events import Effect, FromClient
from zdynamo.core.records.conditions import holds
from zdynamo.core.records.context import clock_in, encode_context
from zdynamo.core.records.record import (
    EMPTY,
    NOTHING_SEEN,
    Clock,
    Record,
    Sibling,
    covers,
    decode_record,
    encode_record,
)
from zdynamo.messages import (
    Absent,
    Bucket,
    ConditionFailed,
    Done,
    FetchReplica,
    Found,
    OutcomeUnknown,
    Put,
    QuorumNotMet,
    Refused,
    ReplicaFetched,
    ReplicaStored,
    StoreReplica,
)
from zdynamo.partition import partition_of_storage_key, storage_key

ANOTHER_CLIENT = 1 << 64
KEY = storage_key(b"default", b"k", PARTITIONS)


def if_absent(number: int, **fields: object) -> Put:
    return put(number, condition="absent", **fields)


def unchanged(number: int, context: bytes, **fields: object) -> Put:
    return put(number, condition="unchanged", context=context, **fields)


def sibling(actor: int, counter: int = 1, *, tombstone: bool = False, expires_ms: int = 0, number: int = 0) -> Sibling:
    request = request_id(number or actor * ANOTHER_CLIENT + counter)
    return Sibling((actor, 1, counter), counter << 16, expires_ms, tombstone, "", b"%d" % actor, request)


def fetched(effects: list[Effect], record: Record, *, round: int = 0) -> ReplicaFetched:
    number = sent(effects, FetchReplica)[0][1].request  # type: ignore[attr-defined]
    return ReplicaFetched(number, True, round, encode_record(record) if record.siblings else b"")


def stored_values(effects: list[Effect]) -> list[bytes]:
    return [one.value for one in decode_record(sent(effects, StoreReplica)[0][1].record).siblings]  # type: ignore[attr-defined]


def context_of(record: Record) -> bytes:
    return encode_context(record.clock, KEY)


LATER = sibling(9, 9)
HOLDS = [
    ("absent", EMPTY, NOTHING_SEEN, True),
    ("absent", merged(sibling(1)), NOTHING_SEEN, False),
    ("absent", merged(sibling(1, tombstone=True)), NOTHING_SEEN, True),
    ("absent", merged(sibling(1, expires_ms=WALL_MS)), NOTHING_SEEN, True),
    ("absent", merged(sibling(1, expires_ms=WALL_MS + 1)), NOTHING_SEEN, False),
    ("absent", merged(sibling(1, tombstone=True), sibling(2)), NOTHING_SEEN, False),
    ("unchanged", EMPTY, NOTHING_SEEN, True),
    ("unchanged", EMPTY, Clock(((1, 1, 1),)), False),
    ("unchanged", merged(sibling(1)), NOTHING_SEEN, False),
    ("unchanged", merged(sibling(1)), Clock(((1, 1, 1),)), True),
    ("unchanged", merged(sibling(1), sibling(2)), Clock(((1, 1, 1),)), False),
    ("unchanged", merged(sibling(1, 2)), Clock(((1, 1, 1),)), False),
    ("unchanged", merged(sibling(1, 2, tombstone=True)), Clock(((1, 1, 1),)), False),
    ("unchanged", merged(sibling(1, tombstone=True)), Clock(((1, 1, 1),)), True),
    ("unchanged", merged(sibling(1)), Clock(((1, 1, 5), (2, 1, 1))), True),
]


@pytest.mark.parametrize(("condition", "record", "seen", "expected"), HOLDS)
def test_what_is_there_decides(condition: str, record: Record, seen: Clock, expected: bool) -> None:
    assert holds(condition, record, seen, LATER, WALL_MS, lww=False) is expected  # type: ignore[arg-type]


def test_in_an_lww_bucket_a_key_is_absent_if_its_last_write_is_a_delete() -> None:
    record = merged(sibling(1), sibling(2, 2, tombstone=True))

    assert holds("absent", record, NOTHING_SEEN, LATER, WALL_MS, lww=True)
    assert not holds("absent", record, NOTHING_SEEN, LATER, WALL_MS, lww=False)


def test_an_attempt_that_its_client_has_written_over_since_comes_late() -> None:
    deleted_since = merged(sibling(1, tombstone=True, number=7))

    assert not holds("absent", deleted_since, NOTHING_SEEN, sibling(2, number=6), WALL_MS, lww=False)
    assert holds("absent", deleted_since, NOTHING_SEEN, sibling(2, number=8), WALL_MS, lww=False)


def test_if_r_replicas_have_nothing_the_value_is_written_to_w() -> None:
    node = LoneNode()

    begun = node.asked(if_absent(1))
    written = node.hears("b", fetched(begun, EMPTY))
    done = node.hears("c", ReplicaStored(sent(written, StoreReplica)[0][1].request))  # type: ignore[attr-defined]

    assert sent(begun, StoreReplica) == []
    assert stored_values(written) == [b"v"]
    assert [type(answer) for answer in answers(done)] == [Done]


def test_if_a_replica_has_a_value_nothing_is_written_and_the_context_covers_it() -> None:
    node = LoneNode()
    held = merged(sibling(1))

    begun = node.asked(if_absent(1))
    failed = node.hears("b", fetched(begun, held))

    assert answers(failed) == [ConditionFailed(request_id(1), context_of(held))]
    assert not node.store.has_records()
    assert node.node.counters["conditions.failed"] == 1


def test_a_put_over_an_unchanged_key_replaces_what_was_read() -> None:
    node = LoneNode()
    held = merged(sibling(1))

    begun = node.asked(unchanged(1, context_of(held)))
    written = node.hears("b", fetched(begun, held))

    assert stored_values(written) == [b"v"]


def test_a_put_over_a_changed_key_writes_nothing() -> None:
    node = LoneNode()
    before, after = merged(sibling(1)), merged(sibling(1, 2))

    begun = node.asked(unchanged(1, context_of(before)))
    failed = node.hears("b", fetched(begun, after))

    assert answers(failed) == [ConditionFailed(request_id(1), context_of(after))]
    assert not node.store.has_records()


def test_a_reader_of_an_absent_key_can_put_if_it_is_unchanged() -> None:
    node = LoneNode()
    (absent,) = answers(node.asked(get(9, r=1)))
    assert isinstance(absent, Absent)

    begun = node.asked(unchanged(1, absent.context))
    written = node.hears("b", fetched(begun, EMPTY))

    assert stored_values(written) == [b"v"]


def test_of_two_that_want_the_key_absent_and_meet_at_one_coordinator_one_wins() -> None:
    node = LoneNode()
    first, second = node.asked(if_absent(1, value=b"one")), node.asked(if_absent(2 + ANOTHER_CLIENT, value=b"two"))

    won = node.hears("b", fetched(first, EMPTY))
    lost = node.hears("b", fetched(second, EMPTY))

    assert stored_values(won) == [b"one"]
    assert [type(answer) for answer in answers(lost)] == [ConditionFailed]


def test_a_retry_of_what_was_written_is_done_and_writes_nothing_new() -> None:
    node = LoneNode()
    first = merged(sibling(1, number=5))

    begun = node.asked(if_absent(5, attempt=2))
    settled = node.hears("b", fetched(begun, first))
    done = node.hears("c", ReplicaStored(sent(settled, StoreReplica)[0][1].request))  # type: ignore[attr-defined]

    assert {message.record for _, message in sent(settled, StoreReplica)} == {encode_record(first)}  # type: ignore[attr-defined]
    assert answers(done) == [Done(request_id(5), context_of(first))]


def test_the_context_of_a_retry_does_not_cover_what_its_writer_has_not_seen() -> None:
    node = LoneNode()
    mine, beside = sibling(1, number=5), sibling(2, 3)

    begun = node.asked(if_absent(5, attempt=2))
    settled = node.hears("b", fetched(begun, merged(mine, beside)))
    (done,) = answers(node.hears("c", ReplicaStored(sent(settled, StoreReplica)[0][1].request)))  # type: ignore[attr-defined]

    clock = clock_in(done.context)  # type: ignore[union-attr]
    assert (covers(clock, mine.dot), covers(clock, beside.dot)) == (True, False)


def test_a_retry_that_finds_another_value_cannot_tell_whether_it_was_written_before() -> None:
    node = LoneNode()

    begun = node.asked(if_absent(1, attempt=2))
    failed = node.hears("b", fetched(begun, merged(sibling(1))))

    assert answers(failed) == [OutcomeUnknown(request_id(1), 2, 0)]


def test_without_r_replicas_nothing_is_written() -> None:
    node = LoneNode(view(down="bc"))

    (answer,) = answers(node.asked(if_absent(1)))

    assert isinstance(answer, QuorumNotMet)
    assert not node.store.has_records()


def test_a_conditional_put_reads_as_many_replicas_as_its_bucket_says() -> None:
    node = LoneNode(buckets=(Bucket("default", r=1, w=1),))

    first, second = node.asked(if_absent(1)), node.asked(if_absent(2 + ANOTHER_CLIENT))

    assert [type(answer) for answer in answers(first) + answers(second)] == [Done, ConditionFailed]


def test_a_conditional_put_is_not_written_over_what_other_replicas_hold_beyond_it() -> None:
    node = LoneNode()
    begun = node.asked(if_absent(1))
    written = node.hears("b", fetched(begun, EMPTY))

    stored = ReplicaStored(sent(written, StoreReplica)[0][1].request, beyond=((99, 1, 7),))  # type: ignore[attr-defined]
    done = node.hears("c", stored)

    assert [type(answer) for answer in answers(done)] == [Done]
    assert sent(done, StoreReplica) == []


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (put(1, condition="unchanged"), "a put that wants nothing to have changed needs the context of a read"),
        (
            if_absent(1, context=encode_context(NOTHING_SEEN, KEY)),
            "a put that wants the key to be absent has a context: leave it out, or want *unchanged* instead",
        ),
    ],
)
def test_a_condition_and_a_context_that_do_not_go_together_are_refused(request_: Put, reason: str) -> None:
    assert answers(LoneNode().asked(request_)) == [Refused(request_id(1), reason)]


def test_what_was_read_before_the_previous_reaping_round_is_not_brought_to_anybody() -> None:
    node = LoneNode()
    begun = node.asked(if_absent(5, attempt=2))
    node.node._state.rounds.raise_to(partition_of_storage_key(node.key(b"k")), 2)
    node.store.commit()
    node.node.committed()

    effects = node.hears("b", fetched(begun, merged(sibling(1, number=5)), round=1))

    (refused,) = answers(effects)
    assert isinstance(refused, Refused)
    assert refused.retry
    assert not node.store.has_records()


def test_a_failed_condition_of_a_batch_whose_commit_fails_is_not_told() -> None:
    node = LoneNode(buckets=(Bucket("default", r=1, w=1),))
    events = [FromClient(b"client", if_absent(1)), FromClient(b"client", if_absent(2 + ANOTHER_CLIENT))]
    effects = [effect for event in events for effect in node.node.step(event, node.now)]

    instead = node.node.abandon(effects, surely_nothing=True)

    assert [type(answer) for answer in answers(instead)] == [Refused, Refused]


def test_a_key_that_was_deleted_can_be_put_if_absent() -> None:
    node = LoneNode(buckets=(Bucket("default", r=1, w=1),))
    node.asked(put(1))
    node.asked(delete(2))

    node.asked(if_absent(3, value=b"again"))
    (found,) = answers(node.asked(get(4)))

    assert isinstance(found, Found)
    assert [value.value for value in found.siblings] == [b"again"]
