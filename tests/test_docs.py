"""Every link in the docs leads somewhere, every page is in the site, and every tool is told of."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
BESIDE = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*(ROOT / name for name in BESIDE), *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[(?:`[^`]*`|[^\]`])*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ELSEWHERE = ("https://", "http://")


@pytest.fixture(scope="module")
def site() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "site.py"))


def prose_of(page: Path) -> str:
    return FENCED.sub("", page.read_text())


def anchors_of(page: Path, site: dict[str, Any]) -> set[str]:
    linked = re.compile(r"\[([^\]]*)\]\([^)]*\)")
    return {site["slug"](linked.sub(r"\1", heading)) for heading in HEADING.findall(prose_of(page))}


def nav_of(part: object) -> list[str]:
    if isinstance(part, str):
        return [part]
    return [name for item in (part.values() if isinstance(part, dict) else part) for name in nav_of(item)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_that_exist(page: Path, site: dict[str, Any]) -> None:
    broken = []
    for link in LINK.findall(prose_of(page)):
        if link.startswith(ELSEWHERE):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        found = target.exists() and target.is_relative_to(ROOT)
        if not found or (anchor and anchor not in anchors_of(target, site)):
            broken.append(link)

    assert broken == []


def test_every_tool_stands_in_the_table_of_tools() -> None:
    named = re.findall(r"`(tools/[\w*]+\.\w+)`", (ROOT / "CONTRIBUTING.md").read_text())
    there = {path.relative_to(ROOT) for path in (ROOT / "tools").iterdir() if path.is_file()}

    assert [path for path in there if not any(path.match(name) for name in named)] == []
    assert [name for name in named if not any(path.match(name) for path in there)] == []


def test_headings_of_a_page_have_anchors_of_their_own(site: dict[str, Any]) -> None:
    for page in PAGES:
        headings = HEADING.findall(prose_of(page))
        if page.name != "CHANGELOG.md":
            assert len({site["slug"](heading) for heading in headings}) == len(headings), page


def test_every_page_is_in_the_navigation_once() -> None:
    nav = nav_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])

    missing = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.parent == ROOT / "docs"} - set(nav)
    assert missing == set(), "add it to nav in mkdocs.yml"
    assert len(nav) == len(set(nav))
    assert [name for name in nav if not any((folder / name).exists() for folder in (ROOT / "docs", ROOT))] == []


def test_links_are_the_same_in_the_site(site: dict[str, Any]) -> None:
    assert site["in_site"]("see [this](docs/http.md#errors), [that](LICENSE)", "ARCHITECTURE.md") == (
        "see [this](http.md#errors), [that](LICENSE)"
    )
    assert site["in_site"]("see [this](http.md), [that](../configs/a.toml)", "options.md") == (
        "see [this](http.md), [that](configs/a.toml)"
    )


@pytest.mark.parametrize(
    ("html", "loaded"),
    [
        ('<script src="https://cdn/x.js"></script>', ["https://cdn/x.js"]),
        ('<link href="//fonts/x.css" rel="stylesheet">', ["//fonts/x.css"]),
        ('<img alt="" src="http://elsewhere/x.png">', ["http://elsewhere/x.png"]),
        ('<a href="https://elsewhere">a link loads nothing</a><script src="assets/x.js"></script>', []),
    ],
)
def test_what_a_page_loads_from_elsewhere_is_found(html: str, loaded: list[str], site: dict[str, Any]) -> None:
    assert site["loaded_from_elsewhere"](html) == loaded
