"""Listing keys: what R owners agree on, how pages end, and that nothing that arrives can spoil a list."""

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from support.nodes import WALL_MS, LoneNode, answers, put, request_id, sent, view
from support.records import record

from zdynamo.core.coordinator.listed import SCAN_BYTES, SCAN_RECORDS, stretch_of
from zdynamo.core.coordinator.listings import LISTINGS_MAX, READS_MAX
from zdynamo.core.events import Effect, FromClient, Reply, Send, Tick, ViewChanged
from zdynamo.core.owners.placement import Placement
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Bucket,
    ClientAnswer,
    FetchReplica,
    KeysListed,
    ListKeys,
    ListReplica,
    Overloaded,
    QuorumNotMet,
    Refused,
    ReplicaFetched,
    ReplicaListed,
    ReplicaRefused,
    StoreReplica,
)
from zdynamo.partition import partition_of, storage_key

PARTITION = 5


def names(count: int, start: bytes = b"") -> list[bytes]:
    """So many keys of one partition, in order."""
    possible = (start + b"%06d" % number for number in range(1_000_000))
    return list(islice((key for key in possible if partition_of(b"default", key, 16) == PARTITION), count))


def key_of(name: bytes, bucket: bytes = b"default") -> bytes:
    return storage_key(bucket, name, 16)


def hold(node: LoneNode, *names: bytes, encoded: bytes | None = None, bucket: bytes = b"default") -> None:
    """The node is sent these keys for keeping."""
    messages = [StoreReplica(0, 1000, (), 0, key_of(name, bucket), encoded or record()) for name in names]
    node.hears("b", *messages)


def list_keys(number: int = 1, **fields: object) -> ListKeys:
    return ListKeys(request_id(number), "", 1000, "default", PARTITION, **fields)  # type: ignore[arg-type]


def number_of(effects: list[Effect]) -> int:
    return sent(effects, ListReplica)[0][1].request  # type: ignore[attr-defined, no-any-return]


def list_of(node: LoneNode, begun: list[Effect]) -> ReplicaListed:
    """What another owner would say if it held the same as this node."""
    ((_, wanted), *_) = sent(begun, ListReplica)
    ((_, listed),) = sent(node.hears("c", wanted), ReplicaListed)  # type: ignore[arg-type]
    return listed  # type: ignore[return-value]


def listed(number: int, *entries: tuple[bytes, int], **fields: object) -> ReplicaListed:
    shown = tuple((key_of(name), digest) for name, digest in entries)
    made = ReplicaListed(number, True, 0, shown, shown[-1][0] if shown else b"", last=True)
    return replace(made, **fields)


def page(*keys: bytes, last: bytes | None = None, more: bool = False, number: int = 1) -> list[ClientAnswer]:
    return [KeysListed(request_id(number), keys, keys[-1] if last is None else last, more)]


def test_r_owners_are_compared_and_what_they_agree_on_is_listed_in_order() -> None:
    node = LoneNode()
    one, other = names(2)
    hold(node, other, one)

    begun = node.asked(list_keys())
    done = node.hears("b", list_of(node, begun))

    stretch = stretch_of(b"default", PARTITION)
    wanted = ListReplica(number_of(begun), 1000, stretch.start, stretch.end, 1000)
    assert begun == [Send("c", wanted), Send("b", wanted)]
    assert done == [Reply(b"client", KeysListed(request_id(1), (one, other), other, more=False))]
    assert node.node.idle


def test_one_owner_is_enough_when_the_request_says_so() -> None:
    node = LoneNode()
    hold(node, *names(3))

    assert answers(node.asked(list_keys(r=1))) == page(*names(3))


def test_how_many_owners_are_compared_is_a_rule_of_the_bucket() -> None:
    node = LoneNode(buckets=(Bucket("default", r=1),))

    assert answers(node.asked(list_keys())) == page(last=b"")


def test_a_node_that_owns_nothing_lists_what_the_owners_say() -> None:
    node = LoneNode(view(me="d", others="abc"))
    (key,) = names(1)

    begun = node.asked(list_keys())
    node.hears("a", listed(number_of(begun), (key, 1)))
    done = node.hears("b", listed(number_of(begun), (key, 1)))

    assert len(sent(begun, ListReplica)) == 3
    assert answers(done) == page(key)


def test_other_buckets_are_not_listed() -> None:
    node = LoneNode()
    (key,) = names(1)
    for bucket in (b"defaul", b"default2", b"defaulu", b"a", b"z" * 20):
        for number in range(100):
            hold(node, b"%d" % number, bucket=bucket)
    hold(node, key)

    assert answers(node.asked(list_keys(r=1))) == page(key)


def test_a_key_on_which_owners_differ_is_read_and_listed_if_it_shows() -> None:
    node = LoneNode()
    (key,) = names(1)
    hold(node, key)

    begun = node.asked(list_keys())
    asked = node.hears("b", listed(number_of(begun)))
    ((_, fetch), _) = sent(asked, FetchReplica)
    done = node.hears("b", ReplicaFetched(fetch.request, True, 0, b""))  # type: ignore[attr-defined]

    wanted = FetchReplica(fetch.request, 1000, node_layouts(node), key_of(key))  # type: ignore[attr-defined]
    assert asked == [Send("c", wanted), Send("b", wanted)]
    assert answers(done) == page(key)


def node_layouts(node: LoneNode) -> tuple[int, ...]:
    assert node.seen.layout is not None
    return (node.seen.layout.digest,)


def test_a_stale_owner_does_not_bring_a_deleted_key_into_the_list() -> None:
    node = LoneNode()
    stale, kept = names(2)
    hold(node, stale, kept)
    tombstone = record(counter=2, tombstone=True)

    begun = node.asked(list_keys())
    own = list_of(node, begun)
    asked = node.hears("b", replace(own, entries=own.entries[1:]))
    ((_, fetch), _) = sent(asked, FetchReplica)
    done = node.hears("b", ReplicaFetched(fetch.request, True, 0, tombstone))  # type: ignore[attr-defined]

    assert answers(done) == page(kept, last=kept)


def fetches_of_b(effects: list[Effect]) -> list[int]:
    """The numbers of the reads that the owner b is asked for."""
    return [message.request for to, message in sent(effects, FetchReplica) if to == "b"]  # type: ignore[attr-defined]


def test_a_key_that_all_owners_show_but_not_alike_is_read() -> None:
    node = LoneNode()
    one, other = names(2)
    hold(node, one, other)

    begun = node.asked(list_keys())
    asked = node.hears("b", listed(number_of(begun), (one, 1), (other, 1)))
    first, second = fetches_of_b(asked)
    node.hears("b", ReplicaFetched(first, True, 0, record(counter=2, tombstone=True)))
    done = node.hears("b", ReplicaFetched(second, True, 0, record(counter=2)))

    assert answers(done) == page(other)


def test_keys_that_were_read_stand_in_order_between_the_others() -> None:
    node = LoneNode()
    keys = names(3)
    hold(node, *keys)

    begun = node.asked(list_keys())
    own = list_of(node, begun)
    asked = node.hears("b", replace(own, entries=(own.entries[0], own.entries[2])))
    (number,) = fetches_of_b(asked)
    done = node.hears("b", ReplicaFetched(number, True, 0, b""))

    assert answers(done) == page(*keys)


def test_a_differing_key_of_a_bucket_of_last_writes_is_listed_only_if_the_last_write_shows() -> None:
    node = LoneNode(buckets=(Bucket("default", conflict="lww"),))
    (key,) = names(1)
    hold(node, key)

    begun = node.asked(list_keys())
    (number,) = fetches_of_b(node.hears("b", listed(number_of(begun))))
    done = node.hears("b", ReplicaFetched(number, True, 0, record(tombstone=True, actor=8, ahead_ms=10)))

    assert answers(done) == page(last=key)


def test_reads_of_differing_keys_take_no_room_from_requests_of_clients() -> None:
    node = LoneNode(limits=NodeLimits(requests_max=2))

    begun = node.asked(list_keys())
    node.hears("b", listed(number_of(begun), *((key, 1) for key in names(9))))

    assert answers(node.asked(list_keys(2))) == []


def test_a_key_that_the_asking_node_lacks_is_listed() -> None:
    node = LoneNode()
    (key,) = names(1)

    begun = node.asked(list_keys())
    asked = node.hears("b", listed(number_of(begun), (key, 5)))
    ((_, fetch), _) = sent(asked, FetchReplica)
    done = node.hears("c", ReplicaFetched(fetch.request, True, 0, record()))  # type: ignore[attr-defined]

    assert answers(done) == page(key)


def test_what_is_dead_everywhere_is_not_even_read() -> None:
    node = LoneNode()
    deleted, expired, kept = names(3)
    hold(node, deleted, encoded=record(tombstone=True))
    hold(node, expired, encoded=record(expires_ms=WALL_MS))
    hold(node, kept, encoded=record(expires_ms=WALL_MS + 1))

    begun = node.asked(list_keys())
    done = node.hears("b", list_of(node, begun))

    assert answers(done) == page(kept)


def test_a_bucket_of_last_writes_lists_a_key_only_if_the_last_write_shows() -> None:
    node = LoneNode(buckets=(Bucket("default", conflict="lww"),))
    deleted_last, written_last = names(2)
    old_value, new_value = record(ahead_ms=-10), record(ahead_ms=10)
    tombstone = record(tombstone=True, actor=8)
    hold(node, deleted_last, encoded=old_value)
    hold(node, written_last, encoded=new_value)
    hold(node, deleted_last, written_last, encoded=tombstone)

    assert answers(node.asked(list_keys(r=1))) == page(written_last)


def test_a_key_with_siblings_is_listed_once() -> None:
    node = LoneNode()
    (key,) = names(1)
    hold(node, key, encoded=record(actor=7))
    hold(node, key, encoded=record(actor=8))

    assert answers(node.asked(list_keys(r=1))) == page(key)


def test_a_list_from_an_owner_that_is_not_settled_does_not_count() -> None:
    node = LoneNode()
    (key,) = names(1)
    hold(node, key)

    begun = node.asked(list_keys())
    nothing = node.hears("b", listed(number_of(begun), settled=False))
    done = node.hears("c", list_of(node, begun))

    assert nothing == []
    assert answers(done) == page(key)


def test_with_too_few_settled_owners_there_is_no_list() -> None:
    node = LoneNode(view(took_over=True))

    begun = node.asked(list_keys())
    lost = node.hears("b", listed(number_of(begun), settled=False))

    assert answers(begun) == []
    reason = "2 replicas have lost their copies and do not know"
    assert answers(lost) == [QuorumNotMet(request_id(1), 2, 0, reason)]


def test_an_owner_more_than_one_reaping_round_behind_another_does_not_count() -> None:
    node = LoneNode()
    (removed,) = names(1)
    hold(node, removed)

    begun = node.asked(list_keys())
    newer = node.hears("b", listed(number_of(begun), round=2))
    done = node.hears("c", listed(number_of(begun), round=3))

    assert newer == []
    assert answers(done) == page(last=b"")


def test_a_read_of_a_differing_key_leaves_out_an_owner_that_is_rounds_behind() -> None:
    node = LoneNode()
    (removed,) = names(1)
    hold(node, removed)

    begun = node.asked(list_keys())
    asked = node.hears("b", listed(number_of(begun), round=1))
    ((_, fetch), _) = sent(asked, FetchReplica)
    behind = node.hears("b", ReplicaFetched(fetch.request, True, 2, b""))  # type: ignore[attr-defined]
    done = node.hears("c", ReplicaFetched(fetch.request, True, 2, b""))  # type: ignore[attr-defined]

    assert behind == []
    assert answers(done) == page(last=removed)


def test_an_owner_that_is_not_settled_does_not_count_when_a_differing_key_is_read() -> None:
    node = LoneNode()
    (key,) = names(1)
    hold(node, key)

    begun = node.asked(list_keys())
    asked = node.hears("b", listed(number_of(begun)))
    ((_, fetch), _) = sent(asked, FetchReplica)
    unknown = node.hears("b", ReplicaFetched(fetch.request, False, 0, record(counter=2)))  # type: ignore[attr-defined]
    done = node.hears("c", ReplicaFetched(fetch.request, True, 0, record(counter=2, tombstone=True)))  # type: ignore[attr-defined]

    assert unknown == []
    assert answers(done) == page(last=key)


def test_a_page_ends_where_the_first_owner_has_more() -> None:
    node = LoneNode()
    keys = names(4)
    hold(node, *keys)

    begun = node.asked(list_keys())
    own = list_of(node, begun)
    done = node.hears("b", replace(own, entries=own.entries[:2], reached=key_of(keys[1]), last=False))

    assert answers(done) == page(*keys[:2], more=True)


def test_a_page_may_reach_behind_its_last_key() -> None:
    node = LoneNode()
    keys = names(4)
    hold(node, keys[0], keys[3])

    begun = node.asked(list_keys())
    own = list_of(node, begun)
    done = node.hears("b", replace(own, entries=own.entries[:1], reached=key_of(keys[2]), last=False))

    assert answers(done) == page(keys[0], last=keys[2], more=True)


def test_a_page_has_no_more_keys_than_asked_for_when_owners_hold_different_ones() -> None:
    node = LoneNode()
    keys = names(4)
    hold(node, keys[1], keys[3])

    begun = node.asked(list_keys(limit=2))
    asked = node.hears("b", listed(number_of(begun), (keys[0], 1), (keys[2], 1)))
    first, second = (message for to, message in sent(asked, FetchReplica) if to == "b")
    node.hears("b", ReplicaFetched(first.request, True, 0, record()))  # type: ignore[attr-defined]
    done = node.hears("b", ReplicaFetched(second.request, True, 0, record()))  # type: ignore[attr-defined]

    assert answers(done) == page(keys[0], keys[1], more=True)


def test_a_page_ends_before_more_keys_differ_than_are_read_at_a_time() -> None:
    node = LoneNode()
    keys = names(READS_MAX + 1)

    begun = node.asked(list_keys())
    asked = node.hears("b", listed(number_of(begun), *((key, 1) for key in keys)))
    reads = [message for to, message in sent(asked, FetchReplica) if to == "b"]
    done = [node.hears("b", ReplicaFetched(read.request, True, 0, record())) for read in reads]  # type: ignore[attr-defined]

    assert len(reads) == READS_MAX
    assert [answers(effects) for effects in done[:-1]] == [[]] * (READS_MAX - 1)
    assert answers(done[-1]) == page(*keys[:READS_MAX], more=True)


def test_keys_are_read_page_by_page_without_a_gap_or_a_repetition() -> None:
    node = LoneNode()
    keys = names(25)
    hold(node, *keys)
    found: list[bytes] = []
    after, more, pages = b"", True, 0

    while more:
        ((listed),) = answers(node.asked(list_keys(r=1, limit=4, after=after)))
        assert isinstance(listed, KeysListed)
        found += listed.keys
        after, more, pages = listed.last, listed.more, pages + 1

    assert found == keys
    assert pages == 7


def test_a_stretch_of_deleted_keys_is_crossed_in_bounded_steps() -> None:
    node = LoneNode()
    keys = names(SCAN_RECORDS + 2)
    hold(node, *keys[:-1], encoded=record(tombstone=True))
    hold(node, keys[-1])

    first = answers(node.asked(list_keys(r=1)))
    second = answers(node.asked(list_keys(r=1, after=keys[SCAN_RECORDS - 1])))

    assert first == page(last=keys[SCAN_RECORDS - 1], more=True)
    assert second == page(keys[-1])


def test_a_page_of_large_records_is_short() -> None:
    node = LoneNode()
    keys = names(3)
    hold(node, *keys, encoded=record(value=bytes(SCAN_BYTES // 2)))

    assert answers(node.asked(list_keys(r=1))) == page(*keys[:2], more=True)


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"prefix": b"a"}, [0, 1]),
        ({"prefix": b"a\xff"}, [1]),
        ({"prefix": b"\xff\xff"}, [5, 6]),
        ({"after": b"a"}, [1, 2, 3, 4, 5, 6]),
        ({"after": b"b", "prefix": b"b"}, [3]),
        ({"after": b"a", "prefix": b"b"}, [2, 3]),
        ({"after": b"c", "prefix": b"b"}, []),
        ({"after": b"\xff" * 10, "prefix": b"\xff"}, []),
        ({"prefix": b"nothing"}, []),
    ],
)
def test_a_list_has_the_keys_behind_one_that_begin_with_a_prefix(fields: dict[str, bytes], places: list[int]) -> None:
    sample = [b"a", b"a\xff\x01", b"b", b"b\x00", b"c", b"\xff\xff", b"\xff\xff\x01"]
    found = []
    node = LoneNode()
    hold(node, *sample)

    for partition in range(16):
        (listed,) = answers(node.asked(replace(list_keys(r=1, **fields), partition=partition)))
        assert isinstance(listed, KeysListed)
        assert not listed.more
        found += listed.keys

    assert sorted(found) == [sample[place] for place in places]


keys_of_few_bytes = st.binary(max_size=4).map(lambda key: bytes(b"\x00\x01a\xfe\xff"[byte % 5] for byte in key))


@given(key=keys_of_few_bytes.filter(bool), prefix=keys_of_few_bytes, after=keys_of_few_bytes)
def test_a_stretch_holds_just_the_keys_with_its_prefix_behind_a_key(key: bytes, prefix: bytes, after: bytes) -> None:
    start, end = stretch_of(b"b", PARTITION, prefix=prefix, after=after)
    place = PARTITION.to_bytes(2, "big") + b"\x01b" + key

    assert (start <= place < end) == (key.startswith(prefix) and key > after)


@given(bucket=st.text(min_size=1, max_size=3), key=st.binary(min_size=1, max_size=4))
def test_a_stretch_holds_no_other_bucket(bucket: str, key: bytes) -> None:
    start, end = stretch_of(b"b", PARTITION)
    name = bucket.encode()
    place = PARTITION.to_bytes(2, "big") + bytes((len(name),)) + name + key

    assert (start <= place < end) == (bucket == "b")


OUTSIDE = storage_key(b"other", b"k", 16)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"entries": ((key_of(names(2)[1]), 1), (key_of(names(2)[0]), 1))},
        {"entries": ((key_of(names(1)[0]), 1), (key_of(names(1)[0]), 1))},
        {"entries": ((OUTSIDE, 1),)},
        {"entries": ((b"", 1),)},
        {"entries": tuple((key_of(key), 1) for key in names(3))},
        {"last": False, "reached": b""},
        {"last": False, "reached": OUTSIDE},
        {"last": False, "reached": b"\xff\xff\xff"},
        {"last": False, "reached": key_of(names(1)[0]), "entries": ((key_of(names(2)[1]), 1),)},
    ],
)
def test_a_list_that_cannot_be_one_counts_as_no_answer(spoilt: dict[str, object]) -> None:
    node = LoneNode()

    begun = node.asked(list_keys(limit=2))
    garbled = node.hears("b", listed(number_of(begun), **spoilt))
    done = node.hears("c", listed(number_of(begun)))

    assert garbled == []
    assert answers(done) == page(last=b"")


def test_an_owner_counts_once_and_a_node_that_was_not_asked_never() -> None:
    node = LoneNode(view(others="bcd", layout="abc"))

    begun = node.asked(list_keys(r=3))
    effects = [node.hears(peer, listed(number_of(begun))) for peer in "bbd"]
    done = node.hears("c", listed(number_of(begun)))
    late = node.hears("c", listed(number_of(begun)))

    assert effects == [[], [], []]
    assert answers(done) == page(last=b"")
    assert late == []


def test_an_owner_counts_once_when_a_differing_key_is_read() -> None:
    node = LoneNode(view(others="bcd", layout="abc"))
    (key,) = names(1)

    begun = node.asked(list_keys(r=3))
    node.hears("b", listed(number_of(begun), (key, 1)))
    asked = node.hears("c", listed(number_of(begun), (key, 1)))
    ((_, fetch), _) = sent(asked, FetchReplica)
    fetched = ReplicaFetched(fetch.request, True, 0, record())  # type: ignore[attr-defined]
    uncounted = [node.hears(peer, fetched) for peer in "bbd"]
    done = node.hears("c", fetched)

    assert uncounted == [[], [], []]
    assert answers(done) == page(key)
    assert node.hears("c", fetched) == []


def test_a_garbled_record_counts_as_no_answer() -> None:
    node = LoneNode()
    (key,) = names(1)

    begun = node.asked(list_keys())
    asked = node.hears("b", listed(number_of(begun), (key, 1)))
    ((_, fetch), _) = sent(asked, FetchReplica)
    garbled = node.hears("b", ReplicaFetched(fetch.request, True, 0, b"\xc1"))  # type: ignore[attr-defined]
    done = node.hears("c", ReplicaFetched(fetch.request, True, 0, record()))  # type: ignore[attr-defined]

    assert garbled == []
    assert answers(done) == page(key)


def test_with_too_few_owners_up_the_quorum_is_not_met_at_once() -> None:
    node = LoneNode(view(down="bc"))

    assert answers(node.asked(list_keys())) == [QuorumNotMet(request_id(1), 2, 1, "down: c, b")]
    assert node.node.idle


def test_owners_that_go_down_are_not_waited_for() -> None:
    node = LoneNode()

    node.asked(list_keys())
    first = node.step(ViewChanged(view(number=2, down="b")))
    second = node.step(ViewChanged(view(number=3, down="bc")))

    assert answers(first) == []
    assert answers(second) == [QuorumNotMet(request_id(1), 2, 1)]
    assert node.node.idle


def test_owners_that_go_down_while_differing_keys_are_read_end_the_list_once() -> None:
    node = LoneNode()
    keys = names(3)

    begun = node.asked(list_keys())
    asked = node.hears("b", listed(number_of(begun), *((key, 1) for key in keys)))
    ended = node.step(ViewChanged(view(number=2, down="bc")))
    late = [
        node.hears("b", ReplicaFetched(message.request, True, 0, record()))  # type: ignore[attr-defined]
        for _, message in sent(asked, FetchReplica)
    ]

    assert answers(ended) == [QuorumNotMet(request_id(1), 2, 1)]
    assert late == [[]] * 6
    assert len(node.node._requests.pending) == 0


def test_a_replica_that_refuses_is_not_waited_for() -> None:
    node = LoneNode()

    begun = node.asked(list_keys(r=3))
    refused = node.hears("b", ReplicaRefused(number_of(begun), "malformed"))

    assert answers(refused) == [QuorumNotMet(request_id(1), 3, 1)]


def test_a_list_short_of_r_at_its_deadline_says_needed_and_got() -> None:
    node = LoneNode()
    node.asked(list_keys())

    node.monotonic_ms += 1000
    late = node.step(Tick())

    assert answers(late) == [QuorumNotMet(request_id(1), 2, 1)]
    assert node.node.idle


def test_a_list_whose_differing_keys_are_not_read_by_its_deadline_ends_once() -> None:
    node = LoneNode()
    begun = node.asked(list_keys())
    node.hears("b", listed(number_of(begun), *((key, 1) for key in names(3))))

    node.monotonic_ms += 1000
    late = node.step(Tick())

    assert answers(late) == [QuorumNotMet(request_id(1), 2, 1)]
    assert node.node.next_due_ms is None


def test_a_request_that_waited_past_its_deadline_is_dropped() -> None:
    assert LoneNode().step(FromClient(b"client", list_keys(), waited_ms=1000)) == []


REFUSALS = [
    ({"partition": 16}, "partition is 16: use 0 to 15"),
    ({"partition": -1}, "partition is -1: use 0 to 15"),
    ({"limit": 0}, "limit is 0: use 1 to 1000"),
    ({"limit": 1001}, "limit is 1001: use 1 to 1000"),
    ({"prefix": b"k" * 11}, "prefix has 11 bytes: use at most 10"),
    ({"after": b"k" * 11}, "after has 11 bytes: use at most 10"),
    ({"bucket": ""}, "the bucket's name has 0 bytes: use 1 to 255"),
    ({"r": 4}, "r is 4: use 1 to 3, the number of copies, or 0 for the default"),
    ({"deadline_ms": 0}, "the deadline is 0 ms: use 1 to 1000"),
    ({"cluster": "other"}, "this node is of cluster cluster-of-tests, the client knows other: check the address"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSALS)
def test_what_is_beyond_a_limit_is_refused_in_words(fields: dict[str, object], reason: str) -> None:
    node = LoneNode(limits=NodeLimits(key_bytes_max=10, deadline_ms_max=1000))

    assert node.asked(replace(list_keys(), **fields)) == [Reply(b"client", Refused(request_id(1), reason))]
    assert node.node.next_due_ms is None


def test_a_node_with_as_many_requests_as_it_takes_sheds_listings_too() -> None:
    node = LoneNode(limits=NodeLimits(requests_max=1))
    node.asked(list_keys())

    assert [type(answer) for answer in answers(node.asked(list_keys(2)))] == [Overloaded]


def test_a_node_keeps_only_so_many_lists_at_a_time() -> None:
    node = LoneNode()
    begun = [node.asked(list_keys(number)) for number in range(LISTINGS_MAX)]

    shed = node.asked(list_keys(1000))
    node.hears("b", listed(number_of(begun[0])))
    taken = node.asked(list_keys(1001))

    assert [type(answer) for answer in answers(shed)] == [Overloaded]
    assert answers(taken) == []


def test_before_the_first_data_the_founder_lists_nothing() -> None:
    node = LoneNode(view(layout=None))

    assert answers(node.asked(list_keys())) == page(last=b"")


def test_a_founder_that_has_been_given_data_lists_nothing_until_it_is_known_who_owns_it() -> None:
    node = LoneNode(view(layout=None))
    node.asked(put(9))

    (refused,) = answers(node.asked(list_keys()))

    assert isinstance(refused, Refused)
    assert refused.retry


def test_a_founder_that_waits_for_members_that_may_know_of_a_layout_lists_nothing() -> None:
    node = LoneNode(view(layout=None, awaited=("b",)))

    (refused,) = answers(node.asked(list_keys()))

    assert isinstance(refused, Refused)
    assert refused.retry


def test_before_the_first_data_others_than_the_founder_send_the_client_on() -> None:
    node = LoneNode(view(me="b", others="ac", layout=None))

    (refused,) = answers(node.asked(list_keys()))

    assert isinstance(refused, Refused)
    assert refused.retry


def test_a_failed_commit_ends_the_lists_in_progress() -> None:
    node = LoneNode()
    node.asked(list_keys())

    kept = node.node.abandon([], surely_nothing=True)

    ((refused),) = answers(kept)
    assert isinstance(refused, Refused)
    assert refused.retry
    assert node.node.idle


def test_an_owner_tells_a_peer_what_it_shows() -> None:
    node = LoneNode()
    deleted, one, other, behind = names(4)
    hold(node, one, other, behind)
    hold(node, deleted, encoded=record(tombstone=True))
    start, end = stretch_of(b"default", PARTITION)

    effects = node.hears("b", ListReplica(7, 1000, start, end, 2))

    ((_, told),) = sent(effects, ReplicaListed)
    assert isinstance(told, ReplicaListed)
    assert [key for key, _ in told.entries] == [key_of(one), key_of(other)]
    assert (told.request, told.settled, told.round, told.reached, told.last) == (7, True, 0, key_of(other), False)


@pytest.mark.parametrize("seen", [view(took_over=True), view(others="bcd", layout="bcd")])
def test_who_does_not_know_says_so(seen: object) -> None:
    node = LoneNode(seen)  # type: ignore[arg-type]
    hold(node, *names(2))
    start, end = stretch_of(b"default", PARTITION)

    effects = node.hears("b", ListReplica(7, 1000, start, end, 2))

    assert effects == [Send("b", ReplicaListed(7, False, 0, (), b"", last=True))]


def test_what_has_been_pulled_but_not_committed_is_not_known_to_be_all() -> None:
    node = LoneNode(view(took_over=True))
    wanted = ListReplica(7, 1000, *stretch_of(b"default", PARTITION), 2)

    node.node._state.partitions.settle(PARTITION)
    before = node.node._listings.list_replica("b", wanted, Placement(node.seen), node.now)
    node.store.commit()
    after = node.node._listings.list_replica("b", wanted, Placement(node.seen), node.now)

    assert [told.settled for _, told in sent(before + after, ReplicaListed)] == [False, True]  # type: ignore[attr-defined]


def test_a_stretch_ends_with_its_bucket_whatever_a_peer_asks_for() -> None:
    node = LoneNode()
    hold(node, *names(1))
    start, end = stretch_of(b"default", PARTITION)

    within = node.hears("b", ListReplica(7, 1000, start, end, 10))
    beyond = node.hears("b", ListReplica(7, 1000, start, b"\xff" * 20, 10))

    assert beyond == within


START = stretch_of(b"default", PARTITION).start


@pytest.mark.parametrize(
    ("start", "limit"),
    [
        (b"", 1),
        (b"\x00", 1),
        (b"\x00\x05\x00", 1),
        (b"\x00\x05\x07def", 1),
        (b"\x00\x10\x01b", 1),
        (b"\xff\xff\x01b", 1),
        (START, 0),
        (START, -1),
        (START, 1001),
    ],
)
def test_a_stretch_that_is_none_is_refused(start: bytes, limit: int) -> None:
    effects = LoneNode().hears("b", ListReplica(7, 1000, start, b"\xff", limit))

    assert effects == [Send("b", ReplicaRefused(7, "malformed"))]


def test_a_peer_that_asks_before_there_is_a_layout_is_refused() -> None:
    effects = LoneNode(view(layout=None)).hears("b", ListReplica(7, 1000, START, b"\xff", 1))

    assert effects == [Send("b", ReplicaRefused(7, "malformed"))]
