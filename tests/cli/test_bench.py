"""`zdynamo bench`: what it tries first, how it goes on, and where it finds the bare program."""

from pathlib import Path

import pytest
from client.scripted_node import ScriptedCluster, ScriptedNode

from zdynamo.cli.ask import topology_of
from zdynamo.cli.load import FILL_IN_FLIGHT, Load, NothingPut
from zdynamo.cli.main import main
from zdynamo.cli.rounds import ceiling_program
from zdynamo.messages import ClientAnswer, ClientLimits, ClientRequest, Put, Refused


def test_values_that_the_cluster_does_not_take_are_wrong_usage_and_not_one_is_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = ScriptedCluster()
    cluster.limits = ClientLimits(4096, 1000)
    with ScriptedNode(cluster) as node:
        code = main(["bench", "--node", node.address, "--value-bytes", "1001", "--requests", "1"])

        assert code == 2
        assert "--value-bytes: the cluster takes at most 1000 bytes" in capsys.readouterr().err
        assert node.data_requests() == []


def test_a_warm_up_of_which_all_first_puts_fail_ends_with_why() -> None:
    cluster = ScriptedCluster()

    def refuses(request: ClientRequest) -> ClientAnswer:
        return Refused(request.request, "the disk is full") if isinstance(request, Put) else cluster.answer(request)

    with ScriptedNode(cluster, refuses) as node:
        topology = topology_of(node.address, deadline_ms=5000)
        with Load(topology, keys=5000, value_bytes=10) as load, pytest.raises(NothingPut, match="the disk is full"):
            load.fill()

        assert len(node.data_requests()) == FILL_IN_FLIGHT


@pytest.mark.parametrize("keys", [1, FILL_IN_FLIGHT, FILL_IN_FLIGHT + 1, 2500])
def test_a_warm_up_puts_every_key_once_and_says_how_far_it_is(keys: int) -> None:
    cluster = ScriptedCluster()
    steps: list[None] = []
    with ScriptedNode(cluster) as node:
        topology = topology_of(node.address, deadline_ms=5000)
        with Load(topology, keys=keys, value_bytes=10) as load:
            errors = load.fill(lambda: steps.append(None))
            told = load.fill_steps

        puts = [request.key for request in node.data_requests() if isinstance(request, Put)]
    assert errors == {}
    assert len(steps) == told
    assert (len(puts), len(set(puts))) == (keys, keys)


def test_large_values_do_not_make_a_frame_larger_than_a_node_takes() -> None:
    frames: list[int] = []
    cluster = ScriptedCluster()
    with ScriptedNode(cluster) as node:
        node.saw_frame = lambda requests: frames.append(sum(isinstance(request, Put) for request in requests))
        topology = topology_of(node.address, deadline_ms=5000)
        with Load(topology, keys=5, value_bytes=400_000) as load:
            load.measure("put", 5, requests=5)

    assert [puts for puts in frames if puts] == [2, 2, 1]


def test_the_bare_program_is_looked_for_in_a_clone_around_the_package_and_in_the_current_folder(tmp_path: Path) -> None:
    installed, clone = tmp_path / "site-packages", tmp_path / "clone"
    (clone / "tools").mkdir(parents=True)
    (clone / "tools" / "ceiling.py").touch()

    assert ceiling_program((installed, clone)) == clone / "tools" / "ceiling.py"
    assert ceiling_program((installed,)) is None
