"""Spans of what a node does for requests that are traced: at their coordinator, and at replicas.

For the process thread. The core knows nothing of it: what came with a context, or was drawn by lot, is remembered by
whose request it is, and what goes out for that request carries the context of its span.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, TypeVar

from msgspec.structs import replace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Span, SpanKind

from zdynamo.core.coordinator.pending import Origin
from zdynamo.core.events import Effect, Reply, Send
from zdynamo.core.served import OUTCOMES
from zdynamo.messages import (
    ClientAnswer,
    ClientRequest,
    Delete,
    FetchReplica,
    Forward,
    Forwarded,
    Found,
    Frame,
    Get,
    HoldReplica,
    NodeId,
    OutcomeUnknown,
    PeerMessage,
    Put,
    QuorumNotMet,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
    StoreReplica,
)
from zdynamo.partition import hash_of_storage_key
from zdynamo.tracing.contexts import is_context, is_sampled
from zdynamo.tracing.spans import (
    ATTEMPT,
    GOT,
    KEY_HASH,
    NEEDED,
    NODE,
    REASON,
    SIBLINGS,
    Attributes,
    R,
    W,
    end,
    of_key,
    parent_of,
    trace_of,
)

OPEN_MAX = 4_096  # spans at a time; what comes while there are so many is not traced
LOOK_MS = 1_000  # between looks at what has had no answer until its deadline
DEADLINE_MS_MAX = 60_000  # of a span, whatever deadline came with it

DATA = (Get, Put, Delete)
REQUESTS: dict[type, str] = {Get: "zdynamo.get", Put: "zdynamo.put", Delete: "zdynamo.delete"}
REPLICAS: dict[type, str] = {
    StoreReplica: "zdynamo.replica.store",
    FetchReplica: "zdynamo.replica.fetch",
    HoldReplica: "zdynamo.replica.hold",
}
ASKING = (StoreReplica, FetchReplica, HoldReplica, Forward)
REPLICA_OUTCOMES: dict[type, str] = {ReplicaStored: "stored", ReplicaFetched: "fetched", ReplicaRefused: "refused"}
UNANSWERED = "unanswered"

Asker = tuple[Origin, bytes]  # whose request, and the client's id of it
Asked = tuple[NodeId, int]  # which peer has asked, and its number of it
Traces = dict[int, bytes]  # contexts by the number of what goes out
K = TypeVar("K", Asker, Asked)


class Open(NamedTuple):
    """A span that has not ended."""

    span: Span
    trace: bytes
    due_ms: int  # then it is ended


class Tracer:
    """The open spans of one node."""

    def __init__(
        self,
        provider: TracerProvider,
        *,
        node: str,
        sample_ratio: float,
        chance: Callable[[], float],
        asked_by: Callable[[int], Asker | None],
    ) -> None:
        """`chance`: of 0 to below 1. `asked_by`: whose request an operation of this node serves."""
        self._tracer = provider.get_tracer("zdynamo")
        self._node = node
        self._sample_ratio = sample_ratio
        self._chance = chance
        self._asked_by = asked_by
        self._requests: dict[Asker, Open] = {}
        self._replicas: dict[Asked, Open] = {}
        self._look_ms = 0

    def asked(self, client: bytes, requests: Iterable[ClientRequest], now_ms: int) -> None:
        """Before the node is stepped with them."""
        for request in requests:
            if not isinstance(request, DATA):
                continue
            trace = request.trace
            if is_sampled(trace) if trace and is_context(trace) else self._chance() < self._sample_ratio:
                self._open_request((client, request.request), request, trace, request.deadline_ms, now_ms)

    def heard(self, frame: Frame, now_ms: int) -> None:
        """Before the node is stepped with it."""
        traces = {number: trace for number, trace in frame.traces if is_context(trace) and is_sampled(trace)}
        for message in frame.messages if traces else ():
            if not isinstance(message, ASKING) or message.request not in traces:
                continue
            trace = traces[message.request]
            if isinstance(message, Forward):
                asker = ((frame.sender, message.request), message.message.request)
                self._open_request(asker, message.message, trace, message.deadline_ms, now_ms)
                continue
            about: Attributes = {KEY_HASH: f"{hash_of_storage_key(message.key):016x}"}
            opened = self._open(REPLICAS[type(message)], about, trace, message.deadline_ms, now_ms)
            if opened:
                _put(self._replicas, (frame.sender, message.request), opened)

    def leaving(self, effects: list[Effect]) -> Traces:
        """Ends the spans of what is answered, and tells which contexts go with what is asked of others.

        After the commit, before the effects are carried out.
        """
        traces: Traces = {}
        if self._requests:
            self._trace_what_is_asked(effects, traces)  # before any ends: in one turn it may ask others and be answered
            for effect in effects:
                if type(effect) is Reply:
                    self._end_request((effect.client, effect.answer.request), effect.answer)
                elif type(effect) is Send and type(effect.message) is Forwarded:
                    answer = effect.message.answer
                    self._end_request(((effect.to, effect.message.request), answer.request), answer)
        if self._replicas:
            for effect in effects:
                if type(effect) is Send and type(effect.message) in REPLICA_OUTCOMES:
                    self._end_replica(effect.to, effect.message)
        return traces

    def marked(self, frame: Frame, traces: Traces) -> Frame:
        """One that tells the contexts of those of its messages that are traced."""
        told = tuple(
            (message.request, traces[message.request])
            for message in frame.messages
            if isinstance(message, ASKING) and message.request in traces
        )
        return replace(frame, traces=told) if told else frame

    def look(self, now_ms: int) -> None:
        """End what has had no answer until its deadline. Call now and then."""
        if now_ms < self._look_ms:
            return
        self._look_ms = now_ms + LOOK_MS
        _end_late(self._requests, now_ms)
        _end_late(self._replicas, now_ms)

    def close(self) -> None:
        """End all."""
        for opened in (*self._requests.values(), *self._replicas.values()):
            end(opened.span, UNANSWERED)
        self._requests.clear()
        self._replicas.clear()

    def _open_request(
        self, asker: Asker, request: Get | Put | Delete, trace: bytes, deadline_ms: int, now_ms: int
    ) -> None:
        about = of_key(request.bucket, request.key)
        if isinstance(request, Put | Delete):
            about[ATTEMPT] = request.attempt
            if request.w:
                about[W] = request.w
        if isinstance(request, Get | Delete) and request.r:
            about[R] = request.r
        opened = self._open(REQUESTS[type(request)], about, trace, deadline_ms, now_ms)
        if opened:
            _put(self._requests, asker, opened)

    def _open(self, name: str, about: Attributes, trace: bytes, deadline_ms: int, now_ms: int) -> Open | None:
        if len(self._requests) + len(self._replicas) >= OPEN_MAX:
            return None
        span = self._tracer.start_span(name, parent_of(trace), SpanKind.SERVER, {NODE: self._node, **about})
        context = trace_of(span)
        if not span.is_recording() or not context:  # OpenTelemetry is switched off by a variable of its own
            return None
        return Open(span, context, now_ms + min(max(deadline_ms, 0), DEADLINE_MS_MAX))

    def _trace_what_is_asked(self, effects: list[Effect], traces: Traces) -> None:
        asked_by, requests, last = self._asked_by, self._requests, 0
        for effect in effects:
            if type(effect) is Send and isinstance(effect.message, ASKING):
                number = effect.message.request
                if number == last:  # the same is asked of several, one after the other
                    continue
                last = number
                opened = requests.get(asked_by(number))  # type: ignore[arg-type]
                if opened is not None:
                    traces[number] = opened.trace

    def _end_request(self, asker: Asker, answer: ClientAnswer) -> None:
        opened = self._requests.pop(asker, None)
        if opened is not None:
            _describe(opened.span, answer)
            end(opened.span, OUTCOMES[type(answer)])

    def _end_replica(self, peer: NodeId, message: PeerMessage) -> None:
        assert isinstance(message, ReplicaStored | ReplicaFetched | ReplicaRefused)
        opened = self._replicas.pop((peer, message.request), None)
        if opened is None:
            return
        if isinstance(message, ReplicaRefused):
            opened.span.set_attribute(REASON, message.reason)
        end(opened.span, REPLICA_OUTCOMES[type(message)])


def _put(spans: dict[K, Open], key: K, opened: Open) -> None:
    """One that was there is of an earlier attempt, and will not be answered on its own."""
    before = spans.pop(key, None)
    if before is not None:
        end(before.span, UNANSWERED)
    spans[key] = opened


def _end_late(spans: dict[K, Open], now_ms: int) -> None:
    for key in [key for key, opened in spans.items() if opened.due_ms <= now_ms]:
        end(spans.pop(key).span, UNANSWERED)


def _describe(span: Span, answer: ClientAnswer) -> None:
    if isinstance(answer, QuorumNotMet | OutcomeUnknown):
        span.set_attributes({NEEDED: answer.needed, GOT: answer.got})
    elif isinstance(answer, Found) and len(answer.siblings) > 1:
        span.set_attribute(SIBLINGS, len(answer.siblings))
