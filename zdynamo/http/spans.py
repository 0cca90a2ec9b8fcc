"""A span for each request for data, below the one in its header `traceparent`. Imported only where traces are on."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import Scope

from zdynamo.tracing.spans import NO_PARENT

HEADERS = (b"traceparent", b"tracestate")


class RequestSpans:
    """Makes what a handler asks of the cluster part of a trace."""

    def __init__(self, provider: TracerProvider) -> None:
        self._tracer = provider.get_tracer("zdynamo")
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def opened(self, scope: Scope, template: str) -> Iterator[Span]:
        """Current while the request is served. It names the route, not the path: that has the key in it."""
        told = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}
        method = scope["method"]
        with self._tracer.start_as_current_span(
            f"{method} {template}",
            self._propagator.extract(told, NO_PARENT) if told else NO_PARENT,
            SpanKind.SERVER,
            {"http.request.method": method, "http.route": template},
        ) as span:
            yield span

    def answered(self, span: Span, status: int) -> None:
        span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
