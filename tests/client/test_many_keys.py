"""Many keys in one call, calls without waiting, and listings, against nodes that do what a script says."""

import pytest
from scripted_node import ScriptedCluster, ScriptedNode

from zdynamo import Client, Value, errors
from zdynamo.client.core import WINDOW
from zdynamo.client.listing import Listing
from zdynamo.messages import Found, Get, KeysListed, ListKeys, Put, QuorumNotMet, Refused, SiblingValue


@pytest.fixture
def cluster():
    return ScriptedCluster()


def test_many_keys_are_put_got_and_deleted_with_an_answer_for_each(cluster):
    with ScriptedNode(cluster) as node, ScriptedNode(cluster), Client(node.address) as client:
        written = client.put_many({"a": 1, b"b": "two"})
        found = client.get_many(["a", b"b", "absent"])
        deleted = client.delete_many(["a", "absent"])

        assert written == {"a": b"context of a", b"b": b"context of b"}
        assert found == {"a": Value([1], b"seen"), b"b": Value(["two"], b"seen"), "absent": Value([], b"")}
        assert deleted == {"a": True, "absent": False}


def test_more_keys_than_fit_at_once_all_get_their_answer_in_the_order_given(cluster):
    names = [f"key-{number}" for number in range(3 * WINDOW + 7)]
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        client.put_many({name: name for name in names})

        found = client.get_many(reversed(names))

        assert [(key, value.value) for key, value in found.items()] == [(name, name) for name in reversed(names)]


def test_requests_of_one_call_travel_in_few_frames(cluster):
    frames = []
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        client.members()
        node.saw_frame = lambda requests: frames.append(len(requests))

        client.get_many([f"key-{number}" for number in range(WINDOW)])

        assert max(frames) == WINDOW


def test_what_fails_for_one_key_is_its_answer_and_the_others_get_theirs(cluster):
    def script(request):
        if isinstance(request, Put) and request.key == b"refused":
            return Refused(request.request, "not this one")
        if isinstance(request, Get) and request.key == b"missed":
            return QuorumNotMet(request.request, 2, 1)
        if isinstance(request, Get) and request.key == b"garbled":
            return Found(request.request, b"", (SiblingValue("text/plain", b"\xff", 0),))
        return cluster.answer(request)

    with ScriptedNode(cluster, script) as node, Client(node.address) as client:
        written = client.put_many({"fine": 1, "refused": 2, "": 3})
        found = client.get_many(["missed", "fine", "garbled", "k" * 5_000])

        assert written["fine"] == b"context of fine"
        assert [type(written[key]) for key in ("refused", "")] == [errors.Refused] * 2
        assert found["fine"].value == 1
        assert [type(answer) for answer in found.values()] == [
            errors.QuorumNotMet,
            Value,
            errors.Malformed,
            errors.Refused,
        ]


def test_options_of_many_keys_reach_the_node(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        client.put_many({"k": b"v", "l": b"v"}, bucket="b", contexts={"l": b"c"}, w=1, pw=2, ttl_ms=5)
        client.get_many(["k"], bucket="b", r=1, pr=2)
        client.delete_many(["k"], bucket="b", r=1, w=2)

        first, second, get, delete = node.data_requests()
        assert [(put.bucket, put.context, put.w, put.pw, put.ttl_ms) for put in (first, second)] == [
            ("b", b"", 1, 2, 5),
            ("b", b"c", 1, 2, 5),
        ]
        assert (get.bucket, get.r, get.pr) == ("b", 1, 2)
        assert (delete.bucket, delete.r, delete.w) == ("b", 1, 2)


def test_the_contexts_of_many_puts_go_by_the_bytes_of_the_key(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        client.put_many({"k": 1, b"l": 2, "m": 3}, contexts={b"k": b"c", "l": b"d"})

        assert [put.context for put in node.data_requests()] == [b"c", b"d", b""]


@pytest.mark.parametrize(
    ("contexts", "problem"),
    [
        ({"other": b"c"}, "contexts has one of 'other', which is not among the values"),
        ({"k": b"c", b"k": b"d"}, "the same key, give it once"),
    ],
)
def test_contexts_that_do_not_go_with_the_values_are_refused_before_anything_is_sent(cluster, contexts, problem):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        with pytest.raises(ValueError, match=problem):
            client.put_many({"k": 1}, contexts=contexts)

        assert node.data_requests() == []


def test_no_keys_are_no_requests(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        assert (client.get_many([]), client.put_many({}), client.delete_many([])) == ({}, {}, {})
        assert node.received == []


def test_a_wrong_type_among_many_is_raised_before_anything_is_sent(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        for call in (
            lambda: client.put_many({"a": 1, "b": object()}),
            lambda: client.get_many(["a", 2]),
            lambda: client.get_many("abc"),
        ):
            with pytest.raises(TypeError):
                call()

        assert node.data_requests() == []


def test_futures_are_answered_while_the_caller_goes_on(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        puts = [client.submit_put(f"key-{number}", number) for number in range(100)]
        contexts = [future.result() for future in puts]
        gets = [client.submit_get(f"key-{number}") for number in range(100)]

        assert contexts == [b"context of key-%d" % number for number in range(100)]
        assert [future.result().value for future in gets] == list(range(100))
        assert [client.submit_delete("key-1").result() for _ in range(2)] == [True, False]


def test_a_future_raises_what_the_call_would_and_cannot_be_cancelled(cluster):
    refusing = lambda request: (  # noqa: E731
        Refused(request.request, "no") if isinstance(request, Get) else cluster.answer(request)
    )
    with ScriptedNode(cluster, refusing) as node, Client(node.address) as client:
        future = client.submit_get("k")

        assert not future.cancel()
        with pytest.raises(errors.Refused, match="no"):
            future.result()


def test_closing_fails_the_futures_in_flight(cluster):
    with ScriptedNode(cluster, lambda _: None) as node:
        client = Client(node.address)
        futures = client.submit_get("k"), client.submit_put("l", 1)

        client.close()

        for future in futures:
            with pytest.raises(errors.RequestError, match="closed"):
                future.result()


NAMES = sorted(b"key-%02d" % number for number in range(30))


@pytest.fixture
def filled(cluster):
    cluster.values = {name: Put(bytes(16), "", 0, "default", name, b"", "") for name in [*NAMES, b"other"]}
    return cluster


def test_keys_are_listed_page_by_page_from_every_partition_once(filled):
    with ScriptedNode(filled) as node, Client(node.address) as client:
        assert sorted(client.keys(prefix="key-")) == NAMES
        assert sorted(client.keys()) == [*NAMES, b"other"]


def test_pages_are_fetched_only_as_keys_are_taken(filled):
    with ScriptedNode(filled) as node, Client(node.address) as client:
        keys = client.keys()
        assert node.received == []

        next(keys)

        pages = [request for request in node.received if isinstance(request, ListKeys)]
        assert len(pages) == 1


@pytest.mark.parametrize("taken", range(32))
def test_a_cursor_goes_on_behind_the_last_key_in_another_client(filled, taken):
    with ScriptedNode(filled) as node, Client(node.address) as first, Client(node.address) as second:
        keys = first.keys()
        before = [key for _, key in zip(range(taken), keys, strict=False)]

        rest = list(second.keys(after=keys.cursor))

        assert sorted(before + rest) == [*NAMES, b"other"]


def test_the_cursor_of_a_listing_that_is_over_gives_nothing_more(filled):
    with ScriptedNode(filled) as node, Client(node.address) as client:
        keys = client.keys()
        list(keys)

        assert list(client.keys(after=keys.cursor)) == []
        assert list(keys) == []


def test_a_cursor_of_another_bucket_or_prefix_is_refused(filled):
    with ScriptedNode(filled) as node, Client(node.address) as client:
        keys = client.keys(prefix="key-")
        next(keys)

        for other in (client.keys("other", prefix="key-", after=keys.cursor), client.keys(after=keys.cursor)):
            with pytest.raises(errors.Refused, match="another bucket, prefix or cluster"):
                next(other)


def test_a_cursor_that_was_changed_is_refused(filled):
    with ScriptedNode(filled) as node, Client(node.address) as client:
        keys = client.keys()
        next(keys)

        for changed in (keys.cursor[:-1], keys.cursor + "A", "A" + keys.cursor, "ö", "a"):
            with pytest.raises(errors.Refused, match="no cursor"):
                client.keys(after=changed)
        with pytest.raises(TypeError, match="a cursor is the str"):
            client.keys(after=b"x")


def test_a_listing_goes_on_after_an_error(filled):
    failures = [2]

    def script(request):
        if isinstance(request, ListKeys) and request.partition == 1 and failures[0]:
            failures[0] -= 1
            return Refused(request.request, "not now")
        return filled.answer(request)

    with ScriptedNode(filled, script) as node, Client(node.address) as client:
        keys, found = client.keys(), []
        for _ in range(2):
            with pytest.raises(errors.Refused):
                found.extend(_taking(keys, found))

        assert sorted(found + list(keys)) == [*NAMES, b"other"]


def _taking(keys, into):
    for key in keys:
        into.append(key)
    return []


def test_pages_without_keys_are_passed_over_and_one_that_gets_no_further_is_malformed(cluster):
    listing = Listing("default", b"", None, None)
    topology = cluster_topology(cluster)
    listing.take(topology)

    listing.take(KeysListed(bytes(16), (), b"c", True))
    assert (listing.wanted.partition, listing.wanted.after) == (0, b"c")
    with pytest.raises(errors.Malformed, match="no further"):
        listing.take(KeysListed(bytes(16), (), b"c", True))


def cluster_topology(cluster):
    cluster.addresses.append("127.0.0.1:1")
    return cluster._topology(bytes(16))
