"""Anti-entropy: who asks whom for what, what is answered, and what follows; the peers say what the test says."""

from array import array
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.nodes import CLUSTER, PARTITIONS, WALL_MS, LoneNode, answers, request_id, sent, view
from support.records import merged, record, sibling

from zdynamo.core.anti_entropy.comparison import AGAIN_MS, ANSWER_MS
from zdynamo.core.anti_entropy.hashes import ALL, digest_of, roots_of
from zdynamo.core.anti_entropy.progress import GOING_MAX, QUIET_MS
from zdynamo.core.anti_entropy.swaps import KEYS_MAX, LOOK_RECORDS, SWAP_KEYS
from zdynamo.core.anti_entropy.trees import BUILDING, UNKNOWN, digest, leaves_of
from zdynamo.core.events import Effect, FromPeer, Noted, Send, Tick, ViewChanged
from zdynamo.core.records.record import Clock, Record, Sibling, decode_record, encode_record
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Bucket,
    CompareHashes,
    CompareKeys,
    DescribeNode,
    Frame,
    Hashes,
    LeafKeys,
    NodeDescription,
    PeerMessage,
    RecordsSwapped,
    Refused,
    Repair,
    RepairProgress,
    StoreReplica,
    SwapRecords,
    View,
)
from zdynamo.partition import partition_of_storage_key, storage_key
from zdynamo.storage.memory import MemoryStore

INTERVAL_MS = 1_000
LEAVES = leaves_of(PARTITIONS)


def covering(encoded: bytes, *, tombstone: bool = False) -> bytes:
    """A later write over a record."""
    clock = decode_record(encoded).clock
    dot = (9, 1, 1)
    sibling = Sibling(dot, (WALL_MS + 1) << 16, 0, tombstone, "", b"" if tombstone else b"later", request_id(9))
    return encode_record(Record(Clock((*clock.entries, dot)), (sibling,)))


def keys_in(partition: int, count: int) -> list[bytes]:
    """Storage keys of one partition, in order."""
    found: list[bytes] = []
    number = 0
    while len(found) < count:
        key = storage_key(b"default", b"%d" % number, PARTITIONS)
        number += 1
        if partition_of_storage_key(key) == partition:
            found.append(key)
    return sorted(found)


KEY, OTHER, THIRD = keys_in(3, 3)
VALUE = record()


class Comparing(LoneNode):
    """A node that compares of its own accord."""

    def __init__(
        self,
        seen: View | None = None,
        *,
        holds: dict[bytes, bytes] | None = None,
        limits: NodeLimits | None = None,
        store: MemoryStore | None = None,
        buckets: tuple[Bucket, ...] = (),
    ) -> None:
        super().__init__(seen, limits=limits, store=store, buckets=buckets, compares=True)
        for key, encoded in (holds or {}).items():
            self.stores(key, encoded)

    @property
    def layout(self) -> int:
        assert self.seen.layout is not None
        return self.seen.layout.digest

    def stores(self, key: bytes, encoded: bytes, round: int = 0) -> None:
        peer = "c" if self.seen.me.id != "c" else "b"
        self.hears(peer, StoreReplica(0, 1000, (), round, key, encoded))

    def held(self, key: bytes) -> bytes:
        return self.node._state.replica.fetch(key)

    def waits(self, for_ms: int) -> list[Effect]:
        """Time passes, with a tick whenever one is due."""
        effects: list[Effect] = []
        until_ms = self.monotonic_ms + for_ms
        while (due_ms := self.node.next_due_ms) is not None and due_ms <= until_ms:
            self.wall_ms += max(0, due_ms - self.monotonic_ms)
            self.monotonic_ms = max(self.monotonic_ms, due_ms)
            effects += self.step(Tick())
        self.wall_ms += until_ms - self.monotonic_ms
        self.monotonic_ms = until_ms
        return effects

    def fails(self, peer: str, *messages: PeerMessage) -> list[Effect]:
        """What follows when a peer says this, and the commit fails."""
        frame = Frame(CLUSTER, peer, 1, self.seen.me.id, 1, messages)
        effects = self.node.step(FromPeer(frame), self.now)
        self.store._staged.clear()
        return self.node.abandon(effects, surely_nothing=True)

    def counted(self, name: str) -> int:
        return self.node.counters.get(name, 0)


def peer_of(node: Comparing, holds: dict[bytes, bytes], me: str = "b") -> Comparing:
    """Another owner, with what it holds."""
    return Comparing(view(me, "".join(sorted({*"abc"} - {me}))), holds=holds)


def asked_by(effects: list[Effect], to: str = "b") -> PeerMessage:
    """The one message to that peer."""
    (message,) = [effect.message for effect in effects if isinstance(effect, Send) and effect.to == to]
    return message


def talk(
    one: Comparing, other: Comparing, effects: list[Effect], name: str = "a", peer: str = "b"
) -> list[PeerMessage]:
    """All that the two say to each other from here on, as long as there is something to answer."""
    said: list[PeerMessage] = []
    while True:
        messages = [effect.message for effect in effects if isinstance(effect, Send) and effect.to == "b"]
        said += messages
        answered = [
            effect.message
            for message in messages
            for effect in other.hears("a", message)
            if isinstance(effect, Send) and effect.to == "a"
        ]
        said += answered
        effects = [effect for message in answered for effect in one.hears("b", message)]
        if not effects:
            effects = one.waits(10)  # its own keys are looked through in a step of their own
        if not any(isinstance(effect, Send) and effect.to == "b" for effect in effects):
            return said


def to_the_keys(node: Comparing, other: Comparing) -> list[Effect]:
    """Up to what follows from the second look at the leaves."""
    roots = asked_by(node.waits(INTERVAL_MS))
    first = asked_by(node.hears("b", asked_by(other.hears("a", roots), "a")))
    assert node.hears("b", asked_by(other.hears("a", first), "a")) == []
    second = asked_by(node.waits(AGAIN_MS))
    return node.hears("b", asked_by(other.hears("a", second), "a"))


# Rounds


def test_after_the_interval_each_owner_behind_it_in_order_is_asked_for_its_roots() -> None:
    node = Comparing()

    effects = node.waits(INTERVAL_MS)

    digest = digest_of(roots_of(node.node._state, range(PARTITIONS)))
    (_, first), (_, second) = sent(effects, CompareHashes)
    assert isinstance(first, CompareHashes)
    assert isinstance(second, CompareHashes)
    assert effects == [
        Send("b", CompareHashes(first.request, node.layout, ALL, digest)),
        Send("c", CompareHashes(second.request, node.layout, ALL, digest)),
    ]
    assert first.request != second.request


def test_of_two_owners_only_one_asks() -> None:
    node = Comparing(view("b", "ac"))

    assert {to for to, _ in sent(node.waits(3 * INTERVAL_MS), CompareHashes)} == {"c"}
    assert sent(Comparing(view("c", "ab")).waits(3 * INTERVAL_MS), CompareHashes) == []


def test_an_interval_of_0_asks_for_nothing() -> None:
    node = Comparing(limits=NodeLimits(repair_interval_ms=0))

    assert node.node.next_due_ms is None


def test_who_is_down_is_not_asked() -> None:
    node = Comparing(view(down="b"))

    assert {to for to, _ in sent(node.waits(INTERVAL_MS), CompareHashes)} == {"c"}


def test_owners_that_are_alike_are_left_alone() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {KEY: VALUE})

    asked = asked_by(node.waits(INTERVAL_MS))
    told = other.hears("a", asked)
    effects = node.hears("b", asked_by(told, "a"))

    assert isinstance(asked, CompareHashes)
    assert told == [Send("a", Hashes(asked.request, ALL, True, 0, b""))]
    assert effects == []


def test_a_partition_that_differs_is_compared_by_its_leaves() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})

    asked = asked_by(node.waits(INTERVAL_MS))
    told = asked_by(other.hears("a", asked), "a")
    effects = node.hears("b", told)

    assert isinstance(told, Hashes)
    assert (told.same, len(told.hashes)) == (False, 8 * PARTITIONS)
    leaves = asked_by(effects)
    assert isinstance(leaves, CompareHashes)
    root = node.node._state.trees.root(3)
    assert effects == [Send("b", CompareHashes(leaves.request, node.layout, 3, root, 0))]


def test_a_leaf_that_differs_only_once_was_a_write_under_way() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})
    asked = asked_by(node.waits(INTERVAL_MS))
    first = asked_by(node.hears("b", asked_by(other.hears("a", asked), "a")))
    at_once = node.hears("b", asked_by(other.hears("a", first), "a"))
    other.stores(KEY, VALUE)
    node.stores(OTHER, VALUE)  # another one is under way by now

    second = asked_by(node.waits(AGAIN_MS))
    effects = node.hears("b", asked_by(other.hears("a", second), "a"))

    assert at_once == []
    assert effects == []
    assert node.counted("compare.partitions") == 1
    assert node.counted("compare.differing") == 0


def test_a_leaf_that_differs_twice_is_looked_into() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})

    effects = to_the_keys(node, other)

    asked = asked_by(effects)
    assert isinstance(asked, CompareKeys)
    assert effects == [Send("b", CompareKeys(asked.request, 3, 0, (node.node._state.trees.place_of(KEY),), b""))]


def test_only_so_many_partitions_are_compared_at_a_time() -> None:
    node = Comparing(holds={keys_in(partition, 1)[0]: VALUE for partition in range(PARTITIONS)})
    other = peer_of(node, {})

    asked = asked_by(node.waits(INTERVAL_MS))
    effects = node.hears("b", asked_by(other.hears("a", asked), "a")) + node.waits(100)

    assert len(sent(effects, CompareHashes)) == GOING_MAX < PARTITIONS


def test_the_next_round_waits_until_all_that_differed_has_had_its_turn() -> None:
    node = Comparing(holds={keys_in(partition, 1)[0]: VALUE for partition in range(PARTITIONS)})
    other = peer_of(node, {})
    asked = asked_by(node.waits(INTERVAL_MS))
    node.hears("b", asked_by(other.hears("a", asked), "a"))

    effects = node.waits(2 * INTERVAL_MS)

    assert ALL not in {message.partition for to, message in sent(effects, CompareHashes) if to == "b"}  # type: ignore[attr-defined]


def test_what_is_not_answered_is_left_to_a_later_round() -> None:
    node = Comparing(holds={KEY: VALUE})
    asked = asked_by(node.waits(INTERVAL_MS))

    effects = node.waits(ANSWER_MS + INTERVAL_MS)

    again = [message for to, message in sent(effects, CompareHashes) if to == "b"]
    assert again
    assert asked not in again
    assert node.counted("compare.failed") >= 1


# Keys and records


def test_what_one_of_two_holds_is_brought_to_the_other_both_ways() -> None:
    node = Comparing(holds={KEY: VALUE, OTHER: VALUE})
    other = peer_of(node, {THIRD: VALUE, OTHER: VALUE})

    said = talk(node, other, to_the_keys(node, other))

    swaps = [message for message in said if isinstance(message, SwapRecords | RecordsSwapped)]
    assert len(swaps) == 2
    swap, swapped = swaps
    assert isinstance(swap, SwapRecords)
    assert swap.records == tuple(sorted([(KEY, VALUE), (THIRD, b"")]))
    assert swapped == RecordsSwapped(swap.request, 3, 0, 2, 1, 0, ((THIRD, VALUE),))
    assert [node.held(key) for key in (KEY, OTHER, THIRD)] == [VALUE] * 3
    assert [other.held(key) for key in (KEY, OTHER, THIRD)] == [VALUE] * 3
    assert (node.counted("compare.stored_here"), node.counted("compare.stored_there")) == (1, 1)
    assert other.counted("compare.stored_here") == 1


def test_concurrent_writes_are_merged_on_both_sides() -> None:
    node, other = Comparing(holds={KEY: record(actor=1)}), peer_of(Comparing(), {KEY: record(actor=2)})

    talk(node, other, to_the_keys(node, other))

    assert node.held(KEY) == other.held(KEY)
    assert len(decode_record(node.held(KEY)).siblings) == 2


@pytest.mark.parametrize("here", [True, False])
def test_a_tombstone_is_brought_to_who_holds_what_it_covers(here: bool) -> None:
    dead = covering(VALUE, tombstone=True)
    node = Comparing(holds={KEY: dead if here else VALUE})
    other = peer_of(node, {KEY: VALUE if here else dead})

    talk(node, other, to_the_keys(node, other))

    assert node.held(KEY) == other.held(KEY) == dead


@pytest.mark.parametrize("here", [True, False])
def test_what_has_expired_is_not_brought_to_who_holds_nothing_and_not_tried_again_at_once(here: bool) -> None:
    expired = record(expires_ms=WALL_MS - 10_000)
    node = Comparing(holds={KEY: expired} if here else {})
    other = peer_of(node, {} if here else {KEY: expired})

    talk(node, other, to_the_keys(node, other))
    asked = [message for _, message in sent(node.waits(INTERVAL_MS), CompareHashes)]
    effects = node.hears("b", asked_by(other.hears("a", asked[0]), "a"))  # type: ignore[arg-type]
    node.monotonic_ms += QUIET_MS
    later = [message for to, message in sent(node.waits(INTERVAL_MS), CompareHashes) if to == "b"]
    again = node.hears("b", asked_by(other.hears("a", later[-1]), "a"))  # type: ignore[arg-type]

    assert (node.held(KEY), other.held(KEY)) == ((expired, b"") if here else (b"", expired))
    assert sent(effects, CompareHashes) == []
    assert len(sent(again, CompareHashes)) == 1


@pytest.mark.parametrize("here", [True, False])
def test_an_empty_side_is_filled_by_pages(here: bool) -> None:
    holds = dict.fromkeys(keys_in(3, 1_000), VALUE)
    node, other = Comparing(holds=holds if here else {}), peer_of(Comparing(), {} if here else holds)

    said = talk(node, other, to_the_keys(node, other))

    assert all(node.held(key) == other.held(key) == VALUE for key in holds)
    pages = [message for message in said if isinstance(message, LeafKeys)]
    swaps = [message for message in said if isinstance(message, SwapRecords)]
    assert all(len(page.entries) <= KEYS_MAX for page in pages)
    assert all(len(swap.records) <= SWAP_KEYS for swap in swaps)
    assert len(pages) == (1 if here else 4)
    assert node.node._state.trees.root(3) == other.node._state.trees.root(3)


def test_records_go_in_messages_of_bounded_size() -> None:
    big = record(b"x" * 200_000)
    keys = keys_in(3, 6)
    node, other = Comparing(), peer_of(Comparing(), dict.fromkeys(keys, big))

    said = talk(node, other, to_the_keys(node, other))

    given = [message.records for message in said if isinstance(message, RecordsSwapped)]
    assert [len(records) for records in given] == [1] * 6
    assert all(node.held(key) == big for key in keys)


def test_what_is_larger_when_it_is_merged_is_taken_all_the_same() -> None:
    keys = keys_in(3, 40)
    node = Comparing(holds=dict.fromkeys(keys, record(b"x" * 6_000, actor=1)))
    other = peer_of(node, dict.fromkeys(keys, record(b"y" * 6_000, actor=2)))

    talk(node, other, to_the_keys(node, other))

    assert [key for key in keys if node.held(key) != other.held(key)] == []


def test_the_pace_of_background_work_is_kept() -> None:
    slow = NodeLimits(background_bytes_per_s=50_000)
    node, other = Comparing(holds={KEY: VALUE}, limits=slow), peer_of(Comparing(), {})
    asked = asked_by(node.waits(INTERVAL_MS))
    first = asked_by(node.hears("b", asked_by(other.hears("a", asked), "a")))
    node.hears("b", asked_by(other.hears("a", first), "a"))
    second = asked_by(node.waits(AGAIN_MS))

    at_once = node.hears("b", asked_by(other.hears("a", second), "a"))
    later = node.waits(5_000)

    assert at_once == []
    assert len([message for to, message in sent(later, CompareKeys) if to == "b"]) == 1


def to_the_swap(node: Comparing, other: Comparing) -> PeerMessage:
    """Up to the records that are sent."""
    keys = asked_by(to_the_keys(node, other))
    return asked_by(node.hears("b", asked_by(other.hears("a", keys), "a")) or node.waits(0))


def test_what_the_other_refuses_stays_known() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})
    swap = to_the_swap(node, other)
    assert isinstance(swap, SwapRecords)

    node.hears("b", RecordsSwapped(swap.request, 3, 0, 1, 0, 1, ()))
    node.waits(0)

    (described,) = answers(node.asked(DescribeNode(request_id(1), "")))
    assert isinstance(described, NodeDescription)
    assert described.counters["compare.known"] == described.counters["compare.refused"] == 1
    assert described.notices == (
        "1 partition differs from b, known for 0 s: what one of them lacks is being brought to it",
    )


def test_an_unsettled_partition_ends_the_comparison() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})
    keys = asked_by(to_the_keys(node, other))
    node.node._state.partitions.doubt([3], "for this test")

    effects = node.hears("b", asked_by(other.hears("a", keys), "a"))

    assert effects == []
    assert node.counted("compare.failed") == 1


def test_an_owner_that_goes_down_ends_the_comparison() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})
    to_the_keys(node, other)

    node.step(ViewChanged(view(number=2, down="b")))
    node.waits(0)

    assert node.counted("compare.failed") == 1


def test_after_a_failed_commit_nothing_that_was_read_or_taken_leaves() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {THIRD: VALUE})
    swapped = asked_by(other.hears("a", to_the_swap(node, other)), "a")

    effects = node.fails("b", swapped, SwapRecords(9, 3, 0, ((OTHER, VALUE),)), CompareKeys(9, 3, 0, (), b""))

    assert [effect for effect in effects if isinstance(effect, Send)] == []
    assert node.held(THIRD) == node.held(OTHER) == b""
    assert node.node._state.trees.root(3) == Comparing(holds={KEY: VALUE}).node._state.trees.root(3)


def test_a_failed_commit_ends_what_was_going_on() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})
    keys = asked_by(to_the_keys(node, other))

    node.fails("b", SwapRecords(9, 3, 0, ((OTHER, VALUE),)))
    node.waits(0)

    assert node.counted("compare.failed") == 1
    assert node.hears("b", asked_by(other.hears("a", keys), "a")) == []


# The other's part


def test_what_cannot_be_compared_is_told_as_such() -> None:
    first = Comparing(holds={KEY: VALUE})
    node = Comparing(store=first.store)  # another process: its trees are to be built
    node.node._state.partitions.doubt([0], "for this test")

    told = asked_by(node.hears("b", CompareHashes(7, node.layout, ALL, 0)))

    assert isinstance(told, Hashes)
    assert array("Q", told.hashes).tolist() == [UNKNOWN] + [BUILDING] * (PARTITIONS - 1)


def test_no_leaves_are_given_of_what_cannot_be_compared() -> None:
    node = Comparing(holds={KEY: VALUE})
    node.node._state.partitions.doubt([3], "for this test")

    effects = [node.hears("b", CompareHashes(7, node.layout, 3, root)) for root in (99, UNKNOWN)]

    assert effects == [[Send("b", Hashes(7, 3, False, 0, b""))]] * 2


@pytest.mark.parametrize(
    "message",
    [
        CompareHashes(7, 99, ALL, 0),
        CompareHashes(7, 99, 3, 0),
        CompareKeys(7, PARTITIONS, 0, (), b""),
        CompareKeys(7, -1, 0, (), b""),
        CompareKeys(7, 3, 0, (), b"\x00\x04of another"),
        SwapRecords(7, PARTITIONS, 0, ((KEY, VALUE),)),
        SwapRecords(7, 3, 0, ()),
        Hashes(7, ALL, True, 0, b""),
        Hashes(7, 3, True, 0, b""),
        LeafKeys(7, 3, 0, (), b"", True),
        RecordsSwapped(7, 3, 0, 1, 1, 0, ()),
    ],
)
def test_what_makes_no_sense_is_dropped(message: PeerMessage) -> None:
    node = Comparing(holds={KEY: VALUE})

    assert node.hears("b", message) == []
    assert node.held(KEY) == VALUE


def test_who_owns_nothing_together_with_this_node_is_not_answered() -> None:
    node = Comparing(view(others="bcd"), holds={KEY: VALUE})
    stranger_asks = [
        CompareHashes(7, node.layout, 3, 0),
        CompareKeys(7, 3, 0, (), b""),
        SwapRecords(7, 3, 0, ((OTHER, VALUE),)),
    ]

    assert [node.hears("d", message) for message in stranger_asks] == [[]] * 3
    assert node.held(OTHER) == b""


def test_records_of_other_partitions_and_no_records_are_refused_one_by_one() -> None:
    node = Comparing()
    elsewhere = keys_in(4, 1)[0]

    effects = node.hears("b", SwapRecords(7, 3, 0, ((elsewhere, VALUE), (KEY, b"\xc1"), (OTHER, VALUE))))

    assert effects == [Send("b", RecordsSwapped(7, 3, 0, 3, 1, 2, ()))]
    assert [node.held(key) for key in (elsewhere, KEY, OTHER)] == [b"", b"", VALUE]


def test_a_straggler_of_an_earlier_round_is_refused() -> None:
    node = Comparing()
    node.node._state.rounds.raise_to(3, 2)

    effects = node.hears("b", SwapRecords(7, 3, 0, ((KEY, VALUE),)))

    assert effects == [Send("b", RecordsSwapped(7, 3, 2, 1, 0, 1, ()))]
    assert node.held(KEY) == b""


@pytest.mark.parametrize(
    "message",
    [CompareHashes(7, 0, 3, 0, 2), CompareKeys(7, 3, 2, (), b""), SwapRecords(7, 3, 2, ((OTHER, VALUE),))],
)
def test_whoever_hears_a_round_far_above_its_own_finds_that_it_holds_an_old_copy(message: PeerMessage) -> None:
    node = Comparing(holds={KEY: VALUE})

    effects = node.hears("b", message)

    assert [effect.name for effect in effects if isinstance(effect, Noted)] == ["partition.set_aside"]
    assert [effect for effect in effects if isinstance(effect, Send)] == []
    assert not node.node._state.partitions.is_settled(3)


def test_the_keys_of_some_leaves_are_given_and_of_all_where_none_is_named() -> None:
    keys = keys_in(3, 20)
    node = Comparing(holds=dict.fromkeys(keys, VALUE))
    place = node.node._state.trees.place_of(keys[0])

    some = node.hears("b", CompareKeys(7, 3, 0, (place,), b""))
    all_of_them = node.hears("b", CompareKeys(8, 3, 0, (), keys[4]))

    decoded = decode_record(VALUE)
    found = tuple((key, digest(key, decoded, VALUE)) for key in keys)
    in_place = tuple(entry for entry in found if node.node._state.trees.place_of(entry[0]) == place)
    assert some == [Send("b", LeafKeys(7, 3, 0, in_place, keys[-1], True))]
    assert all_of_them == [Send("b", LeafKeys(8, 3, 0, found[5:], keys[-1], True))]


def test_tombstones_are_not_named() -> None:
    node = Comparing(holds={KEY: record(tombstone=True), OTHER: VALUE})

    told = asked_by(node.hears("b", CompareKeys(7, 3, 0, (), b"")))

    assert isinstance(told, LeafKeys)
    assert [key for key, _ in told.entries] == [OTHER]


def test_one_step_looks_through_a_bounded_number_of_keys() -> None:
    node = Comparing(holds=dict.fromkeys(keys_in(3, LOOK_RECORDS + 5), VALUE))
    nowhere = LEAVES + 1  # no key is in that leaf

    told = asked_by(node.hears("b", CompareKeys(7, 3, 0, (nowhere,), b"")))

    assert isinstance(told, LeafKeys)
    assert (told.entries, told.last) == ((), False)
    assert told.reached == keys_in(3, LOOK_RECORDS)[-1] or told.reached > b""


EXPIRED = record(expires_ms=WALL_MS - 10_000)


def test_what_is_dead_is_not_taken_by_who_holds_nothing() -> None:
    node = Comparing()
    records = ((KEY, EXPIRED), (OTHER, record(tombstone=True)), (THIRD, VALUE))

    effects = node.hears("b", SwapRecords(7, 3, 0, records))

    assert effects == [Send("b", RecordsSwapped(7, 3, 0, 3, 1, 0, ()))]
    assert [node.held(key) for key in (KEY, OTHER, THIRD)] == [b"", b"", VALUE]


def test_what_is_dead_is_not_given_to_who_holds_nothing() -> None:
    node = Comparing(holds={KEY: EXPIRED, OTHER: record(tombstone=True), THIRD: VALUE})

    effects = node.hears("b", SwapRecords(7, 3, 0, ((KEY, b""), (OTHER, b""), (THIRD, b""))))

    assert effects == [Send("b", RecordsSwapped(7, 3, 0, 3, 0, 0, ((THIRD, VALUE),)))]


def test_what_is_dead_is_not_even_sent_where_the_other_has_named_nothing() -> None:
    node, other = Comparing(holds={KEY: EXPIRED}), peer_of(Comparing(), {})

    said = talk(node, other, to_the_keys(node, other))

    assert [type(message) for message in said] == [CompareKeys, LeafKeys]


def test_a_dead_record_of_a_bucket_of_last_writes_is_not_even_sent_though_it_hides_a_value() -> None:
    hiding = encode_record(merged(sibling(actor=8), sibling(ahead_ms=1, tombstone=True)))
    said = []

    for table in ((), (Bucket("default", conflict="lww"),)):
        node, other = Comparing(holds={KEY: hiding}, buckets=table), peer_of(Comparing(), {})
        said.append([type(message) for message in talk(node, other, to_the_keys(node, other))])

    assert said == [[CompareKeys, LeafKeys, SwapRecords, RecordsSwapped], [CompareKeys, LeafKeys]]


@pytest.mark.parametrize(
    ("entries", "reached", "last"),
    [
        (((OTHER, 1), (KEY, 1)), OTHER, True),  # not in order
        (((KEY, 1), (KEY, 1)), OTHER, True),
        (((OTHER, 1),), KEY, True),  # beyond what was looked at
        ((), b"", False),  # no step forward
        ((), b"\x00\x04of another", False),
        (tuple((key, 1) for key in keys_in(3, KEYS_MAX + 1)), keys_in(3, KEYS_MAX + 1)[-1], True),
    ],
)
def test_keys_that_are_no_stretch_end_the_comparison(
    entries: tuple[tuple[bytes, int], ...], reached: bytes, last: bool
) -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})
    asked = asked_by(to_the_keys(node, other))
    assert isinstance(asked, CompareKeys)

    effects = node.hears("b", LeafKeys(asked.request, 3, 0, entries, reached, last))

    assert effects == []
    assert node.counted("compare.failed") == 1


# Garbage

ALL_LEAVES = st.integers(0, 2**32).map(lambda seed: Random(seed).randbytes(8 * LEAVES))
HASHES = st.one_of(st.just(b""), st.binary(max_size=40), ALL_LEAVES)
NUMBERS = st.integers(-(2**63), 2**63 - 1)
SOME_KEYS = st.one_of(st.sampled_from([KEY, OTHER, THIRD, b""]), st.binary(max_size=20))
RECORDS = st.lists(st.tuples(SOME_KEYS, st.one_of(st.just(VALUE), st.binary(max_size=20))), max_size=5).map(tuple)
ENTRIES = st.lists(st.tuples(SOME_KEYS, st.integers(0, 2**64 - 1)), max_size=5).map(tuple)
SOME_PARTITIONS = st.sampled_from([ALL, 3, 3, 4, PARTITIONS])
ROUNDS = st.sampled_from([0, 0, 0, 1, 2, -1])
GARBAGE = st.one_of(
    st.builds(Hashes, st.just(0), SOME_PARTITIONS, st.booleans(), ROUNDS, HASHES),
    st.builds(LeafKeys, st.just(0), SOME_PARTITIONS, ROUNDS, ENTRIES, SOME_KEYS, st.booleans()),
    st.builds(RecordsSwapped, st.just(0), SOME_PARTITIONS, ROUNDS, NUMBERS, NUMBERS, NUMBERS, RECORDS),
)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_answer_whatsoever_hurts(data: st.DataObject) -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {OTHER: VALUE})
    effects = to_the_keys(node, other) if data.draw(st.booleans()) else node.waits(INTERVAL_MS)

    for _ in range(6):
        asked = next((message for to, message in sent(effects, object) if to == "b"), None)
        garbage = replace(data.draw(GARBAGE), request=getattr(asked, "request", 7))
        effects = node.hears("b", garbage) or node.waits(data.draw(st.sampled_from([0, 10, AGAIN_MS])))

    node.waits(2 * ANSWER_MS)
    assert 0 <= node.counted("compare.stored_there") <= 20


# Repairs that somebody asks for


def begun(node: Comparing, partition: int = ALL) -> RepairProgress:
    (progress,) = answers(node.asked(Repair(request_id(1), "", partition)))
    assert isinstance(progress, RepairProgress)
    return progress


def progress_of(node: Comparing, run: int) -> RepairProgress:
    (progress,) = answers(node.asked(Repair(request_id(2), "", ALL, run)))
    assert isinstance(progress, RepairProgress)
    return progress


def test_a_repair_asks_every_other_owner_at_once() -> None:
    node = Comparing(view("c", "ab"), limits=NodeLimits(repair_interval_ms=0))
    run = begun(node).run

    effects = node.waits(0)

    assert {to for to, _ in sent(effects, CompareHashes)} == {"a", "b"}
    assert progress_of(node, run) == RepairProgress(request_id(2), run, False, 2 * PARTITIONS, 0, 0, 0, 0, ())


def test_a_repair_looks_at_the_leaves_only_once() -> None:
    node = Comparing(holds={KEY: VALUE}, limits=NodeLimits(repair_interval_ms=0))
    other = peer_of(node, {})
    run = begun(node, 3).run
    asked = asked_by(node.waits(0))

    first = asked_by(node.hears("b", asked_by(other.hears("a", asked), "a")))
    said = talk(node, other, node.hears("b", asked_by(other.hears("a", first), "a")))

    assert [type(message) for message in said] == [CompareKeys, LeafKeys, SwapRecords, RecordsSwapped]
    progress = progress_of(node, run)
    assert (progress.compared, progress.differing, progress.stored_there, progress.total) == (1, 1, 1, 2)


def test_a_repair_waits_for_a_partition_that_is_being_compared_already() -> None:
    node, other = Comparing(holds={KEY: VALUE}), peer_of(Comparing(), {})
    keys = asked_by(to_the_keys(node, other))
    run = begun(node, 3).run
    asked = next(message for to, message in sent(node.waits(0), CompareHashes) if to == "b")

    at_once = node.hears("b", asked_by(other.hears("a", asked), "a"))  # type: ignore[arg-type]
    going = progress_of(node, run)
    said = talk(node, other, [Send("b", keys)])

    assert at_once == []
    assert (going.compared, going.done) == (0, False)
    assert [type(message) for message in said[:4]] == [CompareKeys, LeafKeys, SwapRecords, RecordsSwapped]
    assert progress_of(node, run).compared == 1


def test_a_repair_that_is_going_on_is_joined() -> None:
    node = Comparing()

    assert begun(node).run == begun(node).run
    assert begun(node, 3).run != begun(node).run


def test_a_repair_waits_for_the_trees() -> None:
    first = Comparing(holds={KEY: VALUE})
    node = Comparing(store=first.store, limits=NodeLimits(repair_interval_ms=0))

    progress = begun(node)
    effects = node.waits(100)

    assert progress.waits == f"the hash trees are being built: 0 of {PARTITIONS} partitions"
    assert {to for to, _ in sent(effects, CompareHashes)} == {"b", "c"}


def test_a_repair_counts_what_could_not_be_compared_and_why() -> None:
    node = Comparing(view(down="c"), limits=NodeLimits(repair_interval_ms=0))
    run = begun(node).run
    asked = asked_by(node.waits(0))
    roots = array("Q", [UNKNOWN, BUILDING] + [node.node._state.trees.root(0)] * (PARTITIONS - 2)).tobytes()

    node.hears("b", Hashes(asked.request, ALL, False, 0, roots))  # type: ignore[union-attr]

    progress = progress_of(node, run)
    assert progress.done
    assert progress.compared == PARTITIONS - 2
    assert progress.failed == (("b is still building its trees", 1), ("b is unsettled", 1), ("c is down", PARTITIONS))


def test_a_repair_without_an_answer_ends_and_says_so() -> None:
    node = Comparing(limits=NodeLimits(repair_interval_ms=0))
    run = begun(node).run
    node.waits(0)

    node.waits(ANSWER_MS)

    progress = progress_of(node, run)
    assert progress.done
    assert progress.failed == (("b did not answer", PARTITIONS), ("c did not answer", PARTITIONS))


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Repair(request_id(1), "", PARTITIONS), f"partition is {PARTITIONS}: use 0 to {PARTITIONS - 1}"),
        (Repair(request_id(1), "", -2), f"partition is -2: use 0 to {PARTITIONS - 1}"),
        (
            Repair(request_id(1), "another", ALL),
            f"this node is of cluster {CLUSTER}, the client knows another: check the address",
        ),
        (
            Repair(request_id(1), "", ALL, 99),
            "this node knows nothing of that repair, it may have been restarted: begin again",
        ),
    ],
)
def test_a_repair_that_makes_no_sense_is_refused(request_: Repair, reason: str) -> None:
    assert answers(Comparing().asked(request_)) == [Refused(request_id(1), reason)]


def test_a_repair_of_what_this_node_does_not_own_is_refused() -> None:
    node = Comparing(view("d", "abc"))

    (answer,) = answers(node.asked(Repair(request_id(1), "", 3)))

    assert isinstance(answer, Refused)
    assert "does not own the partition" in answer.reason


def test_there_is_nothing_to_repair_before_the_first_data() -> None:
    (answer,) = answers(Comparing(view(layout=None)).asked(Repair(request_id(1), "")))

    assert answer == Refused(request_id(1), "the cluster has taken no data yet: there is nothing to repair")


def test_a_node_alone_has_repaired_all_at_once() -> None:
    node = Comparing(view(others="", layout="a"))
    run = begun(node).run

    node.waits(0)

    assert progress_of(node, run) == RepairProgress(request_id(2), run, True, 0, 0, 0, 0, 0, ())
