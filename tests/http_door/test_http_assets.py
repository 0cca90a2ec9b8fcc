"""The files of the page, as they are served."""

import re

import pytest
from support.asgi import Http

from zdynamo.http.assets import page_files

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
SCRIPTS = [name for name in page_files() if name.endswith(".js")]
LINE_MAX = 140
PARSES = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|ContextualFragment|srcdoc|eval\(|Function\("


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_a_page_may_load_nothing_from_elsewhere_and_run_nothing_that_stands_in_it(http: Http, path: str) -> None:
    page = http.get(path)

    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert (page.status, page.headers["content-type"]) == (200, TYPES["html"])
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy and "style-src" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", page_files())
def test_each_file_has_its_type_and_is_sent_again_only_when_it_is_another(http: Http, name: str) -> None:
    first = http.get(f"/page/{name}")
    again = http.get(f"/page/{name}", If_None_Match=f'"other", W/{first.headers["etag"]}')
    other = http.get(f"/page/{name}", If_None_Match='"other"')

    assert (first.status, first.headers["content-type"]) == (200, TYPES[name.rpartition(".")[2]])
    assert first.headers["cache-control"] == "no-cache"
    assert (again.status, again.body) == (304, b"")
    assert (other.status, other.body) == (200, first.body)


def test_all_that_the_files_refer_to_is_there() -> None:
    texts = {name: file.content.decode() for name, file in page_files().items()}
    pages = {name for name in texts if name.endswith(".html")}
    wanted = {name for page in pages for name in re.findall(r'(?:src|href)="page/([^"]+)"', texts[page])}
    wanted |= {name for text in texts.values() for name in re.findall(r'from "\./([^"]+)"', text)}

    assert wanted == set(texts) - pages


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_ever_takes_text_for_markup(name: str) -> None:
    assert not re.search(PARSES, page_files()[name].content.decode())


@pytest.mark.parametrize("name", [name for name in page_files() if name.endswith((".js", ".css"))])
def test_lines_are_not_too_long_to_be_read(name: str) -> None:
    lines = page_files()[name].content.decode().splitlines()

    assert [line for line in lines if len(line) > LINE_MAX] == []


def test_nothing_in_the_files_is_from_elsewhere() -> None:
    for file in page_files().values():
        assert not re.search(r"(?:https?:)?//[a-z]", file.content.decode().replace("http://www.w3.org/2000/svg", ""))


@pytest.mark.parametrize("path", ["/page/", "/page/none.js", "/page/../app.py", "/page/%2e%2e%2fapp.py", "/page/%ff"])
def test_nothing_else_is_served(http: Http, path: str) -> None:
    assert http.get(path).said == (404, "unknown_path")
