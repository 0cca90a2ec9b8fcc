"""Is a node well, and should it be sent requests? Judged by what it tells any client.

A node is alive if it answers. It is ready when it has joined, has all its data, and reaches enough members for R and W:
fallbacks stand in for owners, so what counts is how many members this node reaches, not which. A judgement by owners
would take all nodes out of service at once when two of them die.
"""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from zdynamo.messages import NodeDescription, Topology

REACHED = ("alive", "suspect")


class Health(NamedTuple):
    """`problems`: in words, none if all is well."""

    problems: tuple[str, ...]

    @property
    def well(self) -> bool:
        return not self.problems


def liveness(answered: bool) -> Health:
    """`answered`: whatever it was, as long as it came in time."""
    return Health(() if answered else ("the node does not answer",))


def readiness(topology: "Topology | None", description: "NodeDescription | None") -> Health:
    """Both by the same node; None if it refused, as it does before it has joined, or did not answer."""
    if topology is None or description is None:
        return Health(("the node has not joined a cluster, or does not answer",))
    problems = []
    members, minimum = len(topology.members), topology.constants.min_members
    if members < minimum:
        problems.append(f"the cluster is forming: {members} of {minimum} members have joined")
    unsettled = description.counters.get("partitions.unsettled", 0)
    if unsettled:
        problems.append(f"{unsettled} partitions are unsettled: their records are being got from other nodes")
    figures = description.figures
    if figures is not None:
        needed = min(max(figures.r, figures.w), max(1, topology.constants.n), max(1, members))
        reached = sum(member.state in REACHED for member in topology.members)
        if reached < needed:
            problems.append(f"a quorum needs {needed} members: this node reaches {reached}")
    return Health(tuple(problems))


def short_of_quorum(topology: "Topology", needed: int) -> int:
    """Partitions of which fewer owners are reached than are needed, as far as there are owners."""
    reached = {member.record.id for member in topology.members if member.state in REACHED}
    return sum(len(reached.intersection(owners)) < min(needed, len(owners)) for owners in topology.owners)
