#!/usr/bin/env python3
"""What native traffic through a node loses while that node is watched: /metrics each second, and the page open.

All requests of a closed loop go to one node of three, in rounds that take turns: nobody watches, somebody does. The
watcher is a process of its own that scrapes and reads the page's events as they come; it draws nothing. Starts three
nodes with the memory store of its own.

    tools/watching_cost.py
    tools/watching_cost.py --rounds 5 --seconds 4 --in-flight 64 --json
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from rich.console import Console
from rich.progress import track

from zdynamo.cli.ask import topology_of
from zdynamo.cli.cluster import HOST, LocalCluster, free_ports
from zdynamo.cli.load import Load
from zdynamo.cli.output import show_json, show_table

NODES = 3
START_SECONDS = 30.0
KEYS = 10_000
SETTLE_SECONDS = 1.0
OPS = ("put", "get")


class Row(Struct):
    """One operation: medians of its rounds."""

    op: str
    alone_ops_s: float
    watched_ops_s: float
    lost_percent: float


def watch(port: int) -> None:
    """Until the process is ended, or the node says no."""
    Thread(target=_scrape, args=[port], daemon=True).start()
    with urllib.request.urlopen(f"http://{HOST}:{port}/v1/events", timeout=60) as answer:
        for _ in answer:
            pass


def _scrape(port: int) -> None:
    while True:
        with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
            answer.read()
        time.sleep(1)


@contextmanager
def watching(port: int) -> Iterator[None]:
    watcher = subprocess.Popen([sys.executable, __file__, "--watch", str(port)])
    try:
        time.sleep(SETTLE_SECONDS)
        yield
        if watcher.poll() is not None:
            raise SystemExit("watching_cost: the node could not be watched: see above")
    finally:
        watcher.kill()
        watcher.wait()


def measure(cluster: LocalCluster, options: argparse.Namespace) -> list[Row]:
    first = cluster.children[0]
    topology = topology_of(cluster.addresses[0], 1000)
    here = next(member for member in topology.members if member.record.addresses.client == cluster.addresses[0])
    topology = replace(topology, owners=((here.record.id,),) * len(topology.owners))
    alone: dict[str, list[float]] = {op: [] for op in OPS}
    watched: dict[str, list[float]] = {op: [] for op in OPS}

    def rounds(load: Load, found: dict[str, list[float]]) -> None:
        for op in OPS:
            measured = load.measure(op, options.in_flight, seconds=options.seconds)
            if measured.errors:
                raise SystemExit(f"watching_cost: {op} failed: {measured.errors}")
            found[op].append(measured.ops_s)

    with Load(topology, keys=KEYS, value_bytes=options.value_bytes) as load:
        load.fill()
        for _ in track(range(options.rounds), "rounds", console=Console(stderr=True), transient=True):
            rounds(load, alone)
            with watching(first.port + 3):
                rounds(load, watched)
    return [_row(op, alone[op], watched[op]) for op in OPS]


def _row(op: str, alone: list[float], watched: list[float]) -> Row:
    """The loss is the median of each round against the one before it: machines have good and bad minutes."""
    lost = statistics.median(1 - now / before for before, now in zip(alone, watched, strict=True))
    return Row(op, round(statistics.median(alone)), round(statistics.median(watched)), round(100 * lost, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each operation in each round")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--watch", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.watch:
        return watch(options.watch)
    with (
        tempfile.TemporaryDirectory(prefix="zdynamo-watching-") as folder,
        LocalCluster(nodes=NODES, port=free_ports(NODES), folder=Path(folder), memory=True, http=True) as cluster,
    ):
        cluster.start()
        cluster.wait_ready(START_SECONDS)
        rows = measure(cluster, options)
    if options.json:
        show_json(msgspec.to_builtins(rows))
    else:
        columns = ["op", "alone ops/s", "watched ops/s", "lost %"]
        show_table(columns, [list(msgspec.to_builtins(row).values()) for row in rows], right=columns[1:])


if __name__ == "__main__":
    main()
