"""Asking the cluster what it is like at the moment."""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from zdynamo.cli.output import one_line
from zdynamo.figures.moments import DOWN, Moment, by_name, moment_of

if TYPE_CHECKING:
    from zdynamo.client import Client
    from zdynamo.messages import MemberView, NodeDescription

ASKED_AT_A_TIME = 16  # members; who is silent must not keep the others waiting


def look(client: "Client", deadline_ms: int) -> Moment:
    """Ask one node for the members, and each member for its figures. Raises: RequestError if no node answers."""
    topology = client.topology(deadline_ms=deadline_ms)
    with ThreadPoolExecutor(ASKED_AT_A_TIME) as pool:
        return moment_of(topology, pool.map(lambda member: _describe(client, member, deadline_ms), by_name(topology)))


def _describe(client: "Client", member: "MemberView", deadline_ms: int) -> "NodeDescription | str":
    from zdynamo.errors import RequestError

    if member.state == "down":
        return DOWN
    try:
        return client.node_status(member.record.addresses.client, deadline_ms=deadline_ms)
    except RequestError as error:
        return one_line(error)
