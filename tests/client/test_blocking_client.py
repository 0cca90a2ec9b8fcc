"""The blocking client over real sockets, against nodes that do what a script says."""

import gc
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import zmq
from killable import wait_until
from scripted_node import ScriptedCluster, ScriptedNode

from zdynamo import Client, errors
from zdynamo.messages import (
    Delete,
    DescribeCluster,
    DescribeNode,
    Found,
    Get,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
    SiblingValue,
)


@pytest.fixture
def cluster():
    return ScriptedCluster()


def silent_on_data(cluster):
    """Answers questions about the cluster and the node, and nothing else."""
    described = DescribeCluster | DescribeNode
    return lambda request: cluster.answer(request) if isinstance(request, described) else None


def client_threads():
    return [thread for thread in threading.enumerate() if thread.name == "zdynamo-client"]


@pytest.mark.parametrize("value", [b"\x00", "text", {"a": [1, 2.5, None, True]}, 7, None])
def test_what_is_put_is_got_and_deleted(cluster, value):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        assert not client.get("key")

        context = client.put("key", value)
        found = client.get(b"key")

        assert context == b"context of key"
        assert (found.value, found.siblings, found.context) == (value, [value], b"seen")
        assert [client.delete("key"), client.delete("key")] == [True, False]


def test_options_reach_the_node_and_defaults_are_left_to_it(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        client.members()
        client.put("k", b"v", bucket="b", context=b"c", w=1, pw=2, deadline_ms=100)
        client.get("k", bucket="b", r=1, pr=2, deadline_ms=100)
        client.delete("k", bucket="b", context=b"c", r=1, w=2, deadline_ms=100)
        client.get("k")

        put, get, delete, plain = node.data_requests()
        assert put == Put(put.request, "one", put.deadline_ms, "b", b"k", b"v", "", 1, b"c", 1, 2)
        assert get == Get(get.request, "one", get.deadline_ms, "b", b"k", 1, 2)
        assert delete == Delete(delete.request, "one", delete.deadline_ms, "b", b"k", 1, b"c", 1, 2)
        assert plain == Get(plain.request, "one", plain.deadline_ms, "default", b"k", 0, 0)
        assert 80 <= min(put.deadline_ms, get.deadline_ms, delete.deadline_ms) <= 90


def test_siblings_are_shown_and_asking_for_the_one_value_says_so(cluster):
    siblings = (SiblingValue("text/plain", b"a", 1), SiblingValue("", b"b", 2))
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        node.script = lambda request: (
            Found(request.request, b"both", siblings) if isinstance(request, Get) else cluster.answer(request)
        )

        found = client.get("k")

        assert (found.siblings, found.context) == (["a", b"b"], b"both")
        with pytest.raises(errors.SiblingsFound, match="2 siblings"):
            _ = found.value


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (lambda id: QuorumNotMet(id, 2, 1, "b is down"), errors.QuorumNotMet, r"needed 2, got 1 \(b is down\)"),
        (lambda id: OutcomeUnknown(id, 2, 1), errors.OutcomeUnknown, "1 of 2 replicas"),
        (lambda id: Overloaded(id, 10_000), errors.Overloaded, "try again in 10000 ms"),
        (lambda id: Refused(id, "w is 9"), errors.Refused, "w is 9"),
        (lambda id: Found(id, b"", ()), errors.Malformed, "answered with Found"),
        (lambda id: None, errors.DeadlineExceeded, "no final answer within 300 ms in 1 attempt$"),
        (lambda id: b"\xc1 garbage", errors.DeadlineExceeded, "no final answer"),
    ],
)
def test_each_end_of_a_call_is_an_error_of_its_own(cluster, answer, error, text):
    with ScriptedNode(cluster) as node, Client(node.address, deadline_ms=300) as client:
        node.script = lambda request: answer(request.request) if isinstance(request, Put) else cluster.answer(request)

        with pytest.raises(error, match=text):
            client.put("k", b"v")


@pytest.mark.parametrize("retry", [True, False])
def test_a_refusal_says_whether_it_may_pass(cluster, retry):
    with ScriptedNode(cluster) as node, Client(node.address, deadline_ms=100) as client:
        node.script = lambda request: (
            Refused(request.request, "no", retry=retry) if isinstance(request, Put) else cluster.answer(request)
        )

        with pytest.raises(errors.Refused, match="no") as refused:
            client.put("k", b"v")

        assert refused.value.retry is retry


def test_the_deadline_is_kept_when_nobody_answers(cluster):
    with ScriptedNode(cluster, lambda _: None) as node, Client(node.address) as client:
        began = time.monotonic()

        with pytest.raises(errors.DeadlineExceeded):
            client.get("k", deadline_ms=200)

        assert 0.2 <= time.monotonic() - began < 1.0


def test_addresses_where_nothing_runs_are_unreachable():
    with Client("127.0.0.1:1", "127.0.0.1:2") as client:
        with pytest.raises(errors.Unreachable, match=r"127\.0\.0\.1:1, 127\.0\.0\.1:2"):
            client.get("k", deadline_ms=10_000)
        with pytest.raises(errors.Unreachable):
            client.node_status("127.0.0.1:3", deadline_ms=10_000)


def test_a_deadline_too_short_to_connect_in_is_told_as_such():
    with socket.socket() as deaf:  # takes the connection and says nothing
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = "{}:{}".format(*deaf.getsockname())
        with Client(address) as client, pytest.raises(errors.DeadlineExceeded, match="nothing was sent within 20 ms"):
            client.get("k", deadline_ms=20)


def test_when_the_node_that_has_the_call_dies_another_serves_it_at_once(cluster):
    with ScriptedNode(cluster) as other, Client(other.address, deadline_ms=100_000) as client:
        dying = ScriptedNode(cluster, silent_on_data(cluster))
        cluster.owners = [dying.address]
        wait_until(lambda: len(client.members()) == 2)
        client.node_status(dying.address)  # it is connected
        with ThreadPoolExecutor(1) as pool:
            putting = pool.submit(client.put, "k", b"v")
            wait_until(lambda: dying.data_requests() or putting.done())
            began = time.monotonic()
            dying.stop()

            assert putting.result() == b"context of k"

        first, again = dying.data_requests()[0], other.data_requests()[0]
        assert time.monotonic() - began < 9.0, "learned of by the connection, not by the patience of 10 s"
        assert (first.request, first.attempt, again.attempt) == (again.request, 1, 2)


def test_a_paused_node_costs_its_calls_only_the_patience(cluster):
    with (
        ScriptedNode(cluster) as other,
        ScriptedNode(cluster, silent_on_data(cluster)) as paused,
        Client(other.address, paused.address, deadline_ms=3_000) as client,
    ):
        cluster.owners = [paused.address]
        client.members()
        began = time.monotonic()

        client.put("k", b"v")
        client.put("l", b"v")

        assert time.monotonic() - began < 1.5
        assert {request.key for request in other.data_requests()} == {b"k", b"l"}


def test_a_client_goes_on_when_its_only_node_comes_back_at_the_same_address(cluster):
    node = ScriptedNode(cluster)
    with Client(node.address) as client:
        client.put("k", b"v")
        node.stop()

        with ScriptedNode(cluster, bind=f"tcp://{node.address}"):
            assert client.get("k").value == b"v"


def test_a_write_that_was_given_up_is_not_carried_out_when_its_node_is_back(cluster):
    node = ScriptedNode(cluster)
    with Client(node.address) as client:
        client.get("k")
        node.stop()
        with pytest.raises(errors.RequestError):
            client.put("k", b"too late", deadline_ms=100)

        with ScriptedNode(cluster, bind=f"tcp://{node.address}") as back:
            assert not client.get("k").exists
            assert [type(request) for request in back.data_requests()] == [Get]


def test_many_threads_share_a_client_and_each_gets_its_own_answers(cluster):
    def work(worker):
        for number in range(50):
            key = f"{worker}-{number}"
            client.put(key, number)
            yield client.get(key).value

    with (
        ScriptedNode(cluster) as node,
        ScriptedNode(cluster),
        Client(node.address) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        results = list(pool.map(lambda worker: list(work(worker)), range(8)))

        assert results == [list(range(50))] * 8
        assert len(client_threads()) == 1


def test_nodes_are_reached_over_inproc_with_a_shared_context(cluster):
    context = zmq.Context()
    with (
        ScriptedNode(cluster, bind="inproc://a", context=context) as node,
        Client(node.address, context=context) as client,
    ):
        client.put("k", b"v")

        assert client.get("k").value == b"v"
    context.term()


def test_a_large_value_goes_and_comes_whole(cluster):
    large = bytes(range(256)) * 2**15
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        client.put("k", large)

        assert client.get("k").value == large


def test_topology_and_figures_come_from_the_nodes(cluster):
    with ScriptedNode(cluster) as node, Client(node.address) as client:
        assert [view.record.addresses.client for view in client.members()] == [node.address]
        assert client.topology().cluster == "one"
        assert client.node_status(node.address).engine == "memory"
        assert any(isinstance(request, DescribeNode) for request in node.received)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda client: client.get(""), "the key has 0 bytes"),
        (lambda client: client.put("k", b"", ttl_ms=-1), "ttl_ms is -1"),
        (lambda client: client.keys(after="no cursor"), r"this is no cursor of keys\(\)"),
        (lambda client: client.get("k", bucket=""), "the bucket's name has 0 bytes"),
        (lambda client: client.get("k", bucket="ö" * 128), "the bucket's name has 256 bytes"),
        (lambda client: client.get("k", bucket="\ud800"), "lone surrogates"),
        (lambda client: client.get("k", r=-1), "r is -1"),
        (lambda client: client.get("k", pr=256), "pr is 256"),
        (lambda client: client.put("k", b"", w=-1), "w is -1"),
        (lambda client: client.put("k", b"", pw=-1), "pw is -1"),
        (lambda client: client.put("k", b"", context=b""), "the context is empty"),
        (lambda client: client.put("k", b"", if_context=b""), "the context is empty"),
        (lambda client: client.delete("k", context=b""), "the context is empty"),
        (lambda client: client.get("k", deadline_ms=0), "the deadline is 0 ms"),
        (lambda client: client.get("k", deadline_ms=2**40), "the deadline is 1099511627776 ms: use 1 to 2147483648"),
        (lambda client: client.get("k", deadline_ms=-5), "the deadline is -5 ms"),
    ],
)
def test_what_the_cluster_would_refuse_is_refused_before_it_is_sent(call, text):
    with Client("127.0.0.1:1") as client, pytest.raises(errors.Refused, match=text):
        call(client)


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get(1),
        lambda client: client.get("k", bucket=b"b"),
        lambda client: client.get("k", r="2"),
        lambda client: client.get("k", r=True),
        lambda client: client.get("k", deadline_ms=0.5),
        lambda client: client.put("k", b"", context="abc"),
        lambda client: client.put("k", object()),
    ],
)
def test_a_wrong_type_is_a_type_error(call):
    with Client("127.0.0.1:1") as client, pytest.raises(TypeError):
        call(client)


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        [""],
        ["localhost"],
        ["h:port"],
        [":7400"],
        ["h:0"],
        ["h:70000"],
        ["http://h:7400"],
        ["tcps://h:7400"],
        ["udp://h:1"],
    ],
)
def test_a_client_needs_addresses(addresses):
    with pytest.raises(ValueError):
        Client(*addresses)


def test_closing_fails_the_calls_in_flight_and_later_ones(cluster):
    with ScriptedNode(cluster, lambda _: None) as node, ThreadPoolExecutor(1) as pool:
        client = Client(node.address)
        getting = pool.submit(client.get, "k")
        wait_until(node.data_requests)

        client.close()
        client.close()

        with pytest.raises(errors.RequestError, match="closed"):
            getting.result()
        with pytest.raises(errors.RequestError, match="closed"):
            client.get("k")
        assert client_threads() == []


def test_a_client_that_is_dropped_leaves_no_thread(cluster):
    with ScriptedNode(cluster) as node:
        client = Client(node.address)
        client.get("k")

        del client
        gc.collect()

        assert client_threads() == []


def test_an_error_in_the_thread_fails_the_calls_that_wait_and_those_to_come(cluster):
    context = zmq.Context()
    with ScriptedNode(cluster, lambda _: None) as node, ThreadPoolExecutor(1) as pool:
        client = Client(node.address, context=context)
        getting = pool.submit(client.get, "k")
        wait_until(node.data_requests)

        context.term()

        with pytest.raises(zmq.ContextTerminated):
            getting.result()
        with pytest.raises(zmq.ContextTerminated):
            client.get("k")
        client.close()


def run_python(program, *arguments):
    threads_and_fork = "ignore:This process:DeprecationWarning"  # from Python 3.12 on
    command = [sys.executable, "-W", "error", "-W", threads_and_fork, "-c", program, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)


FORK = """
import os, sys, threading
from zdynamo import Client

client = Client(sys.argv[1])
client.put("before", 1)
slow = threading.Thread(target=client.get, args=["slow"])  # answered only once the child has put
slow.start()
client.put("ready", 1)
child = os.fork()
if child == 0:
    assert client.get("before").value == 1
    client.put("child", 2)
    if sys.argv[2] == "close":
        client.close()
    sys.exit(7)
_, status = os.waitpid(child, 0)
slow.join()
assert client.get("child").value == 2
client.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.parametrize("ending", ["close", "exit"])
def test_a_fork_opens_anew_and_the_parents_calls_in_flight_go_on(cluster, ending):
    with ScriptedNode(cluster) as node:
        node.holds = lambda request: (
            isinstance(request, Get) and request.key == b"slow" and b"child" not in cluster.values
        )

        result = run_python(FORK, node.address, ending)

        assert (result.returncode, result.stdout, result.stderr) == (7, "", "")
        slow = [request for request in node.data_requests() if request.key == b"slow"]
        clients = {request.request[:8] for request in node.data_requests()}
        assert (len(slow), len(clients)) == (1, 2)


def test_a_program_that_ends_without_closing_its_client_ends_well(cluster):
    program = "import sys; from zdynamo import Client; client = Client(sys.argv[1]); client.put('k', 1)"
    with ScriptedNode(cluster) as node:
        result = run_python(program, node.address)

        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_importing_the_client_brings_in_nothing_that_is_slow_to_start():
    program = """
import sys
from zdynamo import Client
print(sorted({"asyncio", "rich", "structlog", "typer", "rocksdict"} & set(sys.modules)))
"""
    result = run_python(program)

    assert result.stdout == "[]\n", result.stderr
