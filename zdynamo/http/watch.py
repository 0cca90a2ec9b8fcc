"""The routes for those who watch a node: Prometheus, load balancers, orchestrators."""

import msgspec
from msgspec import Struct
from starlette.responses import Response

from zdynamo.client.events import DeadlinePassed, NoNodeReached, Outcome
from zdynamo.client.outcomes import answer_of
from zdynamo.client.requests import UNSENT
from zdynamo.errors import RequestError
from zdynamo.http.call import Call
from zdynamo.http.describe import Answer, Operation
from zdynamo.http.health import Health, liveness, readiness
from zdynamo.http.metrics import CONTENT_TYPE, exposition
from zdynamo.http.problems import JSON, Problem
from zdynamo.http.resource import Resource
from zdynamo.messages import DescribeCluster, DescribeNode, NodeDescription, Topology

ANSWER_MS = 800  # that a node has: less than the second that orchestrators wait by default
PLAIN = "text/plain"


class Well(Struct):
    """All is; what is not well is told as an error."""

    well: bool


async def metrics(call: Call) -> Response:
    if not call.door.node:
        raise Problem(404, "no_node", "a gateway has no figures of its own: scrape the nodes")
    try:
        told = exposition(*await _described(call))
    except RequestError as error:
        raise Problem(503, "no_figures", str(error)) from None
    return Response(told, 200, {"content-type": CONTENT_TYPE})


async def alive(call: Call) -> Response:
    """A gateway is alive as long as it answers, whatever the cluster does."""
    node = call.door.node
    answered = not node or _is_answer(await call.client.ask(DescribeNode(UNSENT, ""), ANSWER_MS, at=node))
    return _judged(liveness(answered), "not_alive")


async def ready(call: Call) -> Response:
    try:
        health = readiness(*await _described(call))
    except RequestError:
        health = readiness(None, None)
    return _judged(health, "not_ready")


async def _described(call: Call) -> tuple[Topology, NodeDescription]:
    """By the node that this process belongs to; of a gateway by any one. Raises: RequestError."""
    node = call.door.node
    topology = answer_of(await call.client.ask(DescribeCluster(UNSENT, ""), ANSWER_MS, at=node), Topology)
    if not node:
        by = [member.record for member in topology.members if member.record.id == topology.answered_by]
        node = by[0].addresses.client
    return topology, answer_of(await call.client.ask(DescribeNode(UNSENT, ""), ANSWER_MS, at=node), NodeDescription)


def _is_answer(outcome: Outcome) -> bool:
    """Also a refusal is one: a node that has not joined yet is alive."""
    return not isinstance(outcome, NoNodeReached) and not (isinstance(outcome, DeadlinePassed) and not outcome.last)


def _judged(health: Health, code: str) -> Response:
    """Raises: Problem."""
    if not health.well:
        raise Problem(503, code, "; ".join(health.problems), problems=health.problems)
    return Response(msgspec.json.encode(Well(True)), 200, None, JSON)


RESOURCES = (
    Resource(
        "/metrics",
        Operation(
            "GET",
            "metrics",
            "The figures of this node, for Prometheus. A gateway has none.",
            metrics,
            {200: Answer("In the text format.", {PLAIN: {"type": "string"}}), 404: Answer("This is a gateway.")},
        ),
    ),
    Resource(
        "/healthz",
        Operation(
            "GET",
            "alive",
            "Whether the node answers; if not, it is to be started again.",
            alive,
            {200: Answer("It does.", {JSON: Well}), 503: Answer("It does not.")},
        ),
    ),
    Resource(
        "/readyz",
        Operation(
            "GET",
            "ready",
            "Whether the node has joined, has its data and reaches enough members for R and W.",
            ready,
            {200: Answer("It may be sent requests.", {JSON: Well}), 503: Answer("Others should.")},
        ),
    ),
)
