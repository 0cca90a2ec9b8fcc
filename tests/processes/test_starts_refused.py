"""A node that cannot start says so in one line that names the key or path, and ends with 1; a wrong setting is 2."""

from pathlib import Path

import pytest
from killable import kill, members_of, wait_until
from support.processes import Nodes, ended, is_whole

from zdynamo import Client
from zdynamo.cli.cluster import Child


@pytest.fixture(scope="module")
def running(lasting: Nodes) -> Child:
    """A node of which all ports and the folder are in use."""
    started = lasting.start("a", 0, "--found", "--http=process")
    wait_until(lambda: bool(members_of(started)))
    return started


@pytest.mark.parametrize(("option", "offset"), [("port", 0), ("peer_port", 1), ("gossip_port", 2), ("http_port", 3)])
def test_a_port_in_use_is_named(running: Child, nodes: Nodes, option: str, offset: int) -> None:
    flag = f"--{option.replace('_', '-')}={running.port + offset}"

    code, said = ended(nodes.start("b", 1, flag, "--http=process", memory=True))

    assert code == 1
    assert said == [
        f"zdynamo: node.{option}: 127.0.0.1:{running.port + offset} is in use by another process: "
        "stop it or choose another port"
    ]
    assert running.ended is None


def test_a_data_folder_in_use_is_named(running: Child, nodes: Nodes) -> None:
    code, said = ended(nodes.start("b", 1, data=running.data))

    assert code == 1
    assert len(said) == 1
    assert said[0].startswith(f"zdynamo: node.data: {running.data} is in use")
    assert running.ended is None


def test_a_data_folder_of_another_cluster_is_named_and_both_say_why(nodes: Nodes) -> None:
    first = nodes.start("a", 0, "--found")
    stranger = nodes.start("x", 1, "--found")
    wait_until(lambda: is_whole(first, [first]) and is_whole(stranger, [stranger]))
    kill(stranger)

    code, said = ended(nodes.again(stranger, f"--seed={first.address}"))

    assert code == 1
    assert said[-1].startswith(f"zdynamo: node.data: {stranger.data} holds data of cluster ")
    assert first.address in said[-1]
    wait_until(lambda: "cluster.refused" in first.log.read_text())
    assert is_whole(first, [first])


def test_a_setting_that_is_fixed_and_differs_from_the_folder_is_named_by_a_node_alone_too(
    nodes: Nodes, tmp_path: Path
) -> None:
    first = nodes.start("a", 0, "--found")
    wait_until(lambda: bool(members_of(first)))
    kill(first)
    other = tmp_path / "other.toml"
    other.write_text("[cluster]\npartitions = 64\n")

    code, said = ended(nodes.again(first, f"--config={other}"))

    assert code == 1
    assert said[-1] == "zdynamo: cluster.partitions is 64 here and 256 in the cluster: set it to 256"


@pytest.mark.parametrize("place", ["file/data", "file"])
def test_an_unwritable_folder_is_named(nodes: Nodes, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")

    code, said = ended(nodes.start("a", 0, "--found", data=tmp_path / place))

    assert code == 1
    assert len(said) == 1
    assert said[0].startswith(f"zdynamo: node.data: {tmp_path / place} ")


@pytest.mark.parametrize("content", [b'{"node": 7', b'{"node": "\xff\xfe"}', b'{"node": "1", "cluster": "2"}'])
def test_a_damaged_identity_is_named_and_left_as_it_is(nodes: Nodes, tmp_path: Path, content: bytes) -> None:
    identity = tmp_path / "a" / "membership.json"
    identity.parent.mkdir()
    identity.write_bytes(content)

    code, said = ended(nodes.start("a", 0, "--found"))

    assert code == 1
    assert len(said) == 1
    assert said[0].startswith(f"zdynamo: {identity} is damaged")
    assert identity.read_bytes() == content


def test_an_address_beyond_loopback_needs_insecure(nodes: Nodes) -> None:
    code, said = ended(nodes.start("a", 0, "--found", "--bind=0.0.0.0", memory=True))

    assert code == 2
    assert len(said) == 1
    assert said[0].startswith("zdynamo: --bind is 0.0.0.0, beyond loopback")


def test_records_without_their_identity_are_not_taken_into_another_cluster(nodes: Nodes) -> None:
    first = nodes.start("a", 0, "--found")
    wait_until(lambda: bool(members_of(first)))
    with Client(first.address) as client:
        client.put("secret", "of the first cluster")
    kill(first)
    (first.data / "membership.json").unlink()

    code, said = ended(nodes.start("a", 0, "--found", data=first.data))

    assert code == 1
    assert said[-1] == (
        f"zdynamo: node.data: {first.data} holds records, but its membership.json is missing: "
        "put it back, or use another folder"
    )
