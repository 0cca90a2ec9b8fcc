"""Anti-entropy on simulated clusters: owners that have missed writes come to hold the same, though nobody reads."""

from random import Random

import pytest

from simulation.scenes import NAMES, ask, cluster, delete, get, held, held_values, put, request_id, values
from zdynamo.core.anti_entropy.hashes import roots_of
from zdynamo.core.replicas.replica import BIRTH_BYTES
from zdynamo.core.settings import NodeLimits
from zdynamo.core.store import OWN_KEYS
from zdynamo.messages import Absent, DescribeNode, NodeDescription, Put, Repair, RepairProgress
from zdynamo.testing.simulator import Simulation

KEYS = [b"key-%d" % number for number in range(60)]
SEEDS = range(4)
SOON_MS = 10_000


def limits(**fields: int) -> NodeLimits:
    """No hints are kept: what an owner misses, it misses."""
    return NodeLimits(hint_count_max=0, **fields)


def records(simulation: Simulation, name: str) -> dict[bytes, bytes]:
    """As others would be given them."""
    return {key: stored[BIRTH_BYTES:] for key, stored in simulation.disks[name].store.scan(b"", OWN_KEYS)}


def roots(simulation: Simulation, name: str) -> bytes:
    return roots_of(simulation.nodes[name].node._state, range(simulation.partitions))


def are_equal(simulation: Simulation) -> bool:
    return len({tuple(sorted(records(simulation, name).items())) for name in NAMES}) == 1


def have_equal_trees(simulation: Simulation) -> bool:
    trees = [simulation.nodes[name].node._state.trees for name in NAMES]
    built = all(tree.built == simulation.partitions for tree in trees)
    return built and len({roots(simulation, name) for name in NAMES}) == 1


def alone(simulation: Simulation, name: str) -> None:
    """Cut a node off, until the others call it down."""
    simulation.network.isolate(name, (other for other in NAMES if other != name))
    others = [other for other in NAMES if other != name]
    simulation.run_until(lambda: all(_state_of(simulation, other, name) == "down" for other in others), 10_000)


def back(simulation: Simulation, *restarted: str) -> None:
    simulation.network.heal()
    for name in restarted:
        simulation.start(name, *(other for other in NAMES if other != name))
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)


def described(simulation: Simulation, name: str) -> NodeDescription:
    answer = ask(simulation, name, DescribeNode(request_id(), ""))
    assert isinstance(answer, NodeDescription)
    return answer


def notices(simulation: Simulation) -> list[str]:
    return [notice for name in NAMES for notice in described(simulation, name).notices]


def repaired(simulation: Simulation, name: str, partition: int = -1) -> RepairProgress:
    """Begin a repair, and wait until it is done."""
    answer = ask(simulation, name, Repair(request_id(), "", partition))
    for _ in range(1000):
        assert isinstance(answer, RepairProgress), answer
        if answer.done:
            return answer
        simulation.run(50)
        answer = ask(simulation, name, Repair(request_id(), "", partition, answer.run))
    raise AssertionError("it does not end")


def _state_of(simulation: Simulation, name: str, other: str) -> str:
    view = simulation.nodes[name].view
    assert view is not None
    return next(member.state for member in view.members if member.record.name == other)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_owner_that_was_cut_off_gets_what_it_has_missed_without_a_read(seed: int) -> None:
    simulation = cluster(seed, limits=limits())
    for key in KEYS[:30]:
        put(simulation, "a", key, b"old", w=3)
    alone(simulation, "c")
    for key in KEYS:
        put(simulation, "a", key, b"new")

    back(simulation)
    simulation.run_until(lambda: are_equal(simulation), SOON_MS)

    assert all(held_values(simulation, "c", key) == {b"new"} for key in KEYS)
    assert have_equal_trees(simulation)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_owner_that_was_dead_is_whole_soon_after_its_trees_are_built(seed: int) -> None:
    simulation = cluster(seed, limits=limits())
    for key in KEYS[:30]:
        put(simulation, "a", key, b"old", w=3)
    simulation.kill("b")
    simulation.run_until(lambda: simulation.all_see(["b"], "down"), 10_000)
    for key in KEYS:
        put(simulation, "a", key, b"new")

    back(simulation, "b")
    simulation.run_until(lambda: are_equal(simulation), SOON_MS)

    assert have_equal_trees(simulation)


def test_both_sides_of_a_cut_are_brought_together() -> None:
    simulation = cluster(limits=limits(w=1, r=1))
    alone(simulation, "c")
    for number, key in enumerate(KEYS):
        put(simulation, "ac"[number % 2], key, b"on one side")
    put(simulation, "a", b"both", b"here")
    put(simulation, "c", b"both", b"there")

    back(simulation)
    simulation.run_until(lambda: are_equal(simulation), SOON_MS)

    assert len(records(simulation, "b")) == len(KEYS) + 1
    assert held_values(simulation, "b", b"both") == {b"here", b"there"}


@pytest.mark.parametrize("seed", SEEDS)
def test_writes_that_go_on_meanwhile_hinder_nothing(seed: int) -> None:
    simulation, random = cluster(seed, limits=limits()), Random(seed)
    alone(simulation, "c")
    for key in KEYS:
        put(simulation, "a", key, b"missed")
    back(simulation)
    simulation.network.loss = 0.02

    for number in range(800):
        key, value = b"other-%d" % random.randrange(20), b"%d" % number
        ask(simulation, random.choice(NAMES), Put(request_id(), "", 500, "default", key, value, ""))
    caught_up = all(held_values(simulation, "c", key) == {b"missed"} for key in KEYS)
    simulation.network.heal()
    simulation.run_until(lambda: are_equal(simulation), SOON_MS)

    assert caught_up
    assert have_equal_trees(simulation)


def test_a_removed_tombstone_takes_its_value_along() -> None:
    simulation = cluster(limits=limits(reap_interval_ms=300))
    for key in KEYS:
        put(simulation, "a", key, b"value", w=3)
    alone(simulation, "c")
    for key in KEYS:
        delete(simulation, "a", key)

    back(simulation)
    simulation.run_until(lambda: not any(records(simulation, name) for name in NAMES), 60_000)
    simulation.run(SOON_MS)

    assert not any(records(simulation, name) for name in NAMES)
    assert all(isinstance(get(simulation, name, KEYS[0]), Absent) for name in NAMES)


def test_a_delete_that_was_missed_is_brought() -> None:
    simulation = cluster(limits=limits(reap_interval_ms=10**9))
    put(simulation, "a", KEYS[0], b"value", w=3)
    alone(simulation, "c")
    delete(simulation, "a", KEYS[0])

    back(simulation)
    simulation.run_until(lambda: held_values(simulation, "c", KEYS[0]) == set(), SOON_MS)

    assert have_equal_trees(simulation)


def test_a_tombstone_is_not_brought_to_who_has_removed_it() -> None:
    simulation = cluster(limits=limits(reap_interval_ms=10**9))
    put(simulation, "a", KEYS[0], b"value", w=3)
    delete(simulation, "a", KEYS[0], w=3)
    state = simulation.nodes["c"].node._state
    (key,) = records(simulation, "c")
    state.replica.drop(key)

    simulation.run(SOON_MS)

    assert held(simulation, "a", KEYS[0]) is not None
    assert held(simulation, "c", KEYS[0]) is None
    assert have_equal_trees(simulation)


def test_what_has_expired_is_not_brought_to_who_does_not_hold_it_and_goes_in_the_end() -> None:
    simulation = cluster(limits=limits(reap_interval_ms=30_000))
    alone(simulation, "c")
    for key in KEYS:
        put(simulation, "a", key, b"value", ttl_ms=1_000)
    simulation.run(2_000)

    back(simulation)
    simulation.run(SOON_MS)
    brought = records(simulation, "c")
    simulation.run_until(lambda: not any(records(simulation, name) for name in NAMES), 200_000)

    assert brought == {}
    assert have_equal_trees(simulation)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_peer_that_restarts_in_the_middle_costs_only_time(seed: int) -> None:
    simulation, random = cluster(seed, limits=limits()), Random(seed)
    alone(simulation, "c")
    for key in KEYS:
        put(simulation, "a", key, b"missed")
    simulation.network.heal()

    for _ in range(3):
        simulation.run(random.randrange(100, 900))
        simulation.kill("c")
        simulation.start("c", "a", "b")
    simulation.run_until(lambda: have_equal_trees(simulation), 2 * SOON_MS)

    assert are_equal(simulation)
    assert have_equal_trees(simulation)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_refilled_disk_has_equal_trees(seed: int) -> None:
    simulation = cluster(seed, limits=limits())
    for key in KEYS:
        put(simulation, "a", key, b"value", w=3)
    simulation.kill("c")
    simulation.lose_disk("c")
    simulation.run_until(lambda: simulation.all_see(["c"], "down"), 10_000)

    back(simulation, "c")
    simulation.run_until(lambda: have_equal_trees(simulation), 2 * SOON_MS)

    assert records(simulation, "c") == records(simulation, "a") == records(simulation, "b")
    for partition in range(simulation.partitions):
        assert len({simulation.nodes[name].node._state.trees.encoded(partition) for name in NAMES}) == 1


def test_without_an_interval_nothing_is_compared_until_somebody_asks() -> None:
    simulation = cluster(limits=limits(repair_interval_ms=0))
    alone(simulation, "c")
    for key in KEYS:
        put(simulation, "a", key, b"missed")
    back(simulation)
    simulation.run(SOON_MS)
    before = len(records(simulation, "c"))

    progress = repaired(simulation, "c")

    assert before == 0
    assert are_equal(simulation)
    assert progress.total == progress.compared == 2 * simulation.partitions
    assert progress.stored_here == len(KEYS)
    assert (progress.stored_there, progress.failed) == (0, ())
    assert 0 < progress.differing <= 2 * simulation.partitions


def test_a_repair_of_one_partition_leaves_the_others_alone() -> None:
    simulation = cluster(limits=limits(repair_interval_ms=0))
    alone(simulation, "c")
    for key in KEYS:
        put(simulation, "a", key, b"missed")
    back(simulation)

    progress = repaired(simulation, "c", 3)

    assert {key[1] for key in records(simulation, "c")} == {3}
    assert progress.total == progress.compared == 2
    assert progress.stored_here == len(records(simulation, "c"))


def test_a_repair_says_who_could_not_be_compared_with() -> None:
    simulation = cluster(limits=limits(repair_interval_ms=0))
    put(simulation, "a", KEYS[0], b"value")
    alone(simulation, "c")

    progress = repaired(simulation, "a")

    assert progress.failed == (("c is down", simulation.partitions),)
    assert progress.compared == simulation.partitions


def test_differences_are_shown_with_their_age_until_they_are_gone() -> None:
    simulation = cluster(limits=limits(background_bytes_per_s=20_000))
    alone(simulation, "c")
    for key in KEYS:
        put(simulation, "a", key, b"missed")
    back(simulation)
    simulation.run_until(lambda: any("differ from" in notice for notice in notices(simulation)), 60_000)

    for name in NAMES:
        counters = described(simulation, name).counters
        assert (counters.get("compare.known_ms", 0) > 0) == (counters.get("compare.known", 0) > 0)
    simulation.run_until(lambda: are_equal(simulation), 200_000)
    simulation.run(20_000)

    assert notices(simulation) == []
    assert sum(described(simulation, name).counters.get("compare.known", 0) for name in NAMES) == 0
    assert values(get(simulation, "c", KEYS[0])) == {b"missed"}


def test_nodes_say_how_long_ago_everything_was_alike() -> None:
    simulation = cluster(limits=limits())
    simulation.run(SOON_MS)
    at_first_ms = alike_ms(simulation)
    alone(simulation, "c")
    put(simulation, "a", KEYS[0], b"missed")
    simulation.run(20_000)
    while_it_differed_ms = alike_ms(simulation)
    back(simulation)
    simulation.run(SOON_MS)

    assert 0 <= at_first_ms <= 3_000
    assert while_it_differed_ms >= 20_000
    assert 0 <= alike_ms(simulation) <= 3_000


def alike_ms(simulation: Simulation) -> int:
    """The oldest that a node says; of two owners only one does."""
    ages = [described(simulation, name).counters.get("compare.alike_ms") for name in NAMES]
    return max(age for age in ages if age is not None)
