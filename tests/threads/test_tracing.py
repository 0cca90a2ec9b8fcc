"""What a node remembers of traced requests: whose they are, what goes out for them, and when it forgets them."""

from collections.abc import Iterator

import pytest
from support.spans import Recorder, context, told

from threads.clusters import delete, get, put
from zdynamo.core.events import Reply, Send
from zdynamo.messages import (
    Done,
    FetchReplica,
    Forward,
    Forwarded,
    Frame,
    Get,
    HoldReplica,
    Ping,
    QuorumNotMet,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
    StoreReplica,
)
from zdynamo.partition import storage_key
from zdynamo.threads.tracing import LOOK_MS, OPEN_MAX, Asker, Tracer
from zdynamo.tracing.contexts import packed

CLIENT = b"client"
KEY = storage_key(b"default", b"key", 16)
FETCH = FetchReplica(5, 1_000, (), KEY)


class Traced:
    """A tracer of a node whose operations serve what the test says."""

    def __init__(self, *, sample_ratio: float = 0.0, drawn: float = 0.5) -> None:
        self.recorder = Recorder()
        self.serves: dict[int, Asker] = {}
        self.tracer = Tracer(
            self.recorder.provider,
            node="a",
            sample_ratio=sample_ratio,
            chance=lambda: drawn,
            asked_by=self.serves.get,
        )

    def frame(self, *messages: object, traces: tuple[tuple[int, bytes], ...]) -> Frame:
        return Frame("cl", "b", 1, "a", 1, messages, traces)  # type: ignore[arg-type]

    @property
    def outcomes(self) -> list[tuple[str, object]]:
        return [(span.name, told(span, "outcome")) for span in self.recorder.spans]


@pytest.fixture
def traced() -> Iterator[Traced]:
    made = Traced()
    yield made
    made.tracer.close()


def test_what_goes_out_for_a_traced_request_carries_the_context_of_its_span(traced: Traced) -> None:
    request = get(b"key", trace=context())
    traced.tracer.asked(CLIENT, [request], 0)
    traced.serves[5] = (CLIENT, request.request)

    traces = traced.tracer.leaving([Send("b", FETCH), Reply(CLIENT, Done(request.request, b""))])
    frame = traced.tracer.marked(traced.frame(Ping(5), FETCH, ReplicaStored(5), traces=()), traces)

    span = traced.recorder.spans[0]
    assert span.parent and (span.parent.trace_id, span.parent.span_id) == (0xABC, 0xDEF)
    assert frame.traces == ((5, packed(span.context.trace_id, span.context.span_id, 1)),)


def test_what_goes_out_for_others_carries_nothing(traced: Traced) -> None:
    traced.tracer.asked(CLIENT, [get(b"key", trace=context())], 0)
    traced.serves[5] = (CLIENT, b"another request!")
    frame = traced.frame(FETCH, traces=())

    assert traced.tracer.marked(frame, traced.tracer.leaving([Send("b", FETCH)])) is frame


def test_a_span_says_what_was_asked_and_how_it_ended(traced: Traced) -> None:
    removed = delete(b"key", trace=context(), attempt=2, r=1, w=3)

    traced.tracer.asked(CLIENT, [removed], 0)
    traced.tracer.leaving([Reply(CLIENT, QuorumNotMet(removed.request, 3, 1))])

    span = traced.recorder.named("zdynamo.delete")[0]
    assert {name.removeprefix("zdynamo."): value for name, value in (span.attributes or {}).items()} == {
        "node": "a", "bucket": "default", "key_hash": told(span, "key_hash"), "attempt": 2, "r": 1, "w": 3,
        "outcome": "quorum_not_met", "needed": 3, "got": 1,
    }  # fmt: skip
    assert not span.status.is_ok


def test_the_same_request_of_two_clients_is_two_spans(traced: Traced) -> None:
    request = put(b"key", trace=context())
    traced.tracer.asked(b"one", [request], 0)
    traced.tracer.asked(b"other", [request], 0)

    traced.tracer.leaving([Reply(b"one", Done(request.request, b""))])

    assert traced.outcomes == [("zdynamo.put", "done")]


@pytest.mark.parametrize(
    ("asked", "answer", "ended"),
    [
        (StoreReplica(5, 1_000, (), 0, KEY, b"r"), ReplicaStored(5), ("zdynamo.replica.store", "stored")),
        (HoldReplica(5, 1_000, (), 0, KEY, b"r", ("c",)), ReplicaStored(5), ("zdynamo.replica.hold", "stored")),
        (FETCH, ReplicaFetched(5, True, 0, b""), ("zdynamo.replica.fetch", "fetched")),
        (FETCH, ReplicaRefused(5, "disk"), ("zdynamo.replica.fetch", "refused")),
    ],
    ids=["store", "hold", "fetch", "refused"],
)
def test_a_replica_opens_a_span_that_ends_with_its_answer(
    traced: Traced, asked: object, answer: ReplicaStored, ended: tuple[str, str]
) -> None:
    traced.tracer.heard(traced.frame(asked, traces=((5, context()),)), 0)

    traced.tracer.leaving([Send("c", answer), Send("b", Ping(5))])
    assert traced.outcomes == []
    traced.tracer.leaving([Send("b", answer)])

    assert traced.outcomes == [ended]


def test_a_forwarded_request_is_a_child_of_who_forwards_it(traced: Traced) -> None:
    forwarded = get(b"key", trace=context(span_id=1))
    traced.tracer.heard(traced.frame(Forward(5, 1_000, 1, forwarded), traces=((5, context(span_id=2)),)), 0)
    traced.serves[9] = (("b", 5), forwarded.request)

    traces = traced.tracer.leaving([Send("c", FetchReplica(9, 1_000, (), KEY))])
    traced.tracer.leaving([Send("b", Forwarded(5, Done(forwarded.request, b"")))])

    span = traced.recorder.spans[0]
    assert span.parent and span.parent.span_id == 2
    assert traces[9][16:24] == span.context.span_id.to_bytes(8, "big")


@pytest.mark.parametrize(
    "traces",
    [((5, b""),), ((5, bytes(25)),), ((5, b"\1" * 26),), ((5, context(sampled=False)),), ((6, context()),)],
    ids=["empty", "zeros", "long", "not sampled", "of another"],
)
def test_contexts_that_are_none_of_it_open_nothing(traced: Traced, traces: tuple[tuple[int, bytes], ...]) -> None:
    traced.tracer.heard(traced.frame(FETCH, traces=traces), 0)
    traced.tracer.close()

    assert traced.outcomes == []


def test_a_share_of_what_comes_without_a_trace_begins_one() -> None:
    below, above = Traced(sample_ratio=0.5, drawn=0.49), Traced(sample_ratio=0.5, drawn=0.5)

    for traced in (below, above):
        traced.tracer.asked(CLIENT, [get(b"key"), get(b"key", trace=context(sampled=False))], 0)
        traced.tracer.close()

    assert [span.parent for span in below.recorder.spans] == [None]
    assert above.recorder.spans == []


def test_what_has_no_answer_ends_at_its_deadline(traced: Traced) -> None:
    traced.tracer.asked(CLIENT, [get(b"key", trace=context(), deadline_ms=1_500)], 0)
    traced.tracer.heard(traced.frame(FETCH, traces=((5, context()),)), 0)

    traced.tracer.look(LOOK_MS)
    assert traced.outcomes == [("zdynamo.replica.fetch", "unanswered")]
    traced.tracer.look(2 * LOOK_MS)

    assert ("zdynamo.get", "unanswered") in traced.outcomes


def test_no_deadline_keeps_a_span_for_long(traced: Traced) -> None:
    traced.tracer.asked(CLIENT, [get(b"key", trace=context(), deadline_ms=2**62)], 0)

    traced.tracer.look(60_000)

    assert traced.outcomes == [("zdynamo.get", "unanswered")]


def test_a_bounded_number_is_open(traced: Traced) -> None:
    requests: list[Get] = [get(b"key", trace=context()) for _ in range(OPEN_MAX + 10)]

    traced.tracer.asked(CLIENT, requests, 0)
    traced.tracer.heard(traced.frame(FETCH, traces=((5, context()),)), 0)
    traced.tracer.close()

    assert len(traced.recorder.spans) == OPEN_MAX


def test_a_request_that_comes_again_takes_the_place_of_the_first(traced: Traced) -> None:
    request = get(b"key", trace=context())

    traced.tracer.asked(CLIENT, [request, request], 0)
    traced.tracer.leaving([Reply(CLIENT, Done(request.request, b""))])

    assert sorted(traced.outcomes) == [("zdynamo.get", "done"), ("zdynamo.get", "unanswered")]


def test_nothing_is_traced_when_opentelemetry_is_switched_off_by_its_own_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    traced = Traced(sample_ratio=1.0)
    request = get(b"key", trace=context())
    traced.serves[5] = (CLIENT, request.request)

    traced.tracer.asked(CLIENT, [request], 0)

    assert not traced.tracer.leaving([Send("b", FETCH)])
