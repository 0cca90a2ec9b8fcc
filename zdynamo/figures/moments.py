"""The cluster at one moment: who is a member, and what each member tells of itself."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from zdynamo.messages import MemberView, NodeDescription, Topology

DOWN = "down"  # why such a member is not even asked


class Moment(NamedTuple):
    """As one node sees the members, by name; in place of figures, why there are none."""

    topology: "Topology"
    members: "tuple[MemberView, ...]"
    told: "dict[str, NodeDescription | str]"

    def of(self, member: "MemberView") -> "NodeDescription | str":
        return self.told[member.record.id]


def by_name(topology: "Topology") -> "tuple[MemberView, ...]":
    return tuple(sorted(topology.members, key=lambda member: (member.record.name, member.record.id)))


def moment_of(topology: "Topology", answers: "Iterable[NodeDescription | str]") -> Moment:
    """`answers`: of the members in the order of `by_name`."""
    members = by_name(topology)
    return Moment(topology, members, dict(zip((member.record.id for member in members), answers, strict=True)))


def notices(moment: Moment, members: "Iterable[MemberView]") -> list[str]:
    """What an operator should know of these members; why one that is not down does not answer, too."""
    told = []
    for member in members:
        answer = moment.of(member)
        found = answer.notices if not isinstance(answer, str) else () if answer == DOWN else (answer,)
        told += [f"{member.record.name}: {notice}" for notice in found]
    return told
