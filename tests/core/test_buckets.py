"""The rules of buckets: a request beats its bucket, which beats the cluster."""

import pytest
from support.nodes import LoneNode, answers, delete, get, put, sent, view

from zdynamo.core.records.buckets import Buckets, table_digest
from zdynamo.core.records.record import decode_record
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Bucket,
    Delete,
    Done,
    FetchReplica,
    Get,
    Put,
    QuorumNotMet,
    ReplicaFetched,
    ReplicaStored,
    StoreReplica,
)

LIMITS = NodeLimits(r=2, w=2)
ONE, ALL = Bucket("one", r=1, w=1), Bucket("all", r=3, w=3)
STRICT = Bucket("strict", pr=3, pw=3)
TABLE = (ONE, ALL, STRICT)


def copies_until_done(request: Put) -> int:
    """After how many copies a write is answered."""
    node = LoneNode(buckets=TABLE)
    effects = node.asked(request)
    number = sent(effects, StoreReplica)[0][1].request  # type: ignore[attr-defined]
    for copies, peer in enumerate(("b", "c", ""), start=1):
        if answers(effects):
            return copies
        effects = node.hears(peer, ReplicaStored(number))
    return 0


def replicas_until_absent(request: Get | Delete) -> int:
    """After how many replicas a read is answered, when all hold nothing."""
    node = LoneNode(buckets=TABLE)
    effects = node.asked(request)
    if answers(effects):
        return 1
    number = sent(effects, FetchReplica)[0][1].request  # type: ignore[attr-defined]
    for replicas, peer in enumerate("bc", start=2):
        effects = node.hears(peer, ReplicaFetched(number, True, 0, b""))
        if answers(effects):
            return replicas
    return 0


@pytest.mark.parametrize(
    ("request_", "copies"),
    [
        (put(bucket="unknown"), 2),
        (put(bucket="one"), 1),
        (put(bucket="all"), 3),
        (put(bucket="strict"), 3),
        (put(bucket="all", w=1), 1),
        (put(bucket="one", w=3), 3),
        (put(bucket="one", pw=2), 2),
    ],
)
def test_a_put_waits_for_as_many_copies_as_its_request_or_bucket_or_cluster_says(request_: Put, copies: int) -> None:
    assert copies_until_done(request_) == copies


@pytest.mark.parametrize(
    ("request_", "replicas"),
    [
        (get(bucket="unknown"), 2),
        (get(bucket="one"), 1),
        (get(bucket="all"), 3),
        (get(bucket="strict"), 3),
        (get(bucket="all", r=1), 1),
        (get(bucket="one", r=3), 3),
        (get(bucket="one", pr=2), 2),
        (delete(bucket="unknown"), 2),
        (delete(bucket="one"), 1),
        (delete(bucket="all"), 3),
        (delete(bucket="strict"), 3),
        (delete(bucket="all", r=1), 1),
    ],
)
def test_a_read_waits_for_as_many_replicas_as_its_request_or_bucket_or_cluster_says(
    request_: Get | Delete, replicas: int
) -> None:
    assert replicas_until_absent(request_) == replicas


def test_a_delete_waits_for_as_many_copies_as_its_bucket_says() -> None:
    node = LoneNode(buckets=TABLE)
    (done,) = answers(node.asked(put(bucket="one")))

    effects = node.asked(delete(2, bucket="one", context=done.context))  # type: ignore[union-attr]

    assert [type(answer) for answer in answers(effects)] == [Done]


def test_in_a_strict_bucket_an_owner_that_does_not_know_counts_for_nothing() -> None:
    node = LoneNode(view(took_over=True), buckets=(Bucket("strict", pr=1),))
    found = sent(LoneNode(view(me="b", others="ac")).asked(put(bucket="strict")), StoreReplica)[0][1].record  # type: ignore[attr-defined]

    effects = node.asked(get(2, bucket="strict"))
    number = sent(effects, FetchReplica)[0][1].request  # type: ignore[attr-defined]
    first = node.hears("b", ReplicaFetched(number, True, 0, found))
    lost = node.hears("c", ReplicaFetched(number, False, 0, b""))

    assert answers(first) == []
    assert [type(answer) for answer in answers(lost)] == [QuorumNotMet]


def test_a_bucket_with_an_expiry_gives_it_to_what_is_put_without_one() -> None:
    node = LoneNode(buckets=(Bucket("short", expiry_ms=5000),))

    effects = node.asked(put(bucket="short"))

    (sibling,) = decode_record(sent(effects, StoreReplica)[0][1].record).siblings  # type: ignore[attr-defined]
    assert sibling.expires_ms == node.wall_ms + 5000


def test_r_and_w_are_never_below_the_primary_owners_demanded() -> None:
    rules = Buckets((Bucket("b", r=1, w=1, pr=2, pw=3),), LIMITS).of("b")

    assert (rules.r, rules.w, rules.pr, rules.pw) == (2, 3, 2, 3)


def test_the_fewest_copies_of_an_acknowledged_write_are_those_of_the_laxest_bucket() -> None:
    assert Buckets(TABLE, LIMITS).w_min == 1
    assert Buckets((ALL,), LIMITS).w_min == 2


def test_tables_have_the_same_digest_whatever_their_order_and_another_when_a_rule_differs() -> None:
    assert table_digest((ONE, ALL)) == table_digest((ALL, ONE))
    assert len({table_digest(table) for table in ((), (ONE,), (ALL,), (ONE, ALL), (Bucket("one", r=2, w=1),))}) == 5


def test_only_the_keys_of_lww_buckets_are_lww() -> None:
    node = LoneNode()
    buckets = Buckets((Bucket("last", conflict="lww"), ONE), LIMITS)

    assert buckets.is_lww(node.key(b"k", "last"))
    assert not any(buckets.is_lww(node.key(b"last", name)) for name in ("one", "other", "las"))
