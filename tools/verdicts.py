"""How a tool ends: its verdict, for people or as JSON, and an exit code that says whether it holds."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import to_builtins

from zdynamo.cli.output import DONE, FAILED, USAGE, note, show_json
from zdynamo.errors import ZdynamoError


class Verdict(Protocol):
    @property
    def holds(self) -> bool: ...


V = TypeVar("V", bound=Verdict)


def conclude(
    attempt: Callable[[], V],
    show: Callable[[V], None],
    *,
    as_json: bool,
    told: Callable[[V], dict[str, Any]] = to_builtins,
    usage: tuple[type[ZdynamoError], ...] = (),
) -> int:
    """Come to a verdict and show it; the exit code.

    `told`: what the JSON document has beside `holds`. `usage`: errors of whoever has asked.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        verdict = attempt()
    except usage as error:
        note(str(error))
        return USAGE
    except ZdynamoError as error:
        note(f"no verdict: {error}")
        return FAILED
    if as_json:
        show_json(told(verdict) | {"holds": verdict.holds})
    else:
        show(verdict)
    return DONE if verdict.holds else FAILED


@contextmanager
def folder_of(tool: str, keep: Path | None = None) -> Iterator[Path]:
    """One that is gone afterwards, unless another is to be kept."""
    if keep:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix=f"zdynamo-{tool}-") as folder:
        yield Path(folder)
