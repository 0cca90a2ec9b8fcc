"""Contexts as they travel, where spans go, and what is said when they cannot."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdynamo import AsyncClient, Client
from zdynamo.config import TracingSettings
from zdynamo.errors import ConfigError
from zdynamo.loading import load
from zdynamo.tracing.contexts import is_context, is_sampled, packed, unpacked
from zdynamo.tracing.export import Export
from zdynamo.tracing.setup import check_installed, open_export


def unsaid(reason: str) -> None:
    raise AssertionError(reason)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_a_context_is_read_as_it_was_written(trace_id: int, span_id: int, flags: int) -> None:
    context = packed(trace_id, span_id, flags)

    assert is_context(context)
    assert unpacked(context) == (trace_id, span_id, flags)
    assert is_sampled(context) is bool(flags & 1)


@pytest.mark.parametrize("trace", [b"", b"\1", bytes(25), b"\1" * 24, b"\1" * 26, bytes(16) + b"\1" * 9])
def test_other_bytes_are_no_context(trace: bytes) -> None:
    assert not is_context(trace)


def test_nothing_is_opened_when_it_is_off() -> None:
    assert open_export(TracingSettings(), instance="a", say=unsaid) is None


@pytest.mark.parametrize(
    ("endpoint", "variables", "posted_to"),
    [
        ("", {}, "http://localhost:4318/v1/traces"),
        ("http://127.0.0.1:4000", {}, "http://127.0.0.1:4000/v1/traces"),
        ("http://127.0.0.1:4000/", {}, "http://127.0.0.1:4000/v1/traces"),
        ("http://127.0.0.1:4000/of/mine", {}, "http://127.0.0.1:4000/of/mine"),
        ("", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:5000"}, "http://127.0.0.1:5000/v1/traces"),
        (
            "http://127.0.0.1:4000",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:5000"},
            "http://127.0.0.1:4000/v1/traces",
        ),
    ],
)
def test_where_spans_are_posted(
    endpoint: str, variables: dict[str, str], posted_to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    export = Export(TracingSettings(exporter="otlp", endpoint=endpoint), instance="a", say=unsaid)

    assert export._exporter._endpoint == posted_to  # type: ignore[attr-defined]
    export.close()


def test_variables_name_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    export = Export(TracingSettings(exporter="console"), instance="a", say=unsaid)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    renamed = Export(TracingSettings(exporter="console"), instance="a", say=unsaid)

    for made in (export, renamed):
        made.close()
    about = export.provider.resource.attributes
    assert (about["service.name"], about["service.instance.id"]) == ("zdynamo", "a")
    assert about["deployment.environment.name"] == "test"
    assert renamed.provider.resource.attributes["service.name"] == "shop"


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)

    with pytest.raises(ConfigError, match=r"pip install 'zdynamo\[otel\]'"):
        check_installed(TracingSettings(exporter="otlp"))
    with pytest.raises(ImportError, match=r"pip install 'zdynamo\[otel\]'"):
        Client("127.0.0.1:9", tracing=True)
    with pytest.raises(ImportError, match=r"pip install 'zdynamo\[otel\]'"):
        AsyncClient("127.0.0.1:9", tracing=True)
    check_installed(TracingSettings())
    Client("127.0.0.1:9").close()


@pytest.mark.parametrize("endpoint", ["localhost:4318", "http://", "grpc://localhost:4317"])
def test_an_endpoint_is_a_url(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"ZDYNAMO_TRACING_ENDPOINT is .*: write it as a URL"):
        load(None, {"ZDYNAMO_TRACING_ENDPOINT": endpoint}, {})


@pytest.mark.parametrize("ratio", ["-0.1", "1.1", "nan", "many"])
def test_a_ratio_is_between_0_and_1(ratio: str) -> None:
    with pytest.raises(ConfigError, match="ZDYNAMO_TRACING_SAMPLE_RATIO"):
        load(None, {"ZDYNAMO_TRACING_SAMPLE_RATIO": ratio}, {})
