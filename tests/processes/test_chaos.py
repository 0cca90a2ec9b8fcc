"""The chaos tool: its plans, its verdicts, and each kind of fault once on a small cluster."""

import json
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import chaos_plan
import pytest
from chaos_cluster import ChaosCluster, as_toml
from chaos_converge import converge
from chaos_history import (
    SLOPPY,
    STRICT,
    Converged,
    Final,
    HistoryDamaged,
    Line,
    Loaded,
    Op,
    Recorder,
    Run,
    Struck,
    check_whole,
    read,
    written_keys,
)
from chaos_load import workers_of, working
from chaos_plan import KINDS, Load, Plan, PlanError
from chaos_run import Progress, Runner, cluster_of, may_end
from chaos_verdict import judge
from killable import wait_until
from msgspec.structs import replace

CHAOS = Path(__file__).parent.parent.parent / "tools" / "chaos.py"
SMALL = Load(workers=4, clients=2, rate=200, keys=20, sets=5)


def put(value: str, at_ms: float, **fields: object) -> Op:
    return op("put", at_ms, value=value, **fields)


def op(kind: str, at_ms: float, *, bucket: str = STRICT, key: str = "k", **fields: object) -> Op:
    return Op(
        worker=1, client="client-0", kind=kind, bucket=bucket, key=key, begin_ms=at_ms, took_ms=2.0, deadline_ms=500,
        **fields,
    )  # type: ignore[arg-type]  # fmt: skip


def breaches(*lines: Line) -> dict[str, int]:
    """The promises that are broken, with how often."""
    return {promise: count for promise, count in judge(lines).promises.items() if count}


def test_a_history_in_which_all_is_well_breaks_nothing() -> None:
    lines = (
        put("one", 0),
        put("two", 10, seen=("one",)),
        op("get", 20, siblings=("two",)),
        Loaded(0, 100),
        Final(STRICT, "k", ("two",)),
        Converged(keys=1, by_itself_s=1.0),
    )

    assert judge(lines).holds
    assert breaches(*lines) == {}


@pytest.mark.parametrize(
    ("lines", "broken"),
    [
        ((put("one", 0), Final(STRICT, "k", ())), "no-lost-write"),
        (
            (put("one", 0), op("delete", 2_000, seen=("one",)), Final(STRICT, "k", ("one",))),
            "no-resurrection",
        ),
        ((put("one", 0), op("get", 100)), "regular-reads"),
        (
            (
                put("one", 0, bucket=SLOPPY),
                put("two", 2_000, bucket=SLOPPY, seen=("one",)),
                op("get", 2_010, bucket=SLOPPY, siblings=("one", "two")),
            ),
            "no-needless-siblings",
        ),
        ((put("one", 0, outcome="nothing"), op("get", 10, siblings=("one",))), "one-answer"),
        ((op("get", 0, siblings=("never put",)),), "one-answer"),
        ((Converged(keys=5, by_itself_s=None, differed=2, left=1),), "convergence"),
        ((Converged(keys=5, hints=7, hints_left=2, by_itself_s=1.0),), "hints-drain"),
        ((Struck(kind="ended", what="a ended with 1: AssertionError", at_ms=9),), "no-crash"),
    ],
)
def test_a_breach_ends_in_broken_and_has_the_name_of_its_promise(lines: tuple[Line, ...], broken: str) -> None:
    assert breaches(*lines) == {broken: 1}


@pytest.mark.parametrize(
    ("converged", "broken"),
    [
        (Converged(keys=5, trees_s=2.0, by_itself_s=9.0), 0),
        (Converged(keys=5, trees_s=2.0, by_itself_s=9.0, differed_until_s=6.0), 1),
        (Converged(keys=5, trees_s=6.0, by_itself_s=9.0), 1),
        (Converged(keys=5, trees_s=None, by_itself_s=None), 2),
        (Converged(keys=5, began_ms=3_000, trees_s=3.0, by_itself_s=9.0), 0),
        (Converged(keys=5, began_ms=3_000, trees_s=3.1, by_itself_s=9.0), 1),
    ],
)
def test_replicas_that_have_to_be_equal_in_time_are_late_by_their_trees_or_by_their_records(
    converged: Converged, broken: int
) -> None:
    healed = Struck(kind="halves", what="halves", at_ms=0, ended_ms=min(1_000, int(converged.began_ms)))
    verdict = judge([Run("plan", 1, 3, 5.0), healed, converged])

    assert len(verdict.breaches) == broken


def test_service_is_broken_by_slow_and_by_failed_calls_around_a_fault() -> None:
    run, kill = Run("one-kill", 1, 3, must_p999_ms=250), Struck(kind="kill", what="kill -9 a", at_ms=100, ended_ms=200)
    slow, failed = replace(put("one", 50), took_ms=251.0), op("get", 60, outcome="nothing", answer="QuorumNotMet")
    late = replace(put("two", 700), took_ms=300.0)

    assert breaches(run, kill, put("one", 50), late) == {}
    assert breaches(run, kill, slow) == {"service": 1}
    assert breaches(run, kill, failed) == {"service": 1}
    assert breaches(Run("kills", 1, 3), kill, slow, failed) == {}


def test_only_the_node_whose_disk_is_bad_may_end() -> None:
    full = Struck(kind="full-disk", what="disk of a full but for 0 MiB", at_ms=1)
    stuck = Struck(kind="stuck", what="no file of b grows", at_ms=1)
    killed = Struck(kind="kill", what="kill -9 c", at_ms=1)

    assert [may_end(name, [full, stuck, killed]) for name in "abc"] == [True, True, False]


def test_a_node_may_end_by_itself_where_a_fault_makes_nodes_end() -> None:
    ended = Struck(kind="ended", what="a ended with 1: the disk is full", at_ms=9, expected=True)

    verdict = judge([ended])

    assert (verdict.holds, verdict.ended) == (True, ["a ended with 1: the disk is full"])


def test_a_read_that_began_within_the_millisecond_in_which_a_write_ended_may_miss_it() -> None:
    written = put("one", 0.9)  # ends at 2.9

    assert breaches(written, op("get", 2.5)) == {}
    assert breaches(written, op("get", 4.1)) == {"regular-reads": 1}


def test_figures_are_of_the_second_around_each_fault_and_of_the_time_without_service() -> None:
    calls = [op("get", at_ms, outcome="ok" if at_ms != 5_000 else "nothing") for at_ms in range(0, 10_000, 1_000)]
    fault = Struck(kind="kill", what="kill -9 a", at_ms=4_600, detected_s=1.5, waited=True)

    verdict = judge([*calls, fault, Loaded(0, 10_000)])

    assert verdict.latency.count == 10
    assert (verdict.around["kill"].count, verdict.around["kill"].failed) == (1, 1)
    assert verdict.longest_without_service_s == 2.0
    assert verdict.longest_without_service_of_one_worker_s == 1.002
    assert verdict.detected is not None and verdict.detected.median_s == 1.5


def test_a_history_that_was_written_and_read_is_judged_alike(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    with file.open("wb") as opened:
        recorder = Recorder(opened)
        end = (Loaded(0, 10), Final(STRICT, "k", ()), Converged(keys=1, by_itself_s=0.5))
        for line in (Run("kills", 1, 3), put("one", 0), *end):
            recorder.add(line)

    done = subprocess.run([sys.executable, CHAOS, "--check", file, "--json"], capture_output=True, check=False)

    assert judge(read(file)) == judge(recorder.lines)
    assert done.returncode == 1
    assert json.loads(done.stdout)["promises"]["no-lost-write"] == 1


def test_a_history_that_is_not_whole_gives_no_verdict(tmp_path: Path) -> None:
    end = (Loaded(0, 10), Converged(keys=1, by_itself_s=0.5), Final(STRICT, "k", ("one",)))
    whole = (Run("kills", 1, 3), put("one", 0), *end)
    check_whole(whole)
    for left_out in (0, 2, 3, 4):
        with pytest.raises(HistoryDamaged, match=r"proves nothing, it is not whole: .* is missing"):
            check_whole(whole[:left_out] + whole[left_out + 1 :])
    empty = tmp_path / "history.jsonl"
    empty.touch()

    done = subprocess.run([sys.executable, CHAOS, "--check", empty], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_a_damaged_history_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    file.write_text('{"type":"load","from_ms":0,"until_ms":1}\n{"type":"nonsense"}\n')

    with pytest.raises(HistoryDamaged, match="line 2"):
        read(file)


@pytest.mark.parametrize("path", chaos_plan.plans(), ids=lambda path: path.stem)
def test_each_plan_that_comes_with_the_tool_can_be_run_and_says_what_it_is_about(path: Path) -> None:
    plan = chaos_plan.load(path)

    assert plan.about
    assert plan.kinds()


@pytest.mark.parametrize("flag", ["--steps", "--seconds", "--nodes", "--workers", "--rate"])
def test_a_run_of_nothing_is_refused(flag: str) -> None:
    done = subprocess.run([sys.executable, str(CHAOS), flag, "0"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip().endswith("use more than 0") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("nodse = 3", "nodse is not known; there are: about, at_once, calm_s"),
        ("[load]\nrtae = 3", "load.rtae is not known; there are: clients, deadline_ms"),
        ("[load.mix]\nnwe = 3", "load.mix.nwe is not known; there are: blind, delete"),
        ("[faults.kil]", "faults.kil is not known; there are: blink, bridge"),
        ("[faults.kill]\nwieght = 3", "faults.kill.wieght is not known; there are: weight"),
        ("[faults.kill]\nweight = 0", "faults.kill.weight: expected `float` > 0"),
        ("nodes = 'three'", "nodes: expected `int`, got `str`"),
        ("nodes = 2\n[faults.bridge]", "faults.bridge needs 3 nodes, and nodes is 2"),
        ("calm_s = [2, 1]\n[faults.kill]", "calm_s is [2, 1]: write the lower one first"),
        ("nodes = 3", "there are no faults"),
        ("[faults.kill]\nweight = inf", "faults.kill.weight: expected `float` <= 1000000.0"),
        ("calm_s = [0, inf]\n[faults.kill]", "calm_s[1]: expected `float` <= 86400.0"),
        ("[faults.full-disk]\nleft_mib = []", "faults.full-disk.left_mib: expected `array` of length >= 1"),
        ("[faults.clock]\noffset_ms = [inf, inf]", "faults.clock.offset_ms[0]: expected `float` <= 1000000.0"),
        ("[node.storage]\nsync = 2026-11-26\n[faults.kill]", "node"),
        ("nodes =", "is not valid TOML"),
    ],
)
def test_a_plan_that_is_wrong_is_refused_with_a_line_that_says_what_is(
    tmp_path: Path, text: str, complaint: str
) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(text)

    with pytest.raises(PlanError) as refused:
        chaos_plan.check(chaos_plan.load(file))

    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_command_refuses_a_wrong_plan_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("nodse = 3")

    done = subprocess.run([sys.executable, CHAOS, "--plan", file], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "nodse is not known" in done.stderr


def test_each_kind_of_fault_strikes_once_and_breaks_nothing(tmp_path: Path) -> None:
    kinds = sorted(set(KINDS) - {"kill", "full-disk", "lost-disk", "stuck"})
    plan = Plan(
        steps=1, calm_s=(0.2, 0.2), fault_s=(0.6, 0.6), detect_s=1.0, load=SMALL, faults={kind: {} for kind in kinds}
    )  # fmt: skip
    recorder = Recorder()

    with cluster_of(plan, 1, tmp_path) as cluster:
        cluster.start_and_open()
        placed = cluster.connected(5_000)
        with working(workers_of(SMALL, placed, recorder, 1)):
            for kind in kinds:
                Runner(replace(plan, faults={kind: {}}), 1, cluster, recorder, Progress()).steps()
        converge(
            placed[0].client, written_keys(recorder.lines), 3, recorder, 0.0, lambda: 0, lambda: None, lambda what: None
        )
        for each in placed:
            each.close()

    verdict = judge(recorder.lines)
    assert verdict.breaches == []
    assert verdict.faults == dict.fromkeys(kinds, 1)
    assert verdict.acknowledged > 500


@pytest.mark.parametrize("kind", ["kill", "restart"])
def test_a_node_that_crashed_is_told_though_it_is_the_next_victim(tmp_path: Path, kind: str) -> None:
    plan = Plan(steps=1, calm_s=(0, 0), fault_s=(0, 0), detect_s=0, load=SMALL, faults={kind: {}})
    recorder = Recorder()

    with cluster_of(plan, 1, tmp_path) as cluster:
        cluster.start_and_open()
        runner = Runner(plan, 1, cluster, recorder, Progress())
        for name in cluster.names:  # whichever is struck
            crash(cluster, name)
            cluster.kill_node(name) if kind == "kill" else cluster.terminate(name)
            cluster.restart_node(name)
            wait_until(cluster.is_whole)
        runner.steps()
        crash(cluster, "b")
        runner.finish()

    verdict = judge(recorder.lines)
    assert [words[:14] for words in verdict.ended] == [f"{name} ended with -" for name in "abcb"]
    assert verdict.promises["no-crash"] == 4


def test_a_node_that_does_not_stop_in_order_is_told(tmp_path: Path) -> None:
    with cluster_of(Plan(load=SMALL), 1, tmp_path) as cluster:
        cluster.start_and_open()
        cluster.pause("b")
        cluster.terminate("a", "b")

        assert cluster.endings() == ["b did not stop within 10 s of SIGTERM"]


def crash(cluster: ChaosCluster, name: str) -> None:
    process = cluster.child(name).process
    assert process
    process.send_signal(signal.SIGABRT)
    process.wait()


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--history", "{folder}/not/there.jsonl"], "there.jsonl cannot be written: No such file or directory"),
        (["--keep", "{folder}/file"], "file cannot be used: "),
        (["--keep", "{folder}"], "is not empty: choose another folder"),
        (["--nodes", "30"], "nodes: expected `int` <= 26"),
        (["--workers", "5000"], "load.workers: expected `int` <= 200"),
        (["--rate", "nan"], "--rate is nan: use more than 0"),
    ],
)
def test_flags_that_cannot_be_are_refused_in_one_line(tmp_path: Path, flags: list[str], complaint: str) -> None:
    (tmp_path / "file").touch()
    command = [sys.executable, str(CHAOS), "--steps", "1", *(flag.format(folder=tmp_path) for flag in flags)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert complaint in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_settings_of_nodes_may_be_tables_in_tables() -> None:
    settings = {"node": {"zone": "r1"}, "buckets": {"carts": {"w": 3, "ends": "lww"}}}

    assert tomllib.loads(as_toml(settings)) == settings


def test_kills_and_bad_disks_through_the_command_end_with_a_verdict(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        "steps = 3\nat_once = 2\ncalm_s = [0.3, 0.3]\nfault_s = [0.5, 0.5]\nconverge_s = 1\n"
        "[load]\nrate = 200\n[faults.kill]\n[faults.full-disk]\n[faults.stuck]\n[faults.lost-disk]\n"
    )

    command = [sys.executable, CHAOS, "--plan", plan, "--seed", "3", "--json", "--history", tmp_path / "history.jsonl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    verdict = json.loads(done.stdout)
    assert done.returncode == 0, verdict["breaches"]
    assert verdict["holds"] and sum(verdict["faults"].values()) + sum(verdict["skipped"].values()) == 6
    assert {line.bucket for line in read(tmp_path / "history.jsonl") if isinstance(line, Op)} == {STRICT, SLOPPY}
