"""A path and its operations: takes requests to it, checks them against their description, answers errors."""

import asyncio
import sys
import time
import traceback

from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from zdynamo.errors import ZdynamoError
from zdynamo.http.browsers import check_host, check_origin
from zdynamo.http.call import Call
from zdynamo.http.describe import Operation
from zdynamo.http.door import Door
from zdynamo.http.paths import parse_query, pattern_of
from zdynamo.http.problems import Problem, cut_off, malformed, problem_of

READING = ("GET", "HEAD")
DATA = ("/kvstore", "/v1/buckets/")  # where paths of data begin; what asks for figures, events or pages is not traced
SAID_EVERY_S = 1.0  # a traceback of our own at most so often


class Resource:
    """As it is described; `at` makes it a route."""

    def __init__(self, template: str, *operations: Operation) -> None:
        self.template = template
        self.operations = operations

    def at(self, door: Door) -> "ResourceRoute":
        return ResourceRoute(self, door)


class ResourceRoute(BaseRoute):
    """Matches the path as it was sent, not as it was decoded by the server."""

    def __init__(self, resource: Resource, door: Door) -> None:
        self._door = door
        self._template = resource.template
        self._traced = resource.template.startswith(DATA)
        self._literal = resource.template.partition("{")[0].encode()
        self._pattern = pattern_of(resource.template)
        self._operations = {operation.method: operation for operation in resource.operations}
        if "GET" in self._operations:
            self._operations["HEAD"] = self._operations["GET"]
        self._queries = {
            operation.method: {query.name.encode(): query for query in operation.query}
            for operation in resource.operations
        }
        self._said_at = -SAID_EVERY_S

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] != "http":
            return Match.NONE, {}
        raw: bytes = scope["raw_path"]
        found = self._pattern.fullmatch(raw) if raw.startswith(self._literal) else None
        return (Match.FULL, {"path_params": found.groupdict()}) if found else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        spans = self._door.spans
        if spans is None or not self._traced or scope["method"] not in self._operations:
            await self._serve(scope, receive, send)
            return
        span = spans.begun(scope, self._template)
        if span is None:
            await self._serve(scope, receive, send)
            return
        with spans.current(span):
            spans.answered(span, await self._serve(scope, receive, send))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> int:
        """The status of the answer."""
        call = None
        try:
            operation = self._operation(scope)
            raw = scope["query_string"]
            query = parse_query(raw, self._queries[operation.method]) if raw else {}
            call = Call(self._door, scope, receive, operation, query)
            response = await operation.handler(call)
        except Problem as problem:
            response = problem.response()
        except ZdynamoError as error:
            response = problem_of(error).response()
        except asyncio.CancelledError:  # by the server, when it ends
            response = cut_off(reading=scope["method"] in READING).response()
        except Exception:
            response = self._unexpected()
        finally:
            if call is not None:
                call.close()
        await response(scope, receive, send)
        return response.status_code

    def _operation(self, scope: Scope) -> Operation:
        """Raises: Problem."""
        if self._door.names is not None:
            check_host(scope["headers"], self._door.names)
        method = scope["method"]
        operation = self._operations.get(method)
        if operation is None:
            allowed = ", ".join(self._operations)
            raise Problem(405, "method", f"{method} is not for this path: use {allowed}", headers={"allow": allowed})
        if method not in READING:
            check_origin(scope["headers"])
        return operation

    def _unexpected(self) -> Response:
        """Ours: the request fails, the others go on."""
        now = time.monotonic()
        if now - self._said_at >= SAID_EVERY_S:
            self._said_at = now
            traceback.print_exc(file=sys.stderr)
        return Problem(500, "unexpected", "unexpected failure: its traceback is in the log").response()


def unknown_path(scope: Scope) -> Problem:
    """Nothing is at this path."""
    if not scope["raw_path"].isascii():
        return malformed("the path is not ASCII: percent-encode it")
    return Problem(404, "unknown_path", "there is nothing at this path: see /openapi.json, or /docs")
