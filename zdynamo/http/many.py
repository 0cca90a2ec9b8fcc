"""Many keys in one request: gets, puts and deletes in any order, and an answer for each. Nothing is a transaction."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType
from starlette.responses import Response

from zdynamo.client.events import Outcome
from zdynamo.client.io_loop import LoopClient
from zdynamo.client.outcomes import answer_of
from zdynamo.client.requests import make_delete, make_get, make_put
from zdynamo.errors import ZdynamoError
from zdynamo.http.call import Call, context_of
from zdynamo.http.describe import PR, PW, TIMEOUT, TTL, Answer, Body, Operation, R, W
from zdynamo.http.listing import LIST
from zdynamo.http.media import json_of, stored_json
from zdynamo.http.problems import JSON, Problem, absent, malformed, problem_of
from zdynamo.http.resource import Resource
from zdynamo.http.siblings import described, merged
from zdynamo.messages import Absent, ClientRequest, Done, Found
from zdynamo.plain import encode_context

ASKED_MAX = 1_000  # operations in one request; more are refused


class Asked(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What to do with one key. `value` is for puts, `context` for puts and deletes."""

    op: Literal["get", "put", "delete"]
    key: str
    value: Any = UNSET
    context: str | UnsetType = UNSET


class Batch(Struct, forbid_unknown_fields=True):
    """Each key once: there is no order between the operations."""

    operations: list[Asked]


class Answered(Struct, omit_defaults=True):
    """How one operation ended, with the status that it would have by itself."""

    key: str
    status: int
    context: str | UnsetType = UNSET
    value: Any = UNSET
    siblings: list[Any] | UnsetType = UNSET
    error: dict[str, Any] | UnsetType = UNSET


class Answers(Struct):
    """In the order of the operations."""

    answers: list[Answered]


async def many(call: Call) -> Response:
    """What is wrong with the form of one operation refuses all of them: nothing is stored."""
    batch = await call.json(Batch)
    if len(batch.operations) > ASKED_MAX:
        raise malformed(f"there are {len(batch.operations)} operations: send at most {ASKED_MAX} at a time")
    if len({asked.key for asked in batch.operations}) < len(batch.operations):
        raise malformed("a key is there twice: operations have no order, so send each key once")
    bucket = call.bucket
    requests = [_request(asked, bucket, call.query, at) for at, asked in enumerate(batch.operations)]
    outcomes = await call.client.ask_many(requests, call.deadline_ms)
    answers = [
        _answer(call.client, bucket, asked.key, outcome)
        for asked, outcome in zip(batch.operations, outcomes, strict=True)
    ]
    return Response(msgspec.json.encode(Answers(answers)), 200, None, JSON)


def _request(asked: Asked, bucket: str, query: dict[str, Any], at: int) -> ClientRequest:
    """Raises: Problem, Refused."""
    context = None if asked.context is UNSET else context_of(asked.context, f"operations[{at}].context")
    if asked.op != "put" and asked.value is not UNSET:
        raise malformed(f"operations[{at}] is a {asked.op} with a value: leave it out")
    if asked.op == "get":
        if context is not None:
            raise malformed(f"operations[{at}] is a get with a context: leave it out")
        return make_get(asked.key, bucket, r=query.get("r"), pr=query.get("pr"))
    if asked.op == "delete":
        return make_delete(asked.key, bucket, context=context, r=query.get("r"), w=query.get("w"))
    if asked.value is UNSET:
        raise malformed(f"operations[{at}] is a put without a value")
    w, pw, ttl_ms = query.get("w"), query.get("pw"), query.get("ttl_ms")
    return make_put(asked.key, stored_json(asked.value), bucket, context=context, w=w, pw=pw, ttl_ms=ttl_ms)


def _answer(client: LoopClient, bucket: str, key: str, outcome: Outcome) -> Answered:
    try:
        if isinstance(outcome, Absent):
            raise absent(outcome.context)
        if isinstance(outcome, Done):
            if not outcome.changed:
                raise absent(outcome.context)
            return Answered(key, 204, encode_context(outcome.context))
        found = answer_of(outcome, Found)
        context, one = encode_context(found.context), merged(client, bucket, found.siblings)
        if one is None:
            return Answered(key, 300, context, siblings=[described(sibling) for sibling in found.siblings])
        return Answered(key, 200, context, value=json_of(one))
    except (Problem, ZdynamoError) as error:
        problem = error if isinstance(error, Problem) else problem_of(error)
        return Answered(key, problem.status, error=problem.error)


EXAMPLE = {"operations": [{"op": "put", "key": "a", "value": 1}, {"op": "get", "key": "b"}]}
RESOURCES = (
    Resource(
        "/v1/buckets/{bucket}/keys",
        LIST,
        Operation(
            "POST",
            "many",
            f"Get, put and delete up to {ASKED_MAX} keys, values as JSON. Each has its own answer.",
            many,
            {200: Answer("How each ended.", {JSON: Answers})},
            (R, PR, W, PW, TTL, TIMEOUT),
            body=Body("What to do with each key.", Batch, (JSON,), EXAMPLE),
        ),
    ),
)
