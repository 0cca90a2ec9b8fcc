"""Listing the keys of a bucket: a line of JSON for each, streamed page by page, with cursors to go on from."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse

from zdynamo.client.aio import AsyncKeys
from zdynamo.client.listing import PAGE_KEYS
from zdynamo.errors import ZdynamoError
from zdynamo.http.call import Call
from zdynamo.http.describe import TIMEOUT, Answer, Operation, Query, R
from zdynamo.http.problems import problem_of
from zdynamo.plain import plain

NDJSON = "application/x-ndjson"
LIMIT_MAX = 1_000_000_000


async def list_keys(call: Call) -> Response:
    """What fails before the first line has a status of its own; later it is a line."""
    query = call.query
    limit = query.get("limit", LIMIT_MAX)
    after = query.get("after") or None
    keys = call.client.keys(
        call.bucket, prefix=query.get("prefix", b""), after=after, r=query.get("r"), deadline_ms=call.deadline_ms
    )
    first, done = await _page(keys, min(limit, PAGE_KEYS))
    return StreamingResponse(_lines(keys, first, limit, done), media_type=NDJSON)


async def _lines(keys: AsyncKeys, page: list[bytes], limit: int, done: bool) -> AsyncIterator[bytes]:
    """Each page ends with a cursor; the last line says whether that was all."""
    while True:
        limit -= len(page)
        lines = [_line({"key": plain(key)}) for key in page]
        lines.append(_line({"cursor": keys.cursor, "done": done}))
        yield b"".join(lines)
        if done or limit <= 0:
            return
        try:
            page, done = await _page(keys, min(limit, PAGE_KEYS))
        except ZdynamoError as error:
            yield _line({"cursor": keys.cursor, "done": False, "error": problem_of(error).error})
            return


async def _page(keys: AsyncKeys, size: int) -> tuple[list[bytes], bool]:
    """Up to so many keys, and whether there are no more."""
    page: list[bytes] = []
    while len(page) < size:
        try:
            page.append(await anext(keys))
        except StopAsyncIteration:
            return page, True
        except ZdynamoError:
            if not page:
                raise
            break  # these first; the next page tells
    return page, False


def _line(document: dict[str, Any]) -> bytes:
    return msgspec.json.encode(document) + b"\n"


LIST = Operation(
    "GET",
    "list",
    "The keys of a bucket that have a value, partition by partition: a JSON line for each, after each page a cursor.",
    list_keys,
    {200: Answer('Lines `{"key": ...}`, and after each page `{"cursor": ..., "done": ...}`.', {NDJSON: {}})},
    (
        Query("prefix", "Only keys that begin with these bytes.", "octets"),
        Query("after", "A cursor: go on behind it.", "text"),
        Query("limit", "End after so many keys.", least=1, most=LIMIT_MAX),
        R,
        TIMEOUT,
    ),
)
