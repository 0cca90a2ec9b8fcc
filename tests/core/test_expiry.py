"""Expiry: inside the record, absent for readers at once."""

import pytest
from support.nodes import WALL_MS, LoneNode, answers, delete, get, put, sent

from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.records.context import clock_in
from zdynamo.core.records.record import covers, decode_record
from zdynamo.messages import Absent, Bucket, Done, Found, StoreReplica

SHORT = Bucket("short", expiry_ms=1000)


def expires_ms(effects: list[object]) -> list[int]:
    record = decode_record(sent(effects, StoreReplica)[0][1].record)  # type: ignore[arg-type, attr-defined]
    return [sibling.expires_ms for sibling in record.siblings]


def pass_ms(node: LoneNode, ms: int) -> None:
    node.monotonic_ms += ms
    node.wall_ms += ms


@pytest.mark.parametrize(
    ("bucket", "ttl_ms", "expected"),
    [
        ("default", -1, 0),
        ("default", 0, 0),
        ("default", 500, WALL_MS + 500),
        ("short", -1, WALL_MS + 1000),
        ("short", 0, 0),
        ("short", 2000, WALL_MS + 2000),
    ],
)
def test_a_put_expires_as_it_says_or_else_as_its_bucket_says(bucket: str, ttl_ms: int, expected: int) -> None:
    node = LoneNode(buckets=(SHORT,))

    effects = node.asked(put(1, bucket=bucket, w=1, ttl_ms=ttl_ms))

    assert expires_ms(effects) == [expected]  # type: ignore[arg-type]


def test_a_value_is_there_until_it_expires_and_absent_from_then_on() -> None:
    node = LoneNode()
    node.asked(put(1, w=1, ttl_ms=500))

    pass_ms(node, 499)
    before = answers(node.asked(get(99, r=1)))
    pass_ms(node, 1)
    after = answers(node.asked(get(99, r=1)))

    assert [type(answer) for answer in before + after] == [Found, Absent]


def test_the_context_of_what_has_expired_covers_it() -> None:
    node = LoneNode()
    dot = decode_record(sent(node.asked(put(1, w=1, ttl_ms=500)), StoreReplica)[0][1].record).siblings[0].dot  # type: ignore[attr-defined]
    pass_ms(node, 500)

    (absent,) = answers(node.asked(get(99, r=1)))

    assert covers(clock_in(absent.context), dot)  # type: ignore[union-attr]


def test_an_expired_sibling_is_left_out_and_the_other_is_shown() -> None:
    node = LoneNode()
    (first,) = answers(node.asked(put(1, value=b"stays", w=1)))
    node.asked(put(2, value=b"goes", w=1, attempt=2, ttl_ms=500))
    assert isinstance(first, Done)

    pass_ms(node, 500)
    (found,) = answers(node.asked(get(99, r=1)))

    assert [value.value for value in found.siblings] == [b"stays"]  # type: ignore[union-attr]


def test_a_jump_of_the_wall_clock_ahead_lets_nothing_expire_at_once() -> None:
    node = LoneNode()
    node.asked(put(1, w=1, ttl_ms=60_000))

    node.wall_ms += 3_600_000

    assert [type(answer) for answer in answers(node.asked(get(99, r=1)))] == [Found]


def test_a_put_during_a_jump_of_the_wall_clock_expires_in_its_own_time() -> None:
    node = LoneNode()
    node.wall_ms += 3_600_000

    effects = node.asked(put(1, w=1, ttl_ms=500))

    assert expires_ms(effects) == [WALL_MS + 500]  # type: ignore[arg-type]


def test_a_delete_of_what_has_expired_writes_a_tombstone_for_the_clock_here_may_be_wrong() -> None:
    node = LoneNode()
    written = sent(node.asked(put(1, w=1, ttl_ms=500)), StoreReplica)[0][1]
    pass_ms(node, 500 + node.limits.clock_skew_ms)

    effects = node.asked(delete(2, r=1, w=1))

    (done,) = answers(effects)
    assert isinstance(done, Done)
    assert not done.changed
    assert written.record not in {message.record for _, message in sent(effects, StoreReplica)}  # type: ignore[attr-defined]


def test_a_delete_of_what_may_not_have_expired_by_other_clocks_writes_a_tombstone() -> None:
    node = LoneNode()
    written = sent(node.asked(put(1, w=1, ttl_ms=500)), StoreReplica)[0][1]
    pass_ms(node, 500)

    effects = node.asked(delete(2, r=1, w=1))

    assert {message.record for _, message in sent(effects, StoreReplica)} != {written.record}  # type: ignore[attr-defined]


def test_a_put_over_what_has_expired_replaces_it() -> None:
    node = LoneNode()
    node.asked(put(1, w=1, ttl_ms=500))
    pass_ms(node, 500)

    record = decode_record(sent(node.asked(put(2, value=b"new", w=1)), StoreReplica)[0][1].record)  # type: ignore[attr-defined]

    assert [sibling.value for sibling in record.siblings] == [b"new"]
    assert not is_dead(record, node.wall_ms, lww=False)


def test_a_retried_put_keeps_the_expiry_of_its_first_attempt() -> None:
    node = LoneNode()
    first = expires_ms(node.asked(put(1, w=1, ttl_ms=500)))  # type: ignore[arg-type]
    pass_ms(node, 100)

    assert expires_ms(node.asked(put(1, w=1, ttl_ms=500, attempt=2))) == first  # type: ignore[arg-type]
