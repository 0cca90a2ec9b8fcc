"""The catalogue in docs/logs.md has every event that the code logs, at its level, and no other."""

import ast
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("core", "threads", "cli")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / "zdynamo" / folder).rglob("*.py"))]
ROW = re.compile(r"^\| `([a-z.\d_]+)` \| (\w+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
NAME = re.compile(r"[a-z\d*]+\.[a-z\d_]+")


class Event(NamedTuple):
    """As the code logs it; `*` stands for what it puts in. "" where the level is not constant."""

    name: str
    level: str


def text(node: ast.expr | None) -> str:
    """A constant, or a pattern of what is put together; "" for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) or "*" for part in node.values)
    return ""


def events_of(path: Path) -> set[Event]:
    found: set[Event] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Assign)
            and ast.unparse(node.targets[0]) == "EVENTS"
            and isinstance(node.value, ast.Dict)
        ):
            found |= {Event(text(value), "") for value in node.value.values}
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "Noted" and node.args:
            level = text(node.args[2]) if len(node.args) > 2 else "info"
            found.add(Event(text(node.args[0]), level))
        if (
            isinstance(node.func, ast.Attribute)
            and node.func.attr in ("note", "seldom", "change")
            and len(node.args) > 1
        ):
            found.add(Event(text(node.args[1]), text(node.args[0])))
    return {event for event in found if NAME.fullmatch(event.name)}


def catalogue() -> dict[str, str]:
    """Name to level."""
    rows = ROW.findall((ROOT / "docs" / "logs.md").read_text())
    assert len(rows) == len({name for name, *_ in rows}), "an event stands there twice"
    return {name: level for name, level, _, _ in rows}


def logged() -> set[Event]:
    return set().union(*(events_of(path) for path in SOURCES))


@pytest.mark.parametrize("event", sorted(logged()), ids=lambda event: event.name)
def test_every_event_that_is_logged_is_in_the_catalogue_with_its_level(event: Event) -> None:
    levels = {level for name, level in catalogue().items() if fnmatch(name, event.name)}

    assert levels, f"{event.name} is not in docs/logs.md"
    assert not event.level or event.level in levels


def test_the_catalogue_has_no_event_that_is_never_logged() -> None:
    patterns = {event.name for event in logged()}

    assert len(patterns) > 30
    assert [name for name in catalogue() if not any(fnmatch(name, pattern) for pattern in patterns)] == []


def test_names_of_events_are_a_noun_and_what_has_happened() -> None:
    assert [name for name in catalogue() if not NAME.fullmatch(name)] == []
