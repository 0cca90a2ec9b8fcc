"""Spans as they are recorded, and as trees that tests compare."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from zdynamo.tracing.contexts import packed

Tree = tuple[str, list["Tree"]]


class Recorder:
    """A provider, and all spans that have ended."""

    def __init__(self) -> None:
        self._kept = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)  # as nodes have it
        self.provider.add_span_processor(SimpleSpanProcessor(self._kept))

    @property
    def spans(self) -> list[ReadableSpan]:
        return sorted(self._kept.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def trees(self) -> list[Tree]:
        """Names below their parents; those with a parent that is not here are roots, too."""
        known = {span.context.span_id for span in self.spans}
        return [self._tree(span) for span in self.spans if span.parent is None or span.parent.span_id not in known]

    def _tree(self, span: ReadableSpan) -> Tree:
        children = [other for other in self.spans if other.parent and other.parent.span_id == span.context.span_id]
        assert all(child.context.trace_id == span.context.trace_id for child in children)
        return span.name, sorted(self._tree(child) for child in children)


def told(span: ReadableSpan, name: str) -> object:
    """An attribute, by its last part."""
    return (span.attributes or {}).get(f"zdynamo.{name}")


def context(trace_id: int = 0xABC, span_id: int = 0xDEF, *, sampled: bool = True) -> bytes:
    return packed(trace_id, span_id, int(sampled))
