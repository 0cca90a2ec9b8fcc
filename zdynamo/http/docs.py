"""`/openapi.json`, and `/docs`: a page to try it, complete in itself, so that it works without internet."""

from collections.abc import Iterable
from importlib.resources import files

from starlette.responses import Response

from zdynamo.http.call import Call
from zdynamo.http.describe import Answer, Operation
from zdynamo.http.openapi import document
from zdynamo.http.problems import JSON
from zdynamo.http.resource import Resource

HTML = "text/html"
PAGE_HEADERS = {  # nothing from elsewhere, and nobody puts it into a frame
    "content-security-policy": "default-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
}


def documentation(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Of these resources; made when it is first asked for."""
    described = tuple(resources)
    made: dict[str, bytes] = {}

    async def openapi(call: Call) -> Response:
        if "openapi" not in made:
            made["openapi"] = document(described)
        return Response(made["openapi"], 200, None, JSON)

    async def page(call: Call) -> Response:
        return Response(files(__package__).joinpath("docs.html").read_bytes(), 200, PAGE_HEADERS, HTML)

    return (
        Resource(
            "/openapi.json",
            Operation("GET", "openapi", "This document.", openapi, {200: Answer("OpenAPI 3.1.", {JSON: {}})}),
        ),
        Resource("/docs", Operation("GET", "docs", "A page to try it.", page, {200: Answer("The page.", {HTML: {}})})),
    )
