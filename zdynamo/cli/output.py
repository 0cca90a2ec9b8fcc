"""How verbs speak: exit codes, values raw or as JSON, tables, notes."""

import json
import sys
from collections.abc import Iterable, Sequence

from zdynamo.plain import text

DONE = 0
FAILED = 1  # refused or failed
USAGE = 2
NOT_FOUND = 3
QUORUM_NOT_MET = 4
INTERRUPTED = 130

TABLE_WIDTH_PIPED = 250  # off a terminal nothing is cut to fit
STATE_STYLES = {
    "alive": "green",
    "suspect": "yellow",
    "down": "red",
    "settled": "green",
    "unsettled": "yellow",
    "unreachable": "red",
    "tombstone": "yellow",
    "expired": "yellow",
    "yes": "green",
    "no": "red",
    "unknown": "yellow",
}


def one_line(text: object) -> str:
    """Any text without line breaks."""
    return " ".join(str(text).split())


def counted(count: int, noun: str) -> str:
    """`1 key`, `2 keys`."""
    return f"{count} {noun}{'s' * (count != 1)}"


def note(text: str) -> None:
    """One line for people, beside the output."""
    print(f"zdynamo: {one_line(text)}", file=sys.stderr, flush=True)


def show_json(document: object) -> None:
    """One JSON document; in lines for people only on a terminal."""
    print(json.dumps(document, indent=2 if sys.stdout.isatty() else None), flush=True)


def show_value(value: object) -> None:
    """Text with a newline, bytes exactly as they are (a newline only on a terminal), other data as JSON."""
    raw = value if isinstance(value, bytes) else text(value).encode("utf-8", "surrogateescape") + b"\n"
    if isinstance(value, bytes) and sys.stdout.isatty():
        raw += b"\n"
    sys.stdout.flush()
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> None:
    """Columns of text; colours and the terminal's width only on a terminal. `right`: columns of numbers."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(str(cell), style=STATE_STYLES.get(str(cell), "")) for cell in row))
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
        return
    console = Console(highlight=False, width=TABLE_WIDTH_PIPED)
    with console.capture() as capture:
        console.print(table)
    print("\n".join(line.rstrip() for line in capture.get().splitlines()), flush=True)
