"""Buckets that keep only what was written last: what a reader is shown, what a write covers, what is counted."""

from functools import partial

from support import nodes
from support.nodes import WALL_MS, LoneNode, answers, get, request_id, sent, view
from support.records import merged

from zdynamo.core.events import Effect
from zdynamo.core.records.hybrid_clock import wall_ms_of
from zdynamo.core.records.record import Record, Sibling, decode_record, encode_record
from zdynamo.messages import (
    Absent,
    Bucket,
    ClientAnswer,
    Done,
    Found,
    ReplicaStored,
    StoreReplica,
)

LAST = Bucket("last", conflict="lww")
ANOTHER_CLIENT = 1 << 64
put = partial(nodes.put, bucket="last", w=1)
delete = partial(nodes.delete, bucket="last", r=1, w=1)


def written(actor: int, at_ms: int, *, tombstone: bool = False, expires_ms: int = 0, request: bytes = b"") -> Sibling:
    value = b"%d@%d" % (actor, at_ms)
    return Sibling((actor, 1, 1), (WALL_MS + at_ms) << 16, expires_ms, tombstone, "", value, request or value)


def lww_node(me: str = "a") -> LoneNode:
    return LoneNode(view(me=me, others="abc".replace(me, "")), buckets=(LAST,))


def owner(*, first: bool) -> LoneNode:
    """A node that is the first owner of the key, or a later one."""
    order = lww_node().node._placement.owners_of(lww_node().key(b"k", "last"))  # type: ignore[union-attr]
    return lww_node(order[0] if first else order[1])


def hears_of(node: LoneNode, held: Record) -> list[Effect]:
    peer = "b" if node.seen.me.id == "a" else "a"
    return node.hears(peer, StoreReplica(1, 1000, (), 0, node.key(b"k", "last"), encode_record(held)))


def read(node: LoneNode) -> ClientAnswer:
    (answer,) = answers(node.asked(get(999, bucket="last", r=1)))
    return answer


def values(answer: ClientAnswer) -> list[bytes]:
    return [sibling.value for sibling in answer.siblings] if isinstance(answer, Found) else []


def siblings_of(effects: list[Effect]) -> list[bytes]:
    return [sibling.value for sibling in decode_record(sent(effects, StoreReplica)[0][1].record).siblings]  # type: ignore[attr-defined]


def discarded(node: LoneNode) -> int:
    return node.node.counters["lww.discarded"]


def test_a_reader_is_shown_only_what_was_written_last() -> None:
    node = owner(first=False)

    hears_of(node, merged(written(1, 20), written(2, 10), written(3, 15)))

    assert values(read(node)) == [b"1@20"]


def test_of_two_written_at_the_same_time_all_readers_are_shown_the_same() -> None:
    node, other = owner(first=False), owner(first=True)
    hears_of(node, merged(written(1, 10), written(2, 10)))
    hears_of(other, merged(written(2, 10), written(1, 10)))

    assert values(read(node)) == values(read(other)) == [b"2@10"]


def test_what_was_deleted_or_has_expired_last_is_absent_though_something_older_is_there() -> None:
    deleted, expired = owner(first=False), owner(first=False)
    hears_of(deleted, merged(written(1, 10), written(2, 20, tombstone=True)))
    hears_of(expired, merged(written(1, 10), written(2, 20, expires_ms=WALL_MS)))

    assert [type(read(node)) for node in (deleted, expired)] == [Absent, Absent]


def test_in_other_buckets_a_reader_is_shown_all() -> None:
    node = LoneNode(buckets=(LAST,))
    together = encode_record(merged(written(1, 10), written(2, 20)))
    node.hears("b", StoreReplica(1, 1000, (), 0, node.key(b"k"), together))

    (found,) = answers(node.asked(get(1, r=1)))

    assert values(found) == [b"1@10", b"2@20"]


def test_a_write_with_an_older_context_covers_all_that_its_coordinator_knows() -> None:
    node = owner(first=False)
    (first,) = answers(node.asked(put(1)))
    node.asked(put(2 + ANOTHER_CLIENT, value=b"unseen"))

    effects = node.asked(put(3, value=b"mine", context=first.context))  # type: ignore[union-attr]

    assert siblings_of(effects) == [b"mine"]


def test_a_second_attempt_covers_only_what_its_context_names() -> None:
    node = owner(first=False)
    node.asked(put(1 + ANOTHER_CLIENT, value=b"held"))

    effects = node.asked(put(2, value=b"late", attempt=2))

    assert siblings_of(effects) == [b"held", b"late"]


def test_a_write_is_later_than_all_that_its_coordinator_holds_though_another_clock_was_ahead() -> None:
    node = owner(first=False)
    hears_of(node, merged(written(1, 200)))

    effects = node.asked(put(1, value=b"later"))

    (sibling,) = decode_record(sent(effects, StoreReplica)[0][1].record).siblings  # type: ignore[attr-defined]
    assert wall_ms_of(sibling.time) == WALL_MS + 200
    assert sibling.time > (WALL_MS + 200) << 16


def test_a_put_without_a_context_through_a_lagging_coordinator_is_written_over_what_others_hold() -> None:
    node = owner(first=False)
    begun = node.asked(put(1, w=2))
    (to, message), *_ = sent(begun, StoreReplica)

    again = node.hears(to, ReplicaStored(message.request, beyond=((99, 1, 7),)))  # type: ignore[attr-defined]

    assert len(sent(again, StoreReplica)) == 2


def test_a_delete_without_a_context_leaves_nothing_that_was_hidden_behind_it() -> None:
    node = owner(first=False)
    hears_of(node, merged(written(1, 10), written(2, 20, tombstone=True)))

    effects = node.asked(delete(1))

    (tombstone,) = decode_record(sent(effects, StoreReplica)[0][1].record).siblings  # type: ignore[attr-defined]
    (done,) = answers(effects)
    assert tombstone.tombstone
    assert isinstance(done, Done)
    assert not done.changed


def test_a_concurrent_write_that_is_covered_unseen_is_counted_at_the_coordinator() -> None:
    node = owner(first=False)
    (first,) = answers(node.asked(put(1)))
    node.asked(put(2 + ANOTHER_CLIENT, value=b"unseen", context=first.context))  # type: ignore[union-attr]

    node.asked(put(3, value=b"mine", context=first.context))  # type: ignore[union-attr]

    assert discarded(node) == 1


def test_what_a_context_has_seen_is_not_discarded_but_replaced() -> None:
    node = owner(first=True)
    (first,) = answers(node.asked(put(1)))

    node.asked(put(2, context=first.context))  # type: ignore[union-attr]
    node.asked(delete(3, context=read(node).context))  # type: ignore[union-attr]

    assert discarded(node) == 0


def test_a_write_without_a_context_asks_to_overwrite_what_is_there_and_counts_nothing() -> None:
    node = owner(first=True)

    node.asked(put(1))
    node.asked(put(2 + ANOTHER_CLIENT))

    assert discarded(node) == 0


def test_a_retried_write_discards_nothing_of_its_own() -> None:
    node = owner(first=True)
    hears_of(node, merged(written(1, 10, request=request_id(1))))

    hears_of(node, merged(written(2, 20, request=request_id(1))))

    assert discarded(node) == 0


def test_concurrent_writes_that_meet_in_a_copy_are_counted_by_the_first_owner_alone() -> None:
    first, later = owner(first=True), owner(first=False)
    for node in (first, later):
        hears_of(node, merged(written(1, 10)))
        hears_of(node, merged(written(2, 20)))

    assert (discarded(first), discarded(later)) == (1, 0)


def test_each_that_comes_to_stand_behind_another_is_counted_once() -> None:
    node = owner(first=True)
    counts = []

    for together in (
        merged(written(1, 10)),
        merged(written(1, 10), written(2, 20)),  # the first is discarded
        merged(written(2, 20), written(3, 5)),  # and one that comes when it is too late already
        merged(written(3, 5)),  # which comes twice
        merged(written(4, 30)),  # the one that was shown
    ):
        hears_of(node, together)
        counts.append(discarded(node))

    assert counts == [0, 1, 2, 2, 3]


def test_a_late_attempt_that_comes_to_stand_behind_is_counted() -> None:
    node = owner(first=True)
    hears_of(node, merged(written(9, 400)))

    node.asked(put(2, value=b"late", attempt=2))

    assert discarded(node) == 1


def test_concurrent_deletes_are_writes_like_others() -> None:
    node = owner(first=True)

    hears_of(node, merged(written(1, 10), written(2, 20, tombstone=True)))

    assert discarded(node) == 1


def test_in_other_buckets_nothing_is_counted() -> None:
    node = LoneNode(buckets=(LAST,))
    for name in (b"%d" % number for number in range(20)):
        key = node.key(name)
        together = encode_record(merged(written(1, 10), written(2, 20)))
        node.hears("b", StoreReplica(1, 1000, (), 0, key, together))

    assert discarded(node) == 0


def test_siblings_that_arrive_before_the_first_layout_are_kept() -> None:
    node = LoneNode(view(layout=None), buckets=(LAST,))

    hears_of(node, merged(written(7, 1), written(8, 2)))

    assert len(decode_record((node.store.get(node.key(b"k", "last")) or b"")[8:]).siblings) == 2
