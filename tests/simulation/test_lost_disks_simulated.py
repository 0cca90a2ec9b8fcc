"""Owners that have lost their disk, a part of it, or time get back what they lost, and nothing that was removed."""

from random import Random

import pytest

from simulation.scenes import NAMES, cluster, delete, get, held, held_values, put, values
from zdynamo.core.replicas.replica import BIRTH_BYTES
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Absent, QuorumNotMet
from zdynamo.testing.simulator import Simulation

RECORDS_END = b"\x80\x00"
KEYS = [b"key-%d" % number for number in range(60)]
SLOW = NodeLimits(background_bytes_per_s=4096)
SEEDS = range(4)


def filled(seed: int = 1, *, limits: NodeLimits | None = None) -> Simulation:
    simulation = cluster(seed, limits=limits)
    for number, key in enumerate(KEYS):
        put(simulation, NAMES[number % 3], key, b"value of " + key, w=3)
    return simulation


def records(simulation: Simulation, name: str) -> dict[bytes, bytes]:
    """As others would be given them."""
    scan = simulation.disks[name].store.scan(b"", RECORDS_END)
    return {key: stored[BIRTH_BYTES:] for key, stored in scan}


def unsettled(simulation: Simulation, name: str) -> int:
    partitions = simulation.nodes[name].node._state.partitions
    return sum(not partitions.is_settled(partition) for partition in range(simulation.partitions))


def back(simulation: Simulation, *names: str) -> None:
    """Start them again; a node without a disk finds the cluster by the others."""
    for name in names:
        simulation.start(name, *(other for other in NAMES if other != name))
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)


def all_settled(simulation: Simulation, at_most_ms: int = 60_000) -> None:
    simulation.run_until(lambda: not any(unsettled(simulation, name) for name in simulation.nodes), at_most_ms)


def noted(simulation: Simulation, name: str) -> list[str]:
    return [note.name for _, node, note in simulation.notes if node == name and note.name.startswith("partition")]


def down(simulation: Simulation, *names: str) -> None:
    simulation.run_until(lambda: simulation.all_see(names, "down"), 10_000)


def gone_everywhere(simulation: Simulation, key: bytes) -> None:
    simulation.run_until(lambda: all(held(simulation, name, key) is None for name in NAMES), 120_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_disk_is_filled_again_with_the_same_bytes(seed: int) -> None:
    simulation = filled(seed)
    simulation.kill("c")
    simulation.lose_disk("c")
    down(simulation, "c")

    back(simulation, "c")
    all_settled(simulation)

    assert records(simulation, "c") == records(simulation, "a") == records(simulation, "b")
    assert noted(simulation, "c") == ["partitions.unsettled", "partitions.settled"]


def test_with_one_other_an_owner_that_is_whole_again_answers_for_absent_keys() -> None:
    simulation = filled()
    simulation.kill("c")
    simulation.lose_disk("c")
    down(simulation, "c")
    back(simulation, "c")
    all_settled(simulation)

    simulation.kill("b")
    down(simulation, "b")

    assert isinstance(get(simulation, "c", b"nothing", r=2), Absent)


def test_with_one_other_an_owner_that_is_not_whole_yet_does_not_answer_for_absent_keys() -> None:
    simulation = filled()
    for name in ("b", "c"):
        simulation.kill(name)
    simulation.lose_disk("c")
    down(simulation, "b", "c")
    simulation.start("c", "a")
    down(simulation, "b")
    simulation.run(20_000)

    absent, found = get(simulation, "c", b"nothing", r=2), get(simulation, "c", KEYS[0], r=2)

    assert isinstance(absent, QuorumNotMet)
    assert values(found) == {b"value of " + KEYS[0]}
    assert unsettled(simulation, "c") == simulation.partitions  # it needs two others
    back(simulation, "b")
    all_settled(simulation)
    assert isinstance(get(simulation, "c", b"nothing", r=2), Absent)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_node_killed_while_it_pulls_goes_on_and_is_whole_in_the_end(seed: int) -> None:
    simulation, random = filled(seed, limits=SLOW), Random(seed)
    simulation.kill("c")
    simulation.lose_disk("c")
    down(simulation, "c")
    simulation.start("c", "a", "b")
    left = []
    for _ in range(3):
        simulation.run(random.randrange(2_000, 4_000))
        left.append(unsettled(simulation, "c"))
        simulation.kill("c")
        simulation.start("c")

    back(simulation, "c")
    all_settled(simulation, 120_000)

    assert simulation.partitions > left[0] > left[-1] > 0
    assert records(simulation, "c") == records(simulation, "a")


@pytest.mark.parametrize("seed", range(8))
def test_lost_and_doubled_messages_and_restarted_peers_do_not_end_a_pull(seed: int) -> None:
    simulation, random = filled(seed, limits=NodeLimits(background_bytes_per_s=40_000)), Random(seed)
    simulation.kill("c")
    simulation.lose_disk("c")
    down(simulation, "c")
    simulation.network.loss, simulation.network.duplication = 0.05, 0.05
    simulation.start("c", "a", "b")
    for _ in range(3):
        simulation.run(random.randrange(3_000))
        peer = random.choice("ab")
        simulation.kill(peer)
        simulation.run(random.randrange(3_000))
        simulation.start(peer)

    simulation.network.heal()
    all_settled(simulation, 120_000)

    assert records(simulation, "c") == records(simulation, "a") == records(simulation, "b")


def test_two_lost_disks_of_three_get_all_that_is_left_and_say_so() -> None:
    simulation = filled()
    for name in ("b", "c"):
        simulation.kill(name)
        simulation.lose_disk(name)
    down(simulation, "b", "c")

    back(simulation, "b", "c")
    all_settled(simulation)

    assert records(simulation, "b") == records(simulation, "c") == records(simulation, "a")
    for name in ("b", "c"):
        assert "partitions.settled" in noted(simulation, name)
    assert "partitions.settled_unproven" in noted(simulation, "b") + noted(simulation, "c")


@pytest.mark.parametrize("whole_folder", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_an_old_copy_brings_back_nothing_that_was_removed_and_gets_all_that_was_written_since(
    seed: int, whole_folder: bool
) -> None:
    simulation = filled(seed)
    backup = simulation.disks["c"].copy(snapshot=True)
    simulation.kill("c")
    simulation.start("c")
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)
    for key in KEYS[:5]:
        delete(simulation, "a", key)
    for key in KEYS[5:10]:
        put(simulation, "b", key, b"written since", w=3)
    for key in KEYS[:5]:
        gone_everywhere(simulation, key)
    simulation.kill("c")

    if whole_folder:
        simulation.disks["c"] = backup
    else:
        simulation.disks["c"].store = backup.store
    back(simulation, "c")
    simulation.run_until(lambda: "partitions.unsettled" in noted(simulation, "c"), 1_000)
    all_settled(simulation)
    simulation.run(30_000)

    for name in NAMES:
        assert [held_values(simulation, name, key) for key in KEYS[:5]] == [set()] * 5
        assert [held_values(simulation, name, key) for key in KEYS[5:10]] == [{b"written since"}] * 5
    assert records(simulation, "c") == records(simulation, "a") == records(simulation, "b")
    aside = list(simulation.disks["c"].store.scan(b"\xff\xffaside", b"\xff\xffasidf"))
    assert aside == []


@pytest.mark.parametrize("whole_folder", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_copy_taken_while_a_node_ran_and_restored_when_it_had_ended_gets_what_was_acknowledged_since(
    seed: int, whole_folder: bool
) -> None:
    simulation = filled(seed)
    backup = simulation.disks["c"].copy()
    simulation.network.isolate("b", NAMES)
    put(simulation, "a", b"late", b"late")
    simulation.network.heal()
    simulation.kill("c")
    if whole_folder:
        simulation.disks["c"] = backup
    else:
        simulation.disks["c"].store = backup.store

    back(simulation, "c")
    known = noted(simulation, "c")
    all_settled(simulation)
    simulation.network.isolate("a", NAMES)

    assert known[0] == "partitions.unsettled"
    assert values(get(simulation, "b", b"late", pr=2)) == {b"late"}


@pytest.mark.parametrize("off_ms", [0, -30_000, -3_600_000])
def test_an_old_copy_is_found_also_by_a_clock_that_is_behind(off_ms: int) -> None:
    """As on a virtual machine that was put back to an earlier state."""
    simulation = filled()
    simulation.run(60_000)
    snapshot = simulation.disks["b"].copy(snapshot=True)
    simulation.kill("b")
    simulation.run(20_000)
    back(simulation, "b")
    simulation.network.isolate("c", NAMES)
    put(simulation, "a", b"late", b"late", w=2)
    simulation.kill("b")
    simulation.disks["b"] = snapshot
    simulation.clock_skew_ms["b"] = off_ms
    simulation.network.heal()

    back(simulation, "b")
    simulation.network.isolate("a", NAMES)

    assert not isinstance(get(simulation, "c", b"late", pr=2), Absent)
    assert "member.old_copy" in [note.name for _, node, note in simulation.notes if node == "b"]


def test_an_owner_that_lost_its_disk_is_not_believed_while_it_has_no_room_to_remember_that() -> None:
    simulation = filled()
    simulation.network.isolate("c", NAMES)
    put(simulation, "a", b"late", b"late", pw=2)
    simulation.kill("b")
    simulation.lose_disk("b")
    simulation.run(4_000)
    simulation.network.heal()
    simulation.network.isolate("a", NAMES)
    simulation.run(8_000)

    simulation.start("b", "c")
    simulation.run_until(lambda: bool(simulation.nodes["b"].membership._cluster), 10_000)
    simulation.disks["b"].store.full = True
    simulation.run(3_000)
    while_full = [get(simulation, name, b"late", pr=2) for name in "bc"]
    simulation.disks["b"].store.full = False
    simulation.run(3_000)
    with_room = get(simulation, "c", b"late", pr=2)
    simulation.network.heal()
    all_settled(simulation)

    assert [type(answer) for answer in (*while_full, with_room)] == [QuorumNotMet] * 3
    assert values(get(simulation, "c", b"late", pr=2)) == {b"late"}


def test_an_old_copy_restored_twice_is_found_twice() -> None:
    simulation = filled()
    backup = simulation.disks["c"].copy(snapshot=True)
    for _ in range(2):
        simulation.kill("c")
        simulation.start("c")
        simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)
        simulation.kill("c")
        simulation.disks["c"] = backup.copy(snapshot=True)
        back(simulation, "c")
        simulation.run(1_000)
        all_settled(simulation)

    assert noted(simulation, "c").count("partitions.unsettled") == 2


def test_a_node_that_dies_right_after_it_was_found_to_be_an_old_copy_does_not_forget_it() -> None:
    simulation = filled(limits=SLOW)
    backup = simulation.disks["c"].copy(snapshot=True)
    simulation.kill("c")
    simulation.start("c")
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)
    simulation.kill("c")
    simulation.disks["c"] = backup
    simulation.start("c")
    simulation.run_until(lambda: simulation.disks["c"].kept.old_copy > 0, 10_000)
    simulation.kill("c")

    simulation.start("c")
    simulation.run(100)

    assert unsettled(simulation, "c") > 0


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_power_cut_took_from_one_owner_comes_back_from_the_others(seed: int) -> None:
    simulation = filled(seed)
    for number in range(5):
        put(simulation, NAMES[number % 3], b"late-%d" % number, b"late", w=3)
    simulation.cut_power("c")
    missing = [number for number in range(5) if not held_values(simulation, "c", b"late-%d" % number)]

    down(simulation, "c")
    back(simulation, "c")
    all_settled(simulation)

    assert missing
    assert noted(simulation, "c") == ["partitions.unsettled", "partitions.settled"]
    assert records(simulation, "c") == records(simulation, "a") == records(simulation, "b")


def test_what_was_written_while_a_node_pulled_and_lost_in_a_power_cut_is_pulled_again() -> None:
    simulation = filled(limits=SLOW)
    simulation.kill("c")
    simulation.lose_disk("c")
    down(simulation, "c")
    simulation.start("c", "a", "b")
    just_synced = lambda: simulation.disks["c"].store.is_synced  # noqa: E731
    simulation.run_until(lambda: 0 < unsettled(simulation, "c") < 8, 60_000)
    put(simulation, "c", b"early", b"early")  # the counters for its dots are reserved, and fsynced
    simulation.run_until(just_synced, 60_000)
    simulation.network.isolate("b", ["c"])
    put(simulation, "c", b"late", b"late", w=2)
    simulation.cut_power("c")
    lost = not held_values(simulation, "c", b"late")

    simulation.network.heal()
    back(simulation, "c")
    all_settled(simulation, 120_000)

    assert lost
    assert held_values(simulation, "c", b"late") == {b"late"}


def test_a_cluster_that_lost_power_everywhere_settles_and_says_so() -> None:
    simulation = filled()
    for name in NAMES:
        simulation.cut_power(name)
    for name in NAMES:
        simulation.start(name)

    all_settled(simulation)
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)

    assert records(simulation, "a") == records(simulation, "b") == records(simulation, "c")
    assert "partitions.settled_unproven" in [name for node in NAMES for name in noted(simulation, node)]
    assert isinstance(get(simulation, "a", b"nothing", r=3), Absent)


@pytest.mark.parametrize("end", ["killed", "stopped", "stopped, then the machine was rebooted"])
def test_a_node_that_can_have_lost_nothing_compares_nothing(end: str) -> None:
    simulation = filled()
    if end == "killed":
        simulation.kill("c")
    else:
        simulation.stop("c")
    if "rebooted" in end:
        simulation.reboot("c")

    simulation.start("c")
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)

    assert noted(simulation, "c") == []
    assert unsettled(simulation, "c") == 0


def test_a_machine_rebooted_under_a_running_node_is_compared() -> None:
    simulation = filled()
    simulation.reboot("c")

    simulation.start("c")
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)
    all_settled(simulation)

    assert noted(simulation, "c") == ["partitions.unsettled", "partitions.settled"]


def test_a_single_node_after_a_power_cut_goes_on_at_once_and_says_so() -> None:
    simulation = cluster(names=("a",), n=1)
    put(simulation, "a", b"k", b"v")
    simulation.run(2_000)
    simulation.cut_power("a")

    simulation.start("a")
    simulation.run(1_000)

    assert unsettled(simulation, "a") == 0
    assert noted(simulation, "a") == ["partitions.unsettled", "partitions.settled", "partitions.settled_unproven"]
    assert values(get(simulation, "a", b"k")) == {b"v"}
