"""Real nodes find each other, notice who is gone, and know again who comes back."""

from pathlib import Path

from killable import has_layout, kill, members_of, states_at, wait_until
from support.processes import Nodes, Trio, is_whole, terminate

from zdynamo.cli.ask import topology_of
from zdynamo.cli.cluster import Child
from zdynamo.client import Client

FOUND_WITHIN_SECONDS = 5.0  # on a busy machine; the measured figure is in docs/decisions.md
DOWN_WITHIN_SECONDS = 3.0


def test_three_nodes_list_each_other(nodes: Nodes) -> None:
    first = nodes.start("a", 0, "--found")
    second = nodes.start("b", 1, f"--seed={first.address}")
    third = nodes.start("c", 2, f"--seed={first.address}")

    wait_until(lambda: all(is_whole(node, [first, second, third]) for node in (first, second, third)))


def test_a_third_node_is_listed_by_all_soon_after_its_start(nodes: Nodes) -> None:
    first = nodes.start("a", 0, "--found")
    second = nodes.start("b", 1, f"--seed={first.address}")
    wait_until(lambda: is_whole(first, [first, second]) and is_whole(second, [first, second]))

    third = nodes.start("c", 2, f"--seed={second.address}")
    took = wait_until(lambda: all(is_whole(node, [first, second, third]) for node in (first, second, third)))

    assert took < FOUND_WITHIN_SECONDS


def test_a_chain_in_which_each_knows_only_the_one_before_ends_in_one_table(nodes: Nodes) -> None:
    chain = [nodes.start("e0", 0, "--found")]

    for place in range(1, 5):  # all at once: a seed that is not there yet is asked again
        chain.append(nodes.start(f"e{place}", place, f"--seed={chain[-1].address}"))

    wait_until(lambda: all(is_whole(node, chain) for node in chain))
    tables = [sorted((member.record for member in members_of(node)), key=lambda record: record.id) for node in chain]
    assert all(table == tables[0] for table in tables)


def test_a_seed_that_comes_later_than_its_node_is_found(nodes: Nodes) -> None:
    early = nodes.start("b", 1, f"--seed=127.0.0.1:{nodes.port(0)}")
    wait_until(lambda: "seeds.unanswered" in early.log.read_text())

    late = nodes.start("a", 0, "--found")

    wait_until(lambda: is_whole(late, [late, early]) and is_whole(early, [late, early]))


def test_a_killed_node_is_called_down_by_both_others(nodes: Nodes) -> None:
    first, second, victim = nodes.trio()

    kill(victim)
    took = wait_until(lambda: all(states_at(node).get("c") == "down" for node in (first, second)))

    assert took < DOWN_WITHIN_SECONDS
    assert all('"cause": "lost", "event": "member.suspected"' in node.log.read_text() for node in (first, second))


# These restart the third node of one cluster, which has its own folder at first


def test_a_node_that_restarts_with_its_folder_is_the_same_member(trio: Trio) -> None:
    before = {member.record.name: member.record for member in members_of(trio.first)}
    kill(trio.third)

    trio.third = trio.nodes.again(trio.third)  # without a seed: it knows the others

    wait_until(lambda: all(_epoch(node, "c") > before["c"].epoch and is_whole(node, trio.all) for node in trio.all))
    after = {member.record.name: member.record for member in members_of(trio.first)}
    assert [after[name].id for name in "abc"] == [before[name].id for name in "abc"]


def test_a_node_that_restarts_at_another_port_is_one_member(trio: Trio) -> None:
    before = {member.record.name: member.record.id for member in members_of(trio.first)}
    terminate(trio.third)

    trio.third = trio.nodes.start("c", 5)

    moved = trio.third.address
    wait_until(lambda: all(is_whole(node, trio.all) and _address(node, "c") == moved for node in trio.all))
    assert {member.record.name: member.record.id for member in members_of(trio.second)} == before


def test_a_node_that_restarts_at_its_address_with_an_empty_folder_is_one_member(trio: Trio, tmp_path: Path) -> None:
    kill(trio.third)

    trio.third = trio.nodes.again(trio.third, f"--seed={trio.first.address}", data=tmp_path / "empty")

    wait_until(lambda: all(is_whole(node, trio.all) and len(members_of(node)) == 3 for node in trio.all))


def test_a_node_that_restarts_at_its_address_with_a_memory_store_is_one_member(trio: Trio) -> None:
    kill(trio.third)

    trio.third = trio.nodes.again(trio.third, f"--seed={trio.first.address}", memory=True)

    wait_until(lambda: all(is_whole(node, trio.all) and len(members_of(node)) == 3 for node in trio.all))


def test_a_node_of_another_cluster_is_refused_with_the_reason_in_both_logs(nodes: Nodes) -> None:
    ours = _pair(nodes, "a", 0, "b", 1)
    theirs = _pair(nodes, "x", 2, "y", 3)
    clusters = [_cluster(ours[1]), _cluster(theirs[1])]
    kill(ours[0])
    kill(theirs[0])

    moved = nodes.start("x", 0)  # to the address of a, which b still connects to

    wait_until(
        lambda: all(f"this node is of cluster {clusters[1]}" in node.log.read_text() for node in (moved, ours[1]))
    )
    assert f"the other of {clusters[0]}" in moved.log.read_text()
    assert set(states_at(moved)) == {"x", "y"}
    assert set(states_at(ours[1])) == {"a", "b"}


def test_a_node_that_joins_after_data_was_taken_is_listed_and_says_that_it_owns_nothing(nodes: Nodes) -> None:
    trio = nodes.trio()
    with Client(trio[0].address) as client:
        client.put("first", "fixes the layout")
    wait_until(lambda: all(has_layout(node) for node in trio))

    fourth = nodes.start("d", 3, f"--seed={trio[1].address}")

    wait_until(lambda: all(is_whole(node, [*trio, fourth]) for node in (*trio, fourth)))
    with Client(fourth.address) as client:
        assert client.get("first").value == "fixes the layout"
        assert any("owns nothing" in notice for notice in client.node_status(fourth.address).notices)


def _pair(nodes: Nodes, first: str, first_place: int, second: str, second_place: int) -> list[Child]:
    """A cluster of two that holds data."""
    founder = nodes.start(first, first_place, "--found")
    pair = [founder, nodes.start(second, second_place, f"--seed={founder.address}")]
    wait_until(lambda: all(is_whole(node, pair) for node in pair))
    with Client(founder.address) as client:
        client.put("first", "fixes the layout")
    wait_until(lambda: all(has_layout(node) for node in pair))
    return pair


def _cluster(node: Child) -> str:
    wait_until(lambda: bool(members_of(node)))
    return topology_of(node.address, deadline_ms=2000).cluster


def _epoch(node: Child, name: str) -> int:
    return next((member.record.epoch for member in members_of(node) if member.record.name == name), 0)


def _address(node: Child, name: str) -> str:
    return next((member.record.addresses.client for member in members_of(node) if member.record.name == name), "")
