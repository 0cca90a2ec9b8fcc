"""The routes behind the page: what happens in the cluster, as server-sent events, and where a key belongs."""

from collections.abc import AsyncIterator

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from zdynamo.client.outcomes import answer_of
from zdynamo.client.requests import make_explain
from zdynamo.figures.explanations import Explanation, explanation, names_of
from zdynamo.http.audience import Audience, Listener
from zdynamo.http.browsers import check_origin
from zdynamo.http.call import Call
from zdynamo.http.describe import TIMEOUT, Answer, Operation, Query
from zdynamo.http.problems import JSON
from zdynamo.http.resource import Resource
from zdynamo.messages import Explained

EVENTS = "text/event-stream"
EVENTS_MAX = 1_000_000_000
HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}  # proxies are not to hold events back
HELLO = b"retry: 1000\n\n"  # milliseconds until a browser connects again


async def events(call: Call) -> Response:
    """Raises: Problem."""
    check_origin(call.headers)
    if call.method == "HEAD":
        return Response(None, 200, HEADERS, EVENTS)
    return Stream(call.door.audience, call.peer, call.query.get("limit", EVENTS_MAX))


class Stream(StreamingResponse):
    """To one listener, who leaves however the response ends."""

    def __init__(self, audience: Audience, peer: str, limit: int) -> None:
        """Raises: Problem."""
        self._audience = audience
        self._listener = audience.join(peer)
        super().__init__(_lines(self._listener, limit), 200, HEADERS, EVENTS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._audience.leave(self._listener)


async def _lines(listener: Listener, limit: int) -> AsyncIterator[bytes]:
    yield HELLO
    async for event in listener:
        yield event
        limit -= 1
        if not limit:
            return


async def explain(call: Call) -> Response:
    key = call.key
    explained = answer_of(await call.client.ask(make_explain(key, call.bucket), call.deadline_ms), Explained)
    topology = call.client.topology_known or await call.client.topology()
    return Response(msgspec.json.encode(explanation(key, explained, names_of(topology))), 200, None, JSON)


RESOURCES = (
    Resource(
        "/v1/events",
        Operation(
            "GET",
            "events",
            "What happens in the cluster, as server-sent events: `moment` each second, `layout` when it is another.",
            events,
            {200: Answer("A stream, until one side ends it.", {EVENTS: {}})},
            (Query("limit", "End after so many seconds.", least=1, most=EVENTS_MAX),),
        ),
    ),
    Resource(
        "/v1/buckets/{bucket}/explain/{key}",
        Operation(
            "GET",
            "explain",
            "Where a key belongs, and what each of its owners holds.",
            explain,
            {200: Answer("Also of a key that has no value.", {JSON: Explanation})},
            (TIMEOUT,),
        ),
    ),
)
