"""Membership in simulated clusters: who finds whom, who is refused, who is one member and not two."""

import itertools

import pytest

from zdynamo.testing.simulator import SimulatedNode, Simulation


def cluster(*names: str, seed: int = 1, min_members: int = 1) -> Simulation:
    """Each node knows only the one before it."""
    simulation = Simulation(seed, min_members=min_members)
    simulation.start(names[0])
    for before, name in itertools.pairwise(names):
        simulation.start(name, before)
    simulation.run_until(lambda: simulation.all_see(names), 5_000)
    return simulation


def table_digests(simulation: Simulation) -> set[int]:
    return {node.view.table_digest for node in simulation.nodes.values() if node.view}


@pytest.mark.parametrize("seed", range(10))
def test_a_chain_in_which_each_knows_only_the_one_before_ends_in_one_table(seed: int) -> None:
    simulation = cluster("a", "b", "c", "d", seed=seed)

    simulation.run(500)

    assert len(table_digests(simulation)) == 1


@pytest.mark.parametrize("seed", range(10))
def test_gossip_that_is_half_lost_still_ends_in_one_table(seed: int) -> None:
    simulation = Simulation(seed)
    simulation.network.loss = 0.5
    simulation.start("a")
    for name in "bcde":
        simulation.start(name, "a")

    simulation.run(20_000)
    simulation.network.heal()
    simulation.run_until(lambda: simulation.all_see("abcde"), 15_000)

    assert len(table_digests(simulation)) == 1


def test_a_killed_member_is_called_down_by_all_others() -> None:
    simulation = cluster("a", "b", "c")

    simulation.kill("b")
    simulation.run_until(lambda: simulation.all_see(["b"], "down"), 3_000)

    assert simulation.all_see(["a", "c"], "alive")


def test_nobody_is_suspected_while_nothing_happens() -> None:
    simulation = cluster("a", "b", "c", "d", "e")
    simulation.notes.clear()

    simulation.run(60_000)

    assert [noted.name for _, _, noted in simulation.notes] == []


def test_a_restarted_member_is_one_member_in_a_new_epoch() -> None:
    simulation = cluster("a", "b", "c")
    before = {node.view.me.id for node in simulation.nodes.values() if node.view}
    simulation.kill("b")
    simulation.run_until(lambda: simulation.all_see(["b"], "down"), 3_000)

    simulation.start("b")
    simulation.run_until(lambda: simulation.all_see("abc"), 3_000)

    assert {node.view.me.id for node in simulation.nodes.values() if node.view} == before
    assert simulation.nodes["b"].membership.view(simulation.now("b")).me.epoch == 2


def test_a_member_restarted_before_anybody_missed_it_is_alive_again_at_once() -> None:
    simulation = cluster("a", "b", "c")

    simulation.kill("b")
    simulation.start("b")
    simulation.run_until(lambda: simulation.all_see("abc"), 1_000)

    assert len(table_digests(simulation)) == 1


def test_a_member_back_with_an_empty_disk_takes_its_place_over() -> None:
    simulation = cluster("a", "b", "c")
    before = {node.view.me.id for node in simulation.nodes.values() if node.view}
    simulation.kill("b")
    simulation.lose_disk("b")

    simulation.start("b", "a")
    simulation.run_until(lambda: simulation.all_see("abc"), 5_000)

    assert {node.view.me.id for node in simulation.nodes.values() if node.view} == before


def test_the_first_node_back_empty_and_without_seeds_joins_the_cluster_that_knows_it() -> None:
    simulation = cluster("a", "b", "c")
    old = simulation.nodes["b"].view
    simulation.kill("a")
    simulation.lose_disk("a")
    simulation.run_until(lambda: simulation.all_see(["a"], "down"), 3_000)

    simulation.start("a", listen=True)
    simulation.run_until(lambda: simulation.all_see("abc"), 8_000)

    new = simulation.nodes["a"].view
    assert old is not None
    assert new is not None
    assert new.cluster == old.cluster


def test_a_second_node_at_the_address_of_a_live_member_is_refused() -> None:
    simulation = cluster("a", "b", "c")
    simulation.start("a2", "b")
    intruder = simulation.nodes["a2"]
    profile = intruder.membership._profile
    occupied = simulation.nodes["c"].membership._profile.addresses
    intruder.membership._joining._profile = type(profile)(
        name="a2", addresses=occupied, zone="", weight=1, seeds=("b:client",), found=False, constants=profile.constants
    )

    simulation.run_until(lambda: bool(intruder.failed), 15_000)

    assert intruder.failed == "c:client is the address of member c, which answers: give this node another address"


def test_a_node_with_data_of_another_cluster_is_refused_and_both_say_why() -> None:
    simulation = Simulation(1)
    simulation.start("a")
    simulation.start("x")
    simulation.run(200)
    simulation.kill("x")

    stranger = simulation.start("x", "a")
    simulation.run_until(lambda: bool(stranger.failed), 1_000)

    assert "holds data of cluster" in stranger.failed
    assert [noted.name for _, name, noted in simulation.notes if name == "a"] == ["cluster.founded", "cluster.refused"]


def test_members_that_join_after_data_was_taken_are_listed_and_own_nothing() -> None:
    simulation = cluster("a", "b", "c", min_members=3)
    simulation.run_until(lambda: all(node.view and node.view.layout for node in simulation.nodes.values()), 1_000)

    simulation.start("d", "a")
    simulation.run_until(lambda: simulation.all_see("abcd"), 3_000)

    layout = simulation.nodes["d"].view.layout  # type: ignore[union-attr]
    assert layout is not None
    assert len(layout.members) == 3
    assert "member.owns_nothing" in [noted.name for _, name, noted in simulation.notes if name == "d"]


def test_a_node_that_stood_still_blames_nobody() -> None:
    simulation = cluster("a", "b", "c")
    simulation.notes.clear()
    simulation.pause("b")
    simulation.run(5_000)
    simulation.resume("b")

    simulation.run(1_000)

    assert [noted.name for _, name, noted in simulation.notes if name == "b"] == ["node.paused"]


def test_a_copy_of_a_running_nodes_disk_ends_with_the_later_one_naming_the_other() -> None:
    simulation = cluster("a", "b", "c")
    simulation.run(1_000)
    copied = simulation.disks["b"]
    simulation.disks["b2"] = type(copied)(store=copied.store, kept=copied.kept)

    twin = simulation.start("b2")
    simulation.run_until(lambda: bool(twin.failed), 10_000)

    assert twin.failed == "a node with the same id is alive at b:client: was the data folder copied?"
    assert "b" in simulation.nodes


def test_a_node_that_moved_with_a_member_table_from_before_its_last_start_is_taken_back_without_a_seed() -> None:
    simulation = cluster("a", "b", "c")
    simulation.run(1_000)
    before = simulation.disks["b"].copy(snapshot=True)
    simulation.kill("b")
    simulation.start("b")
    simulation.run_until(lambda: simulation.all_see("abc"), 5_000)
    simulation.kill("b")
    simulation.disks["b2"] = before

    simulation.start("b2")
    simulation.run_until(lambda: simulation.all_see(["a", "b2", "c"]), 20_000)

    assert "member.old_copy" in [noted.name for _, name, noted in simulation.notes if name == "b2"]


def test_the_old_folder_of_a_node_that_moved_ends_when_it_is_started_again() -> None:
    simulation = cluster("a", "b", "c")
    simulation.run(1_000)
    left_behind = simulation.disks["b"].copy(snapshot=True)
    simulation.kill("b")
    simulation.disks["b2"] = simulation.disks.pop("b")
    simulation.start("b2")
    simulation.run_until(lambda: simulation.all_see(["a", "b2", "c"]), 20_000)
    simulation.disks["b"] = left_behind

    zombie = simulation.start("b")
    simulation.run_until(lambda: bool(zombie.failed), 30_000)

    assert zombie.failed == "a node with the same id is alive at b2:client: was the data folder copied?"
    assert "b2" in simulation.nodes
    assert [noted.name for _, name, noted in simulation.notes if name == "b2"].count("member.old_copy") == 1


def test_a_lost_store_is_not_forgotten_when_the_node_dies_again_at_once() -> None:
    simulation = cluster("a", "b", "c", min_members=3)
    simulation.run_until(lambda: all(node.view and node.view.layout for node in simulation.nodes.values()), 1_000)
    simulation.kill("b")
    simulation.disks["b"].store = type(simulation.disks["b"].store)()
    kept = simulation.disks["b"].kept
    simulation.disks["b"].kept = type(kept)(node=kept.node, cluster=kept.cluster, epoch=kept.epoch)

    SimulatedNode(simulation, "b", simulation.disks["b"], simulation.nodes["a"].membership._profile)
    simulation.disks["b"].kept = kept
    simulation.start("b", "a")
    simulation.run_until(lambda: simulation.all_see("abc"), 5_000)

    assert "partitions.unsettled" in [noted.name for _, name, noted in simulation.notes if name == "b"]
