"""The cluster at one moment: who is a member, and what each member tells of itself."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from zdynamo.cli.output import one_line

if TYPE_CHECKING:
    from zdynamo.client import Client
    from zdynamo.messages import MemberView, NodeDescription, Topology

ASKED_AT_A_TIME = 16  # members; who is silent must not keep the others waiting
DOWN = "down"  # why such a member is not even asked


class Moment(NamedTuple):
    """As one node sees the members, by name; in place of figures, why there are none."""

    topology: "Topology"
    members: "tuple[MemberView, ...]"
    told: "dict[str, NodeDescription | str]"

    def of(self, member: "MemberView") -> "NodeDescription | str":
        return self.told[member.record.id]


def look(client: "Client", deadline_ms: int) -> Moment:
    """Ask one node for the members, and each member for its figures. Raises: RequestError if no node answers."""
    topology = client.topology(deadline_ms=deadline_ms)
    members = tuple(sorted(topology.members, key=lambda member: (member.record.name, member.record.id)))
    with ThreadPoolExecutor(ASKED_AT_A_TIME) as pool:
        answers = list(pool.map(lambda member: _describe(client, member, deadline_ms), members))
    ids = [member.record.id for member in members]
    return Moment(topology, members, dict(zip(ids, answers, strict=True)))


def notices(moment: Moment, members: "Iterable[MemberView]") -> list[str]:
    """What an operator should know of these members; why one that is not down does not answer, too."""
    told = []
    for member in members:
        answer = moment.of(member)
        found = answer.notices if not isinstance(answer, str) else () if answer == DOWN else (answer,)
        told += [f"{member.record.name}: {notice}" for notice in found]
    return told


def _describe(client: "Client", member: "MemberView", deadline_ms: int) -> "NodeDescription | str":
    from zdynamo.errors import RequestError

    if member.state == "down":
        return DOWN
    try:
        return client.node_status(member.record.addresses.client, deadline_ms=deadline_ms)
    except RequestError as error:
        return one_line(error)
