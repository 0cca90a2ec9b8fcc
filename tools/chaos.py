#!/usr/bin/env python3
"""Strike a real cluster under load, again and again, and prove that every promise holds.

Starts a cluster of processes in a temporary folder, puts, gets and deletes from several threads for the whole run, and
does to the nodes, their links, disks and clocks what a plan says. Then heals everything, waits until the replicas are
equal, and reads every key. Exit 1 if a promise is broken, such as a write that was acknowledged and is lost.

    tools/chaos.py                          20 kills of three nodes with RocksDB, about three minutes
    tools/chaos.py --plan all               another plan: a name from --list, or a file
    tools/chaos.py --list
    tools/chaos.py --kills 3 --seed 7 --json
    tools/chaos.py --nodes 5 --history history.jsonl
    tools/chaos.py --check history.jsonl    the verdict on an earlier run

With --storage memory a killed node loses its copy. What the others hold is all that is left of it until it has got
everything back.
"""

import argparse
import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import chaos_plan
from chaos_disk_faults import may_mount, start_again_to_mount
from chaos_history import HistoryDamaged, Recorder, check_whole, read
from chaos_plan import Plan, PlanError
from chaos_run import Progress, run
from chaos_verdict import Verdict, judge, show
from verdicts import conclude, folder_of

from zdynamo.cli.output import note, show_table

DEFAULT_PLAN = "kills"


class Bar(Progress):
    """A bar on a terminal."""

    def __init__(self, bar: object, task: object) -> None:
        self._bar, self._task = bar, task

    def say(self, what: str) -> None:
        self._bar.update(self._task, description=what)  # type: ignore[attr-defined]

    def step(self) -> None:
        self._bar.advance(self._task)  # type: ignore[attr-defined]


@contextmanager
def progress(steps: int) -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield Progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Bars(*columns, console=Console(stderr=True), transient=True) as bar:
        yield Bar(bar, bar.add_task("", total=steps))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", default=DEFAULT_PLAN, metavar="NAME|FILE", help="what to do (default %(default)s)")
    parser.add_argument("--list", action="store_true", help="the plans that there are")
    parser.add_argument(
        "--check", type=Path, metavar="FILE", help="judge the history of an earlier run, and run nothing"
    )
    parser.add_argument("--kills", "--steps", type=int, dest="steps", metavar="K", help="how many steps of the plan")
    parser.add_argument("--seconds", type=float, metavar="S", help="begin no step after so many")
    parser.add_argument("--nodes", type=int, metavar="N", help="how many")
    parser.add_argument("--storage", choices=("rocksdb", "memory"), help="where nodes keep records")
    parser.add_argument("--seed", type=int, metavar="N", help="of victims and load; default: a random one")
    parser.add_argument("--workers", type=int, metavar="N", help="threads")
    parser.add_argument("--rate", type=float, metavar="N", help="operations a second, all together")
    parser.add_argument("--history", type=Path, metavar="FILE", help="write everything here, as JSON lines")
    parser.add_argument(
        "--keep",
        type=Path,
        metavar="DIR",
        help="run in this new folder and leave it: data and logs; with full disks logs alone",
    )
    parser.add_argument("--json", action="store_true", help="the verdict as one JSON document")
    return parser.parse_args()


def planned(given: argparse.Namespace) -> tuple[str, Plan]:
    """The plan with what the flags change. Raises: PlanError."""
    for name in ("steps", "seconds", "nodes", "workers", "rate"):
        if (number := getattr(given, name)) is not None and not number > 0:
            raise PlanError(f"--{name} is {number}: use more than 0")
    path = chaos_plan.find(given.plan)
    plan = chaos_plan.load(path)
    for name in ("steps", "seconds", "nodes"):
        if getattr(given, name) is not None:
            setattr(plan, name, getattr(given, name))
    for name in ("workers", "rate"):
        if getattr(given, name) is not None:
            setattr(plan.load, name, getattr(given, name))
    if given.storage:
        plan.memory = given.storage == "memory"
    return path.stem, chaos_plan.checked(plan)


def again(given: argparse.Namespace, seed: int) -> str:
    """The command that does the same again."""
    flags = {name: getattr(given, name) for name in ("plan", "steps", "seconds", "nodes", "storage", "workers", "rate")}
    told = " ".join(f"--{name} {value}" for name, value in flags.items() if value is not None)
    return f"tools/chaos.py {told} --seed {seed}"


def attempt(given: argparse.Namespace) -> Verdict:
    """Raises: ZdynamoError if there is no verdict."""
    if given.check:
        lines = read(given.check)
        check_whole(lines)
        return judge(lines)
    name, plan = planned(given)
    if any(kind.needs_mounts for kind in plan.kinds()) and not may_mount():
        start_again_to_mount()
        note("FULL DISKS ARE SKIPPED: neither root nor unprivileged user namespaces, so nothing can be mounted")
    seed = random.randrange(10**6) if given.seed is None else given.seed
    note(f"again with: {again(given, seed)}")
    with ExitStack() as stack:
        folder = stack.enter_context(folder_of("chaos", given.keep))
        history = stack.enter_context(_opened(given.history)) if given.history else None
        told = stack.enter_context(progress(plan.steps))
        recorder = Recorder(history)
        run(plan, name, seed, folder, recorder, told)
    check_whole(recorder.lines)
    return judge(recorder.lines)


def _opened(path: Path) -> IO[bytes]:
    """Raises: PlanError."""
    try:
        return path.open("wb")
    except OSError as error:
        raise PlanError(f"--history: {path} cannot be written: {error.strerror}") from None


def main() -> int:
    given = arguments()
    if given.list:
        show_table(["PLAN", "ABOUT"], [(path.stem, chaos_plan.load(path).about) for path in chaos_plan.plans()])
        return 0
    return conclude(lambda: attempt(given), show, as_json=given.json, usage=(PlanError, HistoryDamaged))


if __name__ == "__main__":
    sys.exit(main())
