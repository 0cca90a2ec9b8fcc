"""The simple routes: keys with JSON values in the bucket `default`, live members, ping."""

from typing import Any

import msgspec
from msgspec import Struct
from starlette.responses import Response

from zdynamo.client.base import DEFAULT_BUCKET
from zdynamo.client.outcomes import answer_of, changed_by, context_of
from zdynamo.client.requests import UNSENT, make_delete, make_get, make_put
from zdynamo.http.call import Call
from zdynamo.http.describe import Answer, Body, Operation
from zdynamo.http.media import json_of, stored_json
from zdynamo.http.problems import JSON, absent
from zdynamo.http.resource import Resource
from zdynamo.http.siblings import merged
from zdynamo.messages import Absent, DescribeCluster, Found, Topology

MEMBERS_MS = 1_000  # who polls wants to be told soon, and asks again
PONG = b'{"message":"pong"}'


class Pair(Struct):
    """A key, and any JSON."""

    Key: str
    Value: Any


class Stored(Struct):
    """What was stored, and who served the request."""

    key: str
    node: str


class Shown(Struct):
    """A key with its value."""

    key: str
    value: Any
    node: str


class Several(Struct):
    """A key with what concurrent writes have left."""

    key: str
    siblings: list[Any]
    node: str


class Removed(Struct):
    """Whether there was something to delete."""

    key: str
    deleted: bool
    node: str


class Pong(Struct):
    """A sign of life."""

    message: str


async def store(call: Call) -> Response:
    pair = await call.json(Pair)
    context_of(await call.client.ask(make_put(pair.Key, stored_json(pair.Value), DEFAULT_BUCKET)))
    return _json(Stored(pair.Key, call.door.served_by))


async def show(call: Call) -> Response:
    key = call.key_text
    outcome = await call.client.ask(make_get(key, DEFAULT_BUCKET))
    if isinstance(outcome, Absent):
        raise absent(outcome.context)
    siblings = answer_of(outcome, Found).siblings
    one = merged(call.client, DEFAULT_BUCKET, siblings)
    if one is None:
        return _json(Several(key, [json_of(sibling) for sibling in siblings], call.door.served_by), 300)
    return _json(Shown(key, json_of(one), call.door.served_by))


async def remove(call: Call) -> Response:
    key = call.key_text
    deleted = changed_by(await call.client.ask(make_delete(key, DEFAULT_BUCKET)))
    return _json(Removed(key, deleted, call.door.served_by))


async def members(call: Call) -> Response:
    """As the node sees them that this process belongs to."""
    outcome = await call.client.ask(DescribeCluster(UNSENT, ""), MEMBERS_MS, at=call.door.node)
    topology = answer_of(outcome, Topology)
    return _json(sorted(member.record.addresses.client for member in topology.members if member.state != "down"))


async def ping(call: Call) -> Response:
    return Response(PONG, 200, None, JSON)


def _json(document: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status, None, JSON)


RESOURCES = (
    Resource(
        "/kvstore",
        Operation(
            "POST",
            "store",
            "Store any JSON under a key. It overwrites what is there.",
            store,
            {200: Answer("Kept by W nodes.", {JSON: Stored})},
            body=Body("The key and its value.", Pair, (JSON,), {"Key": "cart", "Value": ["milk"]}),
        ),
    ),
    Resource(
        "/kvstore/{key}",
        Operation(
            "GET",
            "show",
            "The value of a key.",
            show,
            {
                200: Answer("The value.", {JSON: Shown}),
                300: Answer("Concurrent writes left several: a POST settles it.", {JSON: Several}),
                404: Answer("There is none."),
            },
        ),
        Operation("DELETE", "remove", "Delete a key.", remove, {200: Answer("It is gone.", {JSON: Removed})}),
    ),
    Resource(
        "/members",
        Operation(
            "GET",
            "members",
            "The public addresses of all members that live, as each was given.",
            members,
            {200: Answer("As this node sees them.", {JSON: list[str]})},
        ),
    ),
    Resource(
        "/ping",
        Operation("GET", "ping", "Whether this process answers.", ping, {200: Answer("It does.", {JSON: Pong})}),
    ),
)
