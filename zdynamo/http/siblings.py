"""A found key as an answer: its bytes, what its bucket's function makes of siblings, or all of them to choose from."""

import functools
import re
import uuid
from typing import Any

import msgspec
from starlette.responses import Response

from zdynamo.client.io_loop import LoopClient
from zdynamo.client.values import encode_value
from zdynamo.errors import Malformed, MergeFunctionError
from zdynamo.http.media import data_of, json_of, shown_type
from zdynamo.http.problems import CONTEXT, JSON
from zdynamo.messages import Found, SiblingValue
from zdynamo.plain import encode_context

MULTIPART = "multipart/mixed"
NUMBER = re.compile(r"[01](\.[0-9]{0,3})?")
INERT = {  # a stored page must not run as if it were one of ours
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
}


def merged(client: LoopClient, bucket: str, siblings: tuple[SiblingValue, ...]) -> SiblingValue | None:
    """The one value, or what the bucket's function makes of several; None: nobody but the reader can tell."""
    if len(siblings) == 1:
        return siblings[0]
    try:
        merge = client.merger(bucket)
        if merge is None:
            return None
        value = merge([data_of(sibling) for sibling in siblings])
        if all(sibling.content_type == JSON for sibling in siblings):
            content_type, stored = JSON, msgspec.json.encode(value)
        else:
            content_type, stored = encode_value(value)
    except (MergeFunctionError, Malformed, TypeError, ValueError):
        return None  # whatever is wrong with the function, the siblings are there
    return SiblingValue(content_type, stored, max(sibling.written_ms for sibling in siblings))


def raw_response(value: SiblingValue, context: bytes) -> Response:
    headers = {CONTEXT: encode_context(context), "content-type": shown_type(value.content_type), **INERT}
    return Response(value.value, 200, headers)


def choices_response(found: Found, accept: str) -> Response:
    """300: all siblings, as multipart if that is what the reader likes best."""
    context = {CONTEXT: encode_context(found.context), **INERT}
    if likes_multipart(accept):
        boundary = uuid.uuid4().hex
        kind = f"{MULTIPART}; boundary={boundary}"
        return Response(_multipart(found.siblings, boundary), 300, {**context, "content-type": kind})
    document = {"siblings": [described(sibling) for sibling in found.siblings], "context": context[CONTEXT]}
    return Response(msgspec.json.encode(document), 300, context, JSON)


def described(sibling: SiblingValue) -> dict[str, Any]:
    """One sibling, in JSON."""
    about = {"content_type": shown_type(sibling.content_type), "written_ms": sibling.written_ms}
    return {"value": json_of(sibling), **about}


@functools.lru_cache(64)
def likes_multipart(accept: str) -> bool:
    """Whether an Accept header has `multipart/mixed` above JSON."""
    likes: dict[str, float] = {}
    for choice in accept.lower().split(","):
        kind, _, parameters = (part.strip() for part in choice.partition(";"))
        quality = parameters.partition("q=")[2].partition(";")[0].strip() or "1"
        likes[kind] = float(quality) if NUMBER.fullmatch(quality) else 0.0
    multipart = likes.get(MULTIPART, likes.get("multipart/*", 0.0))
    return multipart > likes.get(JSON, 0.0) or (multipart > 0 and JSON not in likes)


def _multipart(siblings: tuple[SiblingValue, ...], boundary: str) -> bytes:
    parts = []
    for sibling in siblings:
        head = f"--{boundary}\r\nContent-Type: {shown_type(sibling.content_type)}\r\n\r\n"
        parts += [head.encode(), sibling.value, b"\r\n"]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])
