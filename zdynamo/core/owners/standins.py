"""Who takes a write or a read: the owners that can be reached, and who stands in for the others (paper 4.6).

Each owner that is missing is replaced by the next fallback that is up, which holds what is written for it (a sloppy
quorum). Where there are fewer fallbacks than missing owners, each holds it for several; where there are none, an owner
that coordinates keeps hints beside its own copy.
"""

from collections.abc import Container, Mapping
from typing import NamedTuple

from zdynamo.core.owners.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import NodeId
from zdynamo.partition import partition_of_storage_key

UNHEARD = "this node has lost what it knew of the key's partition, and has not heard from an owner since: ask another"


class Takers(NamedTuple):
    """Whom a write is sent to, beside its coordinator."""

    owners: list[NodeId]
    hold: dict[NodeId, tuple[NodeId, ...]]  # who stands in, and for whom
    mine: tuple[NodeId, ...]  # for whom the coordinator keeps it itself
    behind: bool  # some are left out because they have too much to work off


def takers(key: bytes, placement: Placement, state: State, bytes_to: Mapping[NodeId, int]) -> Takers:
    """Of a storage key, now. `bytes_to`: what each peer has been sent and not answered."""
    owners, up, most = placement.owners_of(key), placement.others_up(key), state.limits.peer_bytes_max
    owning, lost = placement.me in owners, state.patience.lost
    reached = [owner for owner in up if owner not in lost] if lost else up
    asked = [owner for owner in reached if bytes_to[owner] < most]
    if owning and len(reached) + 1 == len(owners):
        return Takers(asked, {}, (), len(asked) < len(reached))
    missing = [owner for owner in owners if owner != placement.me and owner not in reached]
    fallbacks = [node for node in placement.fallbacks_of(key) if node not in lost and bytes_to[node] < most]
    if owning and not fallbacks:
        asked += [owner for owner in up if owner in lost and bytes_to[owner] < most]  # it may be back at any moment
        return Takers(asked, {}, tuple(owner for owner in missing if owner not in up), len(asked) < len(up))
    if not missing:  # all owners are up, and none of them has answered
        return Takers(asked, {}, owners, len(asked) < len(reached))
    held = _shared_out(missing, fallbacks if owning else [placement.me, *fallbacks])
    mine = held.pop(placement.me, ())
    return Takers(asked, held, mine, len(asked) < len(reached))


def against_standing_in(key: bytes, targets: tuple[NodeId, ...], placement: Placement, state: State) -> str:
    """Why this node, which is no owner, can keep nothing under a storage key for any of those; "": it can."""
    if not any(state.hints.has_room(target, key) for target in targets):
        return f"this node holds as much as it may for {placement.names(targets)}"
    return "" if state.partitions.may_stand_in(partition_of_storage_key(key)) else UNHEARD


def readers(key: bytes, placement: Placement, state: State) -> tuple[tuple[NodeId, ...], tuple[NodeId, ...]]:
    """Whom a read of a storage key asks: other owners that can be reached, and a fallback for each that is missing."""
    owners, up, lost = placement.owners_of(key), placement.others_up(key), state.patience.lost
    reached = tuple(owner for owner in up if owner not in lost)
    missing = len(owners) - (placement.me in owners) - len(reached)
    if not missing:
        return reached, ()
    fallbacks = tuple(node for node in placement.fallbacks_of(key) if node not in lost)[:missing]
    return reached if fallbacks else up, fallbacks


def next_fallback(
    key: bytes, placement: Placement, state: State, asked: Container[NodeId], bytes_to: Mapping[NodeId, int]
) -> NodeId | None:
    """Who else may stand in for an owner."""
    most, lost = state.limits.peer_bytes_max, state.patience.lost
    for node in placement.fallbacks_of(key):
        if node not in asked and node not in lost and bytes_to[node] < most:
            return node
    return None


def _shared_out(missing: list[NodeId], standing: list[NodeId]) -> dict[NodeId, tuple[NodeId, ...]]:
    held: dict[NodeId, tuple[NodeId, ...]] = {}
    for place, owner in enumerate(missing):
        node = standing[place % len(standing)]
        held[node] = (*held.get(node, ()), owner)
    return held
