"""Who owns which partition: weighted rendezvous hashing with bounded load (paper 4.2 and 6.2, strategy 3).

Each member is at a random distance from each partition, divided by its weight, and the nearest members own it, in
distinct zones while there are enough. Left at that, loads would scatter by their square root. So each member has a
quota, its due share rounded up or down, and the weights of overloaded members are lowered until all hold theirs. Owners
are still the nearest under the weights found, so little moves when a member comes or goes: what the quotas demand,
and the few partitions over which the other weights shift.

Every node works this out for itself and has to find the same: integers, and floats under `+ - * /` only, which IEEE 754
rounds alike everywhere. `math.log` is not among them.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import xxhash

from zdynamo.core.owners.shares import quotas
from zdynamo.messages import Layout, LayoutMember, NodeId

LN_2 = 0.6931471805599453


class Ring:
    """The owners of every partition of a layout, and who stands in for them."""

    def __init__(self, layout: Layout, partitions: int, n: int) -> None:
        self.layout = layout
        self.owners = owners(layout, partitions, n)
        self._fallbacks: dict[int, tuple[NodeId, ...]] = {}

    def preference_list(self, partition: int) -> tuple[NodeId, ...]:
        """The owners, then the fallbacks."""
        return self.owners[partition] + self.fallbacks(partition)

    def fallbacks(self, partition: int) -> tuple[NodeId, ...]:
        """The members of the layout that do not own the partition, in an order of its own."""
        found = self._fallbacks.get(partition)
        if found is None:
            owned = self.owners[partition]
            others = [member.id for member in self.layout.members if member.id not in owned]
            found = self._fallbacks[partition] = tuple(sorted(others, key=lambda node: _draw(node, partition)))
        return found


@lru_cache(maxsize=16)  # asked again at every view, and layouts seldom change
def ring_of(layout: Layout, partitions: int, n: int) -> Ring:
    return Ring(layout, partitions, n)


@lru_cache(maxsize=16)
def owners(layout: Layout, partitions: int, n: int) -> tuple[tuple[NodeId, ...], ...]:
    """By partition N distinct owners, or all members if they are fewer; the first is to coordinate its writes."""
    members = layout.members
    copies = min(n, len(members))
    if not copies:
        return ((),) * partitions
    loads = quotas(members, partitions, copies)
    assignment = _Assignment(members, partitions, copies)
    assignment.settle(loads)
    return tuple(tuple(members[index].id for index in group) for group in _led_in_turn(assignment.owners, loads))


class _Assignment:
    """Each partition with the nearest members under the weights: true at the start, and after every change of both."""

    def __init__(self, members: Sequence[LayoutMember], partitions: int, copies: int) -> None:
        self.owners: list[list[int]] = []  # by partition: indices of members
        self._held: list[set[int]] = [set() for _ in members]  # by member: partitions
        self._zones = [member.zone for member in members]
        self._spread = min(copies, len(set(self._zones)))  # distinct zones of every partition
        self._weights = [float(member.weight) for member in members]
        self._distances = [
            [_distance(_draw(member.id, partition)) for member in members] for partition in range(partitions)
        ]
        for partition in range(partitions):
            self.owners.append(self._nearest(partition, copies))
            for member in self.owners[partition]:
                self._held[member].add(partition)

    def settle(self, loads: list[int]) -> None:
        """Bring every member to its load.

        Each round takes one partition from the most overloaded, along the path of least stretch: it hands a partition
        to the next member, which hands on another, until one has room. This is the assignment of least total cost by
        shortest augmenting paths, where the cost is the logarithm of the distance.
        """
        while True:
            excess = [len(held) - load for held, load in zip(self._held, loads, strict=True)]
            most = max(range(len(excess)), key=excess.__getitem__)
            if not excess[most]:
                return
            stretches, handed = self._paths(most, excess)
            member = end = next(reversed(stretches))
            for passed, stretch in stretches.items():
                self._weights[passed] *= stretch / stretches[end]
            while member != most:
                giver, partition = handed[member]
                group = self.owners[partition]
                group[group.index(giver)] = member
                self._held[giver].remove(partition)
                self._held[member].add(partition)
                member = giver

    def _paths(self, start: int, excess: list[int]) -> tuple[dict[int, float], dict[int, tuple[int, int]]]:
        """Dijkstra with products, until a member with room is reached.

        Returns: the stretch of each member reached, the one with room last; and who hands it which partition.
        """
        reached: dict[int, float] = {}
        ahead = {start: 1.0}
        handed: dict[int, tuple[int, int]] = {}
        while True:
            giver = min(ahead, key=lambda member: (ahead[member], member))
            reached[giver] = ahead.pop(giver)
            if excess[giver] < 0:
                return reached, handed
            for partition in sorted(self._held[giver]):
                distances = self._distances[partition]
                scale = reached[giver] * self._weights[giver] / distances[giver]
                for taker in self._takers(partition, giver):
                    stretch = scale * distances[taker] / self._weights[taker]
                    if taker not in reached and stretch < ahead.get(taker, math.inf):
                        ahead[taker], handed[taker] = stretch, (giver, partition)

    def _nearest(self, partition: int, copies: int) -> list[int]:
        """The nearest of each of the nearest zones, then the nearest of all others."""
        distances, weights, zones = self._distances[partition], self._weights, self._zones
        order = sorted(range(len(zones)), key=lambda member: distances[member] / weights[member])
        first_of_zone = {zones[member]: member for member in reversed(order)}
        chosen = [member for member in order if first_of_zone[zones[member]] == member][: self._spread]
        return chosen + [member for member in order if member not in chosen][: copies - len(chosen)]

    def _takers(self, partition: int, giver: int) -> list[int]:
        """Who could own the partition instead of the giver, with as many zones as now."""
        group, zones = self.owners[partition], self._zones
        others = {zones[member] for member in group if member != giver}
        if len(others) == self._spread:
            return [member for member in range(len(zones)) if member not in group]
        return [member for member in range(len(zones)) if zones[member] not in others and member not in group]


def _led_in_turn(owned: list[list[int]], loads: list[int]) -> list[list[int]]:
    """Each group behind the one that leads the smallest part of what it owns so far."""
    leads = [0] * len(loads)
    led = []
    for group in owned:
        leader = min(group, key=lambda member: (leads[member] / loads[member], member))
        leads[leader] += 1
        led.append([leader] + [member for member in group if member != leader])
    return led


def _draw(node: NodeId, partition: int) -> int:
    """64 random bits of a node and a partition."""
    return xxhash.xxh3_64_intdigest(partition.to_bytes(2, "big") + node.encode())


def _distance(bits: int) -> float:
    """Exponentially distributed, always above 0: -ln of the bits as a fraction, to 1e-7."""
    part, exponent = math.frexp((bits >> 12) + 0.5)  # exact; part in [0.5, 1)
    z = (part - 1) / (part + 1)
    zz = z * z
    return (52 - exponent) * LN_2 - 2 * z * (1 + zz * (1 / 3 + zz * (1 / 5 + zz * (1 / 7 + zz * (1 / 9 + zz / 11)))))
