"""Content types: what is stored beside a value, what a reader is told of it, and values as JSON.

Clients in Python keep bytes with "", text with `text/plain` and data with `application/msgpack`; what is put here with
these types is the same to them. Any other type is kept as it is, and they see bytes.
"""

import re
from typing import Any

import msgspec

from zdynamo.client.values import MSGPACK, OCTETS, TEXT, decode_value, encode_value
from zdynamo.errors import Malformed
from zdynamo.http.problems import JSON, Problem, malformed
from zdynamo.messages import SiblingValue
from zdynamo.plain import plain

OCTET_STREAM = "application/octet-stream"
TYPE_BYTES_MAX = 255
MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;[\x20-\x7e]*)?", re.ASCII)
UTF_8 = ("charset=utf-8", 'charset="utf-8"', "charset=us-ascii")


def stored_type(given: str | None, body: bytes) -> str:
    """What to store for a body that came with this type. Raises: Problem if it is not what it says."""
    if not given:
        return OCTETS
    if len(given) > TYPE_BYTES_MAX or not MEDIA_TYPE.fullmatch(given) or given.startswith("multipart/"):
        raise Problem(415, "content_type", "Content-Type is to be one media type, such as text/plain, of 255 bytes")
    kind, _, parameter = (part.strip().lower() for part in given.partition(";"))
    if kind == OCTET_STREAM:
        return OCTETS
    if kind == TEXT and (not parameter or parameter in UTF_8):
        _check(TEXT, body)
        return TEXT
    if kind in (JSON, MSGPACK):
        _check(kind, body)
        return kind
    return given


def shown_type(stored: str) -> str:
    """What a reader of the bytes is told; other clients may have stored what is no media type."""
    if stored == TEXT:
        return "text/plain; charset=utf-8"
    return stored if MEDIA_TYPE.fullmatch(stored) else OCTET_STREAM


def data_of(sibling: SiblingValue) -> Any:
    """The value as Python has it. Raises: Malformed."""
    if sibling.content_type != JSON:
        return decode_value(sibling.content_type, sibling.value)
    try:
        return msgspec.json.decode(sibling.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the stored value is not {JSON}: {error}") from None


def json_of(sibling: SiblingValue) -> Any:
    """The value as JSON has it. Raises: Malformed."""
    data = data_of(sibling)
    if sibling.content_type == JSON or isinstance(data, str):
        return data
    try:
        return plain(data)
    except RecursionError:
        raise Malformed("the stored value is nested too deeply to be shown as JSON") from None


def stored_json(value: Any) -> tuple[str, bytes]:
    """Content type and bytes of a value that came as JSON, as Python clients store it. Raises: Problem."""
    try:
        return encode_value(value)
    except TypeError as error:
        raise malformed(str(error)) from None


def _check(kind: str, body: bytes) -> None:
    """Nothing is stored that its readers could not read. Raises: Problem."""
    try:
        data_of(SiblingValue(kind, body, 0))
    except Malformed:
        raise malformed(f"the body is not the {kind} that its Content-Type says it is") from None
