"""The messages and events that docs/troubleshooting.md explains are those that the code has."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
HEADINGS = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)
OWN_WORDS = re.compile(r"[A-Z]")  # a heading of the page's own; a message begins in lower case, or with what differs
PIECE_MIN = 4  # characters that say something


def texts() -> list[str]:
    """Every text in the code; what is put in is `...`."""
    found = []
    for path in sorted((ROOT / "zdynamo").rglob("*.py")):
        tree = ast.parse(path.read_text())
        found += [text_of(node) for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr)]
    return found


def text_of(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(text_of(part) if isinstance(part, ast.Constant) else "..." for part in node.values)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def said() -> str:
    return "\n".join(texts())


@pytest.mark.parametrize("heading", [each for each in HEADINGS if not OWN_WORDS.match(each)])
def test_a_message_that_is_explained_is_one_of_the_code(heading: str, said: str) -> None:
    pieces = [piece.strip() for piece in re.split(r"\.\.\.|[():]", heading)]  # where texts are put together

    assert [piece for piece in pieces if len(piece) >= PIECE_MIN and piece not in said] == []


def test_there_are_enough_of_them() -> None:
    assert len([heading for heading in HEADINGS if not OWN_WORDS.match(heading)]) > 20


@pytest.mark.parametrize("page", ["troubleshooting.md", "operations.md", "deploy.md"])
def test_every_event_and_setting_that_is_named_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    events = set(re.findall(r"^\| `([a-z.\d_]+)` \| \w+ \|", (ROOT / "docs" / "logs.md").read_text(), re.MULTILINE))
    settings = re.findall(r"^## \[(\w+)\]$|^\| `(\w+)` \|", (ROOT / "docs" / "options.md").read_text(), re.MULTILINE)
    known, section = set(events), ""
    for named, key in settings:
        section = named or section
        known.add(f"{section}.{key}")

    named = set(re.findall(r"`([a-z]+\.[a-z_]+)`", text))
    files = {name for name in named if name.endswith((".json", ".yml", ".toml", ".md", ".py"))}
    assert named - files - known == set()
