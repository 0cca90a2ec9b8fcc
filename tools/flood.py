#!/usr/bin/env python3
"""Flood a real cluster with what it cannot want, and see whether it keeps its head.

    tools/flood.py garbage                 100,000 random and mutated frames on client, peer and gossip ports
    tools/flood.py overload                four times the load that it can serve, for a minute
    tools/flood.py overload --seconds 10 --times 8 --json

Both start three nodes of their own in a temporary folder and leave no process behind. Exit 1 if the cluster does not
hold: a node dead or grown, garbage not counted or logged without bound, a pump that burns a core, no *overloaded*
answers, or normal latency not back within 2 seconds.
"""

import argparse
import random
import sys

from flood_garbage import Garbage, GarbageVerdict
from flood_overload import OverloadPlan, OverloadVerdict, overload
from killable import Killable
from verdicts import conclude, folder_of
from watching import MIB

from zdynamo.cli.output import note, show_table

NODES = 3


def show_garbage(verdict: GarbageVerdict) -> None:
    columns = ["NODE", "ALIVE", "RSS BEFORE", "HALF", "AFTER MIB", "LOG LINES", "COUNTED"]
    rows = [
        [node.name, "yes" if node.alive else "no"]
        + [f"{rss / MIB:.1f}" for rss in (node.rss_before, node.rss_half, node.rss_after)]
        + [str(node.log_lines), ", ".join(f"{name} {count:,}" for name, count in node.counted.items() if count)]
        for node in verdict.nodes
    ]
    show_table(columns, rows, right=columns[2:6])
    sent = ", ".join(f"{port} {count:,}" for port, count in verdict.sent.items())
    print(f"{verdict.frames:,} frames in {verdict.seconds:.1f} s ({sent})")
    print(f"malformed at client and peer ports: {verdict.malformed_sent:,} sent, {verdict.malformed_counted:,} counted")


def show_overload(verdict: OverloadVerdict) -> None:
    columns = ["NODE", "RSS BEFORE", "EARLY", "PEAK", "AFTER MIB", "CORES", "PUMPS", "CORES AFTER"]
    rows = [
        [node.name]
        + [f"{rss / MIB:.1f}" for rss in (node.rss_before, node.rss_early, node.rss_peak, node.rss_after)]
        + [f"{node.cores:.2f}", f"{node.pump_cores:.2f}", f"{node.cores_after:.2f}"]
        for node in verdict.nodes
    ]
    show_table(columns, rows, right=columns[1:])
    print(
        f"capacity {verdict.capacity_ops_s:,.0f} puts/s, offered {verdict.offered_ops_s:,.0f} for {verdict.seconds} s"
    )
    print("answers: " + ", ".join(f"{kind} {count:,}" for kind, count in verdict.answers.items()))
    print(f"done during the flood: {verdict.done_ops_s:,.0f} puts/s")
    print(f"normal put p99 {verdict.normal_p99_ms:.1f} ms; back to normal {verdict.recovered_s:.2f} s after the flood")


def show(verdict: GarbageVerdict | OverloadVerdict) -> None:
    show_garbage(verdict) if isinstance(verdict, GarbageVerdict) else show_overload(verdict)
    for problem in verdict.problems:
        note(problem)
    print("it holds" if verdict.holds else "BROKEN")


def flooded(given: argparse.Namespace, seed: int) -> GarbageVerdict | OverloadVerdict:
    """Raises: ZdynamoError if there is no verdict."""
    memory = given.storage == "memory"
    with folder_of("flood") as folder, Killable(nodes=NODES, folder=folder, memory=memory) as cluster:
        cluster.start_and_open()
        if given.flood == "garbage":
            return Garbage(cluster, given.frames, seed).run()
        return overload(cluster, OverloadPlan(given.seconds, given.times, given.generators, given.batch))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    floods = parser.add_subparsers(dest="flood", required=True)
    garbage = floods.add_parser("garbage", help="random and mutated frames on every port")
    garbage.add_argument("--frames", type=int, default=100_000, metavar="N", help="default %(default)s")
    load = floods.add_parser("overload", help="more load than it can serve")
    load.add_argument("--seconds", type=float, default=60.0, metavar="N", help="default %(default)s")
    load.add_argument("--times", type=float, default=4.0, metavar="N", help="of the capacity (default %(default)s)")
    load.add_argument("--generators", type=int, default=2, metavar="N", help="processes (default %(default)s)")
    load.add_argument("--batch", type=int, default=16, metavar="N", help="requests a frame (default %(default)s)")
    for each in (garbage, load):
        each.add_argument("--storage", choices=("rocksdb", "memory"), default="memory", help="default %(default)s")
        each.add_argument("--seed", type=int, default=None, metavar="N", help="default: a random one")
        each.add_argument("--json", action="store_true", help="the verdict as one JSON document")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    note(f"again with: tools/flood.py {given.flood} --storage {given.storage} --seed {seed}")
    return conclude(lambda: flooded(given, seed), show, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
