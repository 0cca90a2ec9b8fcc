"""A span for each request for data, below the one in its header `traceparent`. Imported only where traces are on."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from zdynamo.tracing.spans import NO_PARENT

HEADERS = (b"traceparent", b"tracestate")


class RequestSpans:
    """Makes what a handler asks of the cluster part of a trace."""

    def __init__(self, provider: TracerProvider, *, sample_ratio: float, chance: Callable[[], float]) -> None:
        """`sample_ratio`: the share that is traced of what comes without a trace; `chance`: of 0 to below 1."""
        self._tracer = provider.get_tracer("zdynamo")
        self._propagator = TraceContextTextMapPropagator()
        self._sample_ratio = sample_ratio
        self._chance = chance

    def begun(self, scope: Scope, template: str) -> Span | None:
        """None if it is not to be traced. The span names the route, not the path: that has the key in it."""
        told = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}
        parent = self._propagator.extract(told, NO_PARENT) if told else NO_PARENT
        above = trace.get_current_span(parent).get_span_context()
        if not (above.trace_flags.sampled if above.is_valid else self._chance() < self._sample_ratio):
            return None
        method = scope["method"]
        about = {"http.request.method": method, "http.route": template}
        return self._tracer.start_span(f"{method} {template}", parent, SpanKind.SERVER, about)

    def current(self, span: Span) -> AbstractContextManager[Span]:
        """While the request is served, and ended then."""
        return trace.use_span(span, end_on_exit=True)

    def answered(self, span: Span, status: int) -> None:
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
