"""A founder restored from before the first layout never decides on a second one, nor calls a key absent."""

from itertools import count

import pytest

from zdynamo.messages import Refused
from zdynamo.testing.disk import Disk
from zdynamo.testing.simulator import Simulation

from .scenes import get, put, values

SEEDS = range(1, 9)
KEYS = [b"key-%d" % number for number in range(30)]
OTHERS = "bcde"


def grown(seed: int, min_members: int) -> tuple[Simulation, Disk]:
    """A cluster with data in which some own nothing, and the disk of its founder as it was when that was alone.

    The founder has been started again since, so that the others can tell the restored one that it is an old copy.
    """
    simulation = Simulation(seed, min_members=min_members)
    simulation.start("a")
    simulation.run(100)
    early = simulation.disks["a"].copy(snapshot=True)
    for names in ("bc", "de"):
        for name in names:
            simulation.start(name, "a")
        simulation.run_until(lambda: simulation.all_see("".join(sorted(simulation.nodes))), 20_000)
        if names == "bc":
            put(simulation, "a", b"first", b"value")
    for key in KEYS:
        put(simulation, "a", key, b"value")
    simulation.kill("a")
    simulation.run(500)
    simulation.start("a")
    simulation.run(5_000)
    assert len(layout_of(simulation, "b")) == 3
    return simulation, early


def layout_of(simulation: Simulation, name: str) -> tuple[object, ...]:
    view = simulation.nodes[name].view
    return view.layout.members if view and view.layout else ()


def restore(simulation: Simulation, early: Disk) -> None:
    simulation.kill("a")
    simulation.run(3_000)
    simulation.disks["a"] = early
    simulation.start("a")


@pytest.mark.parametrize("min_members", [1, 3])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_founder_restored_from_before_the_layout_does_not_replace_it(seed: int, min_members: int) -> None:
    simulation, early = grown(seed, min_members)
    before = layout_of(simulation, "b")
    assert early.kept.layout is None

    restore(simulation, early)
    simulation.run(50_000)

    assert [layout_of(simulation, name) for name in sorted(simulation.nodes)] == [before] * 5
    assert [noted.name for _, _, noted in simulation.notes].count("layout.decided") == 1
    assert [key for key in KEYS if values(get(simulation, "b", key)) != {b"value"}] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_founder_restored_from_before_the_layout_never_calls_a_key_absent(seed: int) -> None:
    simulation, early = grown(seed, min_members=1)

    restore(simulation, early)
    for asked in count():
        answer = get(simulation, "a", KEYS[asked % len(KEYS)])
        if not isinstance(answer, Refused):
            break
        simulation.run(100)

    assert values(answer) == {b"value"}
