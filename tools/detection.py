#!/usr/bin/env python3
"""How soon do nodes notice that one is dead, and do they ever blame one that lives?

Starts a cluster of processes in a temporary folder and measures one of two things:

    tools/detection.py --kills 50                    kill -9, again and again: the time until all others say down
    tools/detection.py --minutes 10 --busy --pauses  nobody dies: who is called down or unreachable all the same

--busy keeps every core loaded by a busy loop meanwhile. --pauses stops each node in turn (SIGSTOP) for 0.5 s every 5 s.
--load puts and gets so often each second: requests that time out are evidence as well. All may be combined with
--kills. Exit 1 if the 99th percentile of the kills is 1.5 s or more, or if a live node was
called down or unreachable by anybody.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from killable import READY_SECONDS, Child, Killable
from msgspec import Struct, field, to_builtins
from verdicts import conclude, folder_of
from watching import cores_used, watch

from zdynamo.cli.output import note, show_table
from zdynamo.client import Client
from zdynamo.errors import RequestError

DETECTED_P99_S = 1.5
DOWN_WITHIN_SECONDS = 15.0
PAUSE_S = 0.5
CALM_S = 1.0  # about, before each kill
SECOND_S = 1.0
CLIENTS, KEYS, LOAD_DEADLINE_MS = 8, 1_000, 2_000
ACCUSATIONS = ("member.down", "member.unreachable")


class Plan(Struct):
    """One run: kills, or minutes in which nobody is killed."""

    kills: int = 0
    minutes: float = 0.0
    nodes: int = 5
    busy: bool = False
    pauses: bool = False
    load: int = 0  # requests a second
    seed: int = 1
    pause_every_s: float = 5.0


class Verdict(Struct):
    """What came out."""

    seed: int
    nodes: int
    busy: bool
    pauses: int = 0
    answers: int = 0  # that clients got, if there were any
    seconds: float = 0.0
    detected_s: list[float] = field(default_factory=list)
    accusations: list[str] = field(default_factory=list)  # of nodes that lived
    suspicions: int = 0
    stalls: int = 0  # of a second and more, as the nodes have noted them
    cores: dict[str, float] = field(default_factory=dict)  # that each node kept busy; without kills

    @property
    def p99_s(self) -> float:
        return percentile(self.detected_s, 0.99)

    @property
    def holds(self) -> bool:
        return not self.accusations and (not self.detected_s or self.p99_s < DETECTED_P99_S)


class Deaths:
    """When which node was dead: whoever is accused then is accused rightly."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, float, float]] = []  # name, from, until (wall clock, seconds)

    def was_dead(self, name: str, at_s: float) -> bool:
        return any(victim == name and begin <= at_s <= end for victim, begin, end in self.spans)


def run(plan: Plan, folder: Path, advance: Callable[[], None] = lambda: None) -> Verdict:
    """Raises: ClusterFailed."""
    chance, deaths = random.Random(plan.seed), Deaths()
    verdict = Verdict(seed=plan.seed, nodes=plan.nodes, busy=plan.busy)
    with ExitStack() as stack:
        cluster = stack.enter_context(Killable(nodes=plan.nodes, folder=folder, memory=False))
        cluster.start_and_open()
        time.sleep(SECOND_S)
        began_s = time.time()
        if plan.busy:
            stack.enter_context(busy_cores())
        if plan.load:
            stack.enter_context(loading(cluster, plan.load, verdict))
        frozen = stack.enter_context(pausing(cluster.children, plan, verdict)) if plan.pauses else threading.Lock()
        if plan.kills:
            for victim in victims(cluster.children, plan.kills, chance):
                with frozen:
                    kill_once(cluster, victim, chance, deaths, verdict)
                advance()
        else:
            before = [(each, each.sample()) for each in watch(cluster)]
            for _ in range(round(plan.minutes * 60)):
                time.sleep(SECOND_S)
                advance()
            verdict.cores = {each.name: round(cores_used(sample, each.sample()), 3) for each, sample in before}
        ended_s = time.time()
    for child in cluster.children:
        read_log(child, began_s, ended_s, deaths, verdict)
    verdict.seconds = round(ended_s - began_s, 1)
    return verdict


def kill_once(cluster: Killable, victim: Child, chance: random.Random, deaths: Deaths, verdict: Verdict) -> None:
    time.sleep(CALM_S * chance.uniform(0.5, 1.5))
    died_s = time.time()
    cluster.kill(victim)
    verdict.detected_s.append(round(cluster.wait_down(victim, DOWN_WITHIN_SECONDS), 3))
    cluster.restart(victim)
    cluster.wait_ready(READY_SECONDS)
    deaths.spans.append((victim.name, died_s, time.time()))


def victims(nodes: list[Child], kills: int, chance: random.Random) -> Iterator[Child]:
    """Each in turn, every round in another order."""
    for done in range(kills):
        if done % len(nodes) == 0:
            order = chance.sample(nodes, len(nodes))
        yield order[done % len(nodes)]


@contextmanager
def busy_cores() -> Iterator[None]:
    """A loop on every core."""
    loops = [
        multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(os.cpu_count() or 1)
    ]
    for loop in loops:
        loop.start()
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.join()


def _spin() -> None:
    while True:
        pass


@contextmanager
def loading(cluster: Killable, per_second: int, verdict: Verdict) -> Iterator[None]:
    """Puts and gets of a few clients, by way of all nodes."""
    ended = threading.Event()

    def load(keys: range) -> None:
        with Client(*cluster.addresses, deadline_ms=LOAD_DEADLINE_MS) as client:
            for number in itertools.cycle(keys):
                if ended.wait(2 * CLIENTS / per_second):
                    break
                with suppress(RequestError):
                    client.put(str(number), number, bucket="tools")
                    client.get(str(number), bucket="tools")
                    verdict.answers += 2

    threads = [threading.Thread(target=load, args=(range(client, KEYS, CLIENTS),)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def pausing(children: list[Child], plan: Plan, verdict: Verdict) -> Iterator[threading.Lock]:
    """Stop each in turn for a moment. Whoever holds the lock has none of them stopped meanwhile."""
    ended, frozen = threading.Event(), threading.Lock()

    def pause() -> None:
        turn = 0
        while not ended.wait(plan.pause_every_s - PAUSE_S):
            child = children[turn % len(children)]
            turn += 1
            with frozen:
                if child.process is None or child.ended is not None:
                    continue
                child.process.send_signal(signal.SIGSTOP)
                time.sleep(PAUSE_S)
                child.process.send_signal(signal.SIGCONT)
                verdict.pauses += 1

    thread = threading.Thread(target=pause)
    thread.start()
    try:
        yield frozen
    finally:
        ended.set()
        thread.join()


def read_log(child: Child, began_s: float, ended_s: float, deaths: Deaths, verdict: Verdict) -> None:
    """Every opinion that a node has changed is in its log."""
    for line in child.log.read_text(errors="replace").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        at_s = seconds_of(entry.get("timestamp", ""))
        if not began_s <= at_s <= ended_s:
            continue
        event = entry.get("event")
        verdict.stalls += event == "node.paused"
        lived = not deaths.was_dead(entry.get("member", ""), at_s) and not deaths.was_dead(child.name, at_s)
        verdict.suspicions += event == "member.suspected" and lived
        if event in ACCUSATIONS and lived:
            verdict.accusations.append(f"{entry['timestamp']} {child.name}: {event} {entry['member']}")


def seconds_of(timestamp: str) -> float:
    """Of an ISO timestamp; 0 if it is none."""
    try:
        return datetime.fromisoformat(timestamp).timestamp()
    except ValueError:
        return 0.0


def percentile(seconds: list[float], part: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * part))] if seconds else 0.0


def show(verdict: Verdict) -> None:
    rows = [("seconds", f"{verdict.seconds:.0f}"), ("pauses of 0.5 s", str(verdict.pauses))]
    if verdict.answers:
        rows.append(("answers that clients got", str(verdict.answers)))
    if verdict.detected_s:
        spread = (min(verdict.detected_s), statistics.median(verdict.detected_s), max(verdict.detected_s))
        rows.append(("kills", str(len(verdict.detected_s))))
        rows.append(("until all others say down: min / median / max", " / ".join(f"{each:.2f}" for each in spread)))
        rows.append((f"99th percentile (below {DETECTED_P99_S} wanted)", f"{verdict.p99_s:.2f}"))
    rows.append(("live nodes called down or unreachable (0 wanted)", str(len(verdict.accusations))))
    rows.append(("suspicions of live nodes, cleared", str(verdict.suspicions)))
    rows.append(("stalls of a second or more", str(verdict.stalls)))
    rows += [(f"cores kept busy by {name}", f"{cores:.3f}") for name, cores in verdict.cores.items()]
    show_table(["DETECTION", f"{verdict.nodes} NODES"], rows, right=[f"{verdict.nodes} NODES"])
    for accusation in verdict.accusations[:20]:
        note(accusation)
    print("holds" if verdict.holds else "BROKEN")


@contextmanager
def progress(steps: int, what: str) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=steps)
        yield lambda: bar.advance(task)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--kills", type=int, default=0, metavar="K", help="kill so many nodes, one after the other")
    what.add_argument("--minutes", type=float, default=0.0, metavar="M", help="kill nobody for so long")
    parser.add_argument("--nodes", type=int, default=5, metavar="N", help="default %(default)s")
    parser.add_argument("--busy", action="store_true", help="a busy loop on every core")
    parser.add_argument("--pauses", action="store_true", help="stop each node in turn for 0.5 s every 5 s")
    parser.add_argument("--load", type=int, default=0, metavar="R", help="so many requests a second; default none")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of the victims; default: a random one")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="run there and leave the logs")
    parser.add_argument("--json", action="store_true", help="the verdict as one JSON document")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    plan = Plan(given.kills, given.minutes, given.nodes, given.busy, given.pauses, given.load, seed)
    steps, what = (plan.kills, "kills") if plan.kills else (round(plan.minutes * 60), "seconds")

    def attempt() -> Verdict:
        with folder_of("detection", given.keep) as folder, progress(steps, what) as advance:
            return run(plan, folder, advance)

    return conclude(
        attempt, show, as_json=given.json, told=lambda verdict: to_builtins(verdict) | {"p99_s": verdict.p99_s}
    )


if __name__ == "__main__":
    sys.exit(main())
