"""When a node is to be restarted, and when it is to be sent no requests."""

import pytest
from msgspec.structs import replace
from support.nodes import LoneNode, answers, request_id, view

from zdynamo.http.health import Health, liveness, readiness
from zdynamo.messages import DescribeCluster, DescribeNode, MemberState, NodeDescription, Topology, View


def described(seen: View) -> tuple[Topology, NodeDescription]:
    node = LoneNode(seen)
    (topology,) = answers(node.asked(DescribeCluster(request_id(1), "")))
    (description,) = answers(node.asked(DescribeNode(request_id(2), "")))
    assert isinstance(topology, Topology) and isinstance(description, NodeDescription)
    return topology, description


def test_a_node_that_answers_is_alive() -> None:
    assert liveness(True).well
    assert liveness(False) == Health(("the node does not answer",))


def test_a_node_that_has_joined_and_has_its_data_and_a_quorum_is_ready() -> None:
    assert readiness(*described(view())) == Health(())


def test_a_node_is_ready_before_the_first_data_has_fixed_a_layout() -> None:
    assert readiness(*described(view(layout=None))).well


def test_a_node_alone_in_its_cluster_is_ready_as_it_serves() -> None:
    assert readiness(*described(view(others="", layout="a"))).well


def test_a_node_that_has_not_joined_is_not_ready() -> None:
    topology, description = described(view())

    problem = Health(("the node has not joined a cluster, or does not answer",))
    assert readiness(None, None) == readiness(topology, None) == readiness(None, description) == problem


def test_a_node_of_a_cluster_that_waits_for_members_is_not_ready() -> None:
    health = readiness(*described(view(layout=None, min_members=4)))

    assert health == Health(("the cluster is forming: 3 of 4 members have joined",))


def test_a_node_that_may_lack_records_is_not_ready() -> None:
    topology, description = described(view())

    health = readiness(topology, replace(description, counters={"partitions.unsettled": 5}))

    assert health == Health(("5 partitions are unsettled: their records are being got from other nodes",))


def test_with_one_member_of_three_down_the_others_are_ready_with_two_down_they_are_not() -> None:
    assert readiness(*described(view(down="c"))).well
    assert readiness(*described(view(down="bc"))) == Health(("a quorum needs 2 members: this node reaches 1",))


@pytest.mark.parametrize(("state", "well"), [("suspect", True), ("unreachable", False)])
def test_a_suspect_counts_as_reached_and_an_unreachable_member_does_not(state: MemberState, well: bool) -> None:
    topology, description = described(view())
    seen = tuple(replace(each, state=state) if each.record.id != "a" else each for each in topology.members)

    assert readiness(replace(topology, members=seen), description).well == well


def test_two_dead_of_five_take_no_other_out_of_service() -> None:
    assert readiness(*described(view(others="bcde", layout="abcde", down="bc"))).well


def test_a_node_of_an_earlier_version_is_ready_when_it_has_joined() -> None:
    topology, description = described(view(down="bc"))

    assert readiness(topology, replace(description, figures=None)).well
