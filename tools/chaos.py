#!/usr/bin/env python3
"""Kill nodes of a real cluster under load, again and again, and prove that nothing acknowledged is lost.

Starts a cluster of processes in a temporary folder, puts, gets and deletes from several threads for the whole run,
kills one node (-9), restarts it after a while, waits until all see each other, and goes on with the next. Then reads
every key from all its replicas. Exit 1 if anything acknowledged is lost, stale or back from the dead, or if an answer
said that nothing was written and something was.

    tools/chaos.py                          20 kills of three nodes with RocksDB, about three minutes
    tools/chaos.py --kills 3 --seed 7 --json
    tools/chaos.py --nodes 5 --history history.jsonl

With --storage memory a killed node loses its copy, and nothing refills it yet: only the first kill is survivable for a
key written before it. Use it with --kills 1.
"""

import argparse
import random
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from chaos_ledger import Ledger
from chaos_load import Worker, working
from killable import READY_SECONDS, Child, Killable
from msgspec import Struct, field

from zdynamo.cli.output import note, show_json, show_table
from zdynamo.client import Client
from zdynamo.errors import ZdynamoError

DOWN_WITHIN_SECONDS = 15.0
COPIES = 3
SETTLE_SECONDS = 0.5  # after the load, before the verdict


class Plan(Struct):
    """One run."""

    kills: int = 20
    nodes: int = 3
    memory: bool = False
    seed: int = 1
    workers: int = 8
    rate: float = 800.0  # operations a second wanted of all workers together
    calm_s: float = 1.5  # about, between the return of one node and the death of the next
    dead_s: float = 1.0  # about, that a node stays away after all others know
    deadline_ms: int = 5000


class Verdict(Struct):
    """What came out."""

    seed: int
    kills: int
    acknowledged: int = 0
    found: int = 0  # or covered by a later write
    lost: int = 0
    stale: int = 0
    resurrected: int = 0
    phantom: int = 0
    reads: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    longest_without_service_s: float = 0.0
    longest_operation_s: float = 0.0
    longest_without_service_of_one_worker_s: float = 0.0
    detected_s: list[float] = field(default_factory=list)
    rejoined_s: list[float] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)  # at the end: the reason, with an example

    @property
    def holds(self) -> bool:
        return not (self.lost or self.stale or self.resurrected or self.phantom)


def run(
    plan: Plan, folder: Path, advance: Callable[[], None] = lambda: None, history: IO[str] | None = None
) -> Verdict:
    """Raises: ClusterFailed, RequestError if there is no verdict."""
    chance, ledger = random.Random(plan.seed), Ledger(history)
    verdict = Verdict(seed=plan.seed, kills=plan.kills)
    with ExitStack() as stack:
        cluster = stack.enter_context(Killable(nodes=plan.nodes, folder=folder, memory=plan.memory))
        cluster.start_and_open()
        client = stack.enter_context(Client(*cluster.addresses, deadline_ms=plan.deadline_ms))
        pause_s = plan.workers / plan.rate
        workers = [Worker(number, client, ledger, plan.seed, pause_s) for number in range(plan.workers)]
        ledger.begin()
        with working(workers):
            for victim in victims(cluster.children, plan.kills, chance):
                kill_once(cluster, victim, plan, chance, verdict)
                advance()
            time.sleep(plan.calm_s)
            ledger.end()
        time.sleep(SETTLE_SECONDS)
        verify(workers, min(COPIES, plan.nodes), verdict)
    conclude(ledger, verdict)
    return verdict


def kill_once(cluster: Killable, victim: Child, plan: Plan, chance: random.Random, verdict: Verdict) -> None:
    time.sleep(plan.calm_s * chance.uniform(0.5, 1.5))
    cluster.kill(victim)
    verdict.detected_s.append(cluster.wait_down(victim, DOWN_WITHIN_SECONDS))
    time.sleep(plan.dead_s * chance.uniform(0.5, 1.5))
    began = time.monotonic()
    cluster.restart(victim)
    cluster.wait_ready(READY_SECONDS)
    verdict.rejoined_s.append(time.monotonic() - began)


def victims(nodes: list[Child], kills: int, chance: random.Random) -> Iterator[Child]:
    """Each in turn, every round in another order."""
    for done in range(kills):
        if done % len(nodes) == 0:
            order = chance.sample(nodes, len(nodes))
        yield order[done % len(nodes)]


def verify(workers: list[Worker], copies: int, verdict: Verdict) -> None:
    """Each worker's keys by a thread of its own. Raises: what the first of them has met."""
    problems: list[Exception] = []
    held: list[int] = []

    def check(worker: Worker) -> None:
        try:
            held.append(worker.verify(copies))
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=check, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
    verdict.found = sum(held)


def conclude(ledger: Ledger, verdict: Verdict) -> None:
    verdict.acknowledged = ledger.count("put", "ok") + ledger.count("delete", "ok")
    verdict.reads = ledger.count("get", "ok")
    verdict.failed = {answer: count for answer, count in sorted(ledger.answers.items()) if not answer.endswith(" ok")}
    for kind in ("lost", "stale", "resurrected", "phantom"):
        setattr(verdict, kind, sum(failure.kind == kind for failure in ledger.failures))
    verdict.failures = [{"kind": each.kind, "key": each.key, "value": each.value} for each in ledger.failures[:100]]
    verdict.unreadable = dict(list(ledger.reasons.items())[:10])
    verdict.longest_without_service_s = ledger.longest_gap_s
    verdict.longest_operation_s = ledger.longest_operation_s
    verdict.longest_without_service_of_one_worker_s = ledger.longest_worker_gap_s


def show(verdict: Verdict) -> None:
    rows = [
        ("acknowledged writes", f"{verdict.acknowledged:,}"),
        ("found or covered by a later write", f"{verdict.found:,}"),
        ("lost", str(verdict.lost)),
        ("stale reads", f"{verdict.stale} of {verdict.reads:,}"),
        ("back after a delete", str(verdict.resurrected)),
        ("written though refused", str(verdict.phantom)),
        *((f"failed: {answer}", f"{count:,}") for answer, count in verdict.failed.items()),
        ("longest without service", f"{verdict.longest_without_service_s:.3f} s"),
        ("longest one worker was without", f"{verdict.longest_without_service_of_one_worker_s:.3f} s"),
        ("longest operation", f"{verdict.longest_operation_s:.3f} s"),
        ("kill -9 until all others call it down", spread(verdict.detected_s)),
        ("restart until all see each other", spread(verdict.rejoined_s)),
    ]
    show_table(["CHAOS", f"{verdict.kills} KILLS"], rows, right=[f"{verdict.kills} KILLS"])
    for failure in verdict.failures[:10]:
        note(f"{failure['kind']}: {failure['key']}, value {failure['value'].rstrip('.')}")
    for reason, key in verdict.unreadable.items():
        note(f"unreadable: {key}: {reason}")
    print("nothing acknowledged is lost" if verdict.holds else "BROKEN")


def spread(seconds: list[float]) -> str:
    """Minimum, median, maximum."""
    if not seconds:
        return "-"
    return f"{min(seconds):.2f} / {statistics.median(seconds):.2f} / {max(seconds):.2f} s"


@contextmanager
def progress(steps: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("kills", total=steps)
        yield lambda: bar.advance(task)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    plan = Plan()
    parser.add_argument("--kills", type=int, default=plan.kills, metavar="K", help="how many (default %(default)s)")
    parser.add_argument("--nodes", type=int, default=plan.nodes, metavar="N", help="default %(default)s")
    parser.add_argument("--storage", choices=("rocksdb", "memory"), default="rocksdb", help="default %(default)s")
    parser.add_argument(
        "--seed", type=int, default=None, metavar="N", help="of victims and load; default: a random one"
    )
    parser.add_argument("--workers", type=int, default=plan.workers, metavar="N", help="threads (default %(default)s)")
    parser.add_argument("--rate", type=float, default=plan.rate, metavar="N", help="operations a second, all together")
    parser.add_argument("--history", type=Path, metavar="FILE", help="write every operation here, as JSON lines")
    parser.add_argument("--json", action="store_true", help="the verdict as one JSON document")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    plan = Plan(given.kills, given.nodes, given.storage == "memory", seed, given.workers, given.rate)
    again = f"tools/chaos.py --kills {plan.kills} --nodes {plan.nodes} --storage {given.storage} --seed {seed}"
    note(f"again with: {again} --workers {plan.workers} --rate {plan.rate:g}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zdynamo-chaos-")))
        history = stack.enter_context(given.history.open("w")) if given.history else None
        advance = stack.enter_context(progress(plan.kills))
        try:
            verdict = run(plan, folder, advance, history)
        except ZdynamoError as error:
            note(f"no verdict: {error}")
            return 1
    if given.json:
        show_json({name: getattr(verdict, name) for name in verdict.__struct_fields__} | {"holds": verdict.holds})
    else:
        show(verdict)
    return 0 if verdict.holds else 1


if __name__ == "__main__":
    sys.exit(main())
