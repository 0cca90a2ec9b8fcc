"""The tools that prove the cluster, in a small size: they run, they end with a verdict, and it holds."""

from collections.abc import Iterator
from pathlib import Path

import bookkeeping
import detection
import drain
import pytest
import refill
from flood_garbage import Garbage
from flood_overload import OverloadPlan, overload
from killable import Child, Killable

from zdynamo.cli.load import Measured


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Killable]:
    with Killable(nodes=3, folder=tmp_path_factory.mktemp("cluster"), memory=True) as started:
        started.start_and_open()
        yield started


def test_garbage_on_every_port_is_counted_and_harmless(cluster: Killable) -> None:
    verdict = Garbage(cluster, frames=3_000, seed=1).run()

    assert verdict.problems == []
    assert set(verdict.sent) == {"client", "peer", "gossip", "tcp"}
    assert verdict.malformed_counted >= verdict.malformed_sent > 1_000


def test_a_cluster_that_is_offered_four_times_what_it_can_serve_says_so_and_recovers(cluster: Killable) -> None:
    verdict = overload(cluster, OverloadPlan(seconds=3.0, capacity_s=1.0))

    assert verdict.problems == []
    assert verdict.answers["Overloaded"] > 0 and verdict.answers["Done"] > 0


def test_kills_are_noticed_in_time(tmp_path: Path) -> None:
    verdict = detection.run(detection.Plan(kills=3, nodes=4), tmp_path)

    assert len(verdict.detected_s) == 3
    assert verdict.accusations == []
    assert verdict.holds


def test_a_pause_of_half_a_second_accuses_nobody(tmp_path: Path) -> None:
    verdict = detection.run(detection.Plan(minutes=0.084, nodes=3, pauses=True, pause_every_s=3.0, load=200), tmp_path)

    assert (verdict.pauses, verdict.accusations) == (1, [])
    assert verdict.answers > 0


def test_only_the_dead_may_be_called_down(tmp_path: Path) -> None:
    said = [("10", "member.suspected", "b"), ("11", "member.down", "b"), ("12", "member.down", "c"),
            ("13", "node.paused", ""), ("14", "member.unreachable", "b"), ("59", "member.down", "c")]  # fmt: skip
    lines = [f'{{"timestamp": "2026-01-01T00:00:{at}Z", "event": "{event}", "member": "{member}"}}\n'
             for at, event, member in said]  # fmt: skip
    node, deaths = Child("a", 1, tmp_path), detection.Deaths()
    node.log.write_text("no JSON\n" + "".join(lines))
    second = detection.seconds_of("2026-01-01T00:00:00Z")
    deaths.spans.append(("b", second + 10, second + 13))
    verdict = detection.Verdict(seed=1, nodes=3, busy=False)

    detection.read_log(node, second, second + 30, deaths, verdict)

    assert verdict.accusations == [
        "2026-01-01T00:00:12Z a: member.down c", "2026-01-01T00:00:14Z a: member.unreachable b",
    ]  # fmt: skip
    assert (verdict.stalls, verdict.suspicions) == (1, 0)


def test_what_was_missed_is_handed_over_under_load(tmp_path: Path) -> None:
    drained = drain.run(3, 1_000, tmp_path, seconds=0.5)

    assert (drained.errors, drained.missing) == ({}, 0)
    assert drained.held_most >= 1_000


def test_a_lost_disk_is_refilled_under_load_byte_by_byte(tmp_path: Path) -> None:
    verdict = refill.run(refill.Plan(keys=1_000, seconds=0.6, turn_s=0.3), tmp_path)

    assert [problem for problem in verdict.problems if "throughput" not in problem] == []
    assert set(verdict.records.values()) == {1_001}


def test_of_a_tool_a_request_of_the_foreground_that_failed_is_told() -> None:
    drained = drain.Drained(3, 1)

    for _ in range(2):
        drain.counted(Measured("put", 1, 0.0, 0.0, 0.0, 1, {"no answer": 3}), drained)

    assert drained.errors == {"no answer": 6}


def test_the_cost_of_bookkeeping_is_measured() -> None:
    assert all(us > 0 for us in bookkeeping.measure(rounds=1).values())
