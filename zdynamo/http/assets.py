"""The pages at `/` and `/docs`, and the files that they consist of: complete, and nothing comes from elsewhere."""

import functools
import hashlib
from importlib.resources import files
from typing import NamedTuple

from starlette.responses import Response

from zdynamo.http.call import Call
from zdynamo.http.describe import Answer, Operation
from zdynamo.http.problems import Problem
from zdynamo.http.resource import Resource

TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
INDEX = "index.html"
DOCS = "docs.html"
POLICY = (  # a text that were taken for markup could still run nothing and load nothing
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",  # kept, but asked for each time: all files are of one version
}


class File(NamedTuple):
    content: bytes
    type: str
    tag: str


@functools.cache
def page_files() -> dict[str, File]:
    """By name."""
    found = {}
    for file in files(__package__).joinpath("page").iterdir():
        kind = TYPES.get(file.name.rpartition(".")[2])
        if kind is not None:
            content = file.read_bytes()
            found[file.name] = File(content, kind, f'"{hashlib.sha256(content).hexdigest()[:16]}"')
    return found


async def index(call: Call) -> Response:
    return _answer(call, page_files()[INDEX])


async def docs(call: Call) -> Response:
    return _answer(call, page_files()[DOCS])


async def part(call: Call) -> Response:
    """Raises: Problem."""
    file = page_files().get(call.part("file").decode("latin-1"))
    if file is None:
        raise Problem(404, "unknown_path", "the page has no such file")
    return _answer(call, file)


def _answer(call: Call, file: File) -> Response:
    headers = {**HEADERS, "etag": file.tag}
    known = call.header("if-none-match") or ""
    if file.tag in (each.strip().removeprefix("W/") for each in known.split(",")):
        return Response(None, 304, headers)
    return Response(file.content, 200, headers, file.type)


RESOURCES = (  # not in the document that they are a way to look at
    Resource("/", Operation("GET", "page", "The cluster, live.", index, {200: Answer("The page.")})),
    Resource("/docs", Operation("GET", "docs", "A page to try the routes.", docs, {200: Answer("The page.")})),
    Resource("/page/{file}", Operation("GET", "part", "What they consist of.", part, {200: Answer("The file.")})),
)
