"""The full routes of one key: raw bodies, contexts, siblings, quorums, conditions."""

from typing import Any

from starlette.responses import Response

from zdynamo.client.outcomes import answer_of, changed_by, context_of
from zdynamo.client.requests import make_delete, make_get, make_put
from zdynamo.http.call import Call
from zdynamo.http.call import context_of as context_in
from zdynamo.http.describe import CONTEXT_HEADER, PR, PW, TIMEOUT, TTL, Answer, Body, Header, Operation, R, Schema, W
from zdynamo.http.media import stored_type
from zdynamo.http.problems import CONTEXT, JSON, absent, malformed
from zdynamo.http.resource import Resource
from zdynamo.http.siblings import MULTIPART, choices_response, merged, raw_response
from zdynamo.messages import Absent, Done, Found
from zdynamo.plain import encode_context

ANY: dict[str, Schema | type] = {"*/*": {}}


async def get(call: Call) -> Response:
    bucket, query = call.bucket, call.query
    outcome = await call.client.ask(make_get(call.key, bucket, r=query.get("r"), pr=query.get("pr")), call.deadline_ms)
    if isinstance(outcome, Absent):
        raise absent(outcome.context)
    found = answer_of(outcome, Found)
    one = merged(call.client, bucket, found.siblings)
    if one is None:
        return choices_response(found, call.header("accept") or "")
    return raw_response(one, found.context)


async def put(call: Call) -> Response:
    body, query, conditions = await call.body(), call.query, _conditions(call)
    request = make_put(
        call.key,
        (stored_type(call.header("content-type"), body), body),
        call.bucket,
        w=query.get("w"),
        pw=query.get("pw"),
        ttl_ms=query.get("ttl_ms"),
        **conditions,
    )
    written = context_of(await call.client.ask(request, call.deadline_ms))
    return Response(None, 204, {CONTEXT: encode_context(written)})


async def delete(call: Call) -> Response:
    query = call.query
    request = make_delete(call.key, call.bucket, context=call.context, r=query.get("r"), w=query.get("w"))
    outcome = await call.client.ask(request, call.deadline_ms)
    context = answer_of(outcome, Done).context
    if not changed_by(outcome):
        raise absent(context)
    return Response(None, 204, {CONTEXT: encode_context(context)})


def _conditions(call: Call) -> dict[str, Any]:
    """What the headers say of what a put replaces. Raises: Problem."""
    context, none_match, match = call.context, call.header("if-none-match"), call.header("if-match")
    if sum(given is not None for given in (context, none_match, match)) > 1:
        raise malformed("Zdynamo-Context, If-None-Match and If-Match rule each other out: send one of them")
    if none_match is not None:
        if none_match.strip() != "*":
            raise malformed("If-None-Match is to be *: the put is done if there is no value")
        return {"if_absent": True}
    if match is not None:
        return {"if_context": context_in(match.strip().strip('"'), "If-Match")}
    return {"context": context}


UNCHANGED = Header("If-Match", "A context: write only if nothing is there that it has not seen.")
ABSENT = Header("If-None-Match", "Write only if there is no value.", {"type": "string", "enum": ["*"]})
ACCEPT = Header(
    "Accept",
    "Siblings come as `multipart/mixed` if that is preferred to JSON.",
    {"type": "string", "enum": [JSON, MULTIPART]},
)
RESOURCE = Resource(
    "/v1/buckets/{bucket}/keys/{key}",
    Operation(
        "GET",
        "get",
        "The value of a key, as it was put.",
        get,
        {
            200: Answer("The value, with its content type.", ANY, (CONTEXT_HEADER.name,)),
            300: Answer(
                "Siblings: put the value that settles it, with this context.",
                {
                    JSON: {
                        "type": "object",
                        "required": ["siblings", "context"],
                        "properties": {"siblings": {"type": "array"}, "context": {"type": "string"}},
                    },
                    MULTIPART: {},
                },
                (CONTEXT_HEADER.name,),
            ),
            404: Answer("There is none; the context covers a tombstone.", {}, (CONTEXT_HEADER.name,)),
        },
        (R, PR, TIMEOUT),
        (ACCEPT,),
    ),
    Operation(
        "PUT",
        "put",
        "Store the body. Without context or condition it overwrites.",
        put,
        {
            204: Answer("Kept by W nodes.", {}, (CONTEXT_HEADER.name,)),
            412: Answer("The condition does not hold.", {}, (CONTEXT_HEADER.name,)),
        },
        (W, PW, TTL, TIMEOUT),
        (CONTEXT_HEADER, ABSENT, UNCHANGED),
        Body("The value, of any type. What says that it is JSON, text or MessagePack has to be.", {}),
    ),
    Operation(
        "DELETE",
        "delete",
        "Delete what is there, or what the context has seen.",
        delete,
        {204: Answer("It is gone.", {}, (CONTEXT_HEADER.name,)), 404: Answer("There was nothing.")},
        (R, W, TIMEOUT),
        (CONTEXT_HEADER,),
    ),
)
RESOURCES = (RESOURCE,)
