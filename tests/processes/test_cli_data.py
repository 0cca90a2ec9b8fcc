"""The verbs on keys over a cluster of real processes: contexts, conditions, expiry, siblings, listing, explaining."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from killable import wait_until
from support.local import Local, local

from zdynamo.cli.cluster import free_ports

CONFIG = """
[buckets.passing]
expiry_ms = 1

[buckets.last]
conflict = "lww"

[buckets.strict]
r = 3
w = 3
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    config = tmp_path_factory.mktemp("config") / "node.toml"
    config.write_text(CONFIG)
    with local("--memory", f"--port={free_ports(3)}", "--config", str(config)) as started:
        yield started


def failed(done: CompletedProcess[bytes], code: int) -> str:
    """The one line of a verb that failed."""
    assert (done.returncode, done.stderr.count(b"\n")) == (code, 1), done.stderr
    return done.stderr.decode()


def lines(done: CompletedProcess[bytes]) -> list[Any]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def two_siblings(cluster: Local, key: str, bucket: str = "default") -> None:
    cluster.json("put", key, "first", "--bucket", bucket)
    seen = cluster.json("get", key, "--bucket", bucket)["context"]
    for value in ("milk", "bread"):
        cluster.json("put", key, value, "--context", seen, "--bucket", bucket)


# Conditions


def test_if_absent_writes_once_and_then_exits_with_1_and_a_line_that_says_what_to_do(cluster: Local) -> None:
    assert cluster.json("put", "lock", "mine", "--if-absent")["written"] is True

    line = failed(cluster.run("put", "lock", "yours", "--if-absent", node=1), 1)

    assert line == (
        "zdynamo: lock has a value already, so nothing was written: look at `zdynamo get lock --json` and decide anew\n"
    )
    assert cluster.json("get", "lock", node=2)["value"] == "mine"


def test_a_deleted_key_is_absent_for_if_absent(cluster: Local) -> None:
    cluster.json("put", "again", "one")
    cluster.json("delete", "again")

    assert cluster.json("put", "again", "two", "--if-absent")["written"] is True
    assert cluster.json("get", "again")["value"] == "two"


def test_if_context_writes_only_over_what_that_get_saw_and_gives_the_context_of_what_is_there(cluster: Local) -> None:
    cluster.json("put", "version", "1")
    seen = cluster.json("get", "version")["context"]
    cluster.json("put", "version", "2", "--if-context", seen)

    late = cluster.run("put", "version", "3", "--if-context", seen, "--json", node=1)

    shown = json.loads(late.stdout)
    assert "has been written since the get of this context" in failed(late, 1)
    assert shown["written"] is False
    assert cluster.json("put", "version", "3", "--if-context", shown["context"])["written"] is True
    assert cluster.json("get", "version")["value"] == "3"


def test_the_line_of_a_failed_condition_names_the_bucket(cluster: Local) -> None:
    cluster.json("put", "k", "v", "--bucket", "last")

    assert "`zdynamo get k --json --bucket last`" in failed(
        cluster.run("put", "k", "v", "--bucket", "last", "--if-absent"), 1
    )


# Expiry


def test_an_expired_value_is_absent_and_one_with_a_long_ttl_is_there(cluster: Local) -> None:
    cluster.json("put", "brief", "x", "--ttl", "1ms")
    cluster.json("put", "long", "x", "--ttl", "7d")

    wait_until(lambda: cluster.run("get", "brief").returncode == 3)
    assert cluster.json("get", "long")["value"] == "x"


def test_the_expiry_of_the_bucket_holds_unless_the_put_says_never(cluster: Local) -> None:
    cluster.json("put", "by-bucket", "x", "--bucket", "passing")
    cluster.json("put", "for-ever", "x", "--bucket", "passing", "--ttl", "0")

    wait_until(lambda: cluster.run("get", "by-bucket", "--bucket", "passing").returncode == 3)
    assert cluster.json("get", "for-ever", "--bucket", "passing")["value"] == "x"


# Siblings, tombstones


def test_siblings_are_numbered(cluster: Local) -> None:
    two_siblings(cluster, "cart")

    got = cluster.run("get", "cart")

    assert got.returncode == 0
    assert sorted(got.stdout.splitlines()) in ([b"1: bread", b"2: milk"], [b"1: milk", b"2: bread"])
    assert b"2 siblings" in got.stderr


def test_siblings_of_plain_data_are_settled_as_the_note_of_get_says(cluster: Local) -> None:
    cluster.json("put", "data", "{}", "--as-json", "--bucket", "carts")
    seen = cluster.json("get", "data", "--bucket", "carts")["context"]
    for value in ('{"milk": 1}', '{"bread": [2, null]}'):
        cluster.json("put", "data", value, "--as-json", "--context", seen, "--bucket", "carts")

    told = failed(cluster.run("get", "data", "--bucket", "carts"), 0)
    shown = cluster.json("get", "data", "--bucket", "carts")
    cluster.run(
        "put", "data", "-", "--as-json", "--context", shown["context"], "--bucket", "carts",
        stdin=b'{"milk": 1, "bread": [2, null]}',
    )  # fmt: skip

    assert "`zdynamo get data --json --bucket carts`" in told and "--context C" in told and "--as-json" in told
    assert sorted(shown["siblings"], key=str) == [{"bread": [2, None]}, {"milk": 1}]
    assert cluster.json("get", "data", "--bucket", "carts")["value"] == {"milk": 1, "bread": [2, None]}


def test_a_value_as_json_is_stored_as_the_data_that_it_stands_for(cluster: Local) -> None:
    for value in ("17", "[1.5, true]", '"text"'):
        cluster.json("put", "plain", value, "--as-json")

        assert cluster.json("get", "plain")["value"] == json.loads(value)
    assert cluster.run("get", "plain").stdout == b"text\n"


def test_in_a_bucket_where_the_last_write_wins_there_is_one_value(cluster: Local) -> None:
    two_siblings(cluster, "cart", "last")

    assert cluster.json("get", "cart", "--bucket", "last")["value"] == "bread"


def test_the_context_of_a_deleted_key_is_shown_and_covers_the_delete(cluster: Local) -> None:
    cluster.json("put", "gone", "x")
    cluster.json("delete", "gone", "-r", "3", "-w", "3")

    shown = json.loads(cluster.run("get", "gone", "--json").stdout)
    cluster.json("put", "gone", "new", "--context", shown["context"])

    assert (shown["found"], bool(shown["context"])) == (False, True)
    assert cluster.json("get", "gone")["value"] == "new"
    (sibling,) = cluster.json("explain", "gone")["replicas"][0]["siblings"]
    assert sibling["tombstone"] is False


# Keys


def test_keys_are_listed_once_each_and_only_those_with_a_value_and_the_prefix(cluster: Local) -> None:
    for name in ("list/a", "list/b", "list/c", "other"):
        cluster.json("put", name, "x")
    cluster.json("delete", "list/b")

    done = cluster.run("keys", "--prefix", "list/", node=1)

    assert (done.returncode, done.stderr) == (0, b"")
    assert sorted(done.stdout.splitlines()) == [b"list/a", b"list/c"]


def test_a_listing_stops_at_its_limit_and_goes_on_from_its_cursor_at_any_node(cluster: Local) -> None:
    for number in range(5):
        cluster.json("put", f"page/{number}", "x")
    arguments = ["keys", "--prefix", "page/", "--limit", "2"]

    first = lines(cluster.run(*arguments, "--json"))
    second = lines(cluster.run(*arguments, "--json", "--after", first[-1]["cursor"], node=1))
    third = lines(cluster.run(*arguments, "--json", "--after", second[-1]["cursor"], node=2))

    listed = [line["key"] for line in (*first[:-1], *second[:-1], *third[:-1])]
    assert sorted(listed) == [f"page/{number}" for number in range(5)]
    assert third[-1] == {"cursor": None}


def test_for_people_the_cursor_of_a_listing_that_stopped_is_a_note_beside_the_keys(cluster: Local) -> None:
    cluster.json("put", "noted/1", "x")

    done = cluster.run("keys", "--prefix", "noted/", "--limit", "1")

    assert done.stdout == b"noted/1\n"
    assert failed(done, 0).startswith("zdynamo: 1 key so far; go on with --after ")


def test_a_key_of_any_bytes_is_listed(cluster: Local) -> None:
    key = os.fsdecode(b"any/\xff\n")
    cluster.run("put", key, "x")

    assert cluster.run("keys", "--prefix", "any/").stdout == b"any/\xff\n\n"
    assert lines(cluster.run("keys", "--prefix", "any/", "--json"))[0] == {"key": {"base64": "YW55L/8K"}}


def test_a_bucket_lists_its_own_keys(cluster: Local) -> None:
    cluster.json("put", "only-here", "x", "--bucket", "strict")

    assert cluster.run("keys", "--bucket", "strict").stdout == b"only-here\n"


def test_what_is_no_cursor_is_refused(cluster: Local) -> None:
    assert "no cursor" in failed(cluster.run("keys", "--after", "AAAA"), 1)


# Explain


def test_explain_shows_the_owners_by_name_the_rules_and_what_each_holds(cluster: Local) -> None:
    two_siblings(cluster, "explained")

    shown = cluster.json("explain", "explained")
    told = cluster.run("explain", "explained")

    assert sorted(owner["name"] for owner in shown["owners"]) == ["a", "b", "c"]
    assert shown["rules"] == {"r": 2, "w": 2, "pr": 0, "pw": 0, "expiry_ms": 0, "conflict": "siblings"}
    assert [replica["reachable"] for replica in shown["replicas"]] == [True, True, True]
    sizes = [[sibling["size"] for sibling in replica["siblings"]] for replica in shown["replicas"]]
    assert sizes == [[4, 5]] * 3
    assert told.stderr == b""
    assert [line.split()[:2] for line in told.stdout.splitlines() if b"settled" in line] == [
        [replica["name"].encode(), b"settled"] for replica in shown["replicas"]
    ]


def test_explain_goes_by_the_rules_of_the_bucket(cluster: Local) -> None:
    rules = cluster.json("explain", "k", "--bucket", "passing")["rules"]

    assert (rules["expiry_ms"], rules["r"]) == (1, 2)
    assert b"r=3 w=3, values do not expire" in cluster.run("explain", "k", "--bucket", "strict").stdout


def test_explain_says_what_a_tombstone_waits_for(cluster: Local) -> None:
    cluster.json("put", "dead", "x")
    cluster.json("delete", "dead", "-w", "3")

    told = cluster.run("explain", "dead").stdout.decode()

    assert "tombstone" in told
    assert "what is dead waits to be removed" in told


def test_explain_says_who_is_unreachable_and_who_differs(tmp_path: Path) -> None:
    with local("--data", str(tmp_path), f"--port={free_ports(3)}") as trio:
        trio.json("put", "k", "all have this", "-w", "3")
        os.kill(trio.nodes[2]["pid"], signal.SIGKILL)
        wait_until(lambda: "down" in {member["state"] for member in trio.json("members")})

        replicas = {replica["name"]: replica for replica in trio.json("explain", "k")["replicas"]}
        told = trio.run("explain", "k").stdout.decode()

    assert {name: replica["reachable"] for name, replica in replicas.items()} == {"a": True, "b": True, "c": False}
    assert {name: replica["differs_from"] for name, replica in replicas.items()} == {"a": [], "b": [], "c": []}
    assert ["c", "unreachable"] in [line.split()[:2] for line in told.splitlines()]


# Bucket tables that differ


def test_nodes_whose_bucket_tables_differ_say_so_in_their_status(tmp_path: Path) -> None:
    config = tmp_path / "other.toml"
    config.write_text('[buckets.carts]\nconflict = "lww"\n')
    with local("--memory", f"--port={free_ports(2)}", nodes=2) as pair:
        port = free_ports(1)
        flags = ["--memory", f"--port={port}", f"--seed={pair.addresses[0]}", "--name=other", f"--config={config}"]
        with pair.started(*flags):
            wait_until(lambda: b"\na: bucket tables differ: other (compare [buckets]" in pair.run("status").stdout)
