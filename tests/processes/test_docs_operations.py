"""What docs/operations.md says of backups and replacements, done on real nodes."""

import shutil
from pathlib import Path

from killable import is_settled, kill, states_at, wait_until
from support.processes import Nodes, is_whole, terminate

from zdynamo import Client
from zdynamo.cli.cluster import Child

KEYS = 200
WITHIN_SECONDS = 60.0


def wait_ready(children: list[Child]) -> None:
    wait_until(lambda: all(is_whole(child, children) for child in children), WITHIN_SECONDS)
    wait_until(lambda: all(map(is_settled, children)), WITHIN_SECONDS)


def put(db: Client, name: str) -> None:
    db.put_many({f"{name}-{number}": number for number in range(KEYS)}, deadline_ms=20_000)


def test_a_cluster_is_restored_from_the_folders_of_stopped_nodes(nodes: Nodes, tmp_path: Path) -> None:
    trio = nodes.trio()
    with Client(*(child.address for child in trio)) as db:
        put(db, "before")
        for at, child in enumerate(trio):
            terminate(child)
            shutil.copytree(child.data, tmp_path / "backup" / child.name)
            trio[at] = nodes.again(child)
            wait_ready(trio)
        put(db, "after")
    for child in trio:
        kill(child)
        shutil.rmtree(child.data)
        shutil.copytree(tmp_path / "backup" / child.name, child.data)

    trio = [nodes.again(child) for child in trio]
    wait_ready(trio)

    with Client(trio[0].address) as db:
        assert len(list(db.keys(prefix="before-"))) == KEYS
        assert list(db.keys(prefix="after-")) == []
        assert db.put("later", "taken", w=3)
        assert db.get("before-7", r=3).value == 7


def test_a_lost_node_comes_back_at_another_address_with_an_old_table_of_members(nodes: Nodes) -> None:
    a, b, c = nodes.trio()
    with Client(b.address) as db:
        put(db, "key")
    kept = (a.data / "membership.json").read_bytes()
    terminate(a)
    a = nodes.again(a)
    wait_ready([a, b, c])
    kill(a)
    shutil.rmtree(a.data)
    a.data.mkdir()
    (a.data / "membership.json").write_bytes(kept)

    moved = nodes.start("a", 5, data=a.data)
    wait_ready([moved, b, c])

    assert states_at(b) == {"a": "alive", "b": "alive", "c": "alive"}
    with Client(moved.address) as db:
        assert len(list(db.keys(prefix="key-"))) == KEYS
