"""Trace contexts as messages carry them: W3C in binary, 16 bytes of the trace, 8 of the parent span, 1 of flags."""

CONTEXT_BYTES = 25
NOT_TRACED = b""
SAMPLED = 0x01  # of the flags: whoever opened the trace wants the spans of others in it


def is_context(trace: bytes) -> bool:
    """Whether it is one; what is not is as good as none."""
    return len(trace) == CONTEXT_BYTES and any(trace[:16]) and any(trace[16:24])


def is_sampled(trace: bytes) -> bool:
    """Of a context: whether spans are wanted."""
    return bool(trace[24] & SAMPLED)


def packed(trace_id: int, span_id: int, flags: int) -> bytes:
    return trace_id.to_bytes(16, "big") + span_id.to_bytes(8, "big") + bytes((flags & 0xFF,))


def unpacked(trace: bytes) -> tuple[int, int, int]:
    """Trace id, span id, flags."""
    return int.from_bytes(trace[:16], "big"), int.from_bytes(trace[16:24], "big"), trace[24]


NOT_SAMPLED = packed(1, 1, 0)  # whoever asks has decided that this is not to be traced
