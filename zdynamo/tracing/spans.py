"""Contexts to OpenTelemetry's and back. Imports OpenTelemetry: to be imported only where traces are switched on."""

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from zdynamo.partition import hash_of
from zdynamo.tracing.contexts import NOT_TRACED, is_context, packed, unpacked

Attributes = Mapping[str, str | int]
NODE = "zdynamo.node"
BUCKET = "zdynamo.bucket"
KEY_HASH = "zdynamo.key_hash"
ATTEMPT = "zdynamo.attempt"
R, W = "zdynamo.r", "zdynamo.w"
OUTCOME = "zdynamo.outcome"
NEEDED, GOT = "zdynamo.needed", "zdynamo.got"
SIBLINGS = "zdynamo.siblings"
REASON = "zdynamo.reason"
REQUESTS = "zdynamo.requests"
NO_PARENT = Context()  # not whatever is current in this thread
FAILED = frozenset(
    {
        "quorum_not_met", "outcome_unknown", "overloaded", "refused", "deadline_exceeded", "unreachable", "unanswered",
        "unexpected", "failed",
    }
)  # fmt: skip  # outcomes


def parent_of(trace: bytes) -> Context:
    """What a span that a message asks for is a child of."""
    if not is_context(trace):
        return NO_PARENT
    trace_id, span_id, flags = unpacked(trace)
    context = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return set_span_in_context(NonRecordingSpan(context), NO_PARENT)


def trace_of(span: Span) -> bytes:
    """What messages carry so that others' spans become children of this one."""
    context = span.get_span_context()
    return packed(context.trace_id, context.span_id, context.trace_flags) if context.is_valid else NOT_TRACED


def of_key(bucket: str, key: bytes) -> dict[str, str | int]:
    """What spans tell of a key: never the key itself."""
    return {BUCKET: bucket, KEY_HASH: f"{hash_of(bucket.encode(), key):016x}"}


def end(span: Span, outcome: str) -> None:
    span.set_attribute(OUTCOME, outcome)
    if outcome in FAILED:
        span.set_status(Status(StatusCode.ERROR, outcome))
    span.end()
