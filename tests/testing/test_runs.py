"""Runs: the same seed is the same run, faults come two at a time and end, and what is broken is found and told."""

import subprocess
import sys
from random import Random

from zdynamo.core.members.events import Kept
from zdynamo.testing.disk import Disk, SimulatedStore
from zdynamo.testing.fault_kinds import KINDS
from zdynamo.testing.faults import Faults, Started
from zdynamo.testing.promises import check
from zdynamo.testing.runs import Plan, Run, run, story

PRINT_RUN = """
from zdynamo.testing.promises import check
from zdynamo.testing.runs import Plan, Run
for _ in range(2):
    run = Run(Plan(seed=5, nodes=4, seconds=8))
    result = run.result()
    operations = [(each.request, each.end_ms, each.answer, each.siblings) for each in run.workload.operations]
    print(operations, run.simulation.notes, result.messages)
"""


def worked(plan: Plan) -> Run:
    """One whose clients have worked while things broke; it has not come to rest, which takes most of the time."""
    done = Run(plan)
    assert done.form() and done.work(), done.broken
    return done


def test_the_same_seed_is_the_same_run_in_every_process_and_twice_in_one() -> None:
    printed = [
        subprocess.run(
            [sys.executable, "-c", PRINT_RUN], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout.splitlines()
        for seed in ("1", "2")
    ]
    runs = [run for lines in printed for run in lines]

    assert len(runs) == 4 and len(set(runs)) == 1
    assert len(runs[0]) > 1_000


def test_faults_come_two_at_a_time_and_all_have_ended() -> None:
    done = Run(Plan(seed=3, nodes=5))

    result = done.result()
    begun = [(fault.begin_ms, 1) for fault in result.faults]
    ended = [(fault.end_ms, -1) for fault in result.faults]
    going_on, most = 0, 0
    for _, change in sorted(begun + ended):
        going_on += change
        most = max(most, going_on)

    assert result.broken == []
    assert (going_on, most) == (0, 2)
    assert all(fault.end_ms > 0 for fault in result.faults)


def test_a_kind_of_fault_that_is_not_given_does_not_happen() -> None:
    result = run(Plan(seed=2, nodes=3, faults=("kill", "pause"), seconds=8))

    assert result.broken == []
    assert {fault.name for fault in result.faults} <= {"kill", "pause"}


def _lose_two_disks(faults: Faults) -> Started | None:
    """More copies than may be lost: one node is away while others write, and lose their disks before it is back."""
    simulation = faults.simulation
    if not faults.is_free("all") or len(simulation.nodes) < 3:
        return None
    *writers, away = sorted(simulation.nodes)
    faults.down.add(away)
    simulation.kill(away)

    def end() -> None:
        for name in writers:
            simulation.kill(name)
            simulation.disks[name] = simulation.make_disk(name)
        for name in (away, *writers):
            faults.up(name)

    return Started(" and ".join(writers), ("all",), 3_000, end)


def test_a_cluster_that_loses_more_copies_than_it_may_is_found_out() -> None:
    broken = Run(Plan(seed=4, nodes=3))
    broken.faults = Faults(broken.simulation, Random(1), {"two disks": _lose_two_disks}, losses=1)

    result = broken.result()

    assert "no-lost-write" in {each.promise for each in result.broken}


def test_a_node_that_is_never_told_that_it_was_put_back_to_a_snapshot_is_found_out() -> None:
    run = Run(Plan(seed=3, nodes=3, faults=(), seconds=1))
    run.faults.put_back.append(("a", 500))

    assert "regular-reads" in {each.promise for each in run.result().broken}


def test_a_node_put_back_to_before_it_had_joined_takes_over_its_place_and_needs_no_telling() -> None:
    run = Run(Plan(seed=3, nodes=3, faults=(), seconds=4))
    simulation = run.simulation

    def put_back() -> None:
        before = Disk(SimulatedStore())
        before.kept = Kept(node=simulation.disks["c"].kept.node)
        simulation.kill("c")
        simulation.disks["c"] = before
        run.faults.put_back.append(("c", simulation.time_ms))
        run.faults.up("c")

    simulation.at(3_000, put_back)

    assert (run.w, run.result().broken) == (2, [])


def test_a_write_that_no_replica_has_any_more_is_lost() -> None:
    done = Run(Plan(seed=3, nodes=3, faults=(), seconds=3))
    done.result()

    for disk in done.simulation.disks.values():
        disk.store = SimulatedStore()

    assert "no-lost-write" in {each.promise for each in check(done.history())}


def test_the_story_of_a_key_tells_operations_versions_and_faults() -> None:
    plan = Plan(seed=3, nodes=3, seconds=8)

    lines = story(plan, ("default", b"register-0"))

    assert any("begins to put" in line for line in lines)
    assert any("stores" in line and "has seen" in line for line in lines)
    assert any(line.split()[1] == "!" for line in lines)
    assert [int(line.split()[0]) for line in lines] == sorted(int(line.split()[0]) for line in lines)


def test_limits_are_reached_in_some_run() -> None:
    wanted = {"requests.overloaded", "hints.refused"}
    reached: set[str] = set()

    for seed in range(24):  # a few are enough
        done = worked(Plan(seed=seed, nodes=5, faults=("pause", "isolate")))
        for node in done.simulation.nodes.values():
            reached |= {name for name in wanted if node.node.counters[name]}
        if reached == wanted:
            break

    assert reached == wanted


def test_every_kind_of_fault_happens_in_some_run() -> None:
    happened: set[str] = set()

    for seed in range(24):  # a few are enough
        happened |= {fault.name for fault in worked(Plan(seed=seed, nodes=4)).faults.log}
        if happened == set(KINDS):
            break

    assert happened == set(KINDS)
