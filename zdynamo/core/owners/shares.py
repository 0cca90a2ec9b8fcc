"""How many partitions each member is to own: its share by weight, as far as zones and distinct owners allow.

A member can own a partition once, so no share is above the number of partitions. Zones bind too: where they are
enough for all copies, a zone holds at most one copy of each partition; where they are fewer, at least one.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

from zdynamo.messages import LayoutMember


def quotas(members: Sequence[LayoutMember], partitions: int, copies: int) -> list[int]:
    """The due shares rounded up or down, together `copies` for each partition, also within the bounds of zones."""
    dues = due_shares(members, partitions, copies)
    zones = _by_zone(members, range(len(members)))
    zone_dues = [sum((dues[index] for index in zone), Fraction()) for zone in zones]
    rounded = [0] * len(members)
    for zone, total in zip(zones, _rounded(zone_dues, partitions * copies), strict=True):
        for index, quota in zip(zone, _rounded([dues[index] for index in zone], total), strict=True):
            rounded[index] = quota
    return rounded


def due_shares(members: Sequence[LayoutMember], partitions: int, copies: int) -> list[Fraction]:
    """The copies due to each member: proportional to weights, but for who meets a bound; the rest share the rest."""
    enough_zones = len({member.zone for member in members}) >= copies
    dues = [Fraction()] * len(members)

    def share(among: Iterable[int], total: int) -> None:
        left, weight_left = Fraction(total), sum(members[index].weight for index in among)
        for index in sorted(among, key=lambda index: -members[index].weight):  # who may exceed the bound comes first
            dues[index] = min(Fraction(partitions), left * members[index].weight / weight_left)
            left, weight_left = left - dues[index], weight_left - members[index].weight

    free, total = _by_zone(members, range(len(members))), partitions * copies
    while free:
        share([index for zone in free for index in zone], total)
        sums = [sum((dues[index] for index in zone), Fraction()) for zone in free]
        bound = [due > partitions if enough_zones else due < partitions for due in sums]
        if not any(bound):
            break
        for zone in (zone for zone, is_bound in zip(free, bound, strict=True) if is_bound):
            share(zone, partitions)
            total -= partitions
        free = [zone for zone, is_bound in zip(free, bound, strict=True) if not is_bound]
    return dues


def _by_zone(members: Sequence[LayoutMember], among: Iterable[int]) -> list[list[int]]:
    zones: dict[str, list[int]] = {}
    for index in among:
        zones.setdefault(members[index].zone, []).append(index)
    return list(zones.values())


def _rounded(dues: list[Fraction], total: int) -> list[int]:
    """Up where most would be cut off, and in order where that is equal, until the total is reached."""
    rounded = [int(due) for due in dues]
    most_cut_off = sorted(range(len(dues)), key=lambda index: rounded[index] - dues[index])
    for index in most_cut_off[: total - sum(rounded)]:
        rounded[index] += 1
    return rounded
