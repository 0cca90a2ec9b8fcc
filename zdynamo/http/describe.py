"""The words in which routes are described: once, for checking requests, and for the OpenAPI document."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from starlette.responses import Response

from zdynamo.messages import TTL_MS_MAX

if TYPE_CHECKING:
    from zdynamo.http.call import Call

Handler = Callable[["Call"], Awaitable[Response]]
Schema = dict[str, Any]

COPIES_MAX = 16  # more than any N
TIMEOUT_MS_MAX = 60_000  # the longest deadline that a node takes, unless it is configured otherwise


class Query(NamedTuple):
    """A query parameter. Numbers have bounds; text is UTF-8, `octets` any bytes."""

    name: str
    about: str
    kind: Literal["number", "text", "octets"] = "number"
    least: int = 0
    most: int = 0


class Header(NamedTuple):
    """A request header that means something here."""

    name: str
    about: str
    schema: Schema = {"type": "string"}


class Body(NamedTuple):
    """What a request carries. `types`: media types that are taken; () any."""

    about: str
    schema: Schema | type
    types: tuple[str, ...] = ()
    example: Any = None


class Answer(NamedTuple):
    """One status, by media type what it carries; {} nothing."""

    about: str
    content: dict[str, Schema | type] = {}
    headers: tuple[str, ...] = ()


class Operation(NamedTuple):
    """One method of one path. GET serves HEAD as well."""

    method: str
    name: str  # for people who read the document, and for figures
    about: str
    handler: Handler
    answers: dict[int, Answer]
    query: tuple[Query, ...] = ()
    headers: tuple[Header, ...] = ()
    body: Body | None = None


R = Query("r", "Replicas that a read waits for; 0: as the bucket says.", most=COPIES_MAX)
W = Query("w", "Replicas that a write waits for; 0: as the bucket says.", most=COPIES_MAX)
PR = Query("pr", "How many of the answers have to come from owners of the key; 0: as the bucket says.", most=COPIES_MAX)
PW = Query("pw", "How many of the answers have to come from owners of the key; 0: as the bucket says.", most=COPIES_MAX)
TTL = Query("ttl_ms", "Milliseconds until the value expires; 0: never. Default: as the bucket says.", most=TTL_MS_MAX)
TIMEOUT = Query("timeout_ms", "Milliseconds until the request is given up.", least=1, most=TIMEOUT_MS_MAX)

CONTEXT_HEADER = Header(
    "Zdynamo-Context", "What the writer has seen: the context of a read or write. The write replaces exactly that."
)
