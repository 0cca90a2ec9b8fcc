"""What clients and operators are told about the cluster and its node."""

from msgspec.structs import replace
from support.nodes import LoneNode, answers, request_id, view

from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Bucket, ClientLimits, DescribeCluster, DescribeNode, NodeDescription, Topology


def topology(node: LoneNode) -> Topology:
    (answer,) = answers(node.asked(DescribeCluster(request_id(1), "")))
    assert isinstance(answer, Topology)
    return answer


def notices(node: LoneNode) -> tuple[str, ...]:
    (answer,) = answers(node.asked(DescribeNode(request_id(1), "")))
    assert isinstance(answer, NodeDescription)
    return answer.notices


def test_clients_learn_the_rules_of_buckets_and_the_limits() -> None:
    rules = (Bucket("carts", conflict="merge:zdynamo.merges:union"), Bucket("a", r=1))
    node = LoneNode(limits=NodeLimits(key_bytes_max=10, value_bytes_max=20), buckets=rules)

    told = topology(node)

    assert told.buckets == (Bucket("a", r=1), Bucket("carts", conflict="merge:zdynamo.merges:union"))
    assert told.limits == ClientLimits(10, 20)


def test_an_operator_is_told_whose_bucket_tables_differ() -> None:
    node = LoneNode(replace(view(), buckets_differ=("c", "b")))

    assert notices(node) == ("bucket tables differ: b, c (compare [buckets] in their configuration)",)


def test_there_is_nothing_to_tell_of_a_node_where_all_is_well() -> None:
    assert notices(LoneNode()) == ()


def test_an_operator_is_told_who_is_down() -> None:
    assert notices(LoneNode(view(down="cb"))) == ("down: b, c",)


def test_an_operator_is_told_of_links_that_are_cut_from_here() -> None:
    seen = view(down="b")
    cut = tuple(replace(each, state="unreachable") if each.record.id == "c" else each for each in seen.members)

    assert notices(LoneNode(replace(seen, members=cut))) == (
        "down: b",
        "unreachable from here, though others reach it: c (check the links)",
    )


def test_an_operator_is_told_that_there_are_fewer_copies_than_there_should_be() -> None:
    node = LoneNode(view(others="b", layout="ab"))

    assert notices(node) == ("each key has 2 of 3 copies: there are only so many members",)


def test_an_operator_is_told_that_a_late_member_owns_nothing() -> None:
    node = LoneNode(view(me="d", others="abc"))

    assert notices(node) == ("joined after data was taken: owns nothing until layouts can change",)


def test_an_operator_is_told_that_the_cluster_is_forming() -> None:
    node = LoneNode(view(layout=None, min_members=4))

    assert notices(node) == ("forming: 3 members, 4 needed; the first put fixes who owns the data",)
