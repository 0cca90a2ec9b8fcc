#!/usr/bin/env python3
"""Add elements to shared sets by read-merge-write while nodes are killed; every acknowledged one has to be there.

Several clients, each with a thread and connections of its own, add elements to the same few keys with `Client.update`;
meanwhile one node after the other is killed (-9) and restarted. Concurrent additions leave siblings, which the next
reader merges. At the end each set is read from all its replicas. Exit 1 if an acknowledged element is missing.

    tools/sets.py                        8 clients, 5,000 elements, 50 sets, three nodes with RocksDB
    tools/sets.py --elements 500 --json
"""

import argparse
import random
import sys
import threading
import time
from pathlib import Path

from killable import READY_SECONDS, Killable
from msgspec import Struct, field
from verdicts import conclude, folder_of

from zdynamo.cli.output import note, show_table
from zdynamo.client import Client
from zdynamo.errors import RequestError

DEADLINE_MS = 5_000
DOWN_WITHIN_SECONDS = 15.0
CALM_SECONDS = 0.5  # between the return of one node and the death of the next
COPIES = 3


class Plan(Struct):
    """One run."""

    clients: int = 8
    elements: int = 5_000
    sets: int = 50
    nodes: int = 3
    seed: int = 1


class Verdict(Struct):
    """What came out."""

    seed: int
    acknowledged: int = 0
    found: int = 0
    missing: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)  # found, and never added
    most_siblings: int = 0
    kills: int = 0
    seconds: float = 0.0
    failed: dict[str, int] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return not self.missing and not self.unasked


class Adder(threading.Thread):
    """One client that adds its share of the elements."""

    def __init__(self, number: int, plan: Plan, addresses: list[str]) -> None:
        super().__init__(name=f"adder-{number}", daemon=True)
        self.acknowledged: list[tuple[str, str]] = []  # set and element
        self.failed: dict[str, int] = {}
        self.tried: set[tuple[str, str]] = set()
        self.most_siblings = 0
        self._addresses = addresses
        chance = random.Random(plan.seed * 1_000 + number)
        share = range(number, plan.elements, plan.clients)
        self._work = [(f"set-{chance.randrange(plan.sets)}", f"{number}.{element}") for element in share]

    def run(self) -> None:
        with Client(*self._addresses, deadline_ms=DEADLINE_MS) as client:
            for key, element in self._work:
                self.tried.add((key, element))
                try:
                    client.update(key, lambda items, new=element: union([items or [], [new]]), resolver=self._merge)
                    self.acknowledged.append((key, element))
                except RequestError as error:
                    name = type(error).__name__
                    self.failed[name] = self.failed.get(name, 0) + 1

    def _merge(self, siblings: list[list[str]]) -> list[str]:
        self.most_siblings = max(self.most_siblings, len(siblings))
        return union(siblings)


def union(siblings: list[list[str]]) -> list[str]:
    """The elements of any of them, sorted."""
    return sorted({element for sibling in siblings for element in sibling})


def run(plan: Plan, folder: Path) -> Verdict:
    """Raises: ClusterFailed, RequestError if there is no verdict."""
    verdict = Verdict(seed=plan.seed)
    chance = random.Random(plan.seed)
    with Killable(nodes=plan.nodes, folder=folder, memory=False) as cluster:
        cluster.start_and_open()
        adders = [Adder(number, plan, cluster.addresses) for number in range(plan.clients)]
        began = time.monotonic()
        for adder in adders:
            adder.start()
        while any(adder.is_alive() for adder in adders):
            victim = chance.choice(cluster.children)
            cluster.kill(victim)
            verdict.kills += 1
            cluster.wait_down(victim, DOWN_WITHIN_SECONDS)
            cluster.restart(victim)
            cluster.wait_ready(READY_SECONDS)
            time.sleep(CALM_SECONDS)
        for adder in adders:
            adder.join()
        verdict.seconds = time.monotonic() - began
        with Client(*cluster.addresses, deadline_ms=DEADLINE_MS) as client:
            judge(client, plan, adders, verdict)
    return verdict


def judge(client: Client, plan: Plan, adders: list[Adder], verdict: Verdict) -> None:
    """Read every set from all its replicas, and compare."""
    found: set[tuple[str, str]] = set()
    for number in range(plan.sets):
        key = f"set-{number}"
        siblings = client.get(key, r=min(COPIES, plan.nodes)).siblings
        verdict.most_siblings = max(verdict.most_siblings, len(siblings))
        found |= {(key, element) for element in union(siblings)}
    acknowledged = {each for adder in adders for each in adder.acknowledged}
    verdict.acknowledged = len(acknowledged)
    verdict.found = len(acknowledged & found)
    verdict.missing = sorted(f"{key}: {element}" for key, element in acknowledged - found)[:100]
    tried = {each for adder in adders for each in adder.tried}
    verdict.unasked = sorted(f"{key}: {element}" for key, element in found - tried)[:100]
    for adder in adders:
        verdict.most_siblings = max(verdict.most_siblings, adder.most_siblings)
        for name, count in adder.failed.items():
            verdict.failed[name] = verdict.failed.get(name, 0) + count


def show(verdict: Verdict) -> None:
    rows = [
        ("acknowledged elements", f"{verdict.acknowledged:,}"),
        ("found", f"{verdict.found:,}"),
        ("missing", str(len(verdict.missing))),
        ("never added and there", str(len(verdict.unasked))),
        ("most siblings seen", str(verdict.most_siblings)),
        ("nodes killed", str(verdict.kills)),
        *((f"failed: {name}", f"{count:,}") for name, count in sorted(verdict.failed.items())),
        ("seconds", f"{verdict.seconds:.1f}"),
    ]
    show_table(["SETS", ""], rows, right=[""])
    print("every acknowledged element is there" if verdict.holds else "BROKEN")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    plan = Plan()
    for name in ("clients", "elements", "sets", "nodes"):
        parser.add_argument(f"--{name}", type=int, default=getattr(plan, name), metavar="N", help="default %(default)s")
    parser.add_argument("--seed", type=int, default=None, metavar="N", help="of the work; default: a random one")
    parser.add_argument("--json", action="store_true", help="the verdict as one JSON document")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    seed = random.randrange(10**6) if given.seed is None else given.seed
    plan = Plan(given.clients, given.elements, given.sets, given.nodes, seed)
    note(f"again with: tools/sets.py --elements {plan.elements} --sets {plan.sets} --seed {seed}")

    def attempt() -> Verdict:
        with folder_of("sets") as folder:
            return run(plan, folder)

    return conclude(attempt, show, as_json=given.json)


if __name__ == "__main__":
    sys.exit(main())
