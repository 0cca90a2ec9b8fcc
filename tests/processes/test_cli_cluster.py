"""The command line over a cluster of real processes."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from killable import wait_until
from support.local import WITHIN_SECONDS, Local, local
from support.screens import LEAVE_SCREEN, terminal

from zdynamo.cli.cluster import ClusterFailed, check_ports, free_ports

COMMAND_LINE = Path(__file__).parent.parent.parent / "docs" / "command-line.md"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Local]:
    with local("--memory", f"--port={free_ports(3)}") as started:
        yield started


def test_what_is_put_at_one_node_is_got_at_each(cluster: Local) -> None:
    put = cluster.run_apart("put", "greeting", "hällo", node=0)

    assert (put.returncode, put.stdout, put.stderr) == (0, b"OK\n", b"")
    for node in range(3):
        got = cluster.run_apart("get", "greeting", node=node)
        assert (got.returncode, got.stdout, got.stderr) == (0, "hällo\n".encode(), b"")


def test_bytes_from_standard_input_come_back_unchanged(cluster: Local) -> None:
    every_byte = bytes(range(256)) + b"\n\n"

    cluster.run_apart("put", "bytes", "-", stdin=every_byte)

    assert cluster.run_apart("get", "bytes").stdout == every_byte
    assert set(cluster.json("get", "bytes")["value"]) == {"base64"}


def test_what_is_absent_is_exit_3(cluster: Local) -> None:
    got = cluster.run_apart("get", "nothing-here")
    shown = cluster.run_apart("get", "nothing-here", "--json")

    assert (got.returncode, got.stdout) == (3, b"")
    assert got.stderr == b"zdynamo: nothing-here is not in bucket default\n"
    document = json.loads(shown.stdout)
    assert (shown.returncode, document["key"], document["found"]) == (3, "nothing-here", False)


def test_what_is_deleted_is_absent(cluster: Local) -> None:
    cluster.run("put", "short-lived", "x")

    deleted = cluster.run("delete", "short-lived")

    assert (deleted.returncode, deleted.stdout) == (0, b"OK\n")
    assert cluster.run("get", "short-lived").returncode == 3


def test_buckets_keep_keys_apart(cluster: Local) -> None:
    cluster.run("put", "same", "one", "--bucket", "first")

    assert cluster.run("get", "same", "--bucket", "first").stdout == b"one\n"
    assert cluster.run("get", "same", "--bucket", "second").returncode == 3


def test_two_puts_over_one_context_leave_siblings_until_a_put_settles_them(cluster: Local) -> None:
    cluster.run("put", "cart", "empty")
    seen = cluster.json("get", "cart")["context"]

    for value in ("milk", "bread"):
        assert cluster.run("put", "cart", value, "--context", seen).returncode == 0

    got, shown = cluster.run("get", "cart"), cluster.json("get", "cart")
    assert got.returncode == 0
    assert sorted(line[3:] for line in got.stdout.splitlines()) == [b"bread", b"milk"]
    assert [line[:3] for line in got.stdout.splitlines()] == [b"1: ", b"2: "]
    assert b"2 siblings" in got.stderr
    assert sorted(shown["siblings"]) == ["bread", "milk"]

    cluster.run("put", "cart", "both", "--context", shown["context"])

    assert cluster.json("get", "cart")["value"] == "both"


@pytest.mark.parametrize("arguments", [["put", "k", "v", "-w", "4"], ["get", "k", "-r", "4"], ["put", "", "v"]])
def test_what_cannot_be_is_refused_in_one_line(cluster: Local, arguments: list[str]) -> None:
    done = cluster.run(*arguments)

    assert done.returncode == 1
    assert done.stderr.startswith(b"zdynamo: ")
    assert done.stderr.count(b"\n") == 1


def test_members_are_listed_with_their_states(cluster: Local) -> None:
    members = cluster.json("members")

    assert sorted(member["name"] for member in members) == ["a", "b", "c"]
    assert sorted(member["address"] for member in members) == sorted(cluster.addresses)
    assert {member["state"] for member in members} == {"alive"}
    assert len({member["id"] for member in members}) == 3
    assert cluster.run("members").stdout.count(b"alive") == 3


def test_the_ring_gives_every_partition_to_all_three(cluster: Local) -> None:
    cluster.run("put", "first", "fixes the layout")
    ring = cluster.json("ring")

    ids = {member["id"] for member in ring["members"]}
    assert ring["partitions"] == len(ring["owners"]) == 256
    assert all(set(owners) == ids for owners in ring["owners"])
    assert {member["owns"] for member in ring["members"]} == {256}
    assert b"256 partitions, 3 of 3 copies each" in cluster.run("ring").stdout


@pytest.mark.parametrize(
    ("verb", "flags"),
    [
        ("put", ["k", "v"]),
        ("get", ["k"]),
        ("delete", ["k"]),
        ("members", []),
        ("ring", []),
        ("status", []),
        ("top", ["--once", "--interval=0.1"]),
        ("explain", ["k"]),
        ("repair", []),
        ("bench", ["--requests=1", "--in-flight=1", "--keys=1", "--node"]),
    ],
)
def test_every_key_of_a_document_is_told_in_the_docs(cluster: Local, verb: str, flags: list[str]) -> None:
    cluster.run("put", "k", "v")
    [row] = re.findall(rf"^\| `{verb}` \| (.*) \|$", COMMAND_LINE.read_text(), re.MULTILINE)
    told = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", row)))) | {"name", "id", "address", "state"}

    document = cluster.json(verb, *flags, *([cluster.addresses[0]] if verb == "bench" else []))

    entries = document if isinstance(document, list) else [document]
    for named in ("members", "nodes", "results"):
        entries += [each for entry in entries for each in entry.get(named, ()) if isinstance(each, dict)]
    assert {key for entry in entries for key in entry} - told == set()


def test_the_ring_says_in_json_what_its_table_says(cluster: Local) -> None:
    cluster.run("put", "first", "fixes the layout")

    members = cluster.json("ring")["members"]

    assert [(each["zone"], each["weight"], each["share"]) for each in members] == [("", 1, 0.3333)] * 3
    assert sum(each["first_of"] for each in members) == 256


def test_status_has_the_figures_of_each(cluster: Local) -> None:
    status = cluster.json("status")

    assert [node["reachable"] for node in status] == [True, True, True]
    assert {node["engine"] for node in status} == {"memory"}
    assert all(node["counters"] for node in status)
    assert {"keys", "disk_bytes", "free_bytes"} == status[0]["store"].keys()
    assert len({node["digests"]["table"] for node in status}) == 1
    assert b"alive" in cluster.run("status").stdout


def test_status_of_one_node_has_all_that_it_counts(cluster: Local) -> None:
    cluster.run("put", "counted", "x")

    shown = cluster.run("status", "b")

    assert b"memory" in shown.stdout
    assert b"frames.taken" in shown.stdout
    assert [node["name"] for node in cluster.json("status", "b")] == ["b"]
    assert cluster.run("status", "nobody").returncode == 2


def test_top_once_has_a_line_for_each_node(cluster: Local) -> None:
    shown = cluster.run("top", "--once", "--interval=0.1").stdout.decode().splitlines()

    assert shown[0].startswith("cluster ")
    assert [line.split()[0] for line in shown[1:6]] == ["NODE", "a", "b", "c", "all"]
    assert [node["name"] for node in cluster.json("top", "--once", "--interval=0.1")["nodes"]] == ["a", "b", "c"]


def test_top_on_a_terminal_goes_on_until_ctrl_c_and_gives_the_screen_back(cluster: Local) -> None:
    with terminal(cluster.addresses[0], "top", "--interval=0.1") as screen:
        screen.read_until(b"REPAIR/S")
        screen.read_until(b"all agree")
        screen.interrupt()
        shown = screen.read_until(LEAVE_SCREEN)
        ended = screen.process.wait(WITHIN_SECONDS)

    assert ended == 0
    assert b"Traceback" not in shown


def test_bench_measures_a_running_cluster_without_errors(cluster: Local) -> None:
    shown = cluster.run_apart(
        "bench", "--node", cluster.addresses[0], "--in-flight", "1,16", "--requests", "200", "--keys", "50", "--json"
    )

    results = json.loads(shown.stdout)["results"]
    assert [(row["op"], row["in_flight"]) for row in results] == [("put", 1), ("put", 16), ("get", 1), ("get", 16)]
    assert all(row["ops_s"] > 0 and 0 < row["p50_ms"] <= row["p99_ms"] and not row["errors"] for row in results)
    assert shown.stderr == b""


def test_a_verb_loads_nothing_that_it_does_not_need() -> None:
    """Which is what makes it start fast."""
    program = "import sys; from zdynamo.cli.main import main; main(sys.argv[1:]); print(*sorted(sys.modules))"
    get = ["get", "k", "--node", "127.0.0.1:1", "--timeout-ms", "100"]
    loaded = subprocess.run([sys.executable, "-c", program, *get], capture_output=True, text=True, check=True).stdout

    assert "zdynamo.client.blocking" in loaded.split()
    assert not {"rocksdict", "structlog", "rich", "hypothesis", "asyncio", "zdynamo.core.node"} & set(loaded.split())


def test_with_two_of_three_down_a_request_is_exit_4_and_local_says_who_is_gone() -> None:
    with local("--memory", f"--port={free_ports(3)}") as cluster:
        cluster.run("put", "k", "v")
        for node in cluster.nodes[1:]:
            os.kill(node["pid"], signal.SIGKILL)
        wait_until(lambda: sorted(member["state"] for member in cluster.json("members")) == ["alive", "down", "down"])

        for verb in (["put", "k", "w"], ["get", "k"]):
            done = cluster.run(*verb)
            assert (done.returncode, done.stdout) == (4, b"")
            assert done.stderr.startswith(b"zdynamo: quorum not met: needed 2, got 1")

        assert cluster.process.stderr
        said = [cluster.process.stderr.readline() for _ in range(3)]
        assert "node b" in said[1] and "was killed by SIGKILL" in said[1]
        assert "node c" in said[2]
        assert cluster.process.poll() is None


def test_what_is_stored_survives_a_restart_of_all(tmp_path: Path) -> None:
    port = free_ports(3)
    with local("--data", str(tmp_path), f"--port={port}") as cluster:
        cluster.run("put", "kept", "x")

    with local("--data", str(tmp_path), f"--port={port}") as cluster:
        assert cluster.run("get", "kept").stdout == b"x\n"
        assert len(cluster.json("members")) == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_local_in_memory_leaves_no_process_and_no_folder(number: signal.Signals) -> None:
    with local("--memory", f"--port={free_ports(2)}", nodes=2) as cluster:
        folder = Path(cluster.nodes[0]["log"]).parent
        assert folder.exists()

        cluster.process.send_signal(number)

        assert cluster.process.wait(WITHIN_SECONDS) == 0
        assert not any(psutil.pid_exists(node["pid"]) for node in cluster.nodes)
        assert not folder.exists()


def test_a_local_of_which_a_node_died_keeps_the_log_that_says_why() -> None:
    with local("--memory", f"--port={free_ports(1)}", nodes=1) as cluster:
        os.kill(cluster.nodes[0]["pid"], signal.SIGKILL)

        assert cluster.process.wait(WITHIN_SECONDS) == 1
        assert Path(cluster.nodes[0]["log"]).exists()


def test_a_killed_local_leaves_no_process() -> None:
    with local("--memory", f"--port={free_ports(2)}", nodes=2) as cluster:
        cluster.process.kill()

        wait_until(lambda: not any(psutil.pid_exists(node["pid"]) for node in cluster.nodes))


def test_a_local_over_the_ports_of_another_never_says_that_it_is_ready(cluster: Local, tmp_path: Path) -> None:
    second = cluster.addresses[1].rpartition(":")[2]

    done = cluster.run_apart("local", "--data", str(tmp_path / "data"), "--nodes", "1", "--port", second)

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == (
        f"zdynamo: port {second} on 127.0.0.1 is in use: choose other ports with --port, or stop what uses it\n"
    )
    assert not (tmp_path / "data").exists()


def test_a_local_over_the_folder_of_another_starts_nothing_and_leaves_its_logs_alone(tmp_path: Path) -> None:
    with local("--data", str(tmp_path), f"--port={free_ports(2)}", nodes=2) as cluster:
        before = [Path(node["log"]).read_text() for node in cluster.nodes]

        done = cluster.run("local", "--data", str(tmp_path), "--nodes", "2", "--port", str(free_ports(2)))

        after = [Path(node["log"]).read_text() for node in cluster.nodes]
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode() == (
        f"zdynamo: {tmp_path / 'a'} is in use by another node: stop it or choose another --data\n"
    )
    assert [text.count('"pid"') for text in after] == [text.count('"pid"') for text in before]
    assert not any("in use" in text for text in after)


def test_every_port_that_a_local_needs_has_to_be_free() -> None:
    port = free_ports(1)
    refused = pytest.raises(ClusterFailed, match=f"^port {port + 2} on 127.0.0.1 is in use: ")
    with socket.create_server(("127.0.0.1", port + 2)), refused:
        check_ports(1, port)

    check_ports(1, port)


def test_a_port_in_use_is_one_line_that_names_it(cluster: Local) -> None:
    port = cluster.addresses[0].rpartition(":")[2]

    done = cluster.run_apart("start", "--memory", "--port", port)

    assert done.returncode == 1
    assert done.stderr.startswith(b"zdynamo: ") and done.stderr.count(b"\n") == 1
    assert port.encode() in done.stderr
