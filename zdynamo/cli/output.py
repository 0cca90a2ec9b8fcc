"""How verbs speak: exit codes, values raw or as JSON, tables, notes."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from zdynamo.cli.tables import lines_of, table_of
from zdynamo.errors import ZdynamoError
from zdynamo.plain import text

DONE = 0
FAILED = 1  # refused or failed
USAGE = 2
NOT_FOUND = 3
QUORUM_NOT_MET = 4
INTERRUPTED = 130


class WrongUsage(ZdynamoError):
    """The command line, or a setting given with it, is wrong in itself; exit code 2."""


@contextmanager
def as_usage(kind: type[ZdynamoError]) -> Iterator[None]:
    """Errors of that kind are those of the command line. Raises: WrongUsage."""
    try:
        yield
    except kind as error:
        raise WrongUsage(str(error)) from None


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

    table = table_of(columns, rows, right)
    if sys.stdout.isatty():
        Console(highlight=False).print(table)
    else:
        print("\n".join(lines_of(table)), flush=True)
