#!/usr/bin/env python3
"""Hand over many hinted writes to a node that is back, while clients go on, and say what it costs them.

Starts nodes with RocksDB, measures puts and gets, kills one node (-9), writes many keys that it misses, starts it again
and measures the same puts and gets until nothing is held for it any more. Prints the throughput meanwhile beside that
before and after, how long it took, and what the nodes that held the hints needed of memory. Exit 1 if clients were left
with less than the share asked for, if anything failed, or if a key that was written is not on the node in the end.

    tools/drain.py                                100,000 keys, three nodes; 70% have to be left
    tools/drain.py --nodes 5 --keys 20000 --json
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import psutil
from killable import READY_SECONDS, Child, Killable, wait_until
from msgspec import Struct, field, to_builtins
from verdicts import conclude, folder_of
from watching import MIB

from zdynamo.cli.ask import topology_of
from zdynamo.cli.load import Load, Measured
from zdynamo.cli.output import note, show_table
from zdynamo.client import Client

DOWN_SECONDS = 15.0
DRAIN_SECONDS = 600.0
MEMORY_MIB = 64  # more, at most, that a node needs for what it holds: that is on disk
KEYS = 10_000  # of the foreground
IN_FLIGHT = 32
CHECKED = 500  # of the keys that were held: read from the node that missed them


class Drained(Struct):
    """What came out. Throughput in operations a second."""

    nodes: int
    hinted: int
    before: float = 0.0
    after: float = 0.0
    during: list[float] = field(default_factory=list)  # each second
    seconds: float = 0.0
    held_most: int = 0
    memory_before_mib: float = 0.0  # of the node that needs most, before it held anything
    memory_most_mib: float = 0.0  # with what it holds, and while that is handed over
    errors: dict[str, int] = field(default_factory=dict)
    missing: int = 0  # of the keys checked
    share_wanted: float = 0.0

    @property
    def share(self) -> float:
        """Of the usual throughput that was left meanwhile."""
        usual = (self.before + self.after) / 2
        return statistics.mean(self.during) / usual if self.during and usual else 0.0

    @property
    def holds(self) -> bool:
        within = self.memory_most_mib - self.memory_before_mib <= MEMORY_MIB
        return self.share >= self.share_wanted and within and not self.errors and not self.missing


def run(nodes: int, keys: int, folder: Path, seconds: float = 5.0) -> Drained:
    """`seconds`: of load before and after. Raises: ClusterFailed, RequestError."""
    with Killable(nodes=nodes, folder=folder, memory=False) as cluster:
        cluster.start_and_open()
        away = cluster.children[-1]
        with foreground(cluster) as load:
            load.fill()
            drained = Drained(nodes, keys)
            drained.before = both(load, seconds, drained)
        drained.memory_before_mib = memory_mib(cluster)
        cluster.kill(away)
        cluster.wait_down(away, DOWN_SECONDS)
        note(f"writing {keys:,} keys while {away.name} is away")
        with Load(
            topology_of(cluster.addresses[0], deadline_ms=5_000), keys=keys, value_bytes=100, named="held"
        ) as writer:
            counted(writer.measure("put", IN_FLIGHT, requests=keys), drained)
        drained.held_most = held_for(cluster, away)
        drained.memory_most_mib = memory_mib(cluster)
        with foreground(cluster) as load:
            cluster.restart(away)  # what is held is on its way as soon as it is seen
            drain(cluster, away, load, drained)
            cluster.wait_ready(READY_SECONDS)
            drained.after = both(load, seconds, drained)
        drained.missing = missing(away, keys)
    return drained


def foreground(cluster: Killable) -> Load:
    return Load(topology_of(cluster.addresses[0], deadline_ms=5_000), keys=KEYS, value_bytes=100)


def both(load: Load, seconds: float, drained: Drained) -> float:
    """Half of the time puts, half gets."""
    return statistics.mean(
        counted(load.measure(op, IN_FLIGHT, seconds=seconds / 2), drained).ops_s for op in ("put", "get")
    )


def counted(measured: Measured, drained: Drained) -> Measured:
    """Its errors are remembered."""
    for kind, errors in measured.errors.items():
        drained.errors[kind] = drained.errors.get(kind, 0) + errors
    return measured


def drain(cluster: Killable, away: Child, load: Load, drained: Drained) -> None:
    began = time.monotonic()
    while held_for(cluster, away):
        if time.monotonic() - began > DRAIN_SECONDS:
            drained.errors["not drained in time"] = 1
            break
        drained.during.append(both(load, 1.0, drained))
        drained.memory_most_mib = max(drained.memory_most_mib, memory_mib(cluster))
    drained.seconds = time.monotonic() - began


def held_for(cluster: Killable, away: Child) -> int:
    """Records that the others hold for that node."""
    with Client(*cluster.addresses) as client:
        members = client.topology().members
        target = next(member.record.id for member in members if member.record.addresses.client == away.address)
        held = 0
        for member in members:
            if member.record.id != target:
                status = client.node_status(member.record.addresses.client)
                held += sum(hints.count for hints in status.hints if hints.target == target)
    return held


def memory_mib(cluster: Killable) -> float:
    running = [child.process.pid for child in cluster.children if child.process and child.ended is None]
    return max(psutil.Process(pid).memory_info().rss for pid in running) / MIB


def missing(away: Child, keys: int) -> int:
    """Keys that the node itself does not show."""
    lacking = 0
    with Client(away.address) as client:
        wait_until(lambda: all(member.state == "alive" for member in client.topology().members), READY_SECONDS)
        step = max(1, keys // CHECKED)
        for number in range(0, keys, step):
            explained = client.explain(f"held-{number:07}", bucket="bench")
            digests = {replica.digest for replica in explained.replicas}
            lacking += len(digests) != 1 or 0 in digests
    return lacking


def show(drained: Drained) -> None:
    rows = [
        ("keys written while it was away", f"{drained.hinted:,}"),
        ("records held for it", f"{drained.held_most:,}"),
        ("handed over in", f"{drained.seconds:.1f} s"),
        ("operations/s before / meanwhile / after", throughput(drained)),
        ("left to clients", f"{drained.share:.0%}"),
        ("memory of a node before / at most", f"{drained.memory_before_mib:.0f} / {drained.memory_most_mib:.0f} MiB"),
        ("keys not there in the end", f"{drained.missing:,}"),
        *((f"failed: {kind}", f"{errors:,}") for kind, errors in drained.errors.items()),
    ]
    show_table(["DRAIN", f"{drained.nodes} NODES"], rows, right=[f"{drained.nodes} NODES"])


def throughput(drained: Drained) -> str:
    during = statistics.mean(drained.during) if drained.during else 0.0
    return f"{drained.before:,.0f} / {during:,.0f} / {drained.after:,.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3, metavar="N", help="default %(default)s")
    parser.add_argument("--keys", type=int, default=100_000, metavar="K", help="default %(default)s")
    parser.add_argument("--share", type=float, default=0.7, metavar="S", help="left to clients (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args()

    def attempt() -> Drained:
        with folder_of("drain") as folder:
            drained = run(given.nodes, given.keys, folder)
        drained.share_wanted = given.share
        return drained

    return conclude(
        attempt, show, as_json=given.json, told=lambda drained: to_builtins(drained) | {"share": drained.share}
    )


if __name__ == "__main__":
    sys.exit(main())
