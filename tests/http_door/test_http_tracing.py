"""A request over HTTP is part of the trace that its header names, down to the replicas."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.asgi import Http
from support.spans import Recorder, told
from threads.clusters import eventually, running

from zdynamo.client.io_loop import LoopClient
from zdynamo.config import TracingSettings
from zdynamo.http.spans import RequestSpans

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = TRACEPARENT[:-1] + "0"
STORE = ("zdynamo.replica.store", [])
PUT = ("zdynamo.client.put", [("zdynamo.put", [STORE, STORE])])
ROUTE = "/v1/buckets/{bucket}/keys/{key}"
PATH = "/v1/buckets/default/keys/secret"


@contextmanager
def traced(recorder: Recorder, *, sample_ratio: float = 1.0) -> Iterator[Http]:
    always = TracingSettings(sample_ratio=1.0)  # nodes would trace whatever comes without a word about it
    with running("abc", spans=recorder.provider, tracing=always) as cluster, asyncio.Runner() as runner:
        addresses = [cluster.address(name) for name in "abc"]
        client = LoopClient(*addresses, deadline_ms=3_000, context=cluster.context, tracing=recorder.provider)
        try:
            runner.run(client.topology())
            runner.run(client.put("first", 1))
            assert recorder.spans == []
            spans = RequestSpans(recorder.provider, sample_ratio=sample_ratio, chance=lambda: 0.5)
            yield Http(runner, client, addresses[0], spans)
        finally:
            runner.run(client.close())


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_the_header_traceparent_is_honoured(recorder: Recorder) -> None:
    with traced(recorder) as http:
        assert http.put(PATH, b"value", traceparent=TRACEPARENT).status == 204

        eventually(lambda: recorder.trees() == [(f"PUT {ROUTE}", [PUT])])
        top = recorder.named(f"PUT {ROUTE}")[0]
        assert top.parent and f"{top.context.trace_id:032x}" == "0af7651916cd43dd8448eb211c80319c"
        assert f"{top.parent.span_id:016x}" == "b7ad6b7169203331"
        assert dict(top.attributes or {}) == {
            "http.request.method": "PUT", "http.route": ROUTE, "http.response.status_code": 204,
        }  # fmt: skip
        assert not any("secret" in str(dict(span.attributes or {})) for span in recorder.spans)


def test_a_trace_that_is_not_sampled_stays_so(recorder: Recorder) -> None:
    with traced(recorder) as http:
        assert http.put(PATH, b"value", traceparent=UNSAMPLED).status == 204

        assert recorder.spans == []


def test_a_header_that_is_none_begins_a_trace(recorder: Recorder) -> None:
    none = ["", "garbage", "00-0-0-01", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "ÿ" * 55]
    with traced(recorder) as http:
        for header in none:
            assert http.put(PATH, b"value", traceparent=header).status == 204

        tops = recorder.named(f"PUT {ROUTE}")
        assert [top.parent for top in tops] == [None] * len(none)
        assert len({top.context.trace_id for top in tops}) == len(none)


def test_what_is_not_drawn_here_is_not_traced_further_on(recorder: Recorder) -> None:
    with traced(recorder, sample_ratio=0.4) as http:
        assert http.put(PATH, b"value").status == 204
        operations = [{"op": "put", "key": "a", "value": 1}, {"op": "get", "key": "b"}]
        assert http.ask("POST", "/v1/buckets/default/keys", {"operations": operations}).status == 200

        assert recorder.spans == []


def test_requests_for_many_keys_are_one_trace(recorder: Recorder) -> None:
    with traced(recorder) as http:
        operations = [{"op": "put", "key": "a", "value": 1}, {"op": "put", "key": "b", "value": 2}]
        assert http.ask("POST", "/v1/buckets/default/keys", {"operations": operations}).status == 200

        below = ("zdynamo.put", [STORE, STORE])
        whole = ("POST /v1/buckets/{bucket}/keys", [("zdynamo.client.many", [below, below])])
        eventually(lambda: recorder.trees() == [whole])


def test_an_answer_that_is_an_error_is_told(recorder: Recorder) -> None:
    with traced(recorder) as http:
        assert http.get("/kvstore/nothing").status == 404

    top = recorder.named("GET /kvstore/{key}")[0]
    assert (top.attributes or {})["http.response.status_code"] == 404
    assert told(recorder.named("zdynamo.client.get")[0], "outcome") == "absent"


def test_what_is_no_data_is_not_traced(recorder: Recorder) -> None:
    with traced(recorder) as http:
        for path in (
            "/ping",
            "/members",
            "/metrics",
            "/healthz",
            "/nothing",
            "/openapi.json",
            "/",
            "/v1/events?limit=1",
        ):
            http.get(path, traceparent=TRACEPARENT)

            assert recorder.spans == [], path
