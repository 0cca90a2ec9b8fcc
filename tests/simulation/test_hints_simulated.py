"""Sloppy quorums and hinted handoff on simulated clusters (paper 4.6)."""

import pytest

from simulation.scenes import ask, cluster, get, held_values, put, request_id, values
from zdynamo.core.replicas.handoff import Handover
from zdynamo.messages import Done, Get, OutcomeUnknown, Put, QuorumNotMet
from zdynamo.partition import partition_of
from zdynamo.testing.simulator import Simulation

FIVE = ("a", "b", "c", "d", "e")


def five(seed: int = 1) -> Simulation:
    return cluster(seed, FIVE)


def owners(simulation: Simulation, key: bytes) -> list[str]:
    """The names of the owners of a key."""
    placement = next(iter(simulation.nodes.values())).node._placement
    assert placement is not None
    return [placement.name_of(node) for node in placement.owners[partition_of(b"default", key, simulation.partitions)]]


def take_down(simulation: Simulation, *names: str) -> None:
    for name in names:
        simulation.kill(name)
    simulation.run_until(lambda: simulation.all_see(names, "down"), 10_000)


def bring_back(simulation: Simulation, *names: str) -> None:
    for name in names:
        simulation.start(name)
    simulation.run_until(lambda: simulation.all_see(FIVE), 20_000)


def hints(simulation: Simulation) -> dict[str, int]:
    """How many hints each running node holds, where there are any."""
    held = {
        name: sum(each.count for each in node.node._state.hints.held.values())
        for name, node in simulation.nodes.items()
    }
    return {name: count for name, count in held.items() if count}


@pytest.mark.parametrize("seed", range(3))
def test_with_two_of_three_owners_down_writes_are_taken_and_read_and_come_home(seed: int) -> None:
    simulation = five(seed)
    here, *gone = owners(simulation, b"k")
    put(simulation, here, b"before", b"other")

    take_down(simulation, *gone)
    put(simulation, here, b"k", b"v")
    while_away = values(get(simulation, here, b"k"))
    held = hints(simulation)
    bring_back(simulation, *gone)
    simulation.run_until(lambda: not hints(simulation), 20_000)

    assert while_away == {b"v"}
    assert sum(held.values()) == 2
    assert [held_values(simulation, name, b"k") for name in (here, *gone)] == [{b"v"}] * 3
    assert [held_values(simulation, name, b"k") for name in FIVE if name not in (here, *gone)] == [set(), set()]


def test_with_all_owners_down_two_others_take_a_write() -> None:
    simulation = five()
    gone = owners(simulation, b"k")
    here, other = (name for name in FIVE if name not in gone)
    put(simulation, here, b"before", b"other")

    take_down(simulation, *gone)
    put(simulation, here, b"k", b"v")
    while_away = values(get(simulation, other, b"k"))
    bring_back(simulation, *gone)
    simulation.run_until(lambda: not hints(simulation), 20_000)

    assert while_away == {b"v"}
    assert [held_values(simulation, name, b"k") for name in gone] == [{b"v"}] * 3
    assert [held_values(simulation, name, b"k") for name in (here, other)] == [set(), set()]


def test_in_a_cluster_of_three_the_coordinator_keeps_the_hints() -> None:
    simulation = cluster()

    take_down(simulation, "c")
    put(simulation, "a", b"k", b"v")
    held = hints(simulation)
    simulation.start("c")
    simulation.run_until(lambda: simulation.all_see(("a", "b", "c")) and not hints(simulation), 20_000)

    assert held == {"a": 1}
    assert [held_values(simulation, name, b"k") for name in ("a", "b", "c")] == [{b"v"}] * 3


def test_a_strict_write_and_a_strict_read_need_owners() -> None:
    simulation = five()
    here, *gone = owners(simulation, b"k")
    put(simulation, here, b"k", b"v")

    take_down(simulation, *gone)
    wrote = ask(simulation, here, Put(request_id(), "", 2_000, "default", b"k", b"w", "", pw=2))
    read = ask(simulation, here, Get(request_id(), "", 2_000, "default", b"k", pr=2))

    assert isinstance(wrote, QuorumNotMet) and (wrote.needed, wrote.got) == (2, 1)
    assert isinstance(read, QuorumNotMet) and (read.needed, read.got) == (2, 1)


def test_what_nobody_has_written_is_not_called_absent_by_fallbacks() -> None:
    simulation = five()
    here, *gone = owners(simulation, b"k")
    put(simulation, here, b"other", b"v")

    take_down(simulation, *gone)

    assert isinstance(get(simulation, here, b"k"), QuorumNotMet)


def test_an_owner_that_falls_silent_costs_a_replica_timeout() -> None:
    simulation = five()
    here, *silent = owners(simulation, b"k")
    put(simulation, here, b"k", b"before")
    simulation.network.isolate(silent[0], FIVE)
    simulation.network.isolate(silent[1], FIVE)
    began_ms = simulation.time_ms

    done = ask(simulation, here, Put(request_id(), "", 2_000, "default", b"k", b"after", ""))

    assert isinstance(done, Done)
    assert simulation.time_ms - began_ms < 2 * simulation.limits.replica_timeout_ms


def test_what_an_owner_has_and_what_is_held_for_it_are_no_two_copies() -> None:
    """One of three owners is late, so that it is replaced and answers all the same; another is silent."""
    simulation = cluster(1, FIVE[:4])
    put(simulation, "a", b"before", b"other")
    here, late, silent = owners(simulation, b"k")
    (other,) = {*FIVE[:4]} - {here, late, silent}
    simulation.network.slow = {(late, here): (130, 130)}
    simulation.network.isolate(silent, FIVE)

    answer = ask(simulation, here, Put(request_id(), "", 2_000, "default", b"k", b"v", "", w=3))
    simulation.run_until(lambda: other not in hints(simulation), 20_000)

    assert [name for name in FIVE[:4] if held_values(simulation, name, b"k")] == sorted((here, late))
    assert isinstance(answer, OutcomeUnknown) and (answer.needed, answer.got) == (3, 2)


def test_both_halves_of_a_cluster_take_writes_and_have_siblings_afterwards() -> None:
    simulation = five()
    put(simulation, "a", b"k", b"before")
    few, many = ("a", "b"), ("c", "d", "e")
    for name in few:
        simulation.network.isolate(name, many)
    simulation.run_until(
        lambda: all(
            {member.record.name for member in simulation.nodes[name].view.members if member.state == "down"}
            == set(away)
            for here, away in ((few, many), (many, few))
            for name in here
        ),
        10_000,
    )

    for here, value in (("a", b"few"), ("c", b"many")):
        put(simulation, here, b"k", value)
    simulation.network.heal()
    simulation.run_until(lambda: simulation.all_see(FIVE) and not hints(simulation), 30_000)

    assert [held_values(simulation, name, b"k") for name in owners(simulation, b"k")] == [{b"few", b"many"}] * 3


def test_hints_survive_the_restart_of_who_holds_them() -> None:
    simulation = five()
    here, *gone = owners(simulation, b"k")
    put(simulation, here, b"before", b"other")
    take_down(simulation, *gone)
    put(simulation, here, b"k", b"v")

    for name in [name for name in FIVE if name not in gone]:
        simulation.kill(name)
    for name in FIVE:
        simulation.start(name)
    simulation.run_until(lambda: simulation.all_see(FIVE) and not hints(simulation), 30_000)

    assert [held_values(simulation, name, b"k") for name in (here, *gone)] == [{b"v"}] * 3


def test_a_record_that_was_handed_over_twice_ends_its_hint_once() -> None:
    """A commit that fails in between makes the holder begin its sweep anew, while the first answer is on its way."""
    simulation = five()
    here, _, gone = owners(simulation, b"k")
    take_down(simulation, gone)
    put(simulation, here, b"k", b"v")
    (holder,) = hints(simulation)
    simulation.start(gone)
    pending = simulation.nodes[holder].node._pending
    simulation.tick_ms = 1
    simulation.run_until(lambda: bool(pending.of_kind(Handover)), 10_000)

    simulation.network.slow = {(gone, holder): (1_500, 1_500)}
    simulation.disks[holder].store.full = True
    own = next(key for key in (b"k%d" % number for number in range(100)) if holder in owners(simulation, key))
    other = next(name for name in owners(simulation, own) if name not in (holder, gone))
    put(simulation, other, own, b"v", w=1)
    simulation.run(20)
    simulation.disks[holder].store.full = False
    simulation.run_until(lambda: len(pending.of_kind(Handover)) > 1, 10_000)
    simulation.run(5_000)

    assert hints(simulation) == {}
    assert held_values(simulation, gone, b"k") == {b"v"}
