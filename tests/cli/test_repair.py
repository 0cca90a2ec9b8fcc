"""The verb `repair`: whom it tells, and how it counts."""

import pytest
import typer
from support.nodes import PARTITIONS, LoneNode, answers, request_id, view

from zdynamo.cli.repair import ALL, Told, _sums, _told
from zdynamo.errors import Refused
from zdynamo.messages import DescribeCluster, RepairProgress, Topology, View


def topology(seen: View | None = None) -> Topology:
    (answer,) = answers(LoneNode(seen).asked(DescribeCluster(request_id(1), "")))
    assert isinstance(answer, Topology)
    return answer


def told(target: str, seen: View | None = None) -> tuple[list[str], int]:
    members, partition = _told(target, topology(seen))
    return [member.record.name for member in members], partition


def test_without_a_target_every_owner_is_told() -> None:
    assert told("") == (["a", "b", "c"], ALL)
    assert told("", view(others="bcd")) == (["a", "b", "c"], ALL)


@pytest.mark.parametrize("target", ["b", "b:client"])
def test_a_node_is_named_by_its_name_or_its_address(target: str) -> None:
    assert told(target) == (["b"], ALL)


def test_a_number_is_a_partition_and_its_owners_are_told() -> None:
    assert told("3", view(n=2)) == (sorted(topology(view(n=2)).owners[3]), 3)


def test_a_node_that_is_called_like_a_number_is_a_node() -> None:
    assert told("3", view(others="bc3", layout="abc3")) == (["3"], ALL)


@pytest.mark.parametrize("target", ["nobody", str(PARTITIONS), "-1", "3.5"])
def test_what_is_neither_is_wrong_usage(target: str) -> None:
    with pytest.raises(typer.BadParameter):
        told(target)


def test_a_node_that_is_down_cannot_be_told() -> None:
    with pytest.raises(Refused, match="b is down: start it"):
        told("b", view(down="b"))


def test_before_the_first_data_there_is_nothing_to_repair() -> None:
    with pytest.raises(Refused, match="nothing to repair"):
        told("", view(layout=None))


def test_what_was_compared_and_what_failed_is_through() -> None:
    members = topology().members
    progress = RepairProgress(request_id(1), 1, False, 10, 4, 1, 0, 0, (("c is down", 3),))
    waiting = RepairProgress(request_id(2), 1, False, 10, 0, 0, 0, 0, (), "the trees")

    sums = _sums([Told(members[0], progress), Told(members[1], waiting), Told(members[2], error="down")])

    assert sums == (20, 7, "b: the trees")
