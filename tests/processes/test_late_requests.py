"""Requests that a cut link holds up: when it heals, long after their deadline, they are not carried out any more."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_clients import Placed
from chaos_cluster import ChaosCluster
from chaos_links import Link, Rule
from killable import wait_until

from zdynamo.cli.ask import ask
from zdynamo.messages import Done, Put

HELD_SECONDS = 6.0  # the cut lasts longer than a node waits for a silent client
DEADLINE_MS = 2_000
KEYS = 60
SOME = 20  # few enough to be put before the silent node is called down
HANDED_SECONDS = 0.1  # a put that took longer was handed to another owner as well


@pytest.fixture
def cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ChaosCluster]:
    """`param`: how many nodes."""
    soon = {"storage": {"reap_interval_ms": 100}}  # what is deleted, and who deleted it, is soon forgotten
    with ChaosCluster(
        nodes=request.param, clients=2, folder=tmp_path, seed=1, settings=soon, memory=True, relay=True
    ) as started:
        started.start_and_open()
        yield started


def is_remembered(placed: Placed, key: str) -> bool:
    """Whether any owner still has a record of it."""
    return any(replica.digest for replica in placed.client.explain(key).replicas)


@pytest.mark.parametrize("cluster", [3], indirect=True)
def test_a_delete_that_its_client_has_repeated_elsewhere_takes_no_later_write_with_it(cluster: ChaosCluster) -> None:
    cut_off, other = cluster.connected(DEADLINE_MS)
    for number in range(KEYS):  # over connections to all nodes
        cut_off.client.put(f"key-{number}", b"old")
    cluster.set_links([Link(cut_off.name, "a", Rule(cut="silent"))])
    began = time.monotonic()
    for number in range(KEYS):
        cut_off.client.delete(f"key-{number}")
    repeated = [key for key in (f"key-{number}" for number in range(KEYS)) if cut_off.tried_again(key)]

    wait_until(lambda: not any(is_remembered(other, key) for key in repeated))
    for key in repeated:
        other.client.put(key, b"new")
    wait_until(lambda: time.monotonic() - began > HELD_SECONDS)
    cluster.set_links([])
    wait_until(lambda: time.monotonic() - began > HELD_SECONDS + 1)  # what was held up is there by now
    found = [other.client.get(key, r=3).siblings for key in repeated]
    cut_off.close()
    other.close()

    assert repeated
    assert found == [[b"new"]] * len(repeated)


@pytest.mark.parametrize("cluster", [5], indirect=True)
def test_a_put_that_a_node_has_handed_to_another_owner_instead_does_not_come_back(cluster: ChaosCluster) -> None:
    placed, other = cluster.connected(DEADLINE_MS)
    owners = {f"key-{number}": owners_of(placed, f"key-{number}") for number in range(KEYS)}
    foreign = [key for key, names in owners.items() if "a" not in names and "b" in names]
    cluster.set_links([Link("a", "b", Rule(cut="silent"))])
    began = time.monotonic()
    slow = [key for key in foreign[:SOME] if put_at(cluster.child("a").address, key) > HANDED_SECONDS]

    for key in slow:
        placed.client.delete(key, context=placed.client.get(key).context)
    wait_until(lambda: time.monotonic() - began > HELD_SECONDS and not any(is_remembered(other, key) for key in slow))
    cluster.set_links([])
    wait_until(lambda: time.monotonic() - began > HELD_SECONDS + 3 and cluster.is_whole())
    found = [placed.client.get(key, r=3).siblings for key in slow]
    placed.close()
    other.close()

    assert slow
    assert found == [[]] * len(slow)


def owners_of(placed: Placed, key: str) -> list[str]:
    """By name."""
    names = {member.record.id: member.record.name for member in placed.client.members()}
    return [names[owner] for owner in placed.client.explain(key).owners]


def put_at(address: str, key: str) -> float:
    """Through exactly that node; the seconds that it took."""
    began = time.monotonic()
    ask(address, lambda request: Put(request, "", DEADLINE_MS, "default", key.encode(), b"late", ""), Done, DEADLINE_MS)
    return time.monotonic() - began
