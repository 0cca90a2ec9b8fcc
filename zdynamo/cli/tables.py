"""Tables for people, and numbers short enough to stand in them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

WIDTH_PIPED = 250  # off a terminal nothing is cut to fit
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


def table_of(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> "Table":
    """States in their colours. `right`: columns of numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(str(cell), style=STATE_STYLES.get(str(cell), "")) for cell in row))
    return table


def lines_of(table: "Table", width: int = WIDTH_PIPED) -> list[str]:
    """As text without colours."""
    from rich.console import Console

    console = Console(highlight=False, width=width, no_color=True)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


def short_count(count: float) -> str:
    """`0`, `0.3`, `17`, `9,999`, `12.3k`, `4.5M`: six characters at most."""
    if count < 10 and count != int(count):
        return f"{count:.1f}"
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1e3:.1f}k" if count < 1e6 else f"{count / 1e6:.1f}M"


def short_bytes(count: int) -> str:
    """`17 B`, `4.0 KiB`, `1.5 GiB`."""
    size, units = float(count), ["B", "KiB", "MiB", "GiB"]
    while size >= 1024 and len(units) > 1:
        size /= 1024
        units.pop(0)
    return f"{size:,.0f} B" if units[0] == "B" else f"{size:,.1f} {units[0]}"


def short_latency(p50_ms: float | None, p99_ms: float | None) -> str:
    """`1.2/15`: the median and the 99th percentile, in milliseconds."""
    return "-" if p50_ms is None or p99_ms is None else f"{_short_ms(p50_ms)}/{_short_ms(p99_ms)}"


def short_span(span_ms: int) -> str:
    """`17 s`, `3 min 5 s`, `2 h 40 min`, `12 d 3 h`."""
    seconds = span_ms // 1000
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60} s"
    if seconds < 86_400:
        return f"{seconds // 3_600} h {seconds % 3_600 // 60} min"
    return f"{seconds // 86_400} d {seconds % 86_400 // 3_600} h"


def _short_ms(ms: float) -> str:
    return f"{ms:.1f}" if ms < 10 else f"{ms:.0f}"
