"""Spans on their way out: OpenTelemetry's provider with a thread that exports batches, and a bounded end.

Nobody waits for a collector: what it does not take in time is dropped, and that is said now and then.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from zdynamo import __version__
from zdynamo.config import TracingSettings

SAID_EVERY_S = 60.0  # that spans cannot be exported
FLUSH_S = 0.3  # that the last spans have to leave when the process is to end
GIVE_UP_S = 0.2  # after that, for an export that waits to be tried again
PATH = "/v1/traces"
LOGGER = logging.getLogger("opentelemetry")


class Export:
    """Where spans go. `provider` makes tracers."""

    def __init__(self, settings: TracingSettings, *, instance: str, say: Callable[[str], None]) -> None:
        """`instance`: the name of this process. `say`: told now and then why spans are lost, from any thread.

        All spans are kept: whoever opens one has decided that. What variables OTEL_... say of resource, batches and the
        collector is taken, unless a setting says it.
        """
        own = {"service.name": "zdynamo", "service.instance.id": instance, "service.version": __version__}
        self._listener = _Listener(say)
        LOGGER.addHandler(self._listener)
        LOGGER.propagate = False
        self._exporter = _exporter(settings)
        self.provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.get_empty().merge(Resource(own)).merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self.provider.add_span_processor(BatchSpanProcessor(self._exporter))

    def close(self) -> None:
        """Export what is left, if that can be done at once."""
        self._listener.muted = True
        ending = threading.Thread(target=self.provider.shutdown, name="spans", daemon=True)
        ending.start()
        ending.join(FLUSH_S)
        if ending.is_alive():
            self._exporter.shutdown()
            ending.join(GIVE_UP_S)
        LOGGER.removeHandler(self._listener)


class _Listener(logging.Handler):
    """Takes what OpenTelemetry logs, which would go to standard error as it stands."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say
        self._due_s = 0.0
        self.muted = False

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if now >= self._due_s and not self.muted:
            self._due_s = now + SAID_EVERY_S
            self._say(record.getMessage())


def _exporter(settings: TracingSettings) -> SpanExporter:
    if settings.exporter == "console":
        return ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + os.linesep)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    endpoint = settings.endpoint
    if endpoint and urlsplit(endpoint).path in ("", "/"):
        endpoint = endpoint.rstrip("/") + PATH
    return OTLPSpanExporter(endpoint=endpoint or None)
