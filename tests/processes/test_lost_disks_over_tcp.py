"""Real nodes lose their disk, or are given an old copy of it: they get all back, and answer as before."""

import shutil

import pytest
from killable import description_of, is_settled, kill, wait_until
from support.processes import Nodes, Trio, is_whole, terminate

from zdynamo.cli.cluster import Child
from zdynamo.client import Client

KEYS = 300


def fill(node: Child) -> None:
    with Client(node.address) as client:
        for number in range(KEYS):
            client.put(f"key-{number}", number)


def has_all_alone(node: Child) -> bool:
    """Read from nobody else."""
    with Client(node.address) as client:
        return [client.get(f"key-{number}", r=1).value for number in range(KEYS)] == list(range(KEYS))


@pytest.mark.parametrize("lost", ["store", "whole folder"])
def test_a_node_with_a_lost_disk_gets_all_back_and_answers_for_absent_keys(nodes: Nodes, lost: str) -> None:
    trio = nodes.trio()
    fill(trio[0])
    kill(trio[2])
    shutil.rmtree(trio[2].data / "store" if lost == "store" else trio[2].data)

    trio[2] = nodes.again(trio[2], f"--seed={trio[0].address}", "--min-members=3")
    wait_until(lambda: is_settled(trio[2], after_doubt=True))
    kill(trio[1])
    with Client(trio[2].address) as client:
        absent = client.get("nothing", r=2)
    kill(trio[0])

    assert not absent.exists
    assert has_all_alone(trio[2])


def test_an_old_copy_of_a_data_folder_gets_what_was_written_since(nodes: Nodes) -> None:
    trio = nodes.trio()
    wait_until(lambda: all(is_whole(node, trio) for node in trio))
    terminate(trio[2])
    backup = trio[2].data.with_name("backup")
    shutil.copytree(trio[2].data, backup)
    trio[2] = nodes.again(trio[2])
    wait_until(lambda: all(is_whole(node, trio) for node in trio))
    fill(trio[2])
    terminate(trio[2])
    shutil.rmtree(trio[2].data)
    backup.rename(trio[2].data)

    trio[2] = nodes.again(trio[2])
    wait_until(lambda: is_settled(trio[2], after_doubt=True))
    kill(trio[0])
    kill(trio[1])

    assert has_all_alone(trio[2])


def test_a_copy_taken_while_the_node_ran_and_restored_without_a_start_in_between_gets_what_was_written_since(
    nodes: Nodes,
) -> None:
    trio = nodes.trio()
    wait_until(lambda: all(is_whole(node, trio) for node in trio))
    backup = trio[2].data.with_name("backup")
    shutil.copytree(trio[2].data / "store", backup)
    fill(trio[2])
    kill(trio[2])
    shutil.rmtree(trio[2].data / "store")
    backup.rename(trio[2].data / "store")

    trio[2] = nodes.again(trio[2])
    wait_until(lambda: is_settled(trio[2], after_doubt=True))
    kill(trio[0])
    kill(trio[1])

    assert has_all_alone(trio[2])


@pytest.mark.parametrize("end", ["kill -9", "SIGTERM"])
def test_a_node_that_was_only_stopped_compares_nothing(trio: Trio, end: str) -> None:
    fill(trio.first)
    kill(trio.third) if end == "kill -9" else terminate(trio.third)

    trio.third = trio.nodes.again(trio.third)
    wait_until(lambda: all(is_whole(node, trio.all) for node in trio.all))

    described = description_of(trio.third)
    assert described is not None
    assert "partitions.unsettled" not in described.counters
    assert has_all_alone(trio.third)
