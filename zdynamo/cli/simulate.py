"""The verb `simulate`: whole clusters in virtual time, with faults; every promise is checked after each run."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from zdynamo.cli.options import JsonOption
from zdynamo.cli.output import FAILED, counted, note, show_json, show_table
from zdynamo.plain import plain

if TYPE_CHECKING:
    from zdynamo.testing.runs import Plan, Result

NODES_MIN, NODES_MAX = 3, 9
BROKEN_SHOWN = 5  # of a run
FAULTS = (  # as `zdynamo.testing.fault_kinds` has them; not imported for every other verb
    "kill, pause, restart, join, loss, duplicate, delay, slow-link, one-way, isolate, halves, bridge, slow-disk, "
    "full-disk, broken-disk, power-cut, lost-disk, old-copy, snapshot, skew, jump"
)


def simulate(
    seed: Annotated[
        str, Option("--seed", metavar="S|from-date", help="The first seed; from-date: other ones each week.")
    ] = "1",
    seeds: Annotated[int, Option("--seeds", metavar="K", min=1, help="How many, one after the other.")] = 20,
    nodes: Annotated[
        int, Option("--nodes", metavar="N", min=0, max=NODES_MAX, help="0: 3 to 9, as the seed says.")
    ] = 0,
    faults: Annotated[
        list[str] | None,
        Option("--faults", metavar="NAME[,NAME...]", help=f"Default: all; none: no faults. Names: {FAULTS}."),
    ] = None,
    seconds: Annotated[
        float,
        Option("--seconds", metavar="T", min=1, max=86_400, help="Virtual seconds of load and faults in each run."),
    ] = 20.0,
    jobs: Annotated[int, Option("--jobs", metavar="J", min=1, help="Processes.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Break simulated clusters, and check every promise.

    Whole clusters run in virtual time, and all follows from the seed. A seed that breaks a promise is told as a story,
    with the command that runs it again. Exit code 1: a promise was broken.

    Example: zdynamo simulate --seeds 100 --jobs 2

    Example: zdynamo simulate --seed 7 --seeds 1 --nodes 5 --faults kill,pause
    """
    from zdynamo.cli.seeds import first_seed, results
    from zdynamo.testing.runs import Plan

    kinds = _kinds(faults)
    if 0 < nodes < NODES_MIN:
        raise typer.BadParameter(f"use {NODES_MIN} to {NODES_MAX}, or 0", param_hint="--nodes")
    try:
        first = first_seed(seed, date.today())
    except ValueError:
        raise typer.BadParameter("write a whole number, or from-date", param_hint="--seed") from None
    plans = [Plan(seed=first + number, nodes=nodes, faults=kinds, seconds=seconds) for number in range(seeds)]
    if not as_json:
        note(f"seeds {first} to {first + seeds - 1}")
    done: list[Result] = []
    spent_s = 0.0
    with _progress(seeds) as advance:
        for result, took_s in results(plans, jobs):
            done.append(result)
            spent_s += took_s
            advance(len([each for each in done if each.broken]))
    failed = [result for result in done if result.broken]
    if as_json:
        show_json(_document(done, failed, spent_s, given=faults))
    else:
        _show(done, spent_s)
        _tell(failed, given=faults)
    if failed:
        raise typer.Exit(FAILED)


def _kinds(texts: list[str] | None) -> tuple[str, ...]:
    from zdynamo.testing.fault_kinds import KINDS

    if texts is None:
        return tuple(KINDS)
    names = [name for text in texts for name in text.split(",")]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in KINDS:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(KINDS)}; or none, alone", param_hint="--faults")
    return tuple(dict.fromkeys(names))


@contextmanager
def _progress(runs: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda failed: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=runs)

        def advance(failed: int) -> None:
            progress.update(task, advance=1, description=f"simulating, {failed} failed" if failed else "simulating")

        yield advance


def _show(done: "list[Result]", spent_s: float) -> None:
    """What was done."""
    virtual_s = sum(result.virtual_ms for result in done) / 1_000
    operations, faults = _sums(done)
    print(
        f"{counted(len(done), 'run')}, {virtual_s:,.0f} virtual seconds in {spent_s:,.1f} s of one core: "
        f"{virtual_s / max(spent_s, 0.001):,.0f} times real time"
    )
    rows = [
        (f"{kind} {outcome or 'unfinished'}", f"{number:,}") for (kind, outcome), number in sorted(operations.items())
    ]
    show_table(("OPERATIONS", "COUNT"), rows, right=("COUNT",))
    if faults:
        show_table(
            ("FAULTS", "COUNT"), [(name, f"{number:,}") for name, number in faults.most_common()], right=("COUNT",)
        )
    sys.stdout.flush()


def _tell(failed: "list[Result]", given: list[str] | None) -> None:
    """The first failure as a story, and how to see each again."""
    from zdynamo.testing.runs import story

    for number, result in enumerate(failed):
        for broken in result.broken[:BROKEN_SHOWN]:
            print(f"seed {result.plan.seed} breaks {broken}")
        if number == 0:
            key = next((broken.key for broken in result.broken if broken.key is not None), None)
            if key is not None:
                bucket, named = key
                print(f"the story of {named.decode(errors='backslashreplace')} in bucket {bucket}, in milliseconds:")
            for line in story(result.plan, key):
                print(line)
        print(f"again: {_command(result.plan, given)}")
    sys.stdout.flush()
    verdict = f"{counted(len(failed), 'seed')} broke a promise" if failed else "no promise was broken"
    print(verdict, flush=True)


def _command(plan: "Plan", given: list[str] | None) -> str:
    """The command that runs exactly this one."""
    command = f"zdynamo simulate --seed {plan.seed} --seeds 1 --seconds {plan.seconds:g}"
    if plan.nodes:
        command += f" --nodes {plan.nodes}"
    if given is not None:
        command += f" --faults {','.join(plan.faults) or 'none'}"
    return command


def _sums(done: "list[Result]") -> tuple[Counter[tuple[str, str]], Counter[str]]:
    operations: Counter[tuple[str, str]] = Counter()
    faults: Counter[str] = Counter()
    for result in done:
        operations.update(result.operations)
        faults.update(fault.name for fault in result.faults)
    return operations, faults


def _document(done: "list[Result]", failed: "list[Result]", spent_s: float, given: list[str] | None) -> dict[str, Any]:
    operations, faults = _sums(done)
    return {
        "first_seed": done[0].plan.seed,
        "seeds": len(done),
        "virtual_s": sum(result.virtual_ms for result in done) / 1_000,
        "processor_s": round(spent_s, 3),
        "operations": {f"{kind} {outcome}": number for (kind, outcome), number in sorted(operations.items())},
        "faults": dict(sorted(faults.items())),
        "failed": [
            {
                "seed": result.plan.seed,
                "broken": [
                    {"promise": each.promise, "what": each.what, "key": plain(list(each.key)) if each.key else None}
                    for each in result.broken
                ],
                "again": _command(result.plan, given),
            }
            for result in failed
        ],
    }
