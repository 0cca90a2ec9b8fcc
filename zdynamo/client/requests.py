"""A user's arguments made into a request that the cluster will not turn down for its form.

Each raises `Refused` for what the cluster would refuse, in the cluster's words, and TypeError for the wrong type.
"""

from zdynamo.client.values import encode_value
from zdynamo.errors import Refused
from zdynamo.messages import Delete, Get, Put
from zdynamo.partition import BUCKET_BYTES_MAX

KEY_BYTES_MAX = 4096
VALUE_BYTES_MAX = 8 * 2**20
CONTEXT_BYTES_MAX = 2**20  # far above any clock: what is longer is no context
COPIES_MAX = 255  # far above any N, which only the cluster knows
DEADLINE_MS_MAX = 2**31
UNSENT = bytes(16)  # the core fills in the request id, as well as cluster and deadline


def make_get(key: str | bytes, bucket: str, *, r: int | None, pr: int | None) -> Get:
    return Get(UNSENT, "", 0, check_bucket(bucket), check_key(key), check_copies("r", r), check_copies("pr", pr))


def make_put(
    key: str | bytes, value: object, bucket: str, *, context: bytes | None, w: int | None, pw: int | None
) -> Put:
    named, copies, strict = check_key(key), check_copies("w", w), check_copies("pw", pw)
    content_type, stored = encode_value(value)
    if len(stored) > VALUE_BYTES_MAX:
        raise Refused(f"the value has {len(stored)} bytes: use at most {VALUE_BYTES_MAX}")
    seen = check_context(context)
    return Put(UNSENT, "", 0, check_bucket(bucket), named, stored, content_type, 1, seen, copies, strict)


def make_delete(key: str | bytes, bucket: str, *, context: bytes | None, r: int | None, w: int | None) -> Delete:
    named, seen = check_key(key), check_context(context)
    return Delete(UNSENT, "", 0, check_bucket(bucket), named, 1, seen, check_copies("r", r), check_copies("w", w))


def check_key(key: str | bytes) -> bytes:
    if isinstance(key, str):
        named = _utf8("key", key)
    elif isinstance(key, bytes):
        named = key
    else:
        raise TypeError(f"a key is str or bytes, not {type(key).__name__}")
    if not 0 < len(named) <= KEY_BYTES_MAX:
        raise Refused(f"the key has {len(named)} bytes: use 1 to {KEY_BYTES_MAX}")
    return named


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
    if len(context) > CONTEXT_BYTES_MAX:
        raise Refused(f"the context has {len(context)} bytes: pass on what a get or put gave")
    return context


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
        raise Refused(f"the deadline is {deadline_ms} ms: use 1 or more")
    return deadline_ms


def _check_int(name: str, number: int) -> None:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{name} is an int, not {type(number).__name__}")


def _utf8(what: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused(f"the {what} cannot be written in UTF-8: it has lone surrogates") from None
