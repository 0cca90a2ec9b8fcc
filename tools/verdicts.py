"""How a tool ends: its verdict, for people or as JSON, and an exit code that says whether it holds."""

import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from msgspec import to_builtins

from zdynamo.cli.output import DONE, FAILED, INTERRUPTED, USAGE, note, show_json
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
    except (FolderUnusable, *usage) as error:
        note(str(error))
        return USAGE
    except ZdynamoError as error:
        note(f"no verdict: {error}")
        return FAILED
    except KeyboardInterrupt:
        note("stopped before there was a verdict")
        return INTERRUPTED
    if as_json:
        show_json(told(verdict) | {"holds": verdict.holds})
    else:
        show(verdict)
    return DONE if verdict.holds else FAILED


class FolderUnusable(ZdynamoError):
    """The folder to run in cannot be made, or holds something."""


@contextmanager
def folder_of(tool: str, keep: Path | None = None) -> Iterator[Path]:
    """One that is gone afterwards, unless another is to be kept. Raises: FolderUnusable."""
    if keep:
        try:
            keep.mkdir(parents=True, exist_ok=True)
            empty = not any(keep.iterdir())
        except OSError as error:
            raise FolderUnusable(f"{keep} cannot be used: {error.strerror}") from None
        if not empty:
            raise FolderUnusable(f"{keep} is not empty: choose another folder, or remove it")
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix=f"zdynamo-{tool}-") as folder:
        yield Path(folder)
