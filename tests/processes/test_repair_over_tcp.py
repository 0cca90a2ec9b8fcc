"""`zdynamo repair` on real nodes."""

import json
import os
import signal
from collections.abc import Iterator

import pytest
from killable import wait_until
from support.local import Local, local

from zdynamo.cli.cluster import free_ports


@pytest.fixture(scope="module")
def cluster() -> Iterator[Local]:
    with local("--memory", f"--port={free_ports(3)}") as started:
        assert started.run("put", "greeting", "hello").returncode == 0
        yield started


def test_every_node_compares_all_that_it_owns_with_the_others(cluster: Local) -> None:
    repaired = cluster.json("repair")

    assert [(each["name"], each["compared"], each["total"], each["failed"]) for each in repaired] == [
        (name, 512, 512, {}) for name in "abc"
    ]


def test_for_people_there_is_a_table_and_nothing_else(cluster: Local) -> None:
    done = cluster.run("repair", "b")

    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == [
        "NAME",
        "ADDRESS",
        "COMPARED",
        "DIFFERING",
        "STORED",
        "HERE",
        "STORED",
        "THERE",
        "FAILED",
    ]
    assert lines[1].split() == ["b", cluster.addresses[1], "512", "of", "512", "0", "0", "0", "0"]


def test_one_partition_is_compared_by_its_owners(cluster: Local) -> None:
    assert [(each["name"], each["total"]) for each in cluster.json("repair", "17")] == [("a", 2), ("b", 2), ("c", 2)]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nobody", "there is no node 'nobody': use one of a, b, c"),
        ("256", "there is no partition 256: use 0 to 255"),
        ("7" * 5_000, "there is no partition 777777777: use 0 to 255"),
    ],
)
def test_what_does_not_exist_is_one_line_and_exit_2(cluster: Local, target: str, says: str) -> None:
    done = cluster.run("repair", target)

    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert says in done.stderr.decode()


def test_who_is_down_is_named_and_exit_1() -> None:
    with local("--memory", f"--port={free_ports(3)}") as cluster:
        cluster.run("put", "greeting", "hello")
        os.kill(cluster.nodes[2]["pid"], signal.SIGKILL)
        wait_until(lambda: "down" in {member["state"] for member in cluster.json("members")})

        done, of_it = cluster.run("repair", "--json"), cluster.run("repair", "c")

    repaired = {each["name"]: each for each in json.loads(done.stdout)}
    assert done.returncode == 1
    assert repaired["a"]["failed"] == repaired["b"]["failed"] == {"c is down": 256}
    assert repaired["c"]["error"] == "down"
    assert (of_it.returncode, of_it.stdout) == (1, b"")
    assert of_it.stderr.startswith(b"zdynamo: c is down: start it")
