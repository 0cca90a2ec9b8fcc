"""The programs in docs/examples do on a real cluster what the pages say of them."""

import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import Trio

from zdynamo import Client

EXAMPLES = Path(__file__).parent.parent.parent / "docs" / "examples"
WITHIN_SECONDS = 30


def ran(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / program), *arguments],
        capture_output=True, text=True, timeout=WITHIN_SECONDS, check=False,
    )  # fmt: skip


def run(program: str, *arguments: str) -> str:
    done = ran(program, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.fixture
def addresses(trio: Trio) -> list[str]:
    return [child.address for child in trio.all]


def test_the_minimal_client_puts_gets_and_deletes(addresses: list[str]) -> None:
    said = run("minimal_client.py", addresses[1])

    assert said == "[b'hello']\n[b'hello again'] True []\n"


def test_the_minimal_client_asks_owners_and_is_understood_by_others(
    addresses: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    from minimal_client import MinimalClient  # type: ignore[import-not-found]

    little = MinimalClient(addresses[0])
    for number in range(20):
        little.put(f"key-{number}".encode(), b"value")
    _, context = little.get(b"key-0")
    little.put(b"key-0", b"one", context)
    little.put(b"key-0", b"two", context)

    with Client(addresses[2]) as db:
        assert sorted(db.get("key-0").siblings) == [b"one", b"two"]
        assert [db.get(f"key-{number}").value for number in range(1, 20)] == [b"value"] * 19
        with pytest.raises(RuntimeError, match="use 1 to 3"):
            little.ask([0], ["default", b"key-0", 9], key=b"key-0", bucket="default")
    assert little.get(b"nothing")[0] == []
    little.close()


def test_a_bucket_is_dumped_and_loaded_with_its_siblings(addresses: list[str], tmp_path: Path) -> None:
    dump = str(tmp_path / "carts.dump")
    with Client(addresses[0]) as db:
        db.put_many({f"cart-{number}": {"items": number} for number in range(300)}, bucket="carts")
        seen = db.get("cart-0", bucket="carts").context
        for value in ("milk", b"\xff"):
            db.put("cart-0", value, bucket="carts", context=seen)

        assert run("dump.py", "save", addresses[1], "carts", dump) == "300 keys\n"
        db.delete_many([f"cart-{number}" for number in range(300)], bucket="carts")
        db.put("cart-1", "later", bucket="carts")
        assert run("dump.py", "load", addresses[2], "carts", dump) == "300 keys\n"

        assert sorted(map(str, db.get("cart-0", bucket="carts").siblings)) == sorted(["milk", str(b"\xff")])
        assert [db.get(f"cart-{at}", bucket="carts").value for at in (1, 299)] == [{"items": 1}, {"items": 299}]


def test_a_save_that_fails_is_one_line_and_leaves_the_older_file_as_it_is(tmp_path: Path) -> None:
    dump = tmp_path / "carts.dump"
    dump.write_bytes(b"older")

    done = ran("dump.py", "save", "127.0.0.1:9", "carts", str(dump))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "save failed: no node could be reached at 127.0.0.1:9: is one running there?\n"
    assert dump.read_bytes() == b"older"


def test_a_file_that_is_cut_off_or_something_else_is_one_line(addresses: list[str], tmp_path: Path) -> None:
    dump = tmp_path / "carts.dump"
    for content, says in ((b"\x92\xa1k\x91\xa1v\x92\xa1", "ends in the middle of a key"), (b"\x01", "cannot unpack")):
        dump.write_bytes(content)

        done = ran("dump.py", "load", addresses[0], "carts", str(dump))

        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("load failed: ") and says in done.stderr and done.stderr.count("\n") == 1


def test_without_arguments_the_dump_shows_its_usage() -> None:
    done = ran("dump.py")

    assert done.returncode == 2
    assert done.stderr.startswith("usage: dump.py")
