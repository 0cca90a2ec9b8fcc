"""Traces as a collector gets them from real processes, and nodes whose collector is not there."""

import json
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from killable import has_layout, wait_until
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from support.processes import Nodes, ended, is_whole, terminate

from zdynamo import Client
from zdynamo.cli.cluster import Child

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CLOSED = "http://127.0.0.1:9"


class Collected(NamedTuple):
    service: str
    instance: str
    name: str
    trace: str
    id: str
    parent: str


class Collector(ThreadingHTTPServer):
    """Takes what is posted to /v1/traces."""

    daemon_threads = False  # so that closing waits for them

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.spans: list[Collected] = []
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            about = {entry.key: entry.value.string_value for entry in resource.resource.attributes}
            self.spans += [
                Collected(
                    about["service.name"], about["service.instance.id"], span.name,
                    span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
                )
                for scope in resource.scope_spans
                for span in scope.spans
            ]  # fmt: skip

    def close(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.path == "/v1/traces":
            self.server.take(body)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Not to the screen."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


def trio(nodes: Nodes, monkeypatch: pytest.MonkeyPatch, **settings: str) -> list[Child]:
    """With HTTP at the first; all trace to where the settings say."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    first = nodes.start("a", 0, "--found", "--min-members=3", "--http=process", memory=True)
    rest = [
        nodes.start(name, place, f"--seed={first.address}", "--min-members=3", memory=True)
        for place, name in ((1, "b"), (2, "c"))
    ]
    wait_until(lambda: all(is_whole(child, [first, *rest]) for child in [first, *rest]))
    with Client(first.address) as client:
        client.put("first", 1)
    wait_until(lambda: all(has_layout(child) for child in [first, *rest]))
    return [first, *rest]


def test_a_collector_gets_the_whole_trace_of_a_request_over_http(
    nodes: Nodes, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = trio(
        nodes, monkeypatch, ZDYNAMO_TRACING_EXPORTER="otlp", ZDYNAMO_TRACING_ENDPOINT=collector.url,
        ZDYNAMO_TRACING_SAMPLE_RATIO="0", OTEL_BSP_SCHEDULE_DELAY="100", OTEL_SERVICE_NAME="shop-store",
    )  # fmt: skip
    url = f"http://127.0.0.1:{first.port + 3}/v1/buckets/default/keys/key"

    asked = urllib.request.Request(url, b"value", {"traceparent": TRACEPARENT}, method="PUT")
    with urllib.request.urlopen(asked) as answer:
        assert answer.status == 204
    wait_until(lambda: len(collector.spans) >= 5)

    by_name = {span.name: span for span in collector.spans}
    http, call, put = (
        by_name[name] for name in ("PUT /v1/buckets/{bucket}/keys/{key}", "zdynamo.client.put", "zdynamo.put")
    )
    stores = [span for span in collector.spans if span.name == "zdynamo.replica.store"]
    assert {span.trace for span in collector.spans} == {"0af7651916cd43dd8448eb211c80319c"}
    assert {span.service for span in collector.spans} == {"shop-store"}
    assert (http.parent, call.parent, put.parent) == ("b7ad6b7169203331", http.id, call.id)
    assert [store.parent for store in stores] == [put.id, put.id]
    assert sorted([put.instance, *(store.instance for store in stores)]) == ["a", "b", "c"]


def test_a_collector_that_is_not_there_is_said_once_and_costs_nothing_else(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    trio_ = trio(
        nodes, monkeypatch, ZDYNAMO_TRACING_EXPORTER="otlp", ZDYNAMO_TRACING_ENDPOINT=CLOSED,
        ZDYNAMO_TRACING_SAMPLE_RATIO="1", OTEL_BSP_SCHEDULE_DELAY="20", OTEL_BSP_MAX_QUEUE_SIZE="64",
        OTEL_BSP_MAX_EXPORT_BATCH_SIZE="16",
    )  # fmt: skip
    first = trio_[0]

    with Client(first.address) as client:
        for number in range(500):
            client.put(f"key/{number}", number)
        assert [client.get(f"key/{number}").value for number in range(500)] == list(range(500))
    wait_until(lambda: "traces.not_exported" in first.log.read_text())
    code, _ = terminate(first)

    said = first.log.read_text().splitlines()
    assert (code, sum("traces.not_exported" in line for line in said)) == (0, 1)
    assert all(line.startswith("{") for line in said), "nothing but events of the log"


def test_a_node_whose_collector_hangs_serves_and_stops(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        trio_ = trio(
            nodes, monkeypatch, ZDYNAMO_TRACING_EXPORTER="otlp", ZDYNAMO_TRACING_SAMPLE_RATIO="1",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}", OTEL_BSP_SCHEDULE_DELAY="20",
        )  # fmt: skip
        with Client(trio_[0].address) as client:
            client.put("key", 1)
            connection, _ = silent.accept()  # and never answers
            with connection:
                assert client.get("key").value == 1
                code, _ = terminate(trio_[0])

    assert code == 0


def test_spans_go_to_standard_error_for_trying_it_out(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trio(
        nodes, monkeypatch, ZDYNAMO_TRACING_EXPORTER="console", ZDYNAMO_TRACING_SAMPLE_RATIO="1",
        OTEL_BSP_SCHEDULE_DELAY="20",
    )[0]  # fmt: skip

    def shown() -> list[dict[str, Any]]:
        return [json.loads(line) for line in first.log.read_text().splitlines() if '"trace_id"' in line]

    with Client(first.address) as client:
        client.put("key", 1)
    wait_until(lambda: {span["name"] for span in shown()} & {"zdynamo.put", "zdynamo.replica.store"} != set())


def test_a_node_without_the_extra_says_what_to_install(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    missing.mkdir()
    (missing / "sitecustomize.py").write_text("import sys\nsys.modules['opentelemetry'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(missing))
    monkeypatch.setenv("ZDYNAMO_TRACING_EXPORTER", "otlp")

    code, said = ended(nodes.start("a", 0, "--found", memory=True))

    assert code == 2
    assert said == [
        "zdynamo: tracing.exporter is otlp, and that needs OpenTelemetry (it is not installed): "
        "pip install 'zdynamo[otel]', or set it to off"
    ]


def test_a_variable_of_opentelemetry_that_is_wrong_is_told_in_one_line(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZDYNAMO_TRACING_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")

    code, said = ended(nodes.start("a", 0, "--found", memory=True))

    assert code == 1
    assert len(said) == 1 and said[0].startswith("zdynamo: tracing: OpenTelemetry cannot be set up (")
