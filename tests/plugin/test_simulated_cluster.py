"""What users can do with a simulated cluster: the client is the real one, and what befalls the cluster shows in it."""

import time

import pytest

from zdynamo import DELETE, Client, errors
from zdynamo.fixtures.simulated import SimulatedCluster

BUCKETS = {"tags": {"conflict": "merge:zdynamo.merges:union"}, "latest": {"conflict": "lww"}}


def test_the_client_is_a_client_with_all_its_calls(zdynamo_simulation: SimulatedCluster) -> None:
    db = zdynamo_simulation.client()

    context = db.put("k", {"list": [1, 2.5, None, "ü"]})
    counted = [db.update("n", lambda count: (count or 0) + 1) for _ in range(3)]
    put = db.put_many({"a": 1, "b": 2})

    assert isinstance(db, Client)
    assert db.get("k").value == {"list": [1, 2.5, None, "ü"]}
    assert db.get("k").context == context
    assert counted == [1, 2, 3]
    assert [type(answer) for answer in put.values()] == [bytes, bytes]
    assert [found.value for found in db.get_many(["a", "b", "none"]).values()] == [1, 2, None]
    assert sorted(db.keys()) == [b"a", b"b", b"k", b"n"]
    assert db.delete("a")
    assert db.delete_many(["a", "b"]) == {"a": False, "b": True}
    assert db.update("n", lambda _: DELETE) is None
    assert {member.record.name for member in db.members()} == {"a", "b", "c"}
    assert db.node_status("b").name == "b"
    assert len(db.explain("k").replicas) == 3
    with pytest.raises(errors.ConditionFailed):
        db.put("k", "other", if_absent=True)
    with pytest.raises(errors.Refused, match="the key has 0 bytes"):
        db.get("")
    db.close()
    with pytest.raises(errors.RequestError, match="the client is closed"):
        db.get("k")


def test_time_is_virtual(zdynamo_simulation: SimulatedCluster) -> None:
    db = zdynamo_simulation.client()
    began_s = time.monotonic()
    db.put("k", "v", ttl_ms=500_000)

    zdynamo_simulation.run(499_000)
    before = db.get("k").exists
    zdynamo_simulation.run(2_000)

    assert (before, db.get("k").exists) == (True, False)
    assert time.monotonic() - began_s < 100


@pytest.mark.zdynamo(buckets=BUCKETS, r=1, w=1)
@pytest.mark.zdynamo_seeds(5)
def test_what_both_sides_of_a_split_have_written_is_merged_when_it_heals(zdynamo_simulation: SimulatedCluster) -> None:
    one, other = zdynamo_simulation.client(beside="a"), zdynamo_simulation.client(beside="c")
    one.put("k", ["before"], bucket="tags", w=3)
    zdynamo_simulation.split("ab", "c")

    one.update("k", lambda tags: [*tags, "one"], bucket="tags")
    other.update("k", lambda tags: [*tags, "other"], bucket="tags")
    apart = one.get("k", bucket="tags").value, other.get("k", bucket="tags").value
    zdynamo_simulation.heal()
    zdynamo_simulation.wait_until_ready()

    assert apart == (["before", "one"], ["before", "other"])
    assert one.get("k", bucket="tags", r=3).value == ["before", "one", "other"]


@pytest.mark.zdynamo(buckets=BUCKETS, r=1, w=1)
def test_a_clock_that_is_behind_loses_in_a_bucket_where_the_last_write_wins(
    zdynamo_simulation: SimulatedCluster,
) -> None:
    here, there = zdynamo_simulation.client(beside="a"), zdynamo_simulation.client(beside="c")
    zdynamo_simulation.skew_clock("a", -300)
    zdynamo_simulation.split("ab", "c")

    there.put("k", "first", bucket="latest")
    zdynamo_simulation.run(100)
    here.put("k", "later, by a clock that is behind", bucket="latest")
    zdynamo_simulation.heal()
    zdynamo_simulation.wait_until_ready()

    assert here.get("k", bucket="latest", r=3).value == "first"


@pytest.mark.zdynamo_seeds(5)
def test_calls_go_on_while_a_node_dies_and_comes_back_with_nothing(zdynamo_simulation: SimulatedCluster) -> None:
    db = zdynamo_simulation.client()
    puts = {f"k{number}": db.submit_put(f"k{number}", number) for number in range(30)}
    zdynamo_simulation.run(3)

    zdynamo_simulation.kill("b")
    acknowledged = {key for key, put in puts.items() if put.exception() is None}
    zdynamo_simulation.start("b", empty=True)
    zdynamo_simulation.wait_until_ready()

    assert len(acknowledged) > 20
    assert {key for key, found in db.get_many(acknowledged, r=3).items() if found} == acknowledged


@pytest.mark.parametrize("one_way", [("a", "b"), ("b", "a")])
def test_of_a_link_that_is_cut_in_one_direction_neither_side_hears_an_answer(
    zdynamo_simulation: SimulatedCluster, one_way: tuple[str, str]
) -> None:
    db = zdynamo_simulation.client(beside="a", deadline_ms=300)
    db.put("k", "v")
    status = zdynamo_simulation.client(beside="a").node_status

    zdynamo_simulation.cut(*one_way, one_way=True)

    assert status("a").name == "a"
    assert status("c").name == "c"
    with pytest.raises(errors.RequestError):
        db.node_status("b")
    zdynamo_simulation.heal()
    assert db.node_status("b").name == "b"


def test_links_are_fast_again_when_they_are_healed(zdynamo_simulation: SimulatedCluster) -> None:
    db = zdynamo_simulation.client()
    took = []
    for delay_ms in ((300, 300), None):
        zdynamo_simulation.disturb(delay_ms=delay_ms) if delay_ms else zdynamo_simulation.heal()
        began_ms = zdynamo_simulation.time_ms
        db.put("k", "v")
        took.append(zdynamo_simulation.time_ms - began_ms)

    assert took[0] >= 600 and took[1] < 100


def test_the_story_tells_what_befell_the_cluster_and_what_nodes_made_of_it(
    zdynamo_simulation: SimulatedCluster,
) -> None:
    zdynamo_simulation.stop("c")
    zdynamo_simulation.wait_until_down("c")
    zdynamo_simulation.start("c")
    zdynamo_simulation.wait_until_ready()
    zdynamo_simulation.cut_power("c")
    zdynamo_simulation.disturb(loss=0.5)
    zdynamo_simulation.heal()

    told = [line.split(" ms  ")[1].split(" id=")[0] for line in zdynamo_simulation.story()]

    faults = [line for line in told if ": " not in line]
    assert faults == ["stop c", "start c", "cut power of c", "disturb loss=0.5 duplication=0.0 delay_ms=(1, 5)", "heal"]
    assert "a: member.down member=c" in told


@pytest.mark.zdynamo(nodes=2)
def test_names_that_cannot_be_are_errors_that_say_what_there_is(zdynamo_simulation: SimulatedCluster) -> None:
    zdynamo_simulation.kill("b")

    for call, problem in [
        (lambda: zdynamo_simulation.client(beside="x"), "there is no node x: there are a, b"),
        (lambda: zdynamo_simulation.isolate("x"), "there is no node x"),
        (lambda: zdynamo_simulation.kill("b"), "the node b does not run"),
        (lambda: zdynamo_simulation.start("a"), "the node a is running: stop it first"),
        (lambda: zdynamo_simulation.split("a"), "the sides have a: name each of a, b once"),
    ]:
        with pytest.raises(ValueError, match=problem):
            call()
