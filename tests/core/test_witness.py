"""Taking part in the passes of others: what an owner says, when it begins a round, and what it removes."""

import pytest
from support import nodes
from support.deaths import (
    BESIDE,
    EXPIRES_MS,
    EXPIRING,
    KEY,
    LIMITS,
    PARTITION,
    RECREATED,
    TOMBSTONE,
    VALUE,
    digest,
    holding,
    keys_of,
    node_round,
    pass_time,
)
from support.five import Five
from support.nodes import PARTITIONS, LoneNode, sent, view
from support.records import record_of, sibling

from zdynamo.core.events import Noted, Send, ViewChanged
from zdynamo.core.reaping.tombstones import KEY as INDEX
from zdynamo.core.reaping.witness import KEYS_MAX, OLD_COPY, PASSES_MAX, RESTARTED
from zdynamo.messages import (
    BeginRound,
    HandOver,
    HoldReplica,
    PeerMessage,
    Reap,
    ReapAsk,
    Reaped,
    ReapHeld,
    ReplicaRefused,
    ReplicaStored,
    RoundBegun,
    StoreReplica,
)
from zdynamo.partition import partition_of_storage_key
from zdynamo.storage.memory import MemoryStore

ITEM = (KEY, digest(TOMBSTONE))
ASK = ReapAsk(7, PARTITION, 0, (ITEM,))


def says(node: LoneNode, message: PeerMessage, leader: str = "b") -> PeerMessage | None:
    """What the node answers to the leader of a pass, if anything."""
    effects = node.hears(leader, message)
    assert len(effects) <= 1
    if not effects:
        return None
    assert isinstance(effects[0], Send) and effects[0].to == leader
    return effects[0].message


def in_round(round: int, node: LoneNode) -> LoneNode:
    """Take part in a pass until that round is begun."""
    says(node, ASK)
    for number in range(node_round(node) + 1, round + 1):
        assert says(node, BeginRound(7, PARTITION, number)) == RoundBegun(7, PARTITION, number, "")
    return node


@pytest.mark.parametrize("held", [VALUE, RECREATED, BESIDE, EXPIRING, record_of(sibling(1, tombstone=True)), b""])
def test_an_owner_says_what_it_does_not_hold_exactly_like_that(held: bytes) -> None:
    keys = keys_of(3)
    node = holding((keys[0], TOMBSTONE), (keys[2], TOMBSTONE), *([(keys[1], held)] if held else []))

    answer = says(node, ReapAsk(7, PARTITION, 0, tuple((key, digest(TOMBSTONE)) for key in keys)))

    assert answer == ReapHeld(7, PARTITION, 0, "", (1,))


def test_an_owner_whose_clock_is_not_past_the_expiry_does_not_call_it_dead() -> None:
    node = holding((KEY, EXPIRING))
    ask = ReapAsk(7, PARTITION, 0, ((KEY, digest(EXPIRING)),))

    answers = []
    for ahead_ms in (-1, 0):
        pass_time(node, EXPIRES_MS + LIMITS.clock_skew_ms + ahead_ms - node.wall_ms)
        answers.append(says(node, ask))

    assert answers == [ReapHeld(7, PARTITION, 0, "", (0,)), ReapHeld(7, PARTITION, 0, "", ())]


def test_an_expired_value_is_removed_only_when_it_is_past_its_expiry_here() -> None:
    node = holding((KEY, EXPIRING))
    item = (KEY, digest(EXPIRING))
    pass_time(node, EXPIRES_MS + LIMITS.clock_skew_ms - 1 - node.wall_ms)
    in_round(2, node)

    early = says(node, Reap(7, PARTITION, 2, (item,)))
    pass_time(node, 1)
    late = says(node, Reap(7, PARTITION, 2, (item,)))

    assert (early, late) == (Reaped(7, PARTITION, (0,)), Reaped(7, PARTITION, ()))


def test_what_was_proven_is_removed_with_its_entry() -> None:
    node = in_round(2, holding((KEY, TOMBSTONE)))

    answer = says(node, Reap(7, PARTITION, 2, (ITEM,)))

    assert answer == Reaped(7, PARTITION, ())
    assert (node.store.get(KEY), node.store.get(INDEX + KEY)) == (None, None)
    assert node.node.counters["tombstones.reaped"] == 1


def test_to_remove_it_twice_is_to_remove_it_once() -> None:
    node = in_round(2, holding((KEY, TOMBSTONE)))

    answers = [says(node, Reap(7, PARTITION, 2, (ITEM, ITEM))) for _ in range(2)]

    assert answers == [Reaped(7, PARTITION, ())] * 2
    assert node.node.counters["tombstones.reaped"] == 1


@pytest.mark.parametrize("later", [RECREATED, BESIDE])
def test_a_record_that_changes_between_proof_and_removal_stays(later: bytes) -> None:
    node = in_round(2, holding((KEY, TOMBSTONE)))
    node.hears("c", StoreReplica(0, 1000, (), 2, KEY, later))

    answer = says(node, Reap(7, PARTITION, 2, (ITEM,)))

    assert answer == Reaped(7, PARTITION, (0,))
    assert node.store.get(KEY) == bytes(8) + later


def test_nothing_is_removed_before_its_round_is_begun() -> None:
    node = in_round(1, holding((KEY, TOMBSTONE)))

    assert says(node, Reap(7, PARTITION, 2, (ITEM,))) == Reaped(7, PARTITION, (0,))
    assert node.store.get(KEY) is not None


def test_a_round_is_begun_only_after_the_one_before_it() -> None:
    node = holding((KEY, TOMBSTONE))
    says(node, ASK)

    answer = says(node, BeginRound(7, PARTITION, 2))

    assert answer == RoundBegun(7, PARTITION, 0, OLD_COPY)


def test_a_round_that_is_begun_already_is_said_and_never_goes_back() -> None:
    node = in_round(2, holding((KEY, TOMBSTONE)))

    assert says(node, BeginRound(7, PARTITION, 1)) == RoundBegun(7, PARTITION, 2, "")
    assert says(node, BeginRound(7, PARTITION, -5)) == RoundBegun(7, PARTITION, 2, "")


def test_the_round_is_kept_over_a_restart() -> None:
    node = in_round(2, holding((KEY, TOMBSTONE)))

    assert node_round(LoneNode(limits=LIMITS, store=node.store)) == 2


def test_an_owner_that_has_restarted_takes_no_further_part() -> None:
    """It may have lost what it said that it holds, if its disk had not kept that yet."""
    node = in_round(1, holding((KEY, TOMBSTONE)))
    restarted = LoneNode(limits=LIMITS, store=node.store)

    begun = says(restarted, BeginRound(7, PARTITION, 2))
    reaped = says(restarted, Reap(7, PARTITION, 1, (ITEM,)))

    assert begun == RoundBegun(7, PARTITION, 1, RESTARTED)
    assert reaped == Reaped(7, PARTITION, (0,))


def test_an_owner_takes_part_in_the_latest_pass_of_a_leader_only() -> None:
    node = in_round(2, holding((KEY, TOMBSTONE)))

    says(node, ReapAsk(8, PARTITION, 2, (ITEM,)))

    assert says(node, Reap(7, PARTITION, 2, (ITEM,))) == Reaped(7, PARTITION, (0,))


def test_two_leaders_may_lead_at_a_time() -> None:
    node = holding((KEY, TOMBSTONE))
    says(node, ASK, "b")
    says(node, ReapAsk(9, PARTITION, 0, (ITEM,)), "c")

    begun = [says(node, BeginRound(number, PARTITION, 1), leader) for number, leader in ((7, "b"), (9, "c"))]

    assert begun == [RoundBegun(7, PARTITION, 1, ""), RoundBegun(9, PARTITION, 1, "")]


def test_one_leader_may_lead_in_several_partitions_at_a_time() -> None:
    other = partition_of_storage_key(keys_of(1, first="b")[0])
    node = in_round(1, holding((KEY, TOMBSTONE)))
    says(node, ReapAsk(8, other, 0, ()))

    begun = [says(node, BeginRound(7, PARTITION, 2)), says(node, BeginRound(8, other, 1))]
    mixed_up = says(node, BeginRound(7, other, 1))

    assert begun == [RoundBegun(7, PARTITION, 2, ""), RoundBegun(8, other, 1, "")]
    assert mixed_up == RoundBegun(7, other, 1, RESTARTED)
    assert says(node, Reap(7, PARTITION, 2, (ITEM,))) == Reaped(7, PARTITION, ())


def test_an_owner_remembers_so_many_passes_of_a_leader_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "PARTITIONS", 2 * PASSES_MAX)
    node = LoneNode(view(), limits=LIMITS)
    for partition in (*range(PASSES_MAX), 0, PASSES_MAX):
        says(node, ReapAsk(100 + partition, partition, 0, ()))

    begun = [says(node, BeginRound(100 + partition, partition, 1)) for partition in (0, 1, 2, PASSES_MAX)]

    assert begun == [
        RoundBegun(100, 0, 1, ""),
        RoundBegun(101, 1, 0, RESTARTED),
        RoundBegun(102, 2, 1, ""),
        RoundBegun(100 + PASSES_MAX, PASSES_MAX, 1, ""),
    ]


def test_an_owner_one_behind_the_leader_takes_part() -> None:
    node = holding((KEY, TOMBSTONE))

    assert says(node, ReapAsk(7, PARTITION, 1, (ITEM,))) == ReapHeld(7, PARTITION, 0, "", ())


def test_an_owner_two_behind_the_leader_finds_out_that_it_holds_an_old_copy() -> None:
    node = holding((KEY, TOMBSTONE))

    effects = node.hears("b", ReapAsk(7, PARTITION, 2, (ITEM,)))

    assert sent(effects, ReapHeld) == [("b", ReapHeld(7, PARTITION, 2, "is unsettled", ()))]
    assert [effect.name for effect in effects if isinstance(effect, Noted)] == ["partition.set_aside"]


def test_a_round_that_no_owner_can_be_in_is_not_believed() -> None:
    node = holding((KEY, TOMBSTONE))

    assert says(node, ReapAsk(7, PARTITION, 2**63, (ITEM,))) == ReapHeld(7, PARTITION, 0, OLD_COPY, ())


@pytest.mark.parametrize(
    "message",
    [ASK, BeginRound(7, PARTITION, 1), Reap(7, PARTITION, 0, (ITEM,))],
    ids=["ask", "begin", "reap"],
)
def test_an_unsettled_owner_takes_no_part(message: PeerMessage) -> None:
    node = LoneNode(view(took_over=True), limits=LIMITS)
    node.hears("b", StoreReplica(0, 1000, (), 0, KEY, TOMBSTONE))

    answer = says(node, message)

    assert answer in (
        ReapHeld(7, PARTITION, 0, "is unsettled", ()),
        RoundBegun(7, PARTITION, 0, "is unsettled"),
        Reaped(7, PARTITION, (0,)),
    )
    assert node.store.get(KEY) is not None


@pytest.mark.parametrize("partition", [-1, PARTITIONS, 2**40])
def test_a_partition_that_does_not_exist_is_no_question(partition: int) -> None:
    node = holding((KEY, TOMBSTONE))

    assert says(node, ReapAsk(7, partition, 0, (ITEM,))) is None
    assert says(node, BeginRound(7, partition, 1)) is None
    assert says(node, Reap(7, partition, 0, (ITEM,))) is None


def test_only_an_owner_may_lead() -> None:
    node = LoneNode(view(others="bcd", layout="abc"), limits=LIMITS)

    assert says(node, ASK, "d") is None
    assert says(node, BeginRound(7, PARTITION, 1), "d") is None
    assert says(node, Reap(7, PARTITION, 0, (ITEM,)), "d") is None


def test_a_node_that_owns_nothing_takes_no_part() -> None:
    node = LoneNode(view(layout="bc"), limits=LIMITS)

    assert says(node, ASK) is None


def test_more_than_a_pass_may_hold_is_no_question() -> None:
    node = in_round(2, holding((KEY, TOMBSTONE)))
    items = (ITEM,) * (KEYS_MAX + 1)

    assert says(node, ReapAsk(7, PARTITION, 0, items)) is None
    assert says(node, Reap(7, PARTITION, 2, items)) is None


@pytest.mark.parametrize("key", [b"", b"\xff\xffcounter", b"\x00", KEY + b"x", keys_of(1, first="b")[0]])
def test_keys_of_elsewhere_are_not_held_and_not_removed(key: bytes) -> None:
    node = in_round(2, holding((KEY, TOMBSTONE), (keys_of(1, first="b")[0], TOMBSTONE)))
    item = (key, digest(TOMBSTONE))
    before = node.store.get(key)

    assert says(node, ReapAsk(7, PARTITION, 2, (item,))) == ReapHeld(7, PARTITION, 2, "", (0,))
    says(node, Reap(7, PARTITION, 2, (item,)))

    assert node.store.get(key) == before


def test_an_owner_that_is_called_down_may_still_lead() -> None:
    """Being down is an opinion; what it asks is answered."""
    node = holding((KEY, TOMBSTONE))
    node.step(ViewChanged(view(number=2, down="b")))

    assert says(node, ASK) == ReapHeld(7, PARTITION, 0, "", ())


# A member of the layout that owns nothing of the partition


def stand_in(*records: tuple[bytes, bytes], store: MemoryStore | None = None, round: int = 0) -> Five:
    """It holds these records for an owner."""
    node = Five(owning=False, store=store)
    for key, record in records:
        node.holds(node.others[0], key=key, record=record, round=round)
    return node


def ask_of(node: Five, *keys: bytes, number: int = 7, round: int = 0) -> ReapAsk:
    return ReapAsk(number, node.partition, round, tuple((key, digest(TOMBSTONE)) for key in keys or (node.key,)))


def test_who_stands_in_says_that_it_holds_nothing_under_the_keys() -> None:
    node = stand_in()

    assert says(node, ask_of(node), node.others[0]) == ReapHeld(7, node.partition, 0, "", ())


@pytest.mark.parametrize("held", [VALUE, TOMBSTONE, BESIDE, EXPIRING])
def test_whatever_it_holds_under_a_key_keeps_what_is_dead_there(held: bytes) -> None:
    """It may be what the tombstone covers; also a tombstone is still to be brought to its owner."""
    node = stand_in()
    other = node.more_keys(1)[0]
    node.holds(node.others[0], key=other, record=held)

    answer = says(node, ask_of(node, node.key, other), node.others[0])

    assert answer == ReapHeld(7, node.partition, 0, "", (1,))


def test_who_stands_in_begins_the_rounds_and_takes_nothing_older_afterwards() -> None:
    node = stand_in()
    leader = node.others[0]
    says(node, ask_of(node), leader)

    begun = [says(node, BeginRound(7, node.partition, round), leader) for round in (1, 2)]
    late = node.hears("b", HoldReplica(8, 1000, (), 0, node.key, VALUE, (leader,)))

    assert begun == [RoundBegun(7, node.partition, round, "") for round in (1, 2)]
    assert sent(late, ReplicaRefused) == [("b", ReplicaRefused(8, "stale round", 2))]
    assert (node.store.get(node.key), node.held) == (None, {})


@pytest.mark.parametrize("begun", [0, 1])
def test_what_it_is_given_to_hold_after_it_has_spoken_ends_the_pass(begun: int) -> None:
    """It was minted or read before, and may be what is about to be removed."""
    node = stand_in()
    leader = node.others[0]
    says(node, ask_of(node), leader)
    for round in range(1, begun + 1):
        says(node, BeginRound(7, node.partition, round), leader)

    node.holds(leader, record=VALUE)

    assert says(node, BeginRound(7, node.partition, begun + 1), leader) == RoundBegun(
        7, node.partition, begun, RESTARTED
    )


def test_what_it_is_given_to_hold_of_another_partition_ends_no_pass() -> None:
    node = stand_in()
    leader = node.others[0]
    elsewhere = next(
        key for number in range(100) if node.partition != partition_of_storage_key(key := node.key_of(b"%d" % number))
    )
    says(node, ask_of(node), leader)

    owner = next(name for name in "bcde" if name in node.node._placement.owners_of(elsewhere))  # type: ignore[union-attr]
    node.hears("b", HoldReplica(8, 1000, (), 0, elsewhere, VALUE, (owner,)))

    assert says(node, BeginRound(7, node.partition, 1), leader) == RoundBegun(7, node.partition, 1, "")


def test_what_it_has_said_holds_for_the_process_that_said_it() -> None:
    """What it had handed over and forgotten may be back, if that was not on its disk yet."""
    node = stand_in()
    says(node, ask_of(node), node.others[0])

    restarted = stand_in(store=node.store)

    assert says(restarted, BeginRound(7, node.partition, 1), node.others[0]) == RoundBegun(
        7, node.partition, 0, RESTARTED
    )


def test_once_it_has_handed_over_what_it_held_it_says_so() -> None:
    node = stand_in((stand_in().key, VALUE))
    leader = node.others[0]
    before = says(node, ask_of(node), leader)
    ((_, over),) = sent(node.after(0), HandOver)

    node.hears(leader, ReplicaStored(over.request))  # type: ignore[attr-defined]

    assert before == ReapHeld(7, node.partition, 0, "", (0,))
    assert says(node, ask_of(node), leader) == ReapHeld(7, node.partition, 0, "", ())


def test_who_stands_in_may_not_lead() -> None:
    node = Five()

    assert says(node, ask_of(node), node.fallbacks[0]) is None


def test_who_stands_in_removes_only_what_it_holds_exactly_like_that() -> None:
    """It is never asked to."""
    node = stand_in((stand_in().key, VALUE))
    leader = node.others[0]
    says(node, ask_of(node), leader)

    answer = says(node, Reap(7, node.partition, 0, ((node.key, digest(TOMBSTONE)),)), leader)

    assert answer == Reaped(7, node.partition, (0,))
    assert node.store.get(node.key) == bytes(8) + VALUE


def test_who_stands_in_and_holds_nothing_learns_the_round_without_a_doubt() -> None:
    """It may have lost its disk; what is not there cannot be old."""
    node = stand_in()

    effects = node.hears(node.others[0], ask_of(node, round=5))

    assert sent(effects, ReapHeld) == [(node.others[0], ReapHeld(7, node.partition, 5, "", ()))]


def test_who_stands_in_with_an_old_copy_takes_no_part() -> None:
    node = stand_in((stand_in().key, VALUE))

    effects = node.hears(node.others[0], ask_of(node, round=5))

    assert sent(effects, ReapHeld) == [(node.others[0], ReapHeld(7, node.partition, 5, "is unsettled", ()))]
