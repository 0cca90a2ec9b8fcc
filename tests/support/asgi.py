"""The HTTP application without a server: requests exactly as they would come from one, bad ones too."""

import asyncio
import json
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from zdynamo.client.io_loop import LoopClient
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.http.app import application
from zdynamo.http.door import Door
from zdynamo.http.spans import RequestSpans

T = TypeVar("T")
SERVED_BY = "127.0.0.1:7400"
VALUE_BYTES_MAX = 100_000  # of the cluster that the tests share


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def context(self) -> str:
        return self.headers["zdynamo-context"]

    @property
    def error(self) -> dict[str, Any]:
        """Asserts the one shape that errors have."""
        assert self.headers["content-type"] == "application/json"
        error = self.json["error"]
        assert set(self.json) == {"error"} and error["code"] and "\n" not in error["message"]
        return dict(error)

    @property
    def said(self) -> tuple[int, str]:
        """Of an error: status and code."""
        return self.status, self.error["code"]


class Http:
    """An application over one client of a cluster, in an event loop of its own."""

    def __init__(
        self, runner: asyncio.Runner, client: LoopClient, node: str, spans: RequestSpans | None = None
    ) -> None:
        self._runner = runner
        self.client = client
        self.door = Door(client, SERVED_BY, node, spans)
        self.app = application(self.door)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def ask(
        self,
        method: str,
        path: str | bytes,
        body: bytes | list[bytes] | dict[str, Any] = b"",
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """`path` with its query, as it stands on the request line; a list is a body that comes in pieces."""
        return self.run(ask(self.app, method, path, body, headers or {}))

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def put(self, path: str, body: bytes = b"", **headers: str) -> Answer:
        return self.ask("PUT", path, body, headers)


async def ask(app: Any, method: str, path: str | bytes, body: Any, headers: dict[str, str]) -> Answer:
    raw = path.encode() if isinstance(path, str) else path
    raw_path, _, query = raw.partition(b"?")
    if isinstance(body, dict):
        body = json.dumps(body).encode()
    pieces = body if isinstance(body, list) else [body]
    scope = {
        "type": "http",
        "method": method,
        "path": raw_path.decode("latin-1"),
        "raw_path": raw_path,
        "query_string": query,
        "headers": [
            (name.lower().replace("_", "-").encode(), text.encode("latin-1")) for name, text in headers.items()
        ],
    }
    left, sent = list(pieces), []

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()  # the connection stays
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    told = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], told, b"".join(message["body"] for message in sent[1:]))


@contextmanager
def over_http(cluster: InProcessCluster, *names: str, gateway: bool = False) -> Iterator[Http]:
    """By way of the nodes of these names, or all; it belongs to the first, if it is no gateway."""
    addresses = [cluster.address(name) for name in names] or list(cluster.addresses)
    with asyncio.Runner() as runner:
        client = LoopClient(*addresses, deadline_ms=3_000, context=cluster.context)
        try:
            runner.run(client.topology())  # so that the limits of the cluster are known
            yield Http(runner, client, "" if gateway else addresses[0])
        finally:
            runner.run(client.close())
