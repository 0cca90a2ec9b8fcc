"""A listing that fails in the middle says how to go on."""

import json
from collections.abc import Iterator
from subprocess import CompletedProcess

import pytest
from client.scripted_node import PARTITIONS, ScriptedCluster, ScriptedNode
from support.programs import in_text, zdynamo

from zdynamo.messages import ClientAnswer, ClientRequest, ListKeys, Put, QuorumNotMet
from zdynamo.partition import partition_of

BROKEN = 1  # the partition that cannot be listed
NAMES = [b"key-%d" % number for number in range(20)]
BEFORE = sorted(name for name in NAMES if partition_of(b"default", name, PARTITIONS) < BROKEN)


@pytest.fixture
def node() -> Iterator[ScriptedNode]:
    cluster = ScriptedCluster()
    cluster.values = {name: Put(bytes(16), "", 0, "default", name, b"", "") for name in NAMES}
    with ScriptedNode(cluster) as started:

        def script(request: ClientRequest) -> ClientAnswer:
            if isinstance(request, ListKeys) and request.partition == BROKEN:
                return QuorumNotMet(request.request, 2, 1)
            return cluster.answer(request)

        started.script = script
        yield started


def keys(node: ScriptedNode, *arguments: str) -> CompletedProcess[str]:
    return in_text(zdynamo("keys", "--node", node.address, *arguments))


def test_what_was_listed_is_told_with_the_cursor_behind_it_and_the_error_has_its_exit_code(node: ScriptedNode) -> None:
    done = keys(node, "--json")

    *listed, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert (done.returncode, done.stderr) == (4, "zdynamo: quorum not met: needed 2, got 1\n")
    assert [line["key"].encode() for line in listed] == BEFORE
    node.script = node._cluster.answer
    rest = [json.loads(line) for line in keys(node, "--json", "--after", last["cursor"]).stdout.splitlines()]
    assert sorted(line["key"].encode() for line in [*listed, *rest[:-1]]) == sorted(NAMES)
    assert rest[-1] == {"cursor": None}


def test_for_people_the_note_comes_before_the_error(node: ScriptedNode) -> None:
    done = keys(node)

    how, error = done.stderr.splitlines()
    assert done.stdout.encode().split() == BEFORE
    assert how.startswith(f"zdynamo: {len(BEFORE)} keys so far; go on with --after ")
    assert error == "zdynamo: quorum not met: needed 2, got 1"


def test_one_that_fails_at_once_has_no_cursor(node: ScriptedNode) -> None:
    node.script = lambda request: (
        QuorumNotMet(request.request, 2, 1) if isinstance(request, ListKeys) else node._cluster.answer(request)
    )

    done = keys(node, "--json")

    assert (done.returncode, done.stdout) == (4, "")
