"""Both engines keep the store protocol; the one on disk keeps it across kills, full disks and damage."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zdynamo.config import StorageSettings
from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.errors import ConfigError, StoreDamaged, StoreFailed, StoreFull
from zdynamo.messages import StoreSizes
from zdynamo.storage import open_store
from zdynamo.storage.memory import MemoryStore
from zdynamo.storage.rocksdb import COMMIT_FREE_MIN, RocksStore
from zdynamo.storage.space import FreeSpace

MIB = 2**20


@pytest.fixture(params=["memory", "rocksdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened = open_store(StorageSettings(engine=request.param, disk_free_min=0), tmp_path / "store")
    yield opened
    opened.close()


def on_disk(folder: Path, **options: Any) -> RocksStore:
    return RocksStore(folder, **{"durability": "interval", "disk_free_min": 0} | options)


def kept(store: Store) -> list[tuple[bytes, bytes]]:
    return list(store.scan(b"", b"\xff" * 8))


# both engines


def test_an_engine_tells_about_how_many_keys_it_has(store: Store) -> None:
    for number in range(100):
        store.put(b"key-%d" % number, bytes(100))
    store.commit()

    assert store.sizes().keys == 100


def test_a_read_sees_what_is_staged(store: Store) -> None:
    store.put(b"cart", b"milk")
    store.put(b"bill", b"1")
    store.commit()

    store.put(b"cart", b"eggs")
    store.delete(b"bill")

    assert [store.get(key) for key in (b"cart", b"bill", b"never")] == [b"eggs", None, None]


def test_a_read_sees_what_is_committed(store: Store) -> None:
    store.put(b"cart", b"milk")
    store.put(b"empty", b"")
    store.commit()

    store.delete(b"cart")
    store.commit()

    assert [store.get(key) for key in (b"cart", b"empty")] == [None, b""]


def test_a_scan_gives_committed_pairs_of_its_range_in_order(store: Store) -> None:
    for key in (b"b", b"\0\xff", b"c", b"\0", b"bb", b"a\xff", b"a"):
        store.put(key, b"of " + key)
    store.commit()
    store.put(b"ba", b"staged")
    store.delete(b"b")

    found = list(store.scan(b"a", b"c"))

    assert found == [(key, b"of " + key) for key in (b"a", b"a\xff", b"b", b"bb")]
    assert list(store.scan(b"d", b"e")) == list(store.scan(b"c", b"c")) == []


def test_a_scan_goes_on_with_what_was_there_when_it_began(store: Store) -> None:
    for key in (b"a", b"b", b"c"):
        store.put(key, b"old")
    store.commit()
    scan = store.scan(b"", b"z")
    first = next(scan)

    store.delete(b"b")
    store.put(b"c", b"new")
    store.put(b"d", b"new")
    store.commit()

    assert [first, *scan] == [(b"a", b"old"), (b"b", b"old"), (b"c", b"old")]


def test_the_nodes_own_keys_are_no_records(store: Store) -> None:
    store.put(OWN_KEYS + b"counter", b"1")
    store.commit()
    before = store.has_records()

    store.put(b"\x7f\xff", b"record")
    store.commit()

    assert (before, store.has_records()) == (False, True)


def test_a_sync_of_nothing_may_be_wanted(store: Store) -> None:
    store.want_sync()
    store.commit()

    assert kept(store) == []


def test_an_empty_commit_and_a_sync_of_nothing_are_fine(store: Store) -> None:
    store.commit()
    store.sync()

    assert kept(store) == []
    assert store.room()


@given(
    st.lists(
        st.tuples(st.sampled_from([b"", b"\0", b"a", b"aa", b"\xff"]), st.none() | st.binary(max_size=3) | st.just(...))
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50)
def test_an_engine_does_what_a_dictionary_does(store: Store, steps: list[tuple[bytes, Any]]) -> None:
    for key, _ in kept(store):
        store.delete(key)
    model: dict[bytes, bytes] = {}

    for key, value in steps:
        if value is ...:
            store.commit()
        elif value is None:
            store.delete(key)
            model.pop(key, None)
        else:
            store.put(key, value)
            model[key] = value
        assert store.get(key) == model.get(key)
    store.commit()

    assert kept(store) == sorted(model.items())


def test_only_the_engine_on_disk_is_durable(tmp_path: Path) -> None:
    memory = open_store(StorageSettings(engine="memory"), None)
    disk = open_store(StorageSettings(durability="always"), tmp_path / "store")

    assert (memory.engine, memory.durable, memory.durability) == ("memory", False, "never")
    assert (disk.engine, disk.durable, disk.durability) == ("rocksdb", True, "always")
    disk.close()


# on disk: what outlives the process


def test_what_is_committed_is_there_after_reopening_and_what_is_staged_is_not(tmp_path: Path) -> None:
    store = on_disk(tmp_path / "store")
    store.put(b"cart", b"milk")
    store.commit()
    store.put(b"cart", b"eggs")
    store.close()
    store.close()

    reopened = on_disk(tmp_path / "store")

    assert kept(reopened) == [(b"cart", b"milk")]
    reopened.close()


KILLED = """
import os, signal, sys
from pathlib import Path
from zdynamo.storage.rocksdb import RocksStore

store = RocksStore(Path(sys.argv[1]), durability=sys.argv[2], disk_free_min=0)
for number in range(int(sys.argv[3]), int(sys.argv[4])):
    store.put(b"%06d" % number, b"x" * 100)
    store.commit()
store.put(b"staged", b"only")
print("committed", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def commit_and_be_killed(folder: Path, durability: str, start: int, end: int) -> None:
    arguments = [str(folder), durability, str(start), str(end)]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, check=False)
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, b"committed\n")


def numbered(count: int) -> list[bytes]:
    return [b"%06d" % number for number in range(count)]


@pytest.mark.parametrize("durability", ["always", "interval", "never"])
def test_a_killed_process_loses_nothing_that_it_committed(tmp_path: Path, durability: str) -> None:
    commit_and_be_killed(tmp_path / "store", durability, 0, 300)

    store = on_disk(tmp_path / "store")

    assert [key for key, _ in kept(store)] == numbered(300)
    store.close()


class Counting(RocksStore):
    """Tells how often it has fsynced."""

    fsyncs = 0

    def _fsync(self) -> None:
        self.fsyncs += 1
        super()._fsync()


@pytest.mark.parametrize("durability", ["interval", "never"])
def test_a_sync_that_is_wanted_comes_with_the_next_commit_also_of_nothing(tmp_path: Path, durability: str) -> None:
    store = Counting(tmp_path / "store", durability=durability, disk_free_min=0)
    store.put(b"key", b"value")
    store.commit()

    fsyncs = []
    for _ in range(2):
        store.want_sync()
        store.commit()
        fsyncs.append(store.fsyncs)
    store.put(b"key", b"later")
    store.commit()

    assert (fsyncs, store.fsyncs) == ([1, 1], 1)
    store.close()


def test_a_sync_that_is_wanted_takes_along_what_the_same_commit_holds(tmp_path: Path) -> None:
    store = Counting(tmp_path / "store", durability="never", disk_free_min=0)

    store.want_sync()
    store.put(b"key", b"value")
    store.commit()

    assert store.fsyncs == 1
    store.close()


SYNCS = """
import sys
from pathlib import Path
from zdynamo.storage.rocksdb import RocksStore

store = RocksStore(Path(sys.argv[1]), durability=sys.argv[2], disk_free_min=0)
for synced in (False, True, False):
    print("step", flush=True)
    store.put(b"key", b"value", synced=synced)
    store.commit()
for _ in range(2):
    print("step", flush=True)
    store.sync()
print("step", flush=True)
store.put(b"other", b"value")
store.commit()
for _ in range(2):
    print("step", flush=True)
    store.want_sync()
    store.commit()
print("end", flush=True)
"""


@pytest.mark.skipif(not shutil.which("strace"), reason="strace shows what is fsynced")
@pytest.mark.parametrize(
    ("durability", "fsyncs"),
    [
        ("always", [1, 1, 1, 0, 0, 1, 0, 0]),
        ("interval", [0, 1, 0, 1, 0, 0, 1, 0]),
        ("never", [0, 1, 0, 0, 0, 0, 1, 0]),
    ],
)
def test_commit_and_sync_fsync_as_configured_and_whenever_asked(
    tmp_path: Path, durability: str, fsyncs: list[int]
) -> None:
    """Fsyncs of the log in: a commit, a commit with a synced write, a commit, a sync, a second sync, a commit, and two
    commits of nothing that are wanted synced: the first fsyncs all up to then.
    """
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-o", str(trace), "-e", "trace=fdatasync,write"]
    subprocess.run([*command, sys.executable, "-c", SYNCS, str(tmp_path / "store"), durability], check=True)

    steps = trace.read_text().partition('"end"')[0].split('"step"')[1:]

    assert [step.count("fdatasync(") for step in steps] == fsyncs
    assert ["key" in step for step in steps[:5]] == [
        True,
        True,
        True,
        False,
        False,
    ]  # handed to the system by each commit


# on disk: trouble


def test_a_folder_that_was_taken_away_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    store = on_disk(tmp_path / "store")
    (tmp_path / "store").rename(tmp_path / "elsewhere")

    with pytest.raises(StoreFailed, match=r"store is not there any more \(.*\): put it back and start this node again"):
        store.room()
    store.close()


def test_too_little_free_space_refuses_the_commit_and_writes_nothing(tmp_path: Path) -> None:
    free = [10 * 2**30]
    store = on_disk(tmp_path / "store", measure=lambda: free.pop(0))
    store.put(b"cart", b"milk")
    store.commit()
    store.close()
    full = on_disk(tmp_path / "store", measure=lambda: COMMIT_FREE_MIN)
    full.put(b"cart", b"eggs")

    with pytest.raises(StoreFull, match="free some space"):
        full.commit()

    full.commit()
    assert kept(full) == [(b"cart", b"milk")]
    assert full.get(b"cart") == b"milk"
    full.close()


def test_sizes_are_those_of_the_disk_and_memory_has_none(tmp_path: Path) -> None:
    store = on_disk(tmp_path / "store", measure=lambda: 100 * MIB)
    before = store.sizes()

    store.put(b"key", bytes(MIB))
    store.commit()

    grown = store.sizes().disk_bytes - before.disk_bytes
    assert before.free_bytes == 100 * MIB
    assert MIB <= grown <= 3 * MIB
    assert 100 * MIB - 2 * MIB <= store.sizes().free_bytes < 100 * MIB
    assert MemoryStore().sizes() == StoreSizes(0, 0, -1)
    store.close()


def test_room_ends_at_the_free_space_to_keep(tmp_path: Path) -> None:
    roomy = on_disk(tmp_path / "one", disk_free_min=256 * MIB, measure=lambda: 256 * MIB)
    tight = on_disk(tmp_path / "two", disk_free_min=256 * MIB, measure=lambda: 256 * MIB - 1)

    assert (roomy.room(), tight.room()) == (True, False)
    tight.put(b"repair", b"goes on")
    tight.commit()
    roomy.close()
    tight.close()


def test_free_space_is_measured_once_a_second_and_counted_down_between() -> None:
    measures, now = iter([1000, 700]), [0.0]
    space = FreeSpace(measure=lambda: next(measures), clock=lambda: now[0])

    first = space.left()
    space.spend(100)
    now[0] = 0.9
    counted = space.left()
    now[0] = 1.0
    measured = space.left()

    assert (first, counted, measured) == (1000, 900, 700)


FAILING = """
import resource, sys
from pathlib import Path
from zdynamo.errors import StoreFailed
from zdynamo.storage.rocksdb import RocksStore

store = RocksStore(Path(sys.argv[1]), durability=sys.argv[2], disk_free_min=0)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
committed = 0
try:
    while committed < 1000:
        store.put(b"%d" % committed, b"x" * 1000)
        store.commit()
        committed += 1
except StoreFailed as error:
    print(committed, error)
store.close()
"""


@pytest.mark.parametrize("durability", ["always", "interval"])
def test_a_disk_that_takes_no_more_fails_the_commit_and_keeps_all_before(tmp_path: Path, durability: str) -> None:
    failed = subprocess.run(
        [sys.executable, "-c", FAILING, tmp_path / "store", durability], capture_output=True, text=True, check=True
    )
    committed, _, reason = failed.stdout.partition(" ")

    store = on_disk(tmp_path / "store")

    assert "File too large" in reason
    assert 100 < int(committed) < 200
    assert {key for key, _ in kept(store)} >= {b"%d" % number for number in range(int(committed))}
    store.close()


def filled(folder: Path) -> Path:
    """A store with a thousand keys in a table and the next thousand in the write-ahead log."""
    store = on_disk(folder)
    for key in numbered(1000):
        store.put(key, b"x" * 100)
    store.commit()
    store.close()
    commit_and_be_killed(folder, "interval", 1000, 2000)
    return folder


def one(folder: Path, pattern: str) -> Path:
    return sorted(folder.glob(pattern))[-1]


def overwrite(path: Path, at: int, length: int) -> None:
    with path.open("r+b") as file:
        file.seek(at, 0 if at >= 0 else 2)
        file.write(b"\xaa" * length)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no CURRENT": lambda folder: (folder / "CURRENT").unlink(),
    "tables only": lambda folder: [path.unlink() for path in folder.iterdir() if path.suffix != ".sst"],
    "no manifest": lambda folder: one(folder, "MANIFEST*").unlink(),
    "no table": lambda folder: one(folder, "*.sst").unlink(),
    "short table": lambda folder: one(folder, "*.sst").write_bytes(b""),
    "bad log": lambda folder: overwrite(one(folder, "*.log"), 5000, 50),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_store_is_not_opened_and_says_how_to_rebuild_it(tmp_path: Path, damage: str) -> None:
    folder = filled(tmp_path / "store")
    DAMAGES[damage](folder)

    with pytest.raises(StoreDamaged) as raised:
        on_disk(folder)

    assert str(folder) in str(raised.value)
    assert f"move {folder} away and start this node again" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_table_that_cannot_be_read_is_an_error_and_not_an_absent_key(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store")
    overwrite(one(folder, "*.sst"), 500, 500)
    store = on_disk(folder)

    with pytest.raises(StoreDamaged, match="cannot be read"):
        store.get(b"000050")
    with pytest.raises(StoreDamaged, match="cannot be read"):
        kept(store)
    store.close()


def test_a_last_write_torn_by_a_kill_is_dropped(tmp_path: Path) -> None:
    log = one(filled(tmp_path / "store"), "*.log")
    log.write_bytes(log.read_bytes()[:-30])

    store = on_disk(tmp_path / "store")

    assert [key for key, _ in kept(store)] == numbered(1999)
    store.close()


def test_a_log_torn_by_a_crash_of_the_machine_is_taken_up_to_the_tear(tmp_path: Path) -> None:
    folder = filled(tmp_path / "store")
    overwrite(one(folder, "*.log"), -5000, 100)
    (folder / "BOOT").write_bytes(b"another boot \xff")

    store = on_disk(folder)

    found = [key for key, _ in kept(store)]
    assert found == numbered(len(found))
    assert 1900 < len(found) < 2000
    store.close()


def test_a_store_whose_making_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "store.new").mkdir()
    (tmp_path / "store.new" / "CURRENT").write_text("half")

    store = on_disk(tmp_path / "store")

    assert kept(store) == []
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    store.close()


def test_an_empty_folder_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()

    store = on_disk(tmp_path / "store")

    assert kept(store) == []
    store.close()


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError) as raised:
        on_disk(tmp_path / "file" / "store")

    assert str(raised.value) == (
        f"node.data: {tmp_path}/file/store cannot be used (Not a directory): choose another folder, or mend this one"
    )


def test_a_store_that_is_open_is_not_opened_again(tmp_path: Path) -> None:
    store = on_disk(tmp_path / "store")

    with pytest.raises(ConfigError, match="cannot be used"):
        on_disk(tmp_path / "store")
    store.close()
