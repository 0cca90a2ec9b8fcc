"""The cluster that users are given for their tests: it forms, and nodes of it end and come back."""

import asyncio
import re
from collections.abc import Callable

import pytest

from zdynamo.errors import RequestError
from zdynamo.fixtures.cluster import InProcessCluster, NotReady

Factory = Callable[..., InProcessCluster]


@pytest.mark.zdynamo(n=3, w=2)
def test_what_was_acknowledged_is_there_after_every_node_was_stopped_or_killed(
    zdynamo_cluster: InProcessCluster,
) -> None:
    db = zdynamo_cluster.client()
    for number in range(50):
        db.put(f"k{number}", number)

    zdynamo_cluster.stop("a")
    zdynamo_cluster.kill("b")
    zdynamo_cluster.kill("c")
    with pytest.raises(RequestError):
        db.get("k0", deadline_ms=100)
    for name in "abc":
        zdynamo_cluster.start(name)
    zdynamo_cluster.wait_until_ready()

    assert [db.get(f"k{number}", r=3).value for number in range(50)] == list(range(50))


@pytest.mark.zdynamo(nodes=5)
def test_requests_go_on_at_once_when_two_of_five_are_killed(zdynamo_cluster: InProcessCluster) -> None:
    db = zdynamo_cluster.client()
    db.put("k", "before")

    zdynamo_cluster.kill("a")
    zdynamo_cluster.kill("b")
    for number in range(300):
        db.put(f"k{number}", number)

    assert [db.get(f"k{number}").value for number in range(300)] == list(range(300))


def test_a_node_that_lost_its_disk_has_all_again_when_the_cluster_is_ready(zdynamo_cluster: InProcessCluster) -> None:
    db = zdynamo_cluster.client()
    for number in range(50):
        db.put(f"k{number}", number, w=3)

    zdynamo_cluster.kill("c")
    zdynamo_cluster.start("c", empty=True)
    zdynamo_cluster.wait_until_ready()
    zdynamo_cluster.kill("a")
    zdynamo_cluster.kill("b")
    alone = zdynamo_cluster.client("c")

    assert [alone.get(f"k{number}", r=1).value for number in range(50)] == list(range(50))


def test_clients_of_before_use_a_node_that_was_started_again(zdynamo_cluster: InProcessCluster) -> None:
    only_a = zdynamo_cluster.client("a")
    only_a.put("k", "v")

    for name in "abc":
        zdynamo_cluster.kill(name)
        zdynamo_cluster.start(name)
    zdynamo_cluster.wait_until_ready()

    assert only_a.get("k").value == "v"
    assert only_a.node_status(zdynamo_cluster.address("b")).name == "b"


def test_a_write_that_could_not_be_sent_is_not_carried_out_when_the_node_is_back(
    zdynamo_cluster_factory: Factory,
) -> None:
    with zdynamo_cluster_factory(nodes=1) as cluster:
        db = cluster.client(deadline_ms=200)
        db.put("k", "before")
        cluster.stop("a")

        with pytest.raises(RequestError):
            db.put("k", "while it is away")
        with pytest.raises(RequestError):
            cluster.client(deadline_ms=200).put("k", "by a client that has never reached it")
        cluster.start("a")
        cluster.wait_until_ready()

        assert db.get("k", deadline_ms=5_000).siblings == ["before"]


def test_a_node_that_is_added_serves_and_owns_nothing(zdynamo_cluster: InProcessCluster) -> None:
    zdynamo_cluster.client().put("k", "v")

    name = zdynamo_cluster.add()
    zdynamo_cluster.wait_until_ready()

    assert zdynamo_cluster.names == ("a", "b", "c", "d")
    assert zdynamo_cluster.client(name).get("k").value == "v"
    assert zdynamo_cluster.client().topology().layout.number == 1  # type: ignore[union-attr]


def test_who_waits_in_vain_is_told_what_is_missing(zdynamo_cluster: InProcessCluster) -> None:
    seen = "a sees c as alive; b sees c as alive; c sees c as alive"
    with pytest.raises(NotReady, match=rf"^not within 0\.05 s: {seen}$"):
        zdynamo_cluster.wait_until_down("c", within_s=0.05)

    zdynamo_cluster.stop("c")
    told = ""
    try:
        zdynamo_cluster.wait_until_ready(within_s=0)
    except NotReady as error:
        told = str(error)  # both may have noticed it before c had stopped
    assert re.fullmatch(r"|not within 0 s: ([ab] has not noticed yet that c is gone(; )?)+", told)


def test_a_node_that_waits_for_others_says_so() -> None:
    with InProcessCluster() as cluster:
        cluster.wait_until_ready()
        cluster.kill("a")
        cluster.kill("b")
        cluster.kill("c")
        cluster.start("c", empty=True)

        with pytest.raises(NotReady, match=r"c knows of no layout yet|c: this node has not joined a cluster yet"):
            cluster.wait_until_ready(within_s=0.1)


def test_names_that_cannot_be_are_errors_that_say_what_there_is(zdynamo_cluster: InProcessCluster) -> None:
    zdynamo_cluster.stop("b")

    for call, problem in [
        (lambda: zdynamo_cluster.client("x"), r"no node x: it has a, b, c"),
        (lambda: zdynamo_cluster.stop("b"), r"no node b: it has a, c running"),
        (lambda: zdynamo_cluster.start("a"), r"the node a is running: stop it first"),
        (lambda: zdynamo_cluster.start("x"), r"no node x: it has a, b, c"),
    ]:
        with pytest.raises(ValueError, match=problem):
            call()


def test_an_asyncio_client_of_a_loop_that_has_ended_is_closed_with_the_cluster(
    zdynamo_cluster_factory: Factory,
) -> None:
    with zdynamo_cluster_factory() as cluster:
        db = cluster.async_client()
        asyncio.run(db.put("k", "v"))

    with pytest.raises(RequestError, match="the client is closed"):
        asyncio.run(db.get("k"))
