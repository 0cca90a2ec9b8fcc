"""How verbs speak: exit codes, values raw or as JSON, tables, notes."""

import base64
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

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
    raw = value if isinstance(value, bytes) else _text(value).encode("utf-8", "surrogateescape") + b"\n"
    if isinstance(value, bytes) and sys.stdout.isatty():
        raw += b"\n"
    sys.stdout.flush()
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


def plain(value: Any) -> Any:
    """The value as JSON can hold it; bytes that are not UTF-8 as `{"base64": ...}`."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {key if isinstance(key, str) else _text(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def encode_context(context: bytes) -> str:
    """A causal context as one word without padding."""
    return base64.urlsafe_b64encode(context).decode().rstrip("=")


def decode_context(text: str) -> bytes:
    """Raises: ValueError if it is no context."""
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


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


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(plain(value))
