"""`/openapi.json`: the routes, described for programs."""

from collections.abc import Iterable

from starlette.responses import Response

from zdynamo.http.call import Call
from zdynamo.http.describe import Answer, Operation
from zdynamo.http.openapi import document
from zdynamo.http.problems import JSON
from zdynamo.http.resource import Resource


def documentation(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Of these resources; made when it is first asked for."""
    described = tuple(resources)
    made: dict[str, bytes] = {}

    async def openapi(call: Call) -> Response:
        if "openapi" not in made:
            made["openapi"] = document(described)
        return Response(made["openapi"], 200, None, JSON)

    return (
        Resource(
            "/openapi.json",
            Operation("GET", "openapi", "This document.", openapi, {200: Answer("OpenAPI 3.1.", {JSON: {}})}),
        ),
    )
