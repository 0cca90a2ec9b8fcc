"""A user's arguments made into a request that the cluster will not turn down for its form.

Each raises `Refused` for what the cluster would refuse, in the cluster's words, and TypeError for the wrong type. How
large keys and values may be is the cluster's to say: the core checks that.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from zdynamo.errors import Refused
from zdynamo.messages import CONTEXT_BYTES_MAX, TTL_MS_MAX, Delete, Explain, Get, Put
from zdynamo.partition import BUCKET_BYTES_MAX

COPIES_MAX = 255  # far above any N, which only the cluster knows
DEADLINE_MS_MAX = 2**31  # of a call; what a node gets of it is in `calls`
BY_BUCKET = -1  # a value expires as its bucket says
UNSENT = bytes(16)  # the core fills in the request id, as well as cluster and deadline


def make_get(key: str | bytes, bucket: str, *, r: int | None = None, pr: int | None = None) -> Get:
    return Get(UNSENT, "", 0, check_bucket(bucket), check_key(key), check_copies("r", r), check_copies("pr", pr))


def make_put(
    key: str | bytes,
    stored: tuple[str, bytes],
    bucket: str,
    *,
    context: bytes | None = None,
    w: int | None = None,
    pw: int | None = None,
    ttl_ms: int | None = None,
    if_absent: bool = False,
    if_context: bytes | None = None,
) -> Put:
    """`stored`: as `encode_value` gives it. Raises: ValueError for conditions that do not go together."""
    named, copies, strict = check_key(key), check_copies("w", w), check_copies("pw", pw)
    lives_ms = BY_BUCKET if ttl_ms is None else check_ttl(ttl_ms)
    seen = check_context(context)
    condition: Literal["", "absent", "unchanged"] = ""
    if if_absent or if_context is not None:
        seen, condition = _condition(if_absent, if_context, context)
    content_type, value = stored
    return Put(
        UNSENT, "", 0, check_bucket(bucket), named, value, content_type, 1, seen, copies, strict, lives_ms, condition
    )


def make_delete(
    key: str | bytes,
    bucket: str,
    *,
    context: bytes | None = None,
    r: int | None = None,
    w: int | None = None,
) -> Delete:
    named, seen = check_key(key), check_context(context)
    return Delete(UNSENT, "", 0, check_bucket(bucket), named, 1, seen, check_copies("r", r), check_copies("w", w))


def make_explain(key: str | bytes, bucket: str) -> Explain:
    return Explain(UNSENT, "", 0, check_bucket(bucket), check_key(key))


def _condition(
    if_absent: bool, if_context: bytes | None, context: bytes | None
) -> tuple[bytes, Literal["absent", "unchanged"]]:
    """The context and the condition of a put that has one."""
    if context is not None:
        raise ValueError("context goes with a put that has no condition: leave it out")
    if if_absent and if_context is not None:
        raise ValueError("if_absent and if_context rule each other out: give one of them")
    if not isinstance(if_absent, bool):
        raise TypeError(f"if_absent is a bool, not {type(if_absent).__name__}")
    return (b"", "absent") if if_absent else (check_context(if_context), "unchanged")


def check_key(key: str | bytes) -> bytes:
    named = _bytes("key", key)
    if not named:
        raise Refused("the key has 0 bytes: use 1 or more")
    return named


def check_prefix(prefix: str | bytes) -> bytes:
    return _bytes("prefix", prefix)


def check_bucket(bucket: str) -> str:
    if not isinstance(bucket, str):
        raise TypeError(f"a bucket is named by a str, not {type(bucket).__name__}")
    bucket_bytes = len(_utf8("bucket's name", bucket))
    if not 0 < bucket_bytes <= BUCKET_BYTES_MAX:
        raise Refused(f"the bucket's name has {bucket_bytes} bytes: use 1 to {BUCKET_BYTES_MAX}")
    return bucket


def check_context(context: bytes | None) -> bytes:
    if context is None:
        return b""
    if not isinstance(context, bytes):
        raise TypeError(f"a context is the bytes that a get or put gave, not {type(context).__name__}")
    if not context:
        raise Refused("the context is empty, as none that a get or put gave: leave it out to write over what is there")
    if len(context) > CONTEXT_BYTES_MAX:
        raise Refused(f"the context has {len(context)} bytes: pass on what a get or put gave")
    return context


def contexts_by_key(keys: Iterable[str | bytes], contexts: Mapping[Any, bytes] | None) -> dict[bytes, bytes]:
    """By the bytes of the keys. Raises: ValueError for one of a key that is not put, or two of one key."""
    if not contexts:
        return {}
    put, named = {_bytes("key", key) for key in keys}, {_bytes("key", key): seen for key, seen in contexts.items()}
    for key in contexts:
        if _bytes("key", key) not in put:
            raise ValueError(f"contexts has one of {key!r}, which is not among the values: leave it out")
    if len(named) < len(contexts):
        raise ValueError("contexts has a key as str and as bytes: these are the same key, give it once")
    return named


def check_copies(name: str, copies: int | None) -> int:
    if copies is None:
        return 0
    _check_int(name, copies)
    if not 0 <= copies <= COPIES_MAX:
        raise Refused(f"{name} is {copies}: use 1 to the number of copies, or 0 for the default")
    return copies


def check_deadline(deadline_ms: int) -> int:
    _check_int("deadline_ms", deadline_ms)
    if not 0 < deadline_ms <= DEADLINE_MS_MAX:
        raise Refused(f"the deadline is {deadline_ms} ms: use 1 to {DEADLINE_MS_MAX}")
    return deadline_ms


def check_ttl(ttl_ms: int) -> int:
    _check_int("ttl_ms", ttl_ms)
    if not 0 <= ttl_ms <= TTL_MS_MAX:
        raise Refused(f"ttl_ms is {ttl_ms}: use 1 to {TTL_MS_MAX}, or 0 for a value that never expires")
    return ttl_ms


def _check_int(name: str, number: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} is an int, not {type(number).__name__}")


def _bytes(what: str, text: str | bytes) -> bytes:
    if isinstance(text, bytes):
        return text
    if isinstance(text, str):
        return _utf8(what, text)
    raise TypeError(f"a {what} is str or bytes, not {type(text).__name__}")


def _utf8(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused(f"the {what} cannot be written in UTF-8: it has lone surrogates") from None
