"""Leading a pass: what is dead goes when every owner has proved to hold it, and stays when anything is against it."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace
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
    until_next_pass,
)
from support.five import Five
from support.nodes import CLUSTER, WALL_MS, LoneNode, delete, put, sent, view
from support.records import record_of, sibling

from zdynamo.core.events import Effect, FromPeer, Noted, PeerUnreachable, Send, Tick, ViewChanged
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.looks import BYTES_MAX, ENTRIES_MAX, KEYS_AFTER_FAILURE, KEYS_OF_STEP_MAX
from zdynamo.core.reaping.reaper import ANSWER_MS, LOOKS_MAX, PASSES_MAX, SLOW_MS, SOON_MS, TAKEN_MAX
from zdynamo.core.reaping.tombstones import KEY as INDEX
from zdynamo.core.reaping.witness import KEYS_MAX
from zdynamo.core.recovery.session import LOST_DISK
from zdynamo.messages import (
    BeginRound,
    Frame,
    PeerMessage,
    Reap,
    ReapAsk,
    Reaped,
    ReapHeld,
    ReplicaRefused,
    RoundBegun,
    StoreReplica,
)
from zdynamo.partition import partition_of_storage_key, storage_key

ITEM = (KEY, digest(TOMBSTONE))


def to_others(message: PeerMessage) -> list[Effect]:
    return [Send("b", message), Send("c", message)]


def by_peer(effects: list[Effect]) -> list[Effect]:
    return sorted(effects, key=lambda effect: effect.to if isinstance(effect, Send) else "")


def asked(node: LoneNode) -> ReapAsk:
    """The question with which the next pass begins."""
    effects = by_peer(until_next_pass(node))
    assert [type(effect.message) for effect in effects if isinstance(effect, Send)] == [ReapAsk, ReapAsk]
    ask = effects[0]
    assert isinstance(ask, Send) and isinstance(ask.message, ReapAsk)
    assert effects == to_others(ask.message)
    return ask.message


def both_say(node: LoneNode, message: PeerMessage) -> list[Effect]:
    """What follows when b and then c say this; nothing may follow from b's answer alone."""
    assert node.hears("b", message) == []
    return by_peer(node.hears("c", message))


def held_by(ask: ReapAsk, *, round: int = 0, blocked: str = "", differs: tuple[int, ...] = ()) -> ReapHeld:
    return ReapHeld(ask.request, ask.partition, round, blocked, differs)


def proven(node: LoneNode) -> int:
    """Lead a pass up to the point at which the others are told to remove. Its number."""
    ask = asked(node)
    both_say(node, held_by(ask))
    both_say(node, RoundBegun(ask.request, PARTITION, 1, ""))
    effects = both_say(node, RoundBegun(ask.request, PARTITION, 2, ""))
    assert effects == to_others(Reap(ask.request, PARTITION, 2, ask.items))
    return ask.request


def has_copy_and_entry(node: LoneNode, key: bytes = KEY) -> tuple[bool, bool]:
    return node.store.get(key) is not None, node.store.get(INDEX + key) is not None


def waits(node: LoneNode) -> str:
    return node.node._reaper.waits(KEY, node.now).partition("; ")[0]


def test_a_pass_asks_every_other_owner_for_exactly_what_is_dead_here() -> None:
    keys = keys_of(3)
    node = holding((keys[0], TOMBSTONE), (keys[1], VALUE), (keys[2], TOMBSTONE))

    ask = asked(node)

    assert ask == ReapAsk(ask.request, PARTITION, 0, ((keys[0], digest(TOMBSTONE)), (keys[2], digest(TOMBSTONE))))
    assert node.node._reaper.waits(KEY, node.now) == "being proven"


def test_a_node_tells_how_many_entries_it_has_found_in_the_index_of_what_is_dead() -> None:
    keys = keys_of(4)
    node = holding((keys[0], TOMBSTONE), (keys[1], VALUE), (keys[2], TOMBSTONE), (keys[3], EXPIRING))
    before = node.node._reaper.waiting

    ask = asked(node)
    meanwhile = node.node._reaper.waiting
    for answer in (held_by(ask), *(RoundBegun(ask.request, PARTITION, round, "") for round in (1, 2))):
        both_say(node, answer)
    both_say(node, Reaped(ask.request, PARTITION, ()))
    until_next_pass(node, 30_000)
    after = node.node._reaper.waiting
    turn = node.node._reaper._turns.of(PARTITION)
    assert turn is not None
    turn.begin_sweep()

    assert (before, meanwhile, after) == (0, 3, 1)
    assert node.node._reaper.waiting == 1  # while it looks again, what it found last time counts


def test_two_rounds_are_begun_one_after_the_other_and_only_then_is_anything_removed() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)

    first = both_say(node, held_by(ask))
    in_first = node_round(node)
    second = both_say(node, RoundBegun(ask.request, PARTITION, 1, ""))
    in_second = node_round(node)
    reap = both_say(node, RoundBegun(ask.request, PARTITION, 2, ""))
    before = has_copy_and_entry(node)
    last = both_say(node, Reaped(ask.request, PARTITION, ()))

    assert first == to_others(BeginRound(ask.request, PARTITION, 1))
    assert second == to_others(BeginRound(ask.request, PARTITION, 2))
    assert reap == to_others(Reap(ask.request, PARTITION, 2, (ITEM,)))
    assert (in_first, in_second, before, last) == (1, 2, (True, True), [])
    assert has_copy_and_entry(node) == (False, False)
    assert node.node.counters["tombstones.reaped"] == 1
    assert node.node.counters["reap.passes"] == 1


def test_the_rounds_go_two_above_the_highest_that_an_owner_is_in() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)

    node.hears("b", held_by(ask, round=1))
    begun = by_peer(node.hears("c", held_by(ask, round=0)))
    node.hears("c", RoundBegun(ask.request, PARTITION, 1, ""))
    both_say(node, RoundBegun(ask.request, PARTITION, 2, ""))
    reap = both_say(node, RoundBegun(ask.request, PARTITION, 3, ""))

    assert begun == [Send("c", BeginRound(ask.request, PARTITION, 1))]
    assert reap == to_others(Reap(ask.request, PARTITION, 3, (ITEM,)))


def test_a_late_copy_from_before_the_removal_is_refused_and_one_from_after_it_is_taken() -> None:
    node = holding((KEY, TOMBSTONE))
    both_say(node, Reaped(proven(node), PARTITION, ()))

    late = node.hears("b", StoreReplica(9, 1000, (), 0, KEY, VALUE))
    held = node.store.get(KEY)
    new = node.hears("b", StoreReplica(10, 1000, (), 1, KEY, RECREATED))

    assert sent(late, ReplicaRefused) == [("b", ReplicaRefused(9, "stale round", 2))]
    assert held is None
    assert not sent(new, ReplicaRefused)


def test_what_one_owner_does_not_hold_stays_and_the_rest_goes_on() -> None:
    keys = keys_of(3)
    node = holding(*((key, TOMBSTONE) for key in keys))
    ask = asked(node)

    node.hears("b", held_by(ask, differs=(1,)))
    node.hears("c", held_by(ask))
    both_say(node, RoundBegun(ask.request, PARTITION, 1, ""))
    reap = both_say(node, RoundBegun(ask.request, PARTITION, 2, ""))
    both_say(node, Reaped(ask.request, PARTITION, ()))

    assert reap == to_others(Reap(ask.request, PARTITION, 2, (ask.items[0], ask.items[2])))
    assert [has_copy_and_entry(node, key) for key in keys] == [(False, False), (True, True), (False, False)]


def test_nothing_begins_when_an_owner_holds_none_of_it() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)

    node.hears("b", held_by(ask))
    last = node.hears("c", held_by(ask, differs=(0,)))

    assert sent(last, BeginRound) == []
    assert has_copy_and_entry(node) == (True, True)
    assert waits(node) == "1 records are being brought to all owners"


def test_nothing_is_asked_while_an_owner_is_down() -> None:
    node = holding((KEY, TOMBSTONE))
    node.step(ViewChanged(view(number=2, down="b")))

    effects = until_next_pass(node, 300_000)

    assert effects == []
    assert waits(node) == "b is down"
    assert node.node.counters["reap.blocked"] > 5
    assert node.node.next_due_ms is not None and node.node.next_due_ms - node.monotonic_ms >= LIMITS.reap_interval_ms


def test_a_pass_goes_on_after_the_owner_that_was_down_is_back() -> None:
    node = holding((KEY, TOMBSTONE))
    node.step(ViewChanged(view(number=2, down="b")))
    until_next_pass(node, 30_000)

    node.step(ViewChanged(view(number=3)))

    assert asked(node).items == (ITEM,)


def test_a_pass_ends_when_an_owner_goes_down_in_the_middle() -> None:
    node = holding((KEY, TOMBSTONE))
    number = proven(node)
    node.step(ViewChanged(view(number=2, down="b")))

    last = node.hears("c", Reaped(number, PARTITION, ()))

    assert last == []
    assert has_copy_and_entry(node) == (True, True)
    assert waits(node) == "b is down"


@pytest.mark.parametrize("step", ["ask", "begin"])
def test_a_pass_ends_when_something_is_against_it_at_an_owner(step: str) -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)
    answer: PeerMessage = held_by(ask, blocked="is unsettled")
    if step == "begin":
        both_say(node, held_by(ask))
        answer = RoundBegun(ask.request, PARTITION, 1, "is unsettled")

    effects = [node.hears("c", answer), node.hears("b", answer)]

    assert effects == [[], []]
    assert has_copy_and_entry(node) == (True, True)
    assert waits(node) == "c is unsettled"
    assert node.node.counters["reap.blocked"] == 1


def test_a_pass_ends_when_an_owner_does_not_answer() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)
    node.hears("b", held_by(ask))

    effects = until_next_pass(node, ANSWER_MS)
    late = node.hears("c", held_by(ask))

    assert (effects, late) == ([], [])
    assert waits(node) == "c did not answer"
    assert asked(node).request != ask.request


def test_an_owner_that_answers_twice_counts_once() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)

    twice = [node.hears("b", held_by(ask)) for _ in range(2)]
    node.hears("c", held_by(ask))
    again = [node.hears("b", RoundBegun(ask.request, PARTITION, 1, "")) for _ in range(2)]
    node.hears("c", RoundBegun(ask.request, PARTITION, 1, ""))
    late = [node.hears(peer, RoundBegun(ask.request, PARTITION, 1, "")) for peer in "bcbc"]
    once = node.hears("b", RoundBegun(ask.request, PARTITION, 2, ""))

    assert twice == again == [[], []]
    assert late == [[]] * 4  # said of the first round, once more, in the second
    assert once == []


def test_a_leader_two_behind_another_owner_finds_out_that_it_holds_an_old_copy() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)

    effects = node.hears("b", held_by(ask, round=2))

    assert [effect.name for effect in effects if isinstance(effect, Noted)] == ["partition.set_aside"]
    assert node.hears("c", held_by(ask)) == []
    assert waits(node) == "a is unsettled"


def test_an_owner_far_behind_in_its_rounds_ends_the_pass() -> None:
    node = holding((KEY, TOMBSTONE))
    node.node._state.rounds.raise_to(PARTITION, 5)
    ask = asked(node)

    node.hears("b", held_by(ask, round=5))
    last = node.hears("c", held_by(ask, round=3))

    assert last == []
    assert waits(node) == "c is behind the others"


def test_a_clock_that_jumps_ahead_removes_nothing_that_has_not_expired() -> None:
    node = holding((KEY, EXPIRING))
    node.wall_ms += 3_600_000

    effects = until_next_pass(node, 30_000)

    assert effects == []


def test_what_somebody_has_kept_stays_with_the_leader() -> None:
    keys = keys_of(2)
    node = holding(*((key, TOMBSTONE) for key in keys))
    number = proven(node)

    node.hears("b", Reaped(number, PARTITION, (0,)))
    node.hears("c", Reaped(number, PARTITION, ()))

    assert [has_copy_and_entry(node, key) for key in keys] == [(True, True), (False, False)]


def test_what_changes_at_the_leader_between_proof_and_removal_stays() -> None:
    node = holding((KEY, TOMBSTONE))
    number = proven(node)

    node.hears("b", StoreReplica(0, 1000, (), 2, KEY, BESIDE))
    both_say(node, Reaped(number, PARTITION, ()))

    assert node.store.get(KEY) == bytes(8) + BESIDE


def test_the_leader_removes_nothing_when_one_owner_has_not_said_that_it_has() -> None:
    node = holding((KEY, TOMBSTONE))
    number = proven(node)

    node.hears("b", Reaped(number, PARTITION, ()))
    until_next_pass(node, ANSWER_MS)

    assert has_copy_and_entry(node) == (True, True)


def test_an_expired_value_is_asked_for_when_it_is_past_its_expiry_by_every_clock() -> None:
    node = holding((KEY, EXPIRING))

    early = until_next_pass(node, EXPIRES_MS + LIMITS.clock_skew_ms - 1 - WALL_MS)
    ask = asked(node)

    assert early == []
    assert ask.items == ((KEY, digest(EXPIRING)),)
    assert node.wall_ms >= EXPIRES_MS + LIMITS.clock_skew_ms


def test_an_entry_whose_record_has_a_value_again_is_dropped() -> None:
    node = holding((KEY, TOMBSTONE), (KEY, RECREATED))
    before = has_copy_and_entry(node)

    effects = until_next_pass(node, 300_000)

    assert effects == []
    assert (before, has_copy_and_entry(node)) == ((True, True), (True, False))
    assert node.node.next_due_ms is None


def test_an_entry_without_a_record_is_dropped() -> None:
    node = holding((KEY, TOMBSTONE))
    node.store.delete(KEY)
    node.store.commit()

    effects = until_next_pass(node, 300_000)

    assert (effects, has_copy_and_entry(node)) == ([], (False, False))


def test_an_entry_whose_record_will_expire_later_than_it_says_is_mended() -> None:
    node = holding((KEY, EXPIRING))
    node.store.put(INDEX + KEY, (1).to_bytes(8, "big"))
    node.store.commit()

    until_next_pass(node, 30_000)

    assert node.store.get(INDEX + KEY) == EXPIRES_MS.to_bytes(8, "big")


def test_a_node_that_holds_nothing_dead_does_nothing() -> None:
    assert holding((KEY, VALUE)).node.next_due_ms is None


def test_after_everything_is_removed_there_is_nothing_to_do() -> None:
    node = holding((KEY, TOMBSTONE))
    both_say(node, Reaped(proven(node), PARTITION, ()))

    assert until_next_pass(node, 300_000) == []
    assert node.node.next_due_ms is None


def test_what_is_dead_is_found_again_after_a_restart() -> None:
    node = holding((KEY, TOMBSTONE))

    restarted = LoneNode(limits=LIMITS, store=node.store)

    assert asked(restarted).items == (ITEM,)


def test_the_only_owner_removes_by_itself_and_its_rounds_go_on() -> None:
    node = LoneNode(view(n=1, others="", layout="a"), limits=LIMITS)
    node.asked(put(1))
    node.asked(delete(2))
    key = node.key(b"k")
    before = has_copy_and_entry(node, key)

    effects = until_next_pass(node)

    assert effects == []
    assert (before, has_copy_and_entry(node, key)) == ((True, True), (False, False))
    assert node_round(node, key) == 2


def test_a_pass_takes_so_many_records_at_most_and_the_next_follows_soon() -> None:
    keys = keys_of(KEYS_MAX + 5)
    node = holding(*((key, TOMBSTONE) for key in keys))

    number = proven(node)
    both_say(node, Reaped(number, PARTITION, ()))
    ended_ms = node.monotonic_ms
    second = asked(node)

    assert [item[0] for item in second.items] == keys[KEYS_MAX:]
    assert node.monotonic_ms - ended_ms < 50


def test_a_look_loads_so_many_bytes_at_most() -> None:
    keys = keys_of(3)
    large = record_of(replace(sibling(2, expires_ms=EXPIRES_MS), value=bytes(BYTES_MAX)))
    node = holding(*((key, large) for key in keys))
    pass_time(node, EXPIRES_MS + LIMITS.clock_skew_ms - node.wall_ms)

    assert [item[0] for item in asked(node).items] == keys[:1]


def test_another_owner_leads_only_if_the_first_has_left_something() -> None:
    key = keys_of(1, first="b")[0]
    node = holding((key, TOMBSTONE))

    early = until_next_pass(node, LIMITS.reap_interval_ms * 2 - 1)

    assert early == []
    assert asked(node).items == ((key, digest(TOMBSTONE)),)


def test_an_owner_that_is_asked_for_proof_does_not_begin_a_pass_of_its_own() -> None:
    node = holding((KEY, TOMBSTONE))
    until_next_pass(node, 5_000)

    for _ in range(20):
        node.hears("b", ReapAsk(1, PARTITION, 0, (ITEM,)))
        assert until_next_pass(node, LIMITS.reap_interval_ms - 1) == []
    assert waits(node) == "b has asked the owners for proof"


def test_a_leader_that_is_unsettled_begins_nothing_and_says_so() -> None:
    node = holding((KEY, TOMBSTONE))
    node.node._state.partitions.doubt([PARTITION], LOST_DISK)

    effects = until_next_pass(node, 60_000)

    assert effects == []
    assert waits(node).startswith("a is unsettled")


@pytest.mark.parametrize(
    "garbage",
    [
        ReapHeld(1, PARTITION, 0, "", ()),
        RoundBegun(1, PARTITION, 1, ""),
        Reaped(1, PARTITION, (0,)),
        ReapHeld(-1, 99_999, -1, "x" * 1000, (5, -1)),
        RoundBegun(2**63, -7, 2**63, "x"),
    ],
)
def test_answers_to_nothing_are_ignored(garbage: PeerMessage) -> None:
    node = holding((KEY, TOMBSTONE))
    idle = node.hears("b", garbage)
    ask = asked(node)

    assert idle == []
    assert node.hears("b", garbage) == []
    assert both_say(node, held_by(ask)) == to_others(BeginRound(ask.request, PARTITION, 1))


def test_places_that_were_not_asked_for_are_ignored() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)

    node.hears("b", held_by(ask, differs=(-1, 1, 2**40)))
    begun = node.hears("c", held_by(ask))

    assert by_peer(begun) == to_others(BeginRound(ask.request, PARTITION, 1))


def test_a_lost_connection_alone_ends_no_pass() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)
    node.step(PeerUnreachable("b"))

    assert both_say(node, held_by(ask)) == to_others(BeginRound(ask.request, PARTITION, 1))


def test_a_commit_that_fails_tells_nobody_and_leaves_the_round_as_it_was() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)
    node.hears("b", held_by(ask))

    effects = node.node.step(FromPeer(Frame(CLUSTER, "c", 1, "a", 1, (held_by(ask),))), node.now)
    raised = node_round(node)
    kept = node.node.abandon(effects, surely_nothing=True)

    assert (len(effects), raised) == (2, 1)
    assert (kept, node_round(node)) == ([], 0)
    assert node.hears("b", RoundBegun(ask.request, PARTITION, 1, "")) == []


def test_a_node_that_is_stopping_begins_nothing() -> None:
    node = holding((KEY, TOMBSTONE))
    node.node.stopping = True

    assert node.node.next_due_ms is None
    assert until_next_pass(node) == []


def test_what_is_deleted_in_the_very_batch_in_which_nothing_is_found_is_found_later() -> None:
    old, new = keys_of(2)
    node = holding((old, TOMBSTONE), (old, RECREATED))
    assert until_next_pass(node, 15_000) == []  # the entry that is out of date goes
    due_ms = node.node.next_due_ms
    assert due_ms is not None
    pass_time(node, due_ms - node.monotonic_ms)

    stored = StoreReplica(0, 1000, (), 0, new, TOMBSTONE)
    node.node.step(FromPeer(Frame(CLUSTER, "b", 1, "a", 1, (stored,))), node.now)
    node.step(Tick())

    assert asked(node).items == ((new, digest(TOMBSTONE)),)


def test_what_is_dead_behind_much_that_is_not_is_found() -> None:
    keys = keys_of(ENTRIES_MAX + 2)
    node = holding(*((key, EXPIRING) for key in keys[:-1]), (keys[-1], TOMBSTONE))

    assert asked(node).items == ((keys[-1], digest(TOMBSTONE)),)


def dead_in(count: int, *, each: int = 1, first: str = "abc") -> dict[int, list[bytes]]:
    """Storage keys in that many partitions, by partition."""
    owners = Placement(view()).owners
    found: dict[int, list[bytes]] = {}
    for number in range(100_000):
        key = storage_key(b"default", b"key-%d" % number, nodes.PARTITIONS)
        partition = partition_of_storage_key(key)
        if owners[partition][0] in first and (partition in found or len(found) < count):
            if len(found.setdefault(partition, [])) < each:
                found[partition].append(key)
            elif len(found) == count and all(len(keys) == each for keys in found.values()):
                break
    return found


def holding_dead(keys: dict[int, list[bytes]]) -> LoneNode:
    """A node for which it is time to look at all of it."""
    node = LoneNode(limits=LIMITS)
    for key in (key for of_partition in keys.values() for key in of_partition):
        node.node._state.replica.merge(0, key, TOMBSTONE, 0, WALL_MS)
    node.store.commit()
    while node.node._state.tombstones.fresh:
        pass_time(node, 1_000)
        node.step(Tick())
    pass_time(node, 5 * LIMITS.reap_interval_ms)
    return node


def asks(effects: list[Effect], to: str = "b") -> list[ReapAsk]:
    return [message for peer, message in sent(effects, ReapAsk) if peer == to and isinstance(message, ReapAsk)]


def test_passes_over_several_partitions_begin_in_one_step_and_share_its_commit() -> None:
    keys = dead_in(10, each=3)
    node = holding_dead(keys)

    begun = asks(node.step(Tick()))
    node.hears("b", *(held_by(ask) for ask in begun))
    rounds = node.hears("c", *(held_by(ask) for ask in begun))

    assert {ask.partition for ask in begun} == set(keys)
    assert {key for ask in begun for key, _ in ask.items} == {key for many in keys.values() for key in many}
    assert sent(rounds, BeginRound) == [
        (peer, BeginRound(ask.request, ask.partition, 1)) for ask in begun for peer in "bc"
    ]


def test_each_of_several_passes_goes_its_own_way() -> None:
    node = holding_dead(dead_in(3))
    blocked, slow, quick = asks(node.step(Tick()))

    node.hears("b", held_by(blocked, blocked="is unsettled"), held_by(slow), held_by(quick))
    node.hears("c", held_by(blocked), held_by(quick))
    for number in (1, 2):
        for peer in "bc":
            reap = node.hears(peer, RoundBegun(quick.request, quick.partition, number, ""))
    for peer in "bc":
        node.hears(peer, Reaped(quick.request, quick.partition, ()))
    silent = node.node._reaper.waits(slow.items[0][0], node.now)
    pass_time(node, ANSWER_MS)
    node.step(Tick())

    assert {message.partition for _, message in sent(reap, Reap) if isinstance(message, Reap)} == {quick.partition}
    assert not has_copy_and_entry(node, quick.items[0][0])[0]
    assert silent == "being proven"
    reasons = [node.node._reaper.waits(ask.items[0][0], node.now).partition("; ")[0] for ask in (blocked, slow)]
    assert reasons == ["b is unsettled", "c did not answer"]
    assert has_copy_and_entry(node, blocked.items[0][0]) == has_copy_and_entry(node, slow.items[0][0]) == (True, True)


def test_an_answer_about_another_partition_counts_for_no_pass() -> None:
    node = holding_dead(dead_in(2))
    one, other = asks(node.step(Tick()))

    for peer in "bc":
        assert node.hears(peer, ReapHeld(one.request, other.partition, 0, "", ())) == []


def test_so_many_keys_and_passes_are_in_progress_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "PARTITIONS", 256)
    node = holding_dead(dead_in(PASSES_MAX * 2, each=2))
    deep = holding_dead(dead_in(16, each=KEYS_MAX))

    begun, of_deep = [], []
    for _ in range(50):
        begun += asks(node.step(Tick()))
        of_deep.append(sum(len(ask.items) for ask in asks(deep.step(Tick()))))
        pass_time(node, 20)
        pass_time(deep, 20)

    assert len(begun) == len({ask.partition for ask in begun}) == PASSES_MAX
    assert sum(of_deep) == 2_048
    assert max(of_deep) == KEYS_OF_STEP_MAX
    assert node.node.next_due_ms is not None and node.node.next_due_ms > node.monotonic_ms


def test_a_pass_that_ends_makes_room_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "PARTITIONS", 256)
    node = holding_dead(dead_in(PASSES_MAX + 1))
    begun = asks(node.step(Tick()))
    pass_time(node, 1_000)
    none = asks(node.step(Tick()))

    node.hears("b", held_by(begun[0], blocked="is unsettled"))
    pass_time(node, SLOW_MS)
    more = asks(node.step(Tick()))

    assert (len(begun), none, len(more)) == (PASSES_MAX, [], 1)
    assert more[0].partition not in {ask.partition for ask in begun}


def test_with_an_owner_down_a_step_looks_at_a_few_partitions_and_all_have_their_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(nodes, "PARTITIONS", 1_024)
    node = LoneNode(view(), limits=LIMITS)
    node.step(ViewChanged(view(number=2, down="c")))
    node.node._state.tombstones.fresh |= set(range(1_024))
    blocked = node.node.counters
    most = steps = 0
    pass_time(node, 2_000)
    node.step(Tick())
    left = len(node.node._state.tombstones.fresh)
    for _ in range(1_024 // TAKEN_MAX):
        pass_time(node, SOON_MS)
        node.step(Tick())
    pass_time(node, 5 * LIMITS.reap_interval_ms)
    began_ms = node.monotonic_ms

    while blocked["reap.blocked"] < 1_024:
        before = blocked["reap.blocked"]
        node.step(Tick())
        most, steps = max(most, blocked["reap.blocked"] - before), steps + 1
        due_ms = node.node.next_due_ms
        assert due_ms is not None
        pass_time(node, max(0, due_ms - node.monotonic_ms))

    assert left == 1_024 - TAKEN_MAX
    assert most == LOOKS_MAX
    assert steps == 1_024 // LOOKS_MAX
    assert node.monotonic_ms - began_ms >= 1_000  # it rests now
    assert blocked["reap.blocked"] == 1_024


def test_a_step_finds_so_many_keys_at_most_in_all_partitions_and_then_rests_as_long_as_they_are_work() -> None:
    node = holding_dead(dead_in(4, each=100))

    found, pauses = [], []
    for _ in range(2):
        found.append([len(ask.items) for ask in asks(node.step(Tick()))])
        due_ms = node.node.next_due_ms
        assert due_ms is not None
        pauses.append(due_ms - node.monotonic_ms)
        pass_time(node, pauses[-1])

    assert found == [[100, 100, KEYS_OF_STEP_MAX - 200], [100]]
    assert 25 <= pauses[0] <= 50


def test_what_passes_have_done_makes_room_for_what_others_will() -> None:
    node = holding_dead(dead_in(16, each=KEYS_MAX))
    begun: list[ReapAsk] = []
    for _ in range(200):
        new = asks(node.step(Tick()))
        node.hears("b", *(held_by(ask, blocked="is unsettled") for ask in new))
        begun += new
        pass_time(node, 40)

    assert {ask.partition for ask in begun} == set(range(16))
    assert sum(len(ask.items) for ask in begun) == 16 * KEYS_MAX


def test_after_a_pass_that_failed_a_few_are_asked_for_before_all() -> None:
    keys = keys_of(2 * KEYS_AFTER_FAILURE + 5)
    node = holding(*((key, TOMBSTONE) for key in keys))
    node.hears("b", held_by(asked(node), blocked="is unsettled"))

    few = asked(node)
    both_say(node, held_by(few))
    for number in (1, 2):
        both_say(node, RoundBegun(few.request, PARTITION, number, ""))
    both_say(node, Reaped(few.request, PARTITION, ()))
    ended_ms = node.monotonic_ms
    rest = asked(node)

    assert [item[0] for item in few.items] == keys[:KEYS_AFTER_FAILURE]
    assert [item[0] for item in rest.items] == keys[KEYS_AFTER_FAILURE:]
    assert node.monotonic_ms - ended_ms < 100


def test_when_a_pass_takes_its_time_the_next_one_comes_later() -> None:
    node = holding(*((key, TOMBSTONE) for key in keys_of(2 * KEYS_MAX + 5)))
    rests = []
    for took_ms in (0, 100):
        ask = asked(node)
        both_say(node, held_by(ask, round=ask.round))
        pass_time(node, took_ms)
        for number in (1, 2):
            both_say(node, RoundBegun(ask.request, PARTITION, ask.round + number, ""))
        both_say(node, Reaped(ask.request, PARTITION, ()))
        due_ms = node.node.next_due_ms
        assert due_ms is not None
        rests.append(due_ms - node.monotonic_ms)

    assert rests[0] < 50
    assert rests[1] == 200


def test_after_the_longest_pass_a_node_rests_a_second() -> None:
    node = holding(*((key, TOMBSTONE) for key in keys_of(KEYS_MAX + 5)))
    ask = asked(node)
    both_say(node, held_by(ask))
    pass_time(node, ANSWER_MS - 1)
    for number in (1, 2):
        both_say(node, RoundBegun(ask.request, PARTITION, number, ""))
    both_say(node, Reaped(ask.request, PARTITION, ()))

    due_ms = node.node.next_due_ms
    assert due_ms is not None and due_ms - node.monotonic_ms == SLOW_MS


def test_a_partition_has_one_pass_at_a_time_however_long_it_takes() -> None:
    node = holding((KEY, TOMBSTONE))
    ask = asked(node)
    effects: list[Effect] = []
    for answer in (held_by(ask), RoundBegun(ask.request, PARTITION, 1, ""), RoundBegun(ask.request, PARTITION, 2, "")):
        for _ in range(5):
            pass_time(node, 900)
            effects += node.step(Tick())
        both_say(node, answer)

    assert effects == []
    both_say(node, Reaped(ask.request, PARTITION, ()))
    assert has_copy_and_entry(node) == (False, False)


def test_each_pass_has_its_own_time_to_be_answered_in() -> None:
    node = holding_dead(dead_in(2))
    first, second = asks(node.step(Tick()))
    pass_time(node, ANSWER_MS - 1)
    for peer in "bc":
        node.hears(peer, held_by(first))

    pass_time(node, 1)
    due_ms = node.node.next_due_ms
    node.step(Tick())

    reasons = [node.node._reaper.waits(ask.items[0][0], node.now).partition("; ")[0] for ask in (first, second)]
    assert due_ms == node.monotonic_ms
    assert reasons == ["being proven", "b, c did not answer"]
    assert node.node.next_due_ms == node.monotonic_ms - 1 + ANSWER_MS


def test_after_a_commit_that_failed_there_is_room_for_as_many_passes_as_before() -> None:
    node = holding_dead(dead_in(16, each=KEYS_MAX))
    begun = []
    for _ in range(2):
        begun.append(0)
        for _ in range(20):
            begun[-1] += len(asks(node.step(Tick())))
            pass_time(node, 40)
        node.node.abandon([], surely_nothing=True)
        pass_time(node, 5 * LIMITS.reap_interval_ms)

    assert begun == [8, 8]


# With members that own nothing of the partition


def leading() -> Five:
    """An owner of five members that holds one tombstone."""
    node = Five(limits=LIMITS)
    node.hears(node.others[0], StoreReplica(0, 1000, (), 0, node.key, TOMBSTONE))
    return node


def all_say(
    node: Five, effects: list[Effect], kind: type, answer: Callable[[PeerMessage], PeerMessage]
) -> list[Effect]:
    """Whoever was asked this answers; what follows from the last of them."""
    for to, message in sent(effects, kind):
        last = node.hears(to, answer(message))  # type: ignore[arg-type]
    return last


def nothing_differs(ask: PeerMessage) -> PeerMessage:
    assert isinstance(ask, ReapAsk)
    return ReapHeld(ask.request, ask.partition, 0, "", ())


def begins(begin: PeerMessage) -> PeerMessage:
    assert isinstance(begin, BeginRound)
    return RoundBegun(begin.request, begin.partition, begin.round, "")


def test_all_members_of_the_layout_are_asked_and_begin_the_rounds_and_owners_remove() -> None:
    node = leading()

    asks = until_next_pass(node)
    first = all_say(node, asks, ReapAsk, nothing_differs)
    second = all_say(node, first, BeginRound, begins)
    reaps = all_say(node, second, BeginRound, begins)

    assert sorted(to for to, _ in sent(asks, ReapAsk)) == list("bcde")
    assert sorted(to for to, _ in sent(first, BeginRound)) == list("bcde")
    assert sorted(to for to, _ in sent(second, BeginRound)) == list("bcde")
    assert sorted(to for to, _ in sent(reaps, Reap)) == sorted(node.others)


def test_what_a_fallback_holds_something_under_stays() -> None:
    node = leading()
    asks = until_next_pass(node)
    ask = asks[0].message  # type: ignore[union-attr]
    for peer in (*node.others, node.fallbacks[0]):
        node.hears(peer, nothing_differs(ask))  # type: ignore[arg-type]

    effects = node.hears(node.fallbacks[1], ReapHeld(ask.request, ask.partition, 0, "", (0,)))  # type: ignore[union-attr]

    assert sent(effects, BeginRound) == []
    assert node.store.get(node.key) == bytes(8) + TOMBSTONE


@pytest.mark.parametrize("silent", [0, 1])
def test_without_the_word_of_every_fallback_nothing_goes_on(silent: int) -> None:
    node = leading()
    asks = until_next_pass(node)

    effects = [
        node.hears(to, nothing_differs(ask))  # type: ignore[arg-type]
        for to, ask in sent(asks, ReapAsk)
        if to != node.fallbacks[silent]
    ]

    assert not any(effects)


def test_nothing_is_asked_while_a_fallback_is_down() -> None:
    """It may hold what the tombstone covers."""
    node = leading()
    node.sees_down(node.fallbacks[1])

    assert until_next_pass(node) == []
    assert node.node._reaper.waits(node.key, node.now).startswith(f"{node.fallbacks[1]} is down; next pass in")


def test_a_pass_ends_when_a_fallback_goes_down_in_the_middle() -> None:
    node = leading()
    asks = until_next_pass(node)
    node.sees_down(node.fallbacks[1])

    effects = [node.hears(to, nothing_differs(ask)) for to, ask in sent(asks, ReapAsk)]  # type: ignore[arg-type]

    assert not any(effects)


def test_members_outside_the_layout_have_no_part_in_it() -> None:
    node = LoneNode(view(others="bcd", layout="abc", down="d"), limits=LIMITS)
    node.hears("b", StoreReplica(0, 1000, (), 0, KEY, TOMBSTONE))

    assert sorted(to for to, _ in sent(until_next_pass(node), ReapAsk)) == ["b", "c"]


def test_who_holds_a_tombstone_for_others_leads_no_pass_and_has_no_turns() -> None:
    node = Five(owning=False, limits=LIMITS)
    node.holds(node.others[0], record=TOMBSTONE)
    node.sees_down(*node.others)

    effects = until_next_pass(node)

    assert sent(effects, ReapAsk) == []
    assert node.node._reaper._turns.of(node.partition) is None
    assert node.node.counters["reap.blocked"] == 0
