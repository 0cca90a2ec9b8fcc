"""One trace of a request through a cluster: client, coordinator, replicas, and nodes that hand it on."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry import trace
from support.spans import Recorder, context, told

from threads.clusters import Cluster, RawClient, delete, eventually, get, put, running
from zdynamo import AsyncClient, Client, codec
from zdynamo.config import TracingSettings
from zdynamo.errors import Unreachable
from zdynamo.messages import Done, FetchReplica, Found, Frame
from zdynamo.partition import partition_of

STORE = ("zdynamo.replica.store", [])
FETCH = ("zdynamo.replica.fetch", [])
NEVER, ALWAYS = TracingSettings(sample_ratio=0.0), TracingSettings(sample_ratio=1.0)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@contextmanager
def cluster_of(recorder: Recorder, names: str = "abc", tracing: TracingSettings = NEVER) -> Iterator[Cluster]:
    with running(names, spans=recorder.provider, tracing=tracing) as cluster:
        with cluster.client("a") as first:
            assert isinstance(first.ask(put(b"first", trace=context(sampled=False))), Done)
        assert recorder.spans == []
        yield cluster


@contextmanager
def client_of(cluster: Cluster, recorder: Recorder) -> Iterator[Client]:
    with Client(*map(cluster.address, cluster.servers), context=cluster.context, tracing=recorder.provider) as client:
        client.topology()
        yield client


def not_owned_by(cluster: Cluster, name: str) -> bytes:
    """A key."""
    with cluster.client(name) as client:
        topology = client.topology()
    assert topology
    me = topology.answered_by
    count = topology.constants.partitions
    return next(
        key
        for key in (f"key/{number}".encode() for number in range(1_000))
        if me not in topology.owners[partition_of(b"default", key, count)]
    )


def test_a_put_is_one_trace_of_client_coordinator_and_replicas(recorder: Recorder) -> None:
    with cluster_of(recorder) as cluster, client_of(cluster, recorder) as client:
        client.put("key", b"value")

        whole = [("zdynamo.client.put", [("zdynamo.put", [STORE, STORE])])]
        eventually(lambda: recorder.trees() == whole)
        coordinator = recorder.named("zdynamo.put")[0]
        replicas = recorder.named("zdynamo.replica.store")
        assert sorted([told(coordinator, "node"), *(told(replica, "node") for replica in replicas)]) == ["a", "b", "c"]
        assert [told(span, "outcome") for span in recorder.spans] == ["done", "done", "stored", "stored"]
        assert len({told(span, "key_hash") for span in recorder.spans}) == 1
        assert (told(coordinator, "bucket"), told(coordinator, "attempt")) == ("default", 1)
        assert not any("key" in str(dict(span.attributes or {}).values()) for span in recorder.spans)


def test_a_client_span_is_below_the_one_that_is_current(recorder: Recorder) -> None:
    with cluster_of(recorder) as cluster, client_of(cluster, recorder) as client:
        with trace.get_tracer("test", tracer_provider=recorder.provider).start_as_current_span("order"):
            client.put("key", b"value")
            client.get("key")

        eventually(lambda: len(recorder.spans) == 9)
        put_tree = ("zdynamo.client.put", [("zdynamo.put", [STORE, STORE])])
        get_tree = ("zdynamo.client.get", [("zdynamo.get", [FETCH, FETCH])])
        assert recorder.trees() == [("order", [get_tree, put_tree])]


def test_coroutines_are_traced_alike(recorder: Recorder) -> None:
    async def work(cluster: Cluster) -> None:
        addresses = map(cluster.address, cluster.servers)
        async with AsyncClient(*addresses, context=cluster.context, tracing=recorder.provider) as client:
            await client.put("key", b"value")

    with cluster_of(recorder) as cluster:
        asyncio.run(work(cluster))

        eventually(lambda: recorder.trees() == [("zdynamo.client.put", [("zdynamo.put", [STORE, STORE])])])


def test_many_keys_in_a_call_are_one_trace(recorder: Recorder) -> None:
    with cluster_of(recorder) as cluster, client_of(cluster, recorder) as client:
        client.put_many({"a": 1, "b": 2})

        below = ("zdynamo.put", [STORE, STORE])
        eventually(lambda: recorder.trees() == [("zdynamo.client.many", [below, below])])


def test_a_delete_reads_and_writes_in_one_trace(recorder: Recorder) -> None:
    with cluster_of(recorder) as cluster, cluster.client("a") as client:
        client.ask(put(b"key", trace=context(sampled=False)))

        client.ask(delete(b"key", trace=context()))

        eventually(lambda: recorder.trees() == [("zdynamo.delete", [FETCH, FETCH, STORE, STORE])])


def test_a_request_that_is_handed_on_shows_both_nodes(recorder: Recorder) -> None:
    with cluster_of(recorder, "abcd") as cluster:
        stranger = "d"
        key = not_owned_by(cluster, stranger)
        with cluster.client(stranger) as client:
            assert isinstance(client.ask(put(key, trace=context(trace_id=7, span_id=8))), Done)

        eventually(lambda: recorder.trees() == [("zdynamo.put", [("zdynamo.put", [STORE, STORE])])])
        handed_on, coordinated = recorder.named("zdynamo.put")
        assert handed_on.parent and (handed_on.context.trace_id, handed_on.parent.span_id) == (7, 8)
        assert told(handed_on, "node") == "d" != told(coordinated, "node")


def test_requests_without_a_trace_are_sampled_at_their_coordinator(recorder: Recorder) -> None:
    with running("abc", spans=recorder.provider, tracing=ALWAYS) as cluster, cluster.client("b") as client:
        client.ask(put(b"key"))

        eventually(lambda: ("zdynamo.put", [STORE, STORE]) in recorder.trees())
        before = len(recorder.spans)
        client.ask(get(b"key", trace=context(sampled=False)))
        assert len(recorder.spans) == before


def test_a_malformed_trace_is_none(recorder: Recorder) -> None:
    with cluster_of(recorder) as cluster, cluster.client("a") as client:
        for malformed in (b"\0", bytes(25), b"\1" * 24, b"\1" * 26, b"\1" * 4_000):
            assert isinstance(client.ask(put(b"key", trace=malformed)), Done)
            assert isinstance(client.ask(get(b"key", trace=malformed)), Found)

            assert recorder.spans == [], malformed


def test_what_is_never_answered_ends_at_its_deadline(recorder: Recorder) -> None:
    fetch = FetchReplica(5, 100, (), b"\0\1\7defaultkey")
    of_a_stranger = Frame("another cluster", "stranger", 1, "a", 1, (fetch,), ((5, context()),))

    with cluster_of(recorder) as cluster, RawClient(cluster.context, "inproc://a-peer") as stranger:
        stranger.send_raw(codec.encode(of_a_stranger))

        eventually(lambda: [told(span, "outcome") for span in recorder.spans] == ["unanswered"])


def test_a_cluster_that_traces_nothing_serves_clients_that_do(recorder: Recorder) -> None:
    with running("abc") as cluster, client_of(cluster, recorder) as client:
        client.put("key", 1)

        assert client.get("key").value == 1
        assert recorder.trees() == [("zdynamo.client.put", []), ("zdynamo.client.get", [])]


def test_calls_that_fail_say_how(recorder: Recorder) -> None:
    with Client("127.0.0.1:9", tracing=recorder.provider) as client, pytest.raises(Unreachable):
        client.get("key")

    failed = recorder.named("zdynamo.client.get")[0]
    assert told(failed, "outcome") == "unreachable"
    assert not failed.status.is_ok
