"""Buckets that keep only what was written last, on simulated clusters: what is deleted goes, and what it hides."""

import pytest

from simulation.scenes import BUCKET, DEADLINE_MS, NAMES, ask, delete, get, held_values, put, request_id, values
from zdynamo.core.settings import NodeLimits
from zdynamo.core.store import OWN_KEYS
from zdynamo.messages import Absent, Bucket, Explain, Explained
from zdynamo.testing.simulator import Simulation

LWW = (Bucket(BUCKET, conflict="lww"),)
KEYS = [b"key-%d" % number for number in range(8)]


def started(**tables: tuple[Bucket, ...]) -> Simulation:
    """A cluster whose bucket keeps only the last write, but at nodes that have another table."""
    simulation = Simulation(1, min_members=3, limits=NodeLimits(reap_interval_ms=500))
    simulation.buckets, simulation.other_buckets = LWW, tables
    for name in NAMES:
        simulation.start(name, *() if name == "a" else ("a",))
    simulation.run_until(lambda: simulation.all_see(NAMES), 10_000)
    return simulation


def delete_beside_a_write(simulation: Simulation, ttl_ms: int = 0) -> None:
    """While they do not reach each other, a writes and c deletes (or writes what expires). The clock of c is ahead."""
    simulation.clock_skew_ms["c"] = 300
    seen = [put(simulation, "a", key, b"before", w=3).context for key in KEYS]
    simulation.network.isolate("c", NAMES)
    for key, context in zip(KEYS, seen, strict=True):
        put(simulation, "a", key, b"hidden", context, w=1)
        if ttl_ms:
            put(simulation, "c", key, b"last", context, w=1, ttl_ms=ttl_ms)
        else:
            delete(simulation, "c", key, context=context, w=1)
    simulation.network.heal()


def all_is_gone(simulation: Simulation) -> bool:
    return not any(next(disk.store.scan(b"", OWN_KEYS), None) for disk in simulation.disks.values())


@pytest.mark.parametrize("ttl_ms", [0, 5_000], ids=["deleted", "expired"])
def test_what_the_last_write_hides_is_gone_from_every_disk_when_that_is_dead(ttl_ms: int) -> None:
    simulation = started()

    delete_beside_a_write(simulation, ttl_ms)
    simulation.run(ttl_ms)
    absent = [get(simulation, name, key, r=3) for name in NAMES for key in KEYS]
    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    assert {type(answer) for answer in absent} == {Absent}
    assert {type(get(simulation, name, key, r=3)) for name in NAMES for key in KEYS} == {Absent}


def test_while_one_node_has_another_table_what_it_shows_stays_and_goes_when_it_has_the_same() -> None:
    simulation = started(b=(Bucket(BUCKET),))

    delete_beside_a_write(simulation)
    simulation.run(60_000)
    shown = [values(get(simulation, "b", key)) for key in KEYS]
    kept = {frozenset(held_values(simulation, name, key)) for name in NAMES for key in KEYS}
    told = ask(simulation, "a", Explain(request_id(), "", DEADLINE_MS, BUCKET, KEYS[0]))
    simulation.kill("b")
    simulation.other_buckets.clear()
    simulation.start("b", "a")
    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    assert shown == [{b"hidden"}] * len(KEYS)
    assert kept == {frozenset({b"hidden"})}
    assert isinstance(told, Explained)
    assert sorted(bool(state.waits) for state in told.replicas) == [False, True, True]
