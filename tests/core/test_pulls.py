"""Pulling partitions: whom an unsettled owner asks, what it takes, and when it is settled again."""

from collections.abc import Callable

import pytest
from support.five import Five
from support.nodes import CLUSTER, PARTITIONS, WALL_MS, LoneNode, answers, get, put, request_id, sent, view
from support.records import record

from zdynamo.core.events import Effect, FromPeer, Noted, Send, Tick, ViewChanged
from zdynamo.core.records.record import Clock, Record, Sibling, decode_record, encode_record
from zdynamo.core.recovery.pages import PAGE_RECORDS_MAX
from zdynamo.core.recovery.pulls import AGAIN_MS, ANSWER_MS, LINK_MS, PAGE_BYTES
from zdynamo.core.recovery.taking import CLOCKS_MS
from zdynamo.core.replicas.aside import SLICE_RECORDS
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Absent,
    Bucket,
    DescribeNode,
    FetchReplica,
    Found,
    Frame,
    HandOver,
    Hello,
    HoldReplica,
    OutcomeUnknown,
    Page,
    Pong,
    PullPage,
    QuorumNotMet,
    ReapAsk,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
    StoreReplica,
    View,
)
from zdynamo.partition import partition_of_storage_key, storage_key
from zdynamo.storage.memory import MemoryStore

Records = tuple[tuple[bytes, bytes], ...]


def keys_in(partition: int, count: int, bucket: bytes = b"default") -> list[bytes]:
    """Storage keys of one partition, in order."""
    found = []
    number = 0
    while len(found) < count:
        key = storage_key(bucket, b"%d" % number, PARTITIONS)
        number += 1
        if partition_of_storage_key(key) == partition:
            found.append(key)
    return sorted(found)


class Puller(LoneNode):
    """A node that took over the place of a member, and whose peers give what the test says."""

    def __init__(
        self,
        seen: View | None = None,
        *,
        store: MemoryStore | None = None,
        limits: NodeLimits | None = None,
        buckets: tuple[Bucket, ...] = (),
    ) -> None:
        super().__init__(seen or view(took_over=True), store=store, limits=limits, buckets=buckets)
        self.asked_for: tuple[str, PullPage] | None = None
        self.effects = self.tick()

    def follow(self, effects: list[Effect]) -> list[Effect]:
        """Keep in mind which page is on its way."""
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, PullPage):
                self.asked_for = (effect.to, effect.message)
        return effects

    def tick(self, after_ms: int = 0) -> list[Effect]:
        self.monotonic_ms += after_ms
        self.wall_ms += after_ms
        due_ms = self.node.next_due_ms
        if due_ms is None or due_ms > self.monotonic_ms:
            return []
        return self.follow(self.step(Tick()))

    def gets(self, records: Records = (), *, settled: bool = True, round: int = 0, last: bool = True) -> list[Effect]:
        """The page that was asked for comes."""
        assert self.asked_for is not None
        (peer, asked), self.asked_for = self.asked_for, None
        return self.follow(self.hears(peer, Page(asked.request, asked.partition, settled, round, records, last)))

    def gets_late(self, records: Records) -> list[Effect]:
        """The page comes, and once more when clocks have had their time to be set right."""
        first = self.gets(records)
        self.tick(CLOCKS_MS)
        assert self.asked_for is not None
        after = self.asked_for[1].after
        return first + self.gets(tuple((key, encoded) for key, encoded in records if key > after))

    def gets_all(self, peer_gives: Callable[[str, PullPage], Page] | None = None) -> list[Effect]:
        """Whatever it asks for comes, until all is settled."""
        effects: list[Effect] = []
        for _ in range(10_000):
            if self.asked_for is not None and peer_gives is not None:
                (peer, asked), self.asked_for = self.asked_for, None
                effects += self.follow(self.hears(peer, peer_gives(peer, asked)))
            elif self.asked_for is not None:
                effects += self.gets()
            elif not self.unsettled:
                return effects
            else:
                effects += self.tick(max(0, (self.node.next_due_ms or 0) - self.monotonic_ms))
        raise AssertionError("it does not come to an end")

    @property
    def unsettled(self) -> list[int]:
        partitions = self.node._state.partitions
        return [partition for partition in range(PARTITIONS) if not partitions.is_settled(partition)]

    @property
    def notices(self) -> tuple[str, ...]:
        (described,) = answers(self.asked(DescribeNode(request_id(99), "")))
        return described.notices  # type: ignore[union-attr, no-any-return]

    def settled_of(self, key: bytes) -> ReplicaFetched:
        ((_, fetched),) = sent(self.hears("b", FetchReplica(5, 1000, (), key)), ReplicaFetched)
        assert isinstance(fetched, ReplicaFetched)
        return fetched


def names_noted(effects: list[Effect]) -> list[str]:
    return [effect.name for effect in effects if isinstance(effect, Noted)]


def pulls_of(effects: list[Effect]) -> list[tuple[str, PullPage]]:
    return sent(effects, PullPage)  # type: ignore[return-value]


def test_one_page_is_asked_for_at_a_time() -> None:
    node = Puller()

    assert [(to, asked.partition, asked.after, asked.bytes_max) for to, asked in pulls_of(node.effects)] == [
        ("b", 0, b"", PAGE_BYTES)
    ]
    assert node.tick(10) == []


def test_the_next_page_begins_behind_the_last() -> None:
    node = Puller()
    first, second, third = keys_in(0, 3)

    effects = node.gets(((first, record(b"1")), (second, record(b"2"))), last=False)

    assert [(to, asked.partition, asked.after) for to, asked in pulls_of(effects)] == [("b", 0, second)]
    assert node.store.get(first) is not None
    assert node.store.get(third) is None


def test_what_is_given_is_merged_with_what_was_written_meanwhile() -> None:
    node = Puller()
    (key,) = keys_in(0, 1)
    node.hears("c", StoreReplica(1, 1000, (), 0, key, record(b"new", actor=8)))

    node.gets(((key, record(b"old", actor=7)),))

    assert {sibling.value for sibling in node.node._state.replica.load(key).record.siblings} == {b"new", b"old"}


def test_a_partition_is_settled_when_n_minus_w_plus_1_others_have_given_it() -> None:
    node = Puller()
    (key,) = keys_in(0, 1)

    node.gets()
    after_one = node.settled_of(key).settled
    effects = node.gets()

    assert not after_one
    assert node.settled_of(key).settled
    assert [(to, asked.partition) for to, asked in pulls_of(effects)] == [("b", 1)]


def test_with_w_3_one_other_is_enough() -> None:
    node = Puller(limits=NodeLimits(w=3))

    node.gets()

    assert 0 not in node.unsettled


def test_all_is_settled_in_the_end_and_absent_keys_are_answered_again() -> None:
    node = Puller()

    effects = node.gets_all()
    asked = node.asked(get(1, b"nothing"))
    ((_, fetch), _) = sent(asked, FetchReplica)
    answered = node.hears("b", ReplicaFetched(fetch.request, True, 0, b""))  # type: ignore[attr-defined]

    assert names_noted(effects) == ["partitions.settled"]
    assert [type(answer) for answer in answers(answered)] == [Absent]
    assert node.notices == ()


def test_until_then_an_absent_key_is_not_answered_by_its_word() -> None:
    node = Puller()

    asked = node.asked(get(1, b"nothing"))
    ((_, fetch), _) = sent(asked, FetchReplica)
    for peer in "bc":
        last = node.hears(peer, ReplicaFetched(fetch.request, peer == "b", 0, b""))  # type: ignore[attr-defined]

    assert [type(answer) for answer in answers(last)] == [QuorumNotMet]


def test_owners_that_are_in_doubt_themselves_settle_it_only_loudly() -> None:
    node = Puller()

    effects = node.gets_all(lambda peer, asked: Page(asked.request, asked.partition, peer == "b", 0, (), last=True))

    assert node.unsettled == []
    assert names_noted(effects) == ["partitions.settled", "partitions.settled_unproven"]
    assert "settled on the word of too few owners" in node.notices[0]


def test_an_owner_that_comes_into_doubt_midway_does_not_count_as_sure() -> None:
    node = Puller()
    first, second = keys_in(0, 2)

    node.gets(((first, record(b"1")),), last=False, settled=False)
    node.gets(((second, record(b"2")),), last=True, settled=True)

    assert not node.node._state.partitions.doubts[0].given["b"].sure


def test_alone_it_is_settled_at_once_and_loudly() -> None:
    node = Puller(view(others="", layout="a", took_over=True))

    assert node.unsettled == []
    assert names_noted(node.effects) == ["partitions.settled", "partitions.settled_unproven"]


def test_owners_that_are_down_are_waited_for_without_a_busy_loop() -> None:
    node = Puller(view(took_over=True, down="bc"))

    assert node.effects == []
    assert node.node.next_due_ms is None
    assert "waiting for b, c" in node.notices[1]

    node.step(ViewChanged(view(number=2, took_over=True, down="c")))

    assert [to for to, _ in pulls_of(node.tick())] == ["b"]


class Stranger(Puller):
    """Nobody has said Hello to it."""

    def hello(self, peer: str) -> Hello:
        return Pong(0)  # type: ignore[return-value]


def test_a_peer_is_asked_once_it_has_said_hello() -> None:
    """Before, it would drop the question."""
    node = Stranger()

    node.hears("c", LoneNode.hello(node, "c"))
    later = node.tick(LINK_MS)

    assert pulls_of(node.effects) == []
    assert [to for to, _ in pulls_of(later)] == ["c"]


def test_an_owner_that_does_not_answer_is_left_alone_for_a_while() -> None:
    node = Puller()

    silent = node.tick(ANSWER_MS)
    node.step(ViewChanged(view(number=2, took_over=True, down="c")))
    nobody = node.tick()
    again = node.tick(AGAIN_MS)

    assert [to for to, _ in pulls_of(silent)] == ["c"]
    assert nobody == []
    assert [to for to, _ in pulls_of(again)] == ["b"]


def test_a_restarted_node_goes_on_where_it_was() -> None:
    node = Puller()
    node.gets()
    node.gets()
    first, second = keys_in(1, 2)
    node.gets(((first, record(b"1")), (second, record(b"2"))), last=False)

    again = Puller(view(number=1), store=node.store)

    assert again.unsettled == list(range(1, PARTITIONS))
    assert [(asked.partition, asked.after) for _, asked in pulls_of(again.effects)] == [(1, second)]


def test_a_page_that_nobody_asked_for_is_not_taken() -> None:
    node = Puller()
    (key,) = keys_in(0, 1)
    assert node.asked_for is not None
    request = node.asked_for[1].request

    for peer, number, partition in (("c", request, 0), ("b", request + 1, 0), ("b", request, 1), ("b", request, -1)):
        node.hears(peer, Page(number, partition, True, 0, ((key, record(b"v")),), last=True))

    assert node.store.get(key) is None
    assert len(node.unsettled) == PARTITIONS


def test_a_page_of_a_round_that_nobody_can_have_reached_is_not_taken() -> None:
    """It would be kept on disk, and every record refused for good."""
    node = Puller()
    (key,) = keys_in(0, 1)

    effects = node.gets(((key, record(b"v")),), round=2**64 - 1)

    assert effects == []
    assert node.node._state.rounds.of(0) == 0
    assert node.store.get(key) is None
    assert [to for to, _ in pulls_of(node.tick(ANSWER_MS))] == ["c"]


def test_keys_that_do_not_belong_there_are_not_taken_and_whoever_gives_them_is_not_sure() -> None:
    node = Puller()
    (inside,), (outside,) = keys_in(0, 1), keys_in(1, 1)
    garbage = ((outside, record(b"v")), (b"\0\0", record(b"v")), (b"\0\0\x01bx", record(b"v")), (b"", b""))

    node.gets((*garbage, (inside, b"garbage")))

    assert [key for key, _ in node.store.scan(b"", b"\x80")] == []
    assert not node.node._state.partitions.doubts[0].given["b"].sure


def test_a_page_without_records_and_without_an_end_is_asked_for_again_later() -> None:
    node = Puller()

    effects = node.gets(last=False)

    assert [to for to, _ in pulls_of(effects)] == ["c"]
    assert not node.node._state.partitions.doubts[0].given["b"].whole


def test_records_from_the_future_are_waited_for_as_the_clock_here_may_be_behind() -> None:
    node = Puller()
    node.wall_ms -= 30_000
    first, second, third = keys_in(0, 3)
    page = ((first, record(b"1")), (second, record(b"2", ahead_ms=30_000)), (third, record(b"3")))

    noted = [effect.name for effect in node.gets(page) if isinstance(effect, Noted)]
    whole = node.node._state.partitions.doubts[0].given["b"].whole
    before = [key for key, _ in node.store.scan(b"", b"\x80")]
    node.wall_ms += 30_000  # it is set right
    node.tick(70_000)
    asked = node.asked_for
    node.gets(page[1:])

    assert (noted, whole, before) == (["pull.waits"], False, [first])
    assert asked is not None
    assert (asked[0], asked[1].after) == ("b", first)
    assert [key for key, _ in node.store.scan(b"", b"\x80")] == [first, second, third]
    assert node.node._state.partitions.doubts[0].given["b"].whole


def test_records_from_the_future_are_left_out_in_the_end_and_named_once_a_page() -> None:
    """Or one clock that was wrong for a minute would keep this owner from being settled until that time has come."""
    node = Puller()
    first, second, third, fourth = keys_in(0, 4)
    ahead = record(b"ahead", ahead_ms=3_600_000)

    effects = node.gets_late(((first, record(b"1")), (second, ahead), (third, ahead), (fourth, record(b"4"))))

    assert [key for key, _ in node.store.scan(b"", b"\x80")] == [first, fourth]
    assert [effect for effect in effects if isinstance(effect, Noted) and effect.name == "pull.skipped"] == [
        Noted(
            "pull.skipped",
            {"peer": "b", "bucket": "default", "key": second[10:].decode(), "count": 2, "reason": "clock skew"},
            "warning",
        )
    ]
    assert node.node.counters["pulls.skipped"] == 2
    assert node.node._state.partitions.doubts[0].given["b"].whole


@pytest.mark.parametrize(("w", "taken"), [(1, False), (2, True)])
def test_leaving_out_a_record_from_the_future_counts_where_nobody_else_need_have_taken_it(w: int, taken: bool) -> None:
    """Others refuse it, so that a write with it was acknowledged only where one copy is enough."""
    node = Puller(buckets=(Bucket("default", w=w),))
    (key,) = keys_in(0, 1)

    node.gets_late(((key, record(b"ahead", ahead_ms=3_600_000)),))

    assert node.node._state.partitions.doubts[0].given["b"].sure
    assert node.node._state.partitions.doubts[0].given["b"].taken is taken


@pytest.mark.parametrize(
    "clock", [Clock(((6, 1, 1), (7, 2, 2))), Clock(((7, 1, 2),)), Clock(((7, 2, 2),), ((8, 1, 1),))]
)
def test_leaving_out_a_record_from_the_future_over_an_older_write_counts(clock: Clock) -> None:
    """The older one may have been acknowledged, and be held nowhere else."""
    node = Puller()
    (key,) = keys_in(0, 1)
    dot = next(entry for entry in clock.entries if entry[0] == 7)
    ahead = Sibling(dot, (WALL_MS + 3_600_000) << 16, 0, False, "", b"ahead", request_id(7))

    node.gets_late(((key, encode_record(Record(clock, (ahead,)))),))

    assert not node.node._state.partitions.doubts[0].given["b"].taken


def test_pulling_is_throttled() -> None:
    node = Puller(limits=NodeLimits(background_bytes_per_s=100_000))
    (key,) = keys_in(0, 1)

    at_once = node.gets(((key, record(b"x" * 50_000)),), last=False)

    assert pulls_of(at_once) == []
    assert pulls_of(node.tick(500)) == []
    assert [asked.after for _, asked in pulls_of(node.tick(100))] == [key]


def test_a_round_is_learnt_from_whoever_gives() -> None:
    node = Puller()

    node.gets(round=1)

    assert node.node._state.rounds.of(0) == 1


def test_an_old_copy_is_not_pulled() -> None:
    node = Puller()
    (key,) = keys_in(0, 1)
    node.hears("c", StoreReplica(1, 1000, (), 5, key, record(b"new")))

    node.tick()
    node.tick()
    node.gets(((key, record(b"removed since", actor=9)),), round=3)

    assert {sibling.value for sibling in node.node._state.replica.load(key).record.siblings} == {b"new"}
    assert not node.node._state.partitions.doubts[0].given["b"].whole


# Giving


def giver(*keys: bytes, value: bytes = b"v") -> LoneNode:
    node = LoneNode()
    for key in keys:
        node.hears("b", StoreReplica(1, 1000, (), 0, key, record(value)))
    return node


def page_of(node: LoneNode, message: PullPage, peer: str = "b") -> Page | None:
    pages = sent(node.hears(peer, message), Page)
    return pages[0][1] if pages else None  # type: ignore[return-value]


def test_a_page_has_the_records_of_one_partition_in_order() -> None:
    first, second, third = keys_in(3, 3)
    node = giver(third, first, second, *keys_in(2, 2), *keys_in(4, 2))

    page = page_of(node, PullPage(9, 3, first, PAGE_BYTES))

    assert page == Page(9, 3, True, 0, ((second, record(b"v")), (third, record(b"v"))), last=True)


def test_a_page_ends_at_the_bytes_asked_for_and_one_record_may_be_larger() -> None:
    keys = keys_in(3, 3)
    node = giver(*keys, value=b"x" * 1000)

    page = page_of(node, PullPage(9, 3, b"", 10))

    assert page is not None
    assert [key for key, _ in page.records] == keys[:1]
    assert not page.last


def test_a_page_has_so_many_records_at_most() -> None:
    node = giver(*keys_in(3, PAGE_RECORDS_MAX + 1))

    page = page_of(node, PullPage(9, 3, b"", PAGE_BYTES))

    assert page is not None
    assert len(page.records) == PAGE_RECORDS_MAX
    assert not page.last


@pytest.mark.parametrize(
    "message",
    [
        PullPage(1, PARTITIONS, b"", 10),
        PullPage(1, -1, b"", 10),
        PullPage(1, 3, b"\xff\xffcounter", 10),
        PullPage(1, 3, b"\0", 10),
        PullPage(1, 2**40, b"", 10, 2**63),
    ],
)
def test_nothing_is_given_to_senseless_questions(message: PullPage) -> None:
    assert page_of(giver(*keys_in(3, 1)), message) is None


def test_a_node_that_does_not_own_the_partition_gives_nothing() -> None:
    node = LoneNode(view(layout="bcd", others="bcd"))

    assert page_of(node, PullPage(1, 3, b"", PAGE_BYTES)) is None


def test_an_unsettled_owner_says_so_in_what_it_gives() -> None:
    page = page_of(LoneNode(view(took_over=True)), PullPage(1, 3, b"", PAGE_BYTES))

    assert page is not None
    assert not page.settled


# Old copies of a partition


OLD, NEW, THIRD = keys_in(0, 3)


def old_copy(*, buckets: tuple[Bucket, ...] = ()) -> Puller:
    """A settled node that holds a value which the others have removed: they are in round 5."""
    node = Puller(view(), buckets=buckets)
    node.hears("b", StoreReplica(1, 1000, (), 0, OLD, record(b"removed since")))
    return node


def given(node: Puller, records: Records, *, settled: bool = True) -> list[Effect]:
    """The others give partition 0, in round 5, as often as they are asked."""
    return node.gets_all(lambda _, asked: Page(asked.request, asked.partition, settled, 5, records, last=True))


def test_an_owner_two_rounds_behind_knows_nothing_of_the_partition_any_more() -> None:
    node = old_copy()

    effects = node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    assert names_noted(effects) == ["partition.set_aside"]
    assert sent(effects, ReplicaStored) == [("b", ReplicaStored(2))]
    assert node.settled_of(OLD) == ReplicaFetched(5, False, 5, b"")
    assert node.settled_of(NEW) == ReplicaFetched(5, False, 5, record(b"new", actor=8))
    assert node.unsettled == [0]


def test_one_round_behind_is_no_old_copy() -> None:
    node = old_copy()

    node.hears("b", StoreReplica(2, 1000, (), 1, NEW, record(b"new", actor=8)))

    assert node.unsettled == []
    assert node.settled_of(OLD).record == record(b"removed since")


def test_only_owners_are_believed_to_be_ahead() -> None:
    node = Puller(view(others="bcd", layout="abc"))

    node.hears("d", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    assert node.unsettled == []


def test_what_was_removed_elsewhere_does_not_come_back_from_an_old_copy() -> None:
    node = old_copy()
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    given(node, ((NEW, record(b"new", actor=8)),))

    assert node.unsettled == []
    assert node.settled_of(OLD) == ReplicaFetched(5, True, 5, b"")
    assert node.settled_of(NEW).record == record(b"new", actor=8)
    assert [key for key, _ in node.store.scan(b"\xff\xffaside", b"\xff\xffasidf")] == []


def test_where_nobody_else_is_sure_an_old_copy_comes_back_and_the_node_says_so() -> None:
    node = old_copy()
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    given(node, (), settled=False)

    assert node.settled_of(OLD).record == record(b"removed since")
    assert node.settled_of(NEW).record == record(b"new", actor=8)
    assert "removed ones be back" in node.notices[0]


def test_what_was_removed_does_not_come_back_because_this_clock_is_behind_and_leaves_something_out() -> None:
    node = old_copy()
    ahead = Sibling((8, 1, 2), (WALL_MS + 3_600_000) << 16, 0, False, "", b"over an older one", request_id(8))
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    given(node, ((THIRD, encode_record(Record(Clock(((8, 1, 2),)), (ahead,)))),))

    assert node.settled_of(OLD).record == b""
    assert "acknowledged writes may be missing" in node.notices[0]


def test_of_an_old_copy_only_what_is_in_buckets_without_proof_comes_back() -> None:
    """Where one copy is enough for a write, two others cannot know all; elsewhere they do."""
    (cached,) = keys_in(0, 1, b"cache")
    node = old_copy(buckets=(Bucket("cache", w=1), Bucket("strict", w=3)))
    node.hears("b", StoreReplica(1, 1000, (), 0, cached, record(b"cached")))
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    effects = given(node, ((NEW, record(b"new", actor=8)),))

    assert node.settled_of(OLD) == ReplicaFetched(5, True, 5, b"")
    assert node.settled_of(cached).record == record(b"cached")
    assert [effect.fields.get("buckets") for effect in effects if isinstance(effect, Noted)] == [None, "cache"]


ONE, THREE = Bucket("one", w=1), Bucket("three", w=3)


@pytest.mark.parametrize(
    ("sure", "buckets", "told"),
    [
        ("bc", (THREE,), ""),
        ("bc", (ONE, Bucket("another", w=1)), "another, one"),
        ("b", (), "all"),
        ("b", (ONE, THREE), "all but three"),
        ("", (THREE,), "all"),
    ],
)
def test_a_node_says_which_buckets_were_settled_without_proof(
    sure: str, buckets: tuple[Bucket, ...], told: str
) -> None:
    node = old_copy(buckets=buckets)
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    node.gets_all(lambda peer, asked: Page(asked.request, asked.partition, peer in sure, 5, (), last=True))

    assert [notice.rpartition(": ")[2] for notice in node.notices] == ([f"{told})"] if told else [])


def test_an_old_copy_is_found_by_a_page_a_question_a_refusal_and_a_read() -> None:
    by_page, by_question, by_refusal, by_read = Puller(), old_copy(), old_copy(), old_copy()

    by_page.gets(round=5)
    by_question.hears("b", PullPage(1, 0, b"", PAGE_BYTES, 5))
    name = next(b"%d" % at for at in range(999) if partition_of_storage_key(by_refusal.key(b"%d" % at)) == 0)
    effects = by_refusal.asked(put(1, name, b"mine"))
    ((_, store), _) = sent(effects, StoreReplica)
    by_refusal.hears("b", ReplicaRefused(store.request, "stale round", 5))  # type: ignore[attr-defined]
    ((_, fetch), _) = sent(by_read.asked(get(1, name)), FetchReplica)
    by_read.hears("b", ReplicaFetched(fetch.request, True, 5, b""))  # type: ignore[attr-defined]

    for node in (by_page, by_question, by_refusal, by_read):
        assert node.node._state.rounds.of(0) == 5
        assert 0 in node.unsettled
        assert node.node._state.partitions.doubts[0].aside == "moving"


def test_what_this_process_has_written_over_nothing_is_not_set_aside() -> None:
    node = old_copy()
    assert node.key(NEW[10:]) == NEW
    node.asked(put(1, NEW[10:], b"mine", w=1))

    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))
    given(node, ())
    found = answers(node.asked(get(2, NEW[10:], r=1)))[0]

    assert isinstance(found, Found)
    assert {sibling.value for sibling in found.siblings} == {b"mine", b"new"}


def test_what_this_process_has_written_over_an_old_copy_is_written_anew_by_a_retry() -> None:
    """Its record cannot be taken apart into what was seen in the old copy and what the writer had seen."""
    node = old_copy()
    assert node.key(OLD[10:]) == OLD
    effects = node.asked(put(1, OLD[10:], b"mine"))
    ((_, store), _) = sent(effects, StoreReplica)

    refused = [
        effect
        for peer in "bc"
        for effect in node.hears(peer, ReplicaRefused(store.request, "stale round", 5))  # type: ignore[attr-defined]
    ]
    retried = node.asked(put(1, OLD[10:], b"mine", attempt=2))
    ((_, again), _) = sent(retried, StoreReplica)

    assert sent(refused, StoreReplica) == []
    assert [type(answer) for answer in answers(refused)] == [OutcomeUnknown]
    assert isinstance(again, StoreReplica)
    assert again.round == 5
    assert [sibling.value for sibling in decode_record(again.record).siblings] == [b"mine"]


def test_what_another_has_written_since_is_not_taken_for_what_went_aside() -> None:
    """Else the first would be acknowledged, and be nowhere."""
    node = old_copy()
    effects = node.asked(put(1, OLD[10:], b"mine"))
    ((_, store), _) = sent(effects, StoreReplica)
    refused = ReplicaRefused(store.request, "stale round", 5)  # type: ignore[attr-defined]
    node.hears("b", refused)
    node.asked(put(2, OLD[10:], b"another's"))

    lost = node.hears("c", refused)

    assert sent(lost, StoreReplica) == []
    assert [type(answer) for answer in answers(lost)] == [OutcomeUnknown]


def test_what_is_written_behind_the_first_slice_of_an_old_copy_is_new() -> None:
    first, *keys = keys_in(0, SLICE_RECORDS + 50)
    node = Puller(view())
    for key in keys:
        node.hears("b", StoreReplica(1, 1000, (), 0, key, record(b"removed since")))
    node.hears("b", StoreReplica(2, 1000, (), 5, keys[-1], record(b"new", actor=8)))

    node.tick()
    node.hears("b", StoreReplica(3, 1000, (), 5, first, record(b"first", actor=8)))
    node.hears("b", StoreReplica(4, 1000, (), 5, first, record(b"second", actor=9)))

    assert node.node._state.aside.moving
    assert {sibling.value for sibling in node.node._state.replica.load(first).record.siblings} == {b"first", b"second"}
    assert node.settled_of(keys[0]).record == node.settled_of(keys[-2]).record == b""
    given(node, ())
    assert [key for key, _ in node.store.scan(b"", b"\x80")] == [first, keys[-1]]


def test_setting_aside_goes_on_after_a_restart() -> None:
    node = old_copy()
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    again = Puller(view(), store=node.store)

    assert again.settled_of(OLD) == ReplicaFetched(5, False, 5, b"")
    given(again, ())
    assert again.settled_of(OLD) == ReplicaFetched(5, True, 5, b"")


@pytest.mark.parametrize("settled", [True, False], ids=["others_sure", "others_unsure"])
def test_a_backup_made_while_an_older_one_was_aside_is_an_old_copy_as_a_whole(settled: bool) -> None:
    """What had come in sight by then is as old as what was aside, also under a key that has been moved before."""
    node = old_copy()
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))
    node.tick()
    assert node.node._state.partitions.doubts[0].aside == "moved"
    for key in (OLD, THIRD):
        node.hears("b", StoreReplica(3, 1000, (), 5, key, record(b"removed later", actor=9)))
    backup = Puller(view(), store=node.store)

    backup.hears("b", StoreReplica(2, 1000, (), 7, NEW, record(b"newer", actor=9)))
    assert [backup.settled_of(key) for key in (OLD, THIRD)] == [ReplicaFetched(5, False, 7, b"")] * 2
    backup.gets_all(lambda _, asked: Page(asked.request, asked.partition, settled, 7, (), last=True))

    old = backup.settled_of(OLD).record
    values = {sibling.value for sibling in decode_record(old).siblings} if old else set()
    assert values == (set() if settled else {b"removed since", b"removed later"})
    assert bool(backup.settled_of(THIRD).record) == (not settled)
    assert decode_record(backup.settled_of(NEW).record).siblings
    assert [key for key, _ in backup.store.scan(b"\xff\xffaside", b"\xff\xffasidf")] == []


def test_while_an_old_copy_is_on_its_way_out_of_sight_nothing_of_it_is_given() -> None:
    node = old_copy()
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    assert page_of(node, PullPage(7, 0, b"", PAGE_BYTES, 5)) == Page(7, 0, False, 5, (), last=False)


def test_what_a_failed_commit_has_lost_is_pulled_again() -> None:
    node = Puller()
    node.gets()
    assert node.asked_for is not None
    peer, asked = node.asked_for
    page = Page(asked.request, 0, True, 0, (), last=True)

    effects = node.node.step(FromPeer(Frame(CLUSTER, peer, 1, "a", 1, (page,))), node.now)
    node.store._staged.clear()
    node.node.abandon(effects, surely_nothing=True)

    assert 0 in node.unsettled
    assert pulls_of([*node.tick(), *node.tick(999)]) == []  # a full disk would keep everybody busy
    assert [(to, asked.partition) for to, asked in pulls_of([*node.tick(1), *node.tick()])] == [("c", 0)]


def fails(node: Puller, step: Callable[[], list[Effect]]) -> list[Effect]:
    """The commit after this step."""
    effects = step()
    node.store._staged.clear()
    return node.node.abandon(effects, surely_nothing=True)


def test_an_old_copy_that_a_failed_commit_has_not_set_aside_is_held_as_before() -> None:
    """Not moved by whoever reads it next, under a doubt that is gone."""
    node = old_copy()
    news = Frame(CLUSTER, "b", 1, "a", 1, (StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)),))

    fails(node, lambda: node.node.step(FromPeer(news), node.now))

    assert node.settled_of(OLD) == ReplicaFetched(5, True, 0, record(b"removed since"))


def test_what_a_failed_commit_has_not_moved_out_of_sight_is_not_shown() -> None:
    node = old_copy()
    node.hears("b", StoreReplica(2, 1000, (), 5, NEW, record(b"new", actor=8)))

    fails(node, lambda: node.node.step(Tick(), node.now))

    assert node.settled_of(OLD) == ReplicaFetched(5, False, 5, b"")


# Old copies of what is held for others


def stand_in(round: int = 0, **of: MemoryStore) -> Five:
    """It holds a value for an owner, under that round."""
    node = Five(owning=False, **of)
    node.holds(node.others[0], round=round)
    return node


def until_settled(node: Five) -> None:
    for _ in range(100):
        node.after(100)
        if not node.node._state.partitions.doubts:
            return
    raise AssertionError("it does not come to an end")


def test_an_old_copy_of_what_is_held_for_others_goes_with_its_hint() -> None:
    """It may be what was removed since; as with a lost disk, others have it, or it is among the copies lost."""
    node = stand_in()

    effects = node.hears(node.others[1], ReplicaRefused(0, "nothing"), _held_elsewhere(node, round=5))
    until_settled(node)

    assert "partition.set_aside" in names_noted(effects)
    assert node.store.get(node.key) is None
    assert [key for key, _ in node.store.scan(b"\xff\xffaside", b"\xff\xffasidf")] == []
    for _ in range(3):
        node.after(5000)
    assert node.node._state.hints.targets_of(node.key) == []


def _held_elsewhere(node: Five, round: int) -> HoldReplica:
    """A record of the same partition, to be held under that round."""
    return HoldReplica(3, 1000, (), round, node.more_keys(1)[0], record(b"new", actor=8), (node.others[0],))


def test_what_it_is_given_under_the_new_round_stays() -> None:
    node = stand_in()
    later = _held_elsewhere(node, round=5)

    effects = node.hears(node.others[1], later)
    until_settled(node)

    assert sent(effects, ReplicaStored) == [(node.others[1], ReplicaStored(3))]
    assert node.store.get(later.key) == bytes(8) + later.record
    assert node.node._state.hints.targets_of(later.key) == [node.others[0]]


def test_an_old_copy_goes_away_only_when_what_was_moved_is_committed() -> None:
    """Else the scan for what is to go would miss it. A page comes and a tick follows in one batch."""
    node = stand_in()
    first, second, owner = _owned_behind(node)
    node.hears(owner, StoreReplica(1, 1000, (), 0, first, record(b"an old one, too")))
    node.hears(owner, StoreReplica(2, 1000, (), 5, second, record(b"new", actor=8)))
    pulls: list[tuple[str, PullPage]] = []
    while not pulls:
        pulls = pulls_of(node.after(1))
    ((peer, asked),) = pulls
    node.hears(node.others[1], ReapAsk(3, node.partition, 5, ((node.key, 1),)))
    page = Page(asked.request, asked.partition, True, 5, (), last=True)

    node.node.step(FromPeer(Frame(CLUSTER, peer, 1, "a", 1, (page,))), node.now)
    node.step(Tick())
    for _ in range(50):
        for peer, asked in pulls_of(node.after(100)):
            node.hears(peer, Page(asked.request, asked.partition, True, 5, (), last=True))

    assert node.node._state.partitions.doubts == {}
    assert node.store.get(node.key) is None
    assert [key for key, _ in node.store.scan(b"\xff\xffaside", b"\xff\xffasidf")] == []


def _owned_behind(node: Five) -> tuple[bytes, bytes, str]:
    """Two keys of a partition that it owns, behind the one that it does not, and another owner of that."""
    keys: dict[int, bytes] = {}
    for number in range(100_000):
        key = node.key_of(b"owned-%d" % number)
        partition = partition_of_storage_key(key)
        if partition > node.partition and partition in node.owned:
            if partition in keys:
                owner = next(each for each in node.node._placement.owners[partition] if each != "a")
                return keys[partition], key, owner
            keys[partition] = key
    raise AssertionError("there is none")


def test_an_old_copy_is_noticed_also_where_it_was_only_just_taken() -> None:
    """Both in one batch: a scan does not show yet what the first has staged."""
    node = Five(owning=False)
    old = HoldReplica(2, 1000, (), 0, node.key, record(b"removed since"), (node.others[0],))

    node.hears(node.others[1], old, _held_elsewhere(node, round=5))
    until_settled(node)

    assert node.store.get(node.key) is None


def test_what_a_fallback_has_minted_itself_stays_when_it_hears_the_round() -> None:
    """It has seen nothing else, so it cannot be what was removed."""
    node = Five(owning=False, down=3)
    begun = node.asked(put(1, node.name, b"mine"))
    ((fallback, held),) = sent(begun, HoldReplica)

    again = node.hears(fallback, ReplicaRefused(held.request, "stale round", 5))  # type: ignore[attr-defined]
    done = node.hears(fallback, ReplicaStored(held.request))  # type: ignore[attr-defined]
    until_settled(node)

    ((_, resent),) = sent(again, HoldReplica)
    assert (resent.round, resent.record) == (5, held.record)  # type: ignore[attr-defined]
    assert len(answers(done)) == 1
    assert node.store.get(node.key) is not None
    assert node.node._state.hints.targets_of(node.key)


def test_an_owner_that_refuses_what_is_handed_over_under_an_old_round_ends_it() -> None:
    node = stand_in()
    ((owner, over),) = sent(node.after(0), HandOver)

    node.hears(owner, ReplicaRefused(over.request, "stale round", 5))  # type: ignore[attr-defined]
    until_settled(node)
    node.after(5000)
    node.after(5000)

    assert (node.store.get(node.key), node.held) == (None, {})


def test_one_round_behind_what_is_held_is_no_old_copy() -> None:
    node = stand_in()

    node.hears(node.others[1], _held_elsewhere(node, round=1))

    assert node.node._state.partitions.doubts == {}
    assert node.store.get(node.key) is not None


def test_a_fallback_that_holds_nothing_takes_the_round_as_it_is() -> None:
    """Its disk may have been lost."""
    node = Five(owning=False)

    node.hears(node.others[1], later := _held_elsewhere(node, round=5))

    assert node.node._state.partitions.doubts == {}
    assert node.node._state.rounds.of(node.partition) == 5
    assert node.store.get(later.key) is not None


def test_a_node_outside_the_layout_is_not_believed_to_be_ahead_of_a_fallback() -> None:
    node = LoneNode(view(others="bcdef", layout="abcde"))
    key = next(
        key
        for number in range(100)
        if "a" not in node.node._placement.owners_of(key := node.key(b"%d" % number))  # type: ignore[union-attr]
    )
    owner = node.node._placement.owners_of(key)[0]  # type: ignore[union-attr]
    node.hears(owner, HoldReplica(1, 1000, (), 0, key, record(b"v"), (owner,)))

    node.hears("f", HoldReplica(2, 1000, (), 5, key, record(b"w", actor=8), (owner,)))

    assert node.node._state.rounds.of_key(key) == 0
    assert node.node._state.partitions.doubts == {}
