#!/usr/bin/env python3
"""Take the disk of one replica away under load, and see how it is filled again.

Three nodes with RocksDB hold all keys. Puts and gets are measured, as many in flight as given, in turns of a second.
One node is killed (-9), its data folder is removed, it is started again, and the same load is measured until the node
says that it has got back all its partitions. Then nobody writes, and it is waited until all hash trees are equal. At
last the nodes are stopped and their stores are compared, byte by byte. Exit 1 if they differ, if the node did not get
back everything in ten minutes, if a request failed, or if the foreground kept less than 70% of its throughput.

    tools/refill.py                        100,000 keys of 100 bytes, 16 requests in flight
    tools/refill.py --keys 10000 --json
"""

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from killable import READY_SECONDS, Killable, is_settled, wait_until
from msgspec import Struct, field
from verdicts import conclude, folder_of

from zdynamo.cli.ask import ask, topology_of
from zdynamo.cli.cluster import Child
from zdynamo.cli.load import Load
from zdynamo.cli.output import note, show_table
from zdynamo.core.records.dots import BIRTH_BYTES
from zdynamo.core.store import OWN_KEYS
from zdynamo.messages import Repair, RepairProgress
from zdynamo.storage.rocksdb import RocksStore

NODES = 3
OPERATIONS = ("put", "get")
KEPT_MIN = 0.7  # of the foreground's throughput
ASK_MS = 5_000
DOWN_SECONDS = 20.0
ALL_SECONDS = 600.0  # to get back everything


class Plan(Struct, kw_only=True):
    """One run."""

    keys: int = 100_000
    value_bytes: int = 100
    in_flight: int = 16
    seconds: float = 10.0  # of load before the disk is lost, and after all is back
    turn_s: float = 1.0  # of puts, and then of gets
    flags: tuple[str, ...] = ()  # for the nodes


class Verdict(Struct, kw_only=True):
    """What came out."""

    keys: int
    before_ops_s: dict[str, float] = field(default_factory=dict)
    during_ops_s: dict[str, float] = field(default_factory=dict)
    after_ops_s: dict[str, float] = field(default_factory=dict)
    kept: dict[str, float] = field(default_factory=dict)  # of the throughput before
    before_p99_ms: dict[str, float] = field(default_factory=dict)
    during_p99_ms: dict[str, float] = field(default_factory=dict)
    refilled_s: float = 0.0  # from the restart until the node is sure of all that it holds
    equal_s: float = 0.0  # from the end of the load until all trees are equal
    records: dict[str, int] = field(default_factory=dict)  # in each store
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    plan = Plan()
    parser.add_argument("--keys", type=int, default=plan.keys, help="how many (default 100000)")
    parser.add_argument("--value-bytes", type=int, default=plan.value_bytes, help="of each value (default 100)")
    parser.add_argument("--in-flight", type=int, default=plan.in_flight, help="requests at a time (default 16)")
    parser.add_argument("--seconds", type=float, default=plan.seconds, help="of load before and after (default 10)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    plan = Plan(
        keys=chosen.keys, value_bytes=chosen.value_bytes, in_flight=chosen.in_flight, seconds=chosen.seconds
    )  # fmt: skip

    def attempt() -> Verdict:
        with folder_of("refill") as folder:
            return run(plan, folder)

    return conclude(attempt, show, as_json=chosen.json)


def run(plan: Plan, folder: Path) -> Verdict:
    """Raises: ClusterFailed if the cluster does not come up or back."""
    verdict = Verdict(keys=plan.keys)
    with Killable(nodes=NODES, folder=folder, memory=False, flags=plan.flags) as cluster:
        cluster.start_and_open()
        victim = cluster.children[-1]
        topology = topology_of(cluster.addresses[0], ASK_MS)
        with Load(topology, keys=plan.keys, value_bytes=plan.value_bytes) as load:
            load.measure("put", 64, requests=plan.keys)
            verdict.before_ops_s, verdict.before_p99_ms = _measured(load, plan, _turns(plan.seconds), verdict)
            cluster.kill(victim)
            shutil.rmtree(victim.data)
            cluster.wait_down(victim, DOWN_SECONDS)
            cluster.restart(victim)
            began = time.monotonic()
            cluster.wait_ready(READY_SECONDS)
            turns = _until_settled(victim, verdict)
            verdict.during_ops_s, verdict.during_p99_ms = _measured(load, plan, turns, verdict)
            verdict.refilled_s = time.monotonic() - began
            verdict.after_ops_s, _ = _measured(load, plan, _turns(plan.seconds), verdict)
        began = time.monotonic()
        wait_until(lambda: all(_is_like_the_others(child) for child in cluster.children), ALL_SECONDS)
        verdict.equal_s = time.monotonic() - began
    _judge(verdict, cluster.children)
    return verdict


def _turns(seconds: float) -> Iterator[None]:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        yield


def _until_settled(child: Child, verdict: Verdict) -> Iterator[None]:
    give_up = time.monotonic() + ALL_SECONDS
    while time.monotonic() < give_up:
        yield
        if is_settled(child, after_doubt=True):
            return
    verdict.problems.append(f"{child.name} has not got back everything after {ALL_SECONDS:.0f} s")


def _measured(
    load: Load, plan: Plan, turns: Iterator[None], verdict: Verdict
) -> tuple[dict[str, float], dict[str, float]]:
    """Operations a second, and the worst p99, of each operation. What fails is a problem."""
    rates: dict[str, list[float]] = {op: [] for op in OPERATIONS}
    slowest: dict[str, float] = dict.fromkeys(OPERATIONS, 0.0)
    for _ in turns:
        for op in OPERATIONS:
            measured = load.measure(op, plan.in_flight, seconds=plan.turn_s)
            rates[op].append(measured.ops_s)
            slowest[op] = max(slowest[op], measured.p99_ms)
            verdict.problems += [f"{count:,} {op}s failed: {kind}" for kind, count in measured.errors.items()]
    return {op: statistics.mean(found or [0.0]) for op, found in rates.items()}, slowest


def _is_like_the_others(child: Child) -> bool:
    """Whether its trees are those of the other owners: a repair finds nothing."""
    progress = ask(child.address, lambda request: Repair(request, ""), RepairProgress, ASK_MS)
    while not progress.done:
        time.sleep(0.05)
        number = progress.run
        progress = ask(child.address, lambda request: Repair(request, "", run=number), RepairProgress, ASK_MS)  # noqa: B023
    return progress.differing == 0 and progress.compared == progress.total > 0


def _judge(verdict: Verdict, children: list[Child]) -> None:
    stores = {child.name: _records(child.data) for child in children}
    verdict.records = {name: len(records) for name, records in stores.items()}
    first, *others = stores
    for other in others:
        differing = dict_difference(stores[first], stores[other])
        if differing:
            verdict.problems.append(f"{differing} records differ between {first} and {other}")
    verdict.kept = {op: verdict.during_ops_s[op] / (verdict.before_ops_s[op] or 1.0) for op in OPERATIONS}
    verdict.problems += [
        f"{op}s kept only {kept:.0%} of their throughput" for op, kept in verdict.kept.items() if kept < KEPT_MIN
    ]


def dict_difference(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> int:
    return sum(one.get(key) != other.get(key) for key in one.keys() | other.keys())


def _records(data: Path) -> dict[bytes, bytes]:
    """All that a stopped node holds, as others would be given it."""
    store = RocksStore(data / "store", durability="never", disk_free_min=0)
    try:
        return {key: stored[BIRTH_BYTES:] for key, stored in store.scan(b"", OWN_KEYS)}
    finally:
        store.close()


def show(verdict: Verdict) -> None:
    rows = [
        (
            op,
            f"{verdict.before_ops_s[op]:,.0f}",
            f"{verdict.during_ops_s[op]:,.0f}",
            f"{verdict.after_ops_s[op]:,.0f}",
            f"{verdict.kept[op]:.0%}",
            f"{verdict.before_p99_ms[op]:.1f}",
            f"{verdict.during_p99_ms[op]:.1f}",
        )
        for op in OPERATIONS
    ]
    titles = ("BEFORE /s", "DURING /s", "AFTER /s", "KEPT", "P99 BEFORE MS", "P99 DURING MS")
    show_table(("OP", *titles), rows, right=titles)
    records = ", ".join(f"{name} {count:,}" for name, count in verdict.records.items())
    print(f"{verdict.keys:,} keys: the disk was refilled in {verdict.refilled_s:.1f} s")
    print(f"all trees were equal {verdict.equal_s:.1f} s after the load had ended")
    print(f"records: {records}")
    for problem in verdict.problems:
        note(problem)


if __name__ == "__main__":
    sys.exit(main())
