"""Buckets that keep only what was written last: a record goes with its last write, and what that hides goes too."""

import pytest
from support.deaths import KEY, LIMITS, PARTITION, digest, holding, node_round, pass_time, until_next_pass
from support.nodes import WALL_MS, LoneNode, get, sent
from support.records import merged, sibling

from zdynamo.core.coordinator.reads import LINGER
from zdynamo.core.events import Send, Tick
from zdynamo.core.reaping.tombstones import KEY as INDEX
from zdynamo.core.records.record import EMPTY, Record, encode_record
from zdynamo.messages import (
    BeginRound,
    Bucket,
    FetchReplica,
    Inspect,
    Inspected,
    Reap,
    ReapAsk,
    Reaped,
    ReapHeld,
    RecordsSwapped,
    ReplicaFetched,
    RoundBegun,
    StoreReplica,
    SwapRecords,
)

LWW = (Bucket("default", conflict="lww"),)
HIDDEN = sibling(1, actor=8, value=b"hidden")
SHOWN = encode_record(merged(HIDDEN, sibling(1, ahead_ms=1)))
DELETED = encode_record(merged(HIDDEN, sibling(1, ahead_ms=1, tombstone=True)))
EXPIRED = encode_record(merged(HIDDEN, sibling(1, ahead_ms=1, expires_ms=WALL_MS - 10_000)))
BACK = encode_record(merged(HIDDEN, sibling(1, ahead_ms=1, tombstone=True), sibling(1, actor=9, ahead_ms=2)))
ITEM = (KEY, digest(DELETED))
ASK = ReapAsk(7, PARTITION, 0, (ITEM,))
DEAD = pytest.mark.parametrize("dead", [DELETED, EXPIRED], ids=["deleted", "expired"])


def in_round_two(node: LoneNode) -> LoneNode:
    """Take part in a pass up to the point at which the leader says to remove."""
    node.hears("b", ASK)
    for number in (1, 2):
        assert node.hears("b", BeginRound(7, PARTITION, number)) == [Send("b", RoundBegun(7, PARTITION, number, ""))]
    return node


def copy_and_entry(node: LoneNode) -> tuple[bool, bool]:
    return node.store.get(KEY) is not None, node.store.get(INDEX + KEY) is not None


@DEAD
def test_a_pass_asks_for_a_record_whose_last_write_is_dead_and_removes_all_of_it(dead: bytes) -> None:
    node = holding((KEY, dead), buckets=LWW)

    ((_, ask), _) = sent(until_next_pass(node), ReapAsk)
    number = ask.request  # type: ignore[attr-defined]
    for message in (
        ReapHeld(number, PARTITION, 0, "", ()), RoundBegun(number, PARTITION, 1, ""),
        RoundBegun(number, PARTITION, 2, ""), Reaped(number, PARTITION, ()),
    ):  # fmt: skip
        before = copy_and_entry(node)
        node.hears("b", message)
        node.hears("c", message)

    assert ask == ReapAsk(number, PARTITION, 0, ((KEY, digest(dead)),))
    assert (before, copy_and_entry(node)) == ((True, True), (False, False))


def test_what_was_hidden_is_refused_when_it_comes_after_the_pass() -> None:
    node = in_round_two(holding((KEY, DELETED), buckets=LWW))
    node.hears("b", Reap(7, PARTITION, 2, (ITEM,)))

    node.hears("c", StoreReplica(9, 1000, (), 0, KEY, encode_record(merged(HIDDEN))))

    assert node_round(node) == 2
    assert copy_and_entry(node) == (False, False)


@DEAD
def test_an_owner_says_that_it_holds_a_dead_record_only_where_the_last_write_wins(dead: bytes) -> None:
    ask = ReapAsk(7, PARTITION, 0, ((KEY, digest(dead)),))

    answers = [holding((KEY, dead), buckets=table).hears("b", ask) for table in (LWW, ())]

    assert answers == [
        [Send("b", ReapHeld(7, PARTITION, 0, "", ()))],
        [Send("b", ReapHeld(7, PARTITION, 0, "", (0,)))],
    ]


@pytest.mark.parametrize("since", [BACK, SHOWN], ids=["written after", "shown"])
def test_a_record_whose_last_write_is_a_value_stays(since: bytes) -> None:
    node = holding((KEY, since), buckets=LWW)

    assert node.hears("b", ReapAsk(7, PARTITION, 0, ((KEY, digest(since)),))) == [
        Send("b", ReapHeld(7, PARTITION, 0, "", (0,)))
    ]
    assert until_next_pass(node) == []


def test_what_has_met_a_later_write_since_it_was_proven_is_kept() -> None:
    node = in_round_two(holding((KEY, DELETED), buckets=LWW))
    node.hears("c", StoreReplica(9, 1000, (), 2, KEY, BACK))

    assert node.hears("b", Reap(7, PARTITION, 2, (ITEM,))) == [Send("b", Reaped(7, PARTITION, (0,)))]
    assert node.store.get(KEY)


def test_who_has_come_to_another_table_since_it_was_asked_keeps_what_shows_there() -> None:
    """It has lost the thread of the pass with its process."""
    before = in_round_two(holding((KEY, DELETED), buckets=LWW))
    node = holding(store=before.store)

    assert node.hears("b", Reap(7, PARTITION, 2, (ITEM,))) == [Send("b", Reaped(7, PARTITION, (0,)))]
    assert node.store.get(KEY)


def test_what_was_stored_before_the_last_write_won_is_found_after_the_restart_that_made_it_so() -> None:
    before = holding((KEY, DELETED))
    assert copy_and_entry(before) == (True, False)

    node = holding(store=before.store, buckets=LWW)

    ((_, ask), _) = sent(until_next_pass(node), ReapAsk)
    assert ask.items == (ITEM,)  # type: ignore[attr-defined]


def test_what_is_found_so_is_not_forgotten_when_a_commit_fails() -> None:
    before = holding((KEY, DELETED))
    node = holding(store=before.store, buckets=LWW)
    while INDEX + KEY not in node.store._staged:
        pass_time(node, 10)
        effects = node.node.step(Tick(), node.now)
        if INDEX + KEY not in node.store._staged:
            node.store.commit()
            node.node.committed()
    node.store._staged.clear()
    node.node.abandon(effects, surely_nothing=True)

    ((_, ask), _) = sent(until_next_pass(node), ReapAsk)
    assert ask.items == (ITEM,)  # type: ignore[attr-defined]


def test_what_was_to_be_looked_at_years_later_is_found_so_too() -> None:
    """Where all siblings count, the record lives as long as the last of them."""
    late = encode_record(
        merged(
            sibling(1, actor=8, value=b"hidden", expires_ms=WALL_MS + 10**11), sibling(1, ahead_ms=1, tombstone=True)
        )
    )
    before = holding((KEY, late))
    assert copy_and_entry(before) == (True, True)

    node = holding(store=before.store, buckets=LWW)

    ((_, ask), _) = sent(until_next_pass(node), ReapAsk)
    assert ask.items == ((KEY, digest(late)),)  # type: ignore[attr-defined]


@DEAD
def test_a_dead_record_with_a_hidden_value_is_not_swapped_with_who_holds_nothing(dead: bytes) -> None:
    empty, holds = holding(buckets=LWW), holding((KEY, dead), buckets=LWW)

    taken = empty.hears("b", SwapRecords(7, PARTITION, 0, ((KEY, dead),)))
    given = holds.hears("b", SwapRecords(7, PARTITION, 0, ((KEY, b""),)))

    assert taken == given == [Send("b", RecordsSwapped(7, PARTITION, 0, 1, 0, 0, ()))]
    assert copy_and_entry(empty) == (False, False)


@DEAD
@pytest.mark.parametrize(("held", "sends"), [(EMPTY, False), (merged(HIDDEN), True)], ids=["nothing", "value"])
def test_read_repair_brings_a_dead_record_to_who_holds_what_it_hides_but_not_to_who_holds_nothing(
    dead: bytes, held: Record, sends: bool
) -> None:
    node = LoneNode(buckets=LWW, limits=LIMITS)
    node.hears("b", StoreReplica(0, 1000, (), 0, node.key(b"k"), dead))
    begun = node.asked(get(1, r=3, deadline_ms=5000))
    number = sent(begun, FetchReplica)[0][1].request  # type: ignore[attr-defined]

    node.hears("b", ReplicaFetched(number, True, 0, dead))
    effects = node.hears("c", ReplicaFetched(number, True, 0, encode_record(held) if held.siblings else b""))
    pass_time(node, LINGER * LIMITS.replica_timeout_ms)
    effects += node.step(Tick())

    brought = [(to, message.record) for to, message in sent(effects, StoreReplica)]  # type: ignore[attr-defined]
    assert brought == ([("c", dead)] if sends else [])


def test_a_dead_record_with_a_hidden_value_says_what_it_waits_for() -> None:
    told = []

    for table, record in ((LWW, DELETED), (LWW, SHOWN), ((), DELETED)):
        node = LoneNode(buckets=table)
        node.hears("b", StoreReplica(0, 1000, (), 0, node.key(b"k"), record))
        ((_, inspected),) = sent(node.hears("b", Inspect(7, 500, node.key(b"k"))), Inspected)
        told.append(inspected.state.waits)  # type: ignore[attr-defined]

    assert told == ["not looked at yet", "", ""]
