"""HTTP from processes of its own: beside nodes, with them from start to end, and as a gateway."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psutil
import pytest
from killable import kill, members_of, wait_until
from support.local import WITHIN_SECONDS, local
from support.processes import Nodes, terminate
from support.programs import ENVIRONMENT

from zdynamo.cli.cluster import Child, free_ports

HTTP = "--http=process"


def ask(url: str, body: Any = None, method: str | None = None) -> Any:
    """The JSON that is answered; the status of an error, None if nobody answers."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=5) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return None


def beside(child: Child) -> psutil.Process:
    """The process that serves HTTP for a node, once there is one."""
    assert child.process
    found: list[psutil.Process] = []

    def look() -> bool:
        found[:] = serving(child.process.pid)
        return len(found) == 1

    wait_until(look)
    return found[0]


def serving(parent: int) -> list[psutil.Process]:
    """Its processes that serve HTTP; one that is only just being made does not count yet."""
    found = []
    for process in psutil.Process(parent).children():
        with suppress(psutil.NoSuchProcess):
            if "zdynamo.http" in process.cmdline():
                found.append(process)
    return found


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_script_that_starts_nodes_one_by_one_and_kills_one_sees_what_it_expects(nodes: Nodes) -> None:
    names = [f"localhost:{nodes.port(place)}" for place in range(3)]
    started: list[Child] = []
    for place, name in enumerate("abc"):
        seeds = [f"--seed={names[0]}"] if place else []
        started.append(nodes.start(name, place, "--host=localhost", HTTP, *seeds))
        for child in started:  # each of them lists all that have joined
            wait_until(lambda child=child, place=place: ask(f"{child.http}/members") == sorted(names[: place + 1]))

    for at, child in enumerate(started):
        assert ask(f"{child.http}/ping") == {"message": "pong"}
        ask(f"{child.http}/kvstore", {"Key": f"key{at}", "Value": {"from": at}})
    for child, name in zip(started, names, strict=True):
        for at in range(3):
            assert ask(f"{child.http}/kvstore/key{at}") == {"key": f"key{at}", "value": {"from": at}, "node": name}

    kill(started[2])
    for child in started[:2]:
        wait_until(lambda child=child: ask(f"{child.http}/members") == sorted(names[:2]))
    ask(f"{started[0].http}/kvstore", {"Key": "meanwhile", "Value": 1})
    assert ask(f"{started[1].http}/kvstore/meanwhile")["value"] == 1

    again = nodes.again(started[2], "--host=localhost", HTTP, f"--seed={names[0]}")
    for child in (*started[:2], again):
        wait_until(lambda child=child: ask(f"{child.http}/members") == sorted(names))
    assert ask(f"{again.http}/kvstore/meanwhile")["value"] == 1
    assert ask(f"{again.http}/kvstore/meanwhile", method="DELETE")["deleted"] is True
    assert ask(f"{started[0].http}/kvstore/meanwhile") == 404


def test_the_process_beside_a_node_ends_with_it_when_it_is_told_to_stop(nodes: Nodes) -> None:
    node = nodes.start("a", 0, "--found", HTTP)
    served = beside(node)
    wait_until(lambda: ask(f"{node.http}/ping") is not None)

    with socket.create_connection(("127.0.0.1", node.port + 3)):  # one that stays
        code, seconds = terminate(node)

    assert (code, is_gone(served)) == (0, True)
    assert seconds < 4


def test_the_process_beside_a_node_ends_when_the_node_is_killed(nodes: Nodes) -> None:
    node = nodes.start("a", 0, "--found", HTTP)
    served = beside(node)

    kill(node)

    wait_until(lambda: is_gone(served))
    again = nodes.again(node, HTTP)
    wait_until(lambda: ask(f"{again.http}/ping") == {"message": "pong"})


def test_the_process_beside_a_node_is_started_again_when_it_dies_and_the_log_says_so(nodes: Nodes) -> None:
    node = nodes.start("a", 0, "--found", HTTP)
    first = beside(node)
    wait_until(lambda: bool(members_of(node)))

    first.kill()

    wait_until(lambda: ask(f"{node.http}/ping") == {"message": "pong"})
    assert beside(node).pid != first.pid
    ended = [json.loads(line) for line in node.log.read_text().splitlines() if '"http.ended"' in line]
    assert [(event["level"], event["how"], event["again_in_ms"]) for event in ended] == [
        ("warning", "killed by SIGKILL", 200)
    ]
    assert node.ended is None


def test_a_node_serves_no_http_if_it_is_told_so(nodes: Nodes) -> None:
    node = nodes.start("a", 0, "--found")
    wait_until(lambda: bool(members_of(node)))
    assert node.process

    assert psutil.Process(node.process.pid).children() == []
    assert ask(f"{node.http}/ping") is None


def test_a_local_cluster_says_where_it_is_reached_over_http() -> None:
    with local("--memory", f"--port={free_ports(1)}", nodes=1, http=True) as cluster:
        assert ask(f"{cluster.nodes[0]['http']}/members") == cluster.addresses


@contextmanager
def gateway(port: int, *flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "zdynamo", "gateway", f"--port={port}", "--json", *flags]
    with subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=WITHIN_SECONDS)


def workers_of(process: subprocess.Popen[str], count: int) -> list[psutil.Process]:
    wait_until(lambda: len(serving(process.pid)) == count)
    return serving(process.pid)


def test_a_gateway_serves_from_several_processes_and_outlives_its_seed(nodes: Nodes) -> None:
    trio = nodes.trio()
    port = nodes.port(6)
    seeds = [f"--seed={node.address}" for node in trio]
    with gateway(port, *seeds, "--workers=2") as process:
        url = f"http://127.0.0.1:{port}"
        workers_of(process, 2)
        wait_until(lambda: ask(f"{url}/members") == sorted(node.address for node in trio))
        ask(f"{url}/kvstore", {"Key": "k", "Value": 1})

        kill(trio[0])

        wait_until(lambda: ask(f"{url}/members") == sorted(node.address for node in trio[1:]))
        assert ask(f"{url}/kvstore/k") == {"key": "k", "value": 1, "node": f"127.0.0.1:{port}"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_workers_of_a_gateway_end_with_it(nodes: Nodes, number: signal.Signals) -> None:
    with gateway(nodes.port(6), "--seed=127.0.0.1:9", "--workers=2") as process:
        workers = workers_of(process, 2)
        wait_until(lambda: ask(f"http://127.0.0.1:{nodes.port(6)}/ping") is not None)

        process.send_signal(number)

        assert process.wait(WITHIN_SECONDS) == (-9 if number == signal.SIGKILL else 0)
        wait_until(lambda: all(is_gone(worker) for worker in workers))


def test_a_worker_that_dies_is_started_again_while_the_others_serve(nodes: Nodes) -> None:
    with gateway(nodes.port(6), "--seed=127.0.0.1:9", "--workers=2") as process:
        first, second = workers_of(process, 2)

        os.kill(first.pid, signal.SIGKILL)

        wait_until(lambda: is_gone(first))
        wait_until(lambda: len(serving(process.pid)) == 2)
        assert second.is_running()
        wait_until(lambda: ask(f"http://127.0.0.1:{nodes.port(6)}/ping") == {"message": "pong"})


def test_a_gateway_whose_seeds_do_not_answer_logs_it(nodes: Nodes) -> None:
    with gateway(nodes.port(6), "--seed=127.0.0.1:9") as process:
        assert process.stderr
        line = next(line for line in process.stderr if "seeds.unanswered" in line)

    said = json.loads(line)
    assert (said["level"], said["seeds"]) == ("warning", ["127.0.0.1:9"])
    assert said["for_ms"] >= 1000


def test_a_gateway_without_a_node_says_so_at_each_request(nodes: Nodes) -> None:
    with gateway(nodes.port(6), "--seed=127.0.0.1:9"):
        wait_until(lambda: ask(f"http://127.0.0.1:{nodes.port(6)}/ping") is not None)

        assert ask(f"http://127.0.0.1:{nodes.port(6)}/kvstore/k") == 503
