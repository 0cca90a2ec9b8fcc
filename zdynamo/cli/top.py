"""The verb `top`: what every node is doing, live."""

import shutil
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from zdynamo.cli.moments import look
from zdynamo.cli.options import DEFAULT_NODE, JsonOption, NodeOption, TimeoutOption, connect
from zdynamo.cli.output import one_line, show_json
from zdynamo.cli.tables import WIDTH_PIPED, lines_of, short_count, short_latency, table_of
from zdynamo.figures.documents import cluster_document, load_between
from zdynamo.figures.loads import Latency, Load, agreement
from zdynamo.figures.moments import Moment, notices

if TYPE_CHECKING:
    from rich.console import RenderableType

    from zdynamo.client import Client
    from zdynamo.messages import MemberView

ANSWER_MS = 1_000  # that nodes have for their figures: who needs longer is shown as not answering
LEAST_ROOM = 3  # lines of notices shown, however low the terminal is
LOOK_SECONDS = 0.1  # between looks for Ctrl-C
COLUMNS = ("NODE", "STATE", "BUSY", "PUT/S", "PUT MS", "GET/S", "GET MS", "FAIL/S", "HELD", "REPAIR/S")
NUMBERS = COLUMNS[2:]
NAME_WIDTH = 12  # of a node, shown however narrow the terminal is
GAP = 2  # blanks behind a column

OnceOption = Annotated[bool, typer.Option("--once", help="Look for one interval, print it, and end.")]
IntervalOption = Annotated[
    float, typer.Option("--interval", min=0.1, max=60, metavar="SECONDS", help="Seconds between two looks.")
]


def top(
    node: NodeOption = DEFAULT_NODE,
    once: OnceOption = False,
    interval: IntervalOption = 1.0,
    timeout_ms: TimeoutOption = ANSWER_MS,
    as_json: JsonOption = False,
) -> None:
    """Show live what every node is doing.

    Requests are those that clients have sent to the node, with their median and 99th percentile. BUSY: the share of
    its time that its process loop is at work. HELD: records kept for members that are away. REPAIR/S: records brought
    to replicas that lacked them. Below: what an operator should know. Ctrl-C ends it.

    With --json: a line for each interval, until Ctrl-C, or one with --once.

    Example: zdynamo top; for a script: zdynamo top --once --json
    """
    with connect(node, timeout_ms) as client:
        try:
            if once or as_json or not sys.stdout.isatty():
                _print(client, interval, timeout_ms, once=once, as_json=as_json)
            else:
                _live(client, interval, timeout_ms)
        except KeyboardInterrupt:  # how it is meant to end
            return


def _print(client: "Client", interval: float, timeout_ms: int, *, once: bool, as_json: bool) -> None:
    before = look(client, timeout_ms)
    while True:
        time.sleep(interval)
        after = look(client, timeout_ms)
        if as_json:
            show_json(cluster_document(before, after))
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDTH_PIPED
            print("\n".join(lines(before, after, width)), flush=True)
        if once:
            return
        before = after


def _live(client: "Client", interval: float, timeout_ms: int) -> None:
    """On the other screen of the terminal, which shows again what it did when this ends."""
    from rich.console import Console
    from rich.live import Live

    from zdynamo.errors import RequestError

    console = Console(highlight=False)
    moments: list[Moment] = [look(client, timeout_ms)]
    problem = ""

    def shown() -> "RenderableType":
        before = moments[0] if len(moments) > 1 else None
        return picture(before, moments[-1], console.width, console.height, problem)

    with _interrupted() as interrupted, Live(shown(), console=console, screen=True, auto_refresh=False) as live:
        while not _rests(interval, interrupted):
            try:
                moments, problem = [moments[-1], look(client, timeout_ms)], ""
            except RequestError as error:
                problem = one_line(error)
            live.update(shown(), refresh=True)


@contextmanager
def _interrupted() -> Iterator[list[int]]:
    """Not empty after Ctrl-C; the second is an exception. One alone could get lost where it is raised."""
    seen: list[int] = []

    def note(number: int, frame: object) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _rests(seconds: float, interrupted: list[int]) -> bool:
    """Whether it was interrupted."""
    end = time.monotonic() + seconds
    while not interrupted and (left := end - time.monotonic()) > 0:
        time.sleep(min(left, LOOK_SECONDS))
    return bool(interrupted)


def picture(before: Moment | None, after: Moment, width: int, height: int, problem: str = "") -> "RenderableType":
    """A screen: the cluster in a line, a table of its nodes, and as many notices as there is room for."""
    from rich.console import Group
    from rich.text import Text

    rows = _rows(before, after, width)
    room = max(LEAST_ROOM, height - len(rows) - 5)
    noted = [problem] if problem else []
    noted += notices(after, after.members)
    shown = [Text(notice, no_wrap=True, overflow="ellipsis") for notice in noted[:room]]
    if len(noted) > room:
        shown.append(Text(f"and {len(noted) - room} more: zdynamo status", style="dim"))
    title = Text(headline(after), style="bold", no_wrap=True, overflow="ellipsis")
    return Group(title, Text(), table_of(COLUMNS, rows, NUMBERS), Text(), *shown)


def lines(before: Moment | None, after: Moment, width: int) -> list[str]:
    """The same as text."""
    table = table_of(COLUMNS, _rows(before, after, width), NUMBERS)
    return [headline(after), *lines_of(table, width), *notices(after, after.members)]


def headline(moment: Moment) -> str:
    topology = moment.topology
    alive = sum(member.state == "alive" for member in moment.members)
    layout = f"layout {topology.layout.number}" if topology.layout else "no layout yet"
    differ = [name for name, same in agreement(moment).items() if not same]
    agree = f"nodes differ in {', '.join(differ)}" if differ else "all agree"
    return f"cluster {topology.cluster}  {alive} of {len(moment.members)} alive  {layout}  {agree}"


def _rows(before: Moment | None, after: Moment, width: int) -> list[tuple[str, ...]]:
    """A row for each node and one for all; names are whole if there is room."""
    rows = [*(_row(member, before, after) for member in after.members), _sum(before, after)]
    name, *others = (max(map(len, column)) + GAP for column in zip(COLUMNS, *rows, strict=True))
    room = max(NAME_WIDTH, min(name, width - sum(others)) - GAP)
    return [(_cut(row[0], room), *row[1:]) for row in rows]


def _cut(name: str, room: int) -> str:
    """In the middle: hosts may differ at the beginning, ports at the end."""
    if len(name) <= room:
        return name
    end = room // 2
    return f"{name[: room - end - 1]}…{name[-end:]}"


def _row(member: "MemberView", before: Moment | None, after: Moment) -> tuple[str, ...]:
    answer, load = after.of(member), load_between(member, before, after)
    name, state = member.record.name, member.state
    if isinstance(answer, str) or load is None:
        return (name, state, *("-",) * len(NUMBERS))
    held = sum(each.count for each in answer.hints)
    return (name, state, f"{load.busy:.0%}", *_requests(load), *_rest(load.failed, held, load.repaired))


def _sum(before: Moment | None, after: Moment) -> tuple[str, ...]:
    """Of all nodes; percentiles do not add up."""
    loads = [load for member in after.members if (load := load_between(member, before, after))]
    put, get = (sum(load.requests.get(kind, 0.0) for load in loads) for kind in ("put", "get"))
    answers = [answer for answer in after.told.values() if not isinstance(answer, str)]
    held = sum(each.count for answer in answers for each in answer.hints)
    rest = _rest(sum(load.failed for load in loads), held, sum(load.repaired for load in loads))
    return ("all", "", "", short_count(put), "", short_count(get), "", *rest)


def _requests(load: Load) -> list[str]:
    """Of puts and gets how many, and how long."""
    cells: list[str] = []
    for kind in ("put", "get"):
        cells += [
            short_count(load.requests.get(kind, 0.0)),
            short_latency(*load.latency.get(kind, Latency(None, None))),
        ]
    return cells


def _rest(failed: float, held: int, repaired: float) -> list[str]:
    return [short_count(failed), short_count(held), short_count(repaired)]
