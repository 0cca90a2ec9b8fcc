"""Nodes that have lost their disk, and what they knew of the partitions of others, stand in for them (paper 4.6)."""

from dataclasses import dataclass

import pytest

from simulation.scenes import cluster, delete, held, held_values, put
from simulation.test_hints_simulated import FIVE, hints, owners
from zdynamo.core.settings import NodeLimits
from zdynamo.partition import partition_of
from zdynamo.testing.simulator import Simulation

SOON = NodeLimits(reap_interval_ms=500)


@dataclass(frozen=True)
class Scene:
    """A deleted key is gone from all disks, which took its partition two rounds further."""

    simulation: Simulation
    owners: list[str]
    fallbacks: list[str]

    def round_at(self, name: str) -> int:
        partition = partition_of(b"default", b"k", self.simulation.partitions)
        return self.simulation.nodes[name].node._state.rounds.of(partition)

    def lose_disk(self, name: str) -> None:
        self.simulation.kill(name)
        self.simulation.lose_disk(name)
        self.simulation.run_until(lambda: self.simulation.all_see([name], "down"), 10_000)

    def come_back(self, name: str) -> None:
        self.simulation.start(name, *(other for other in FIVE if other != name))
        self.simulation.run_until(lambda: self.simulation.all_see(FIVE), 20_000)
        self.simulation.run(10_000)

    def cut_fallbacks_off(self) -> None:
        for name in self.fallbacks:
            self.simulation.network.isolate(name, self.owners)
        self.simulation.run_until(lambda: self.sees_owners_down(*self.fallbacks), 20_000)

    def sees_owners_down(self, *names: str) -> bool:
        return all(
            {member.record.name for member in view.members if member.state == "down"} == set(self.owners)
            for name in names
            if (view := self.simulation.nodes[name].view) is not None
        )

    def held_by_owners(self) -> list[set[bytes]]:
        return [held_values(self.simulation, name, b"k") for name in self.owners]

    def heal(self) -> None:
        self.simulation.network.heal()
        self.simulation.run_until(lambda: self.simulation.all_see(FIVE) and not hints(self.simulation), 60_000)


def reaped(seed: int) -> Scene:
    simulation = cluster(seed, FIVE, limits=SOON)
    owning = owners(simulation, b"k")
    put(simulation, owning[0], b"k", b"before")
    delete(simulation, owning[0], b"k")
    simulation.run_until(lambda: all(held(simulation, name, b"k") is None for name in FIVE), 60_000)
    scene = Scene(simulation, owning, [name for name in FIVE if name not in owning])
    assert {scene.round_at(name) for name in FIVE} == {2}
    return scene


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loses_disk_again", [False, True])
def test_what_two_that_had_lost_their_disks_hold_for_the_owners_comes_home(seed: int, loses_disk_again: bool) -> None:
    scene = reaped(seed)
    first, second = scene.fallbacks
    for name in (first, second):
        scene.lose_disk(name)
        scene.come_back(name)
    assert {scene.round_at(name) for name in scene.fallbacks} == {2}

    scene.cut_fallbacks_off()
    put(scene.simulation, first, b"k", b"v", w=2)
    scene.simulation.kill(first)
    if loses_disk_again:
        scene.simulation.lose_disk(first)
    scene.simulation.network.heal()
    scene.simulation.start(first, *(name for name in FIVE if name != first))
    scene.heal()

    scene.simulation.run_until(lambda: scene.held_by_owners() == [{b"v"}] * 3)
