"""Spans of a client's calls; those of the nodes become their children. Imported only for clients that trace."""

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from zdynamo.client.events import DeadlinePassed, NoNodeReached
from zdynamo.client.sinks import Sink
from zdynamo.messages import (
    Absent,
    ClientRequest,
    ConditionFailed,
    Delete,
    Done,
    Found,
    Get,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
    Topology,
)
from zdynamo.tracing.contexts import NOT_SAMPLED
from zdynamo.tracing.spans import FAILED, REQUESTS, end, of_key, trace_of

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from zdynamo.client.base import OwnedDriver
    from zdynamo.client.doors import Door

DATA = (Get, Put, Delete)
NAMES: dict[type, str] = {Get: "zdynamo.client.get", Put: "zdynamo.client.put", Delete: "zdynamo.client.delete"}
MANY = "zdynamo.client.many"
OUTCOMES: dict[type, str] = {
    Found: "found",
    Absent: "absent",
    Done: "done",
    ConditionFailed: "condition_failed",
    QuorumNotMet: "quorum_not_met",
    OutcomeUnknown: "outcome_unknown",
    Overloaded: "overloaded",
    Refused: "refused",
    DeadlinePassed: "deadline_exceeded",
    NoNodeReached: "unreachable",
}


class TracingDriver:
    """A driver that opens a span for each call of data, under the span that is current where it is made."""

    def __init__(self, driver: "OwnedDriver", provider: "TracerProvider | None", *, only_below: bool = False) -> None:
        """`provider`: None for the one of the program. `only_below`: whoever calls has decided what is traced."""
        self._driver = driver
        self._only_below = only_below
        self._tracer = trace.get_tracer("zdynamo", tracer_provider=provider)
        self.pid = driver.pid

    @property
    def topology(self) -> Topology | None:
        return self._driver.topology

    def submit(self, request: ClientRequest, deadline_ms: int, sink: Sink, only_at: str = "") -> Any:
        if not isinstance(request, DATA):
            return self._driver.submit(request, deadline_ms, sink, only_at)
        if self._is_left_out:
            return self._driver.submit(replace(request, trace=NOT_SAMPLED), deadline_ms, sink, only_at)
        about = of_key(request.bucket, request.key)
        span = self._tracer.start_span(NAMES[type(request)], kind=SpanKind.CLIENT, attributes=about)
        traced = replace(request, trace=trace_of(span))
        return self._driver.submit(traced, deadline_ms, EndingSink(sink, span), only_at)

    def submit_many(self, requests: list[ClientRequest], deadline_ms: int, sink: Sink) -> Any:
        if self._is_left_out:
            return self._driver.submit_many(_traced(requests, NOT_SAMPLED), deadline_ms, sink)
        span = self._tracer.start_span(MANY, kind=SpanKind.CLIENT, attributes={REQUESTS: len(requests)})
        return self._driver.submit_many(_traced(requests, trace_of(span)), deadline_ms, EndingSink(sink, span))

    def withdraw(self, submitted: Any) -> None:
        if isinstance(submitted.sink, EndingSink):
            submitted.sink.withdrawn()
        self._driver.withdraw(submitted)

    def close(self) -> None:
        self._driver.close()

    @property
    def _is_left_out(self) -> bool:
        return self._only_below and not trace.get_current_span().is_recording()


class EndingSink:
    """Ends a span with the call, however that ends."""

    __slots__ = ("_sink", "_span")

    def __init__(self, sink: Sink, span: Span) -> None:
        self._sink = sink
        self._span = span

    def take(self, number: int, outcome: Any) -> "Door | None":
        end(self._span, _of_many(outcome) if isinstance(outcome, list) else _outcome(outcome))
        return self._sink.take(number, outcome)

    def fail(self, error: BaseException) -> None:
        end(self._span, "failed")
        self._sink.fail(error)

    def withdrawn(self) -> None:
        end(self._span, "withdrawn")


def _traced(requests: list[ClientRequest], context: bytes) -> list[ClientRequest]:
    return [replace(request, trace=context) if isinstance(request, DATA) else request for request in requests]


def _outcome(outcome: Any) -> str:
    return OUTCOMES.get(type(outcome), "unexpected")


def _of_many(outcomes: list[Any]) -> str:
    """The first that failed, or that none did."""
    return next((name for name in map(_outcome, outcomes) if name in FAILED), "answered")
