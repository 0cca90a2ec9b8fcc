"""The verb `repair`: nodes compare what they hold with the other owners at once, and bring it together."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zdynamo.cli.data import DEFAULT_TIMEOUT_MS
from zdynamo.cli.options import DEFAULT_NODE, JsonOption, NodeOption, TimeoutOption, check_node
from zdynamo.cli.output import FAILED, counted, note, one_line, show_json, show_table

if TYPE_CHECKING:
    from zdynamo.messages import MemberView, RepairProgress, Topology

ALL = -1  # in place of a partition
DIGITS_MAX = 9  # of a partition; with more there is none
LOOK_SECONDS = 0.2  # between two looks at how far it is
FIGURES = (
    "done",
    "total",
    "compared",
    "differing",
    "stored_here",
    "stored_there",
)  # in JSON; null if it has not answered
WAITS_SECONDS = 5.0  # between two lines about what a node waits for

TargetArgument = Annotated[
    str,
    typer.Argument(
        metavar="NODE|PARTITION",
        help="A node by its name, id or address, or the number of a partition. Without it: every node.",
    ),
]


@dataclass
class Told:
    """A node that has been told to repair."""

    member: "MemberView"
    progress: "RepairProgress | None" = None
    error: str = ""  # why nothing more is known of it

    @property
    def over(self) -> bool:
        return bool(self.error) or (self.progress is not None and self.progress.done)


def repair(
    target: TargetArgument = "",
    node: NodeOption = DEFAULT_NODE,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Compare copies now, and bring them together.

    Nodes do this all the time by themselves. This begins at once, leaves nothing out, and shows what came of it.

    Each partition is compared with each other owner. COMPARED: so many were; DIFFERING: so many were not alike. STORED
    HERE and THERE: keys of which the node, and the others, had less. Ctrl-C ends the watching, not the repair.

    Example: zdynamo repair; of one node: zdynamo repair node-2; of a partition: zdynamo repair 17
    """
    check_node(node)
    from zdynamo.cli.ask import topology_of

    topology = topology_of(node, timeout_ms)
    members, partition = _told(target, topology)
    told = [Told(member) for member in members]
    with _bar() as show:
        _watch(told, partition, topology.cluster, timeout_ms, show)
    if as_json:
        show_json([_document(each) for each in told])
    else:
        _show(told)
    if any(each.error or (each.progress and each.progress.failed) for each in told):
        raise typer.Exit(FAILED)


def _told(target: str, topology: "Topology") -> "tuple[list[MemberView], int]":
    """Which members are told, and of which partition. Raises: typer.BadParameter, Refused."""
    from zdynamo.errors import Refused

    members = sorted(topology.members, key=lambda member: (member.record.name, member.record.id))
    named = [
        member for member in members if target in (member.record.name, member.record.id, member.record.addresses.client)
    ]
    if topology.layout is None:
        raise Refused("the cluster has taken no data yet: there is nothing to repair")
    if len(named) > 1:
        raise typer.BadParameter(f"several nodes are called {target}: use an id of zdynamo members", param_hint="NODE")
    if named:
        if named[0].state == "down":
            raise Refused(f"{target} is down: start it, or repair its partitions at another node")
        return named, ALL
    if target.isdecimal():
        last = len(topology.owners) - 1
        if len(target) > DIGITS_MAX or int(target) > last:
            raise typer.BadParameter(
                f"there is no partition {target[:DIGITS_MAX]}: use 0 to {last}", param_hint="PARTITION"
            )
        owners = topology.owners[int(target)]
        return [member for member in members if member.record.id in owners], int(target)
    if target:
        names = ", ".join(member.record.name for member in members)
        raise typer.BadParameter(f"there is no node {target!r}: use one of {names}, or a partition", param_hint="NODE")
    owning = {owner for owners in topology.owners for owner in owners}
    return [member for member in members if member.record.id in owning], ALL


def _watch(told: list[Told], partition: int, cluster: str, timeout_ms: int, show: Callable[[list[Told]], None]) -> None:
    """Tell them, and ask until all are through."""
    for each in told:
        _ask(each, partition, cluster, timeout_ms)
    show(told)
    while not all(each.over for each in told):
        time.sleep(LOOK_SECONDS)
        for each in told:
            if not each.over:
                _ask(each, partition, cluster, timeout_ms)
        show(told)


def _ask(told: Told, partition: int, cluster: str, timeout_ms: int) -> None:
    from zdynamo.cli.ask import ask
    from zdynamo.errors import ZdynamoError
    from zdynamo.messages import Repair, RepairProgress

    if told.member.state == "down":
        told.error = "down"
        return
    run = told.progress.run if told.progress else 0
    address = told.member.record.addresses.client
    try:
        told.progress = ask(
            address, lambda request: Repair(request, cluster, partition, run), RepairProgress, timeout_ms
        )
    except ZdynamoError as error:
        told.error = one_line(error)


@contextmanager
def _bar() -> Iterator[Callable[[list[Told]], None]]:
    """A progress bar on a terminal; elsewhere now and then a line about what is waited for."""
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("comparing", total=None)

        def show(told: list[Told]) -> None:
            total, through, waits = _sums(told)
            progress.update(task, total=total or None, completed=through, description=waits or "comparing")

        yield show


class _Lines:
    """What nodes wait for, in lines."""

    def __init__(self) -> None:
        self._next = time.monotonic() + WAITS_SECONDS

    def show(self, told: list[Told]) -> None:
        waits = _sums(told)[2]
        if waits and time.monotonic() >= self._next:
            self._next = time.monotonic() + WAITS_SECONDS
            note(waits)


def _sums(told: list[Told]) -> tuple[int, int, str]:
    """Of all nodes: how many partitions there are, how many are through, and what one of them waits for."""
    answers = [(each, each.progress) for each in told if each.progress]
    total = sum(progress.total for _, progress in answers)
    through = sum(progress.compared + _failures(progress) for _, progress in answers)
    waits = next((f"{each.member.record.name}: {progress.waits}" for each, progress in answers if progress.waits), "")
    return total, through, waits


def _failures(progress: "RepairProgress") -> int:
    return sum(count for _, count in progress.failed)


def _document(told: Told) -> dict[str, Any]:
    record, progress = told.member.record, told.progress
    named = {"name": record.name, "id": record.id, "address": record.addresses.client}
    figures = {name: getattr(progress, name, None) for name in FIGURES}
    failed = dict(progress.failed) if progress else None
    return {**named, "error": told.error or None, **figures, "failed": failed}


def _numbers(progress: "RepairProgress | None") -> tuple[object, ...]:
    if progress is None:
        return ("-",) * 5
    compared = f"{progress.compared} of {progress.total}"
    return compared, progress.differing, progress.stored_here, progress.stored_there, _failures(progress)


def _show(told: list[Told]) -> None:
    numbers = ("COMPARED", "DIFFERING", "STORED HERE", "STORED THERE", "FAILED")
    rows = [(each.member.record.name, each.member.record.addresses.client, *_numbers(each.progress)) for each in told]
    show_table(("NAME", "ADDRESS", *numbers), rows, right=numbers)
    for each in told:
        if each.error:
            note(f"{each.member.record.name}: {each.error}")
        for why, count in each.progress.failed if each.progress else ():
            note(f"{each.member.record.name}: {counted(count, 'partition')} not compared: {why}")
