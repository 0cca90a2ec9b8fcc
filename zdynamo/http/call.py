"""One request: what of it is taken, checked against the description of its operation, and what its handler needs."""

from typing import Any, TypeVar

import msgspec
from starlette.types import Receive, Scope

from zdynamo.client.requests import check_bucket
from zdynamo.http.describe import Operation
from zdynamo.http.door import JSON_BYTES_EXTRA, Door
from zdynamo.http.paths import octets, text
from zdynamo.http.problems import CONTEXT, JSON, Problem, malformed
from zdynamo.plain import decode_context

FORMS = ("", JSON, "text/plain", "application/x-www-form-urlencoded")  # what curl and browsers send JSON as
T = TypeVar("T")


class Call:
    """Invariant: what it holds of the door's room is given back by `close`."""

    def __init__(self, door: Door, scope: Scope, receive: Receive, operation: Operation, query: dict[str, Any]) -> None:
        self.door = door
        self.client = door.client
        self.query = query  # by name, only what was given
        self.method: str = scope["method"]
        self._path = scope["path_params"]
        self._operation = operation
        self._receive = receive
        self.headers: list[tuple[bytes, bytes]] = scope["headers"]
        self.peer = str((scope.get("client") or ("",))[0])  # the address that the request came from
        self._held = 0

    def header(self, name: str) -> str | None:
        """Raises: Problem if it is there twice."""
        wanted = name.lower().encode()
        found = [value for key, value in self.headers if key == wanted]
        if len(found) > 1:
            raise malformed(f"the header {name} is there {len(found)} times: give it once")
        return found[0].decode("latin-1") if found else None

    def part(self, name: str) -> bytes:
        """Of the path, as the resource names it."""
        return octets(self._path[name], name)

    @property
    def key(self) -> bytes:
        return self.part("key")

    @property
    def key_text(self) -> str:
        """Raises: Problem if it is not UTF-8."""
        return text(self.key, "key")

    @property
    def bucket(self) -> str:
        """Raises: Problem, Refused if it can be the name of none, whatever is asked of it."""
        return check_bucket(text(self.part("bucket"), "bucket"))

    @property
    def deadline_ms(self) -> int | None:
        return self.query.get("timeout_ms")

    @property
    def context(self) -> bytes | None:
        """What the writer has seen."""
        word = self.header(CONTEXT)
        return None if word is None else context_of(word, "Zdynamo-Context")

    async def body(self) -> bytes:
        """All of it. Raises: Problem if it is too large."""
        return await self._read(self.door.value_bytes_max)

    async def json(self, kind: type[T]) -> T:
        """The body. Raises: Problem."""
        given = (self.header("content-type") or "").partition(";")[0].strip().lower()
        if given not in FORMS:
            raise Problem(415, "content_type", f"the body is {given}: send JSON, with Content-Type: {JSON}")
        body = await self._read(2 * self.door.value_bytes_max + JSON_BYTES_EXTRA)
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(f"the body is not the JSON that is wanted here: {error}") from None

    def close(self) -> None:
        self.door.release(self._held)
        self._held = 0

    async def _read(self, most: int) -> bytes:
        """Nothing of a body that says it is larger."""
        length = self.header("content-length")
        if length is not None and length.isascii() and length.isdigit() and int(length) > most:
            raise _too_large(most)
        chunks: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise malformed("the connection ended before the body did")
            chunk = message.get("body", b"")
            self.door.hold(len(chunk))
            self._held += len(chunk)
            if self._held > most:
                raise _too_large(most)
            chunks.append(chunk)
            if not message.get("more_body"):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def context_of(word: str, where: str) -> bytes:
    """Raises: Problem."""
    try:
        return decode_context(word.strip())
    except ValueError:
        raise malformed(f"{where} is no context: pass on what a read or write gave") from None


def _too_large(most: int) -> Problem:
    return Problem(
        413, "too_large", f"the body is larger than the {most} bytes that are taken", headers={"connection": "close"}
    )
