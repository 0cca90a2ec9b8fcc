"""The verbs that show the cluster as one member sees it: members, ring."""

from collections import Counter
from typing import TYPE_CHECKING

from zdynamo.cli.data import DEFAULT_TIMEOUT_MS
from zdynamo.cli.options import DEFAULT_NODE, JsonOption, NodeOption, TimeoutOption, connect
from zdynamo.cli.output import counted, show_json, show_table

if TYPE_CHECKING:
    from zdynamo.messages import MemberView, Topology


def members(
    node: NodeOption = DEFAULT_NODE,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """List the members, and who of them is alive.

    STATE is the opinion of the node asked; unreachable: others reach the member, that node does not. PHI says how
    suspicious the silence of a member is; OWNS, of how many partitions it has a copy.

    Example: zdynamo members --node 127.0.0.1:7400
    """
    with connect(node, timeout_ms) as client:
        topology = client.topology()
    owns = _partitions_owned(topology)
    if as_json:
        show_json(
            [
                {**_named(member), "phi": member.phi, "zone": member.record.zone, "owns": owns[member.record.id]}
                for member in _by_name(topology)
            ]
        )
        return
    show_table(
        ("NAME", "ADDRESS", "STATE", "PHI", "ZONE", "OWNS", "ID"),
        [
            (
                member.record.name,
                member.record.addresses.client,
                member.state,
                f"{member.phi:.1f}",
                member.record.zone or "-",
                owns[member.record.id],
                member.record.id,
            )
            for member in _by_name(topology)
        ],
        right=("PHI", "OWNS"),
    )


def ring(
    node: NodeOption = DEFAULT_NODE,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Show each member's share of the ring.

    OWNS: of how many partitions it has a copy; FIRST OF: for how many it is preferred to the other owners.

    With --json: the owners of each partition too, by their ids, in order of preference.

    Example: zdynamo ring --json
    """
    with connect(node, timeout_ms) as client:
        topology = client.topology()
    partitions, n = topology.constants.partitions, topology.constants.n
    owns = _partitions_owned(topology)
    first = Counter(owners[0] for owners in topology.owners if owners)
    total = sum(owns.values()) or 1
    if as_json:
        shares = [
            {
                **_named(member),
                "zone": member.record.zone,
                "weight": member.record.weight,
                "owns": owns[member.record.id],
                "first_of": first[member.record.id],
                "share": round(owns[member.record.id] / total, 4),
            }
            for member in _by_name(topology)
        ]
        layout = topology.layout.number if topology.layout else None
        show_json({"layout": layout, "partitions": partitions, "n": n, "members": shares, "owners": topology.owners})
        return
    if topology.layout is None:
        wanted = topology.constants.min_members
        print("no layout yet: it is decided with the first put" + f", once {wanted} members have joined" * (wanted > 1))
    else:
        copies = max((len(owners) for owners in topology.owners), default=0)
        print(f"layout {topology.layout.number}: {counted(partitions, 'partition')}, {copies} of {n} copies each")
    show_table(
        ("NAME", "ADDRESS", "ZONE", "WEIGHT", "OWNS", "FIRST OF", "SHARE"),
        [
            (
                member.record.name,
                member.record.addresses.client,
                member.record.zone or "-",
                member.record.weight,
                owns[member.record.id],
                first[member.record.id],
                f"{owns[member.record.id] / total:.1%}",
            )
            for member in _by_name(topology)
        ],
        right=("WEIGHT", "OWNS", "FIRST OF", "SHARE"),
    )


def _named(member: "MemberView") -> dict[str, object]:
    record = member.record
    return {"name": record.name, "id": record.id, "address": record.addresses.client, "state": member.state}


def _by_name(topology: "Topology") -> "list[MemberView]":
    return sorted(topology.members, key=lambda member: (member.record.name, member.record.id))


def _partitions_owned(topology: "Topology") -> Counter[str]:
    return Counter(owner for owners in topology.owners for owner in owners)
