"""The OpenAPI document, made from the same descriptions by which requests are checked."""

from collections.abc import Iterable
from typing import Any

import msgspec

from zdynamo import __version__
from zdynamo.http.describe import Answer, Body, Header, Operation, Query, Schema
from zdynamo.http.paths import PLACEHOLDER
from zdynamo.http.problems import JSON
from zdynamo.http.resource import Resource

ABOUT = (
    "A client of the cluster like any other. A status says what is known of a write: 4xx and 503, nothing was written; "
    "504, it may or may not be kept."
)
PROBLEM: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string"},
                "message": {"type": "string"},
                "needed": {"type": "integer"},
                "got": {"type": "integer"},
                "retry_after_ms": {"type": "integer"},
                "context": {"type": "string"},
            },
        }
    },
}
EVERYWHERE = {
    400: "The request is malformed or refused; nothing was written.",
    403: "A write from a page of another site.",
    404: "There is nothing.",
    413: "The body is too large.",
    415: "The content type is not taken.",
    429: "Overloaded; nothing was done. `Retry-After` says when to try again.",
    500: "Unexpected, or stored bytes are not what they claim to be.",
    503: "Quorum not met (`needed`, `got`), refused for now (`Retry-After`), or no node reached; nothing was written.",
    504: "No answer in time, or fewer than W confirmed (`outcome_unknown`): a write may or may not be kept.",
}
PLACES = {  # of paths
    "key": {"type": "string", "minLength": 1, "maxLength": 4096},
    "bucket": {"type": "string", "minLength": 1, "maxLength": 255},
}


def document(resources: Iterable[Resource]) -> bytes:
    """As JSON."""
    shapes = _shapes(resources)
    schemas, components = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")
    by_shape = dict(zip(shapes, schemas, strict=True))
    paths = {
        resource.template: {
            "parameters": [
                {"name": name, "in": "path", "required": True, "schema": PLACES[name]}
                for name in PLACEHOLDER.findall(resource.template)
            ],
            **{operation.method.lower(): _operation(operation, by_shape) for operation in resource.operations},
        }
        for resource in resources
    }
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "zdynamo", "version": __version__, "description": ABOUT},
            "paths": {template: _without_nothing(path) for template, path in paths.items()},
            "components": {"schemas": {**components, "Problem": PROBLEM}},
        }
    )


def _operation(operation: Operation, by_shape: dict[Any, Schema]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about,
        "parameters": [*map(_query, operation.query), *map(_header, operation.headers)],
        "responses": {str(status): _answer(answer, by_shape) for status, answer in operation.answers.items()},
    }
    if operation.body:
        described["requestBody"] = _body(operation.body, by_shape)
    for status, about in EVERYWHERE.items():
        told = described["responses"].setdefault(str(status), {"description": about})
        if status >= 400:
            told["content"] = {JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, told in described["responses"].items():
        if status == "412":
            told["content"] = {JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return _without_nothing(described)


def _answer(answer: Answer, by_shape: dict[Any, Schema]) -> dict[str, Any]:
    described: dict[str, Any] = {"description": answer.about}
    if answer.content:
        described["content"] = {kind: {"schema": _schema(shape, by_shape)} for kind, shape in answer.content.items()}
    if answer.headers:
        described["headers"] = {name: {"schema": {"type": "string"}} for name in answer.headers}
    return described


def _body(body: Body, by_shape: dict[Any, Schema]) -> dict[str, Any]:
    media = {"schema": _schema(body.schema, by_shape)} | ({"example": body.example} if body.example else {})
    kinds = body.types or ("application/octet-stream", "text/plain")
    return {"description": body.about, "required": bool(body.types), "content": dict.fromkeys(kinds, media)}


def _query(query: Query) -> dict[str, Any]:
    number = {"type": "integer", "minimum": query.least, "maximum": query.most}
    schema = number if query.kind == "number" else {"type": "string"}
    return {"name": query.name, "in": "query", "description": query.about, "schema": schema}


def _header(header: Header) -> dict[str, Any]:
    return {"name": header.name, "in": "header", "description": header.about, "schema": header.schema}


def _schema(shape: Schema | type, by_shape: dict[Any, Schema]) -> Schema:
    return shape if isinstance(shape, dict) else by_shape[shape]


def _shapes(resources: Iterable[Resource]) -> list[Any]:
    """Every type that stands for a schema."""
    found: dict[Any, None] = {}
    for operation in (operation for resource in resources for operation in resource.operations):
        told = [shape for answer in operation.answers.values() for shape in answer.content.values()]
        taken = [operation.body.schema] if operation.body else []
        found |= dict.fromkeys(shape for shape in (*told, *taken) if not isinstance(shape, dict))
    return list(found)


def _without_nothing(described: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in described.items() if value != []}
