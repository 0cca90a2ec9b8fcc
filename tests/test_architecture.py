"""The shape of the code: layers import downwards only, the core is pure, sizes stay readable."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "zdynamo"
SOURCES = sorted(PACKAGE.rglob("*.py"))

BOTTOM = {"messages", "errors", "partition"}
ALLOWED = {  # layer -> the layers it may import, besides itself
    "messages": set(),
    "errors": set(),
    "partition": set(),
    "codec": {"messages", "errors"},
    "config": set(),
    "loading": {"errors", "config", "merging"},
    "tracing": {"errors", "config", "partition"},
    "plain": set(),
    "merging": {"errors"},
    "merges": {"merging"},
    "core": BOTTOM,
    "storage": BOTTOM | {"core", "config"},
    "threads": BOTTOM | {"core", "storage", "codec", "config", "tracing"},
    "testing": BOTTOM | {"core", "storage", "codec", "config", "client"},  # of the client what is pure, see below
    "client": BOTTOM | {"codec", "merging", "tracing"},
    "fixtures": BOTTOM | {"core", "storage", "codec", "config", "threads", "client", "testing", "loading"},
    "pytest_plugin": {"errors", "fixtures"},
    "figures": BOTTOM | {"plain"},
    "http": BOTTOM | {"codec", "config", "client", "plain", "figures", "tracing"},
    "cli": BOTTOM
    | {"core", "storage", "codec", "config", "threads", "client", "testing", "loading", "merging"}
    | {"http", "plain", "figures", "tracing"},
    "__main__": {"cli"},
    "__init__": {"client", "errors", "merging"},
}
PURE_CLIENT = {"core", "events", "requests", "routes", "sinks"}
IMPURE = {"zmq", "msgpack", "structlog", "threading", "time", "random", "socket", "os", "asyncio", "logging", "pathlib"}
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 70


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_layer_imports_only_what_lies_below_it(path: Path) -> None:
    layer = layer_of(path)
    used = {name.split(".")[1] for name in imports_of(path) if name.startswith("zdynamo.")}

    assert used - {layer, "__version__"} <= ALLOWED[layer]


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=lambda path: path.stem)
def test_the_core_knows_no_socket_clock_or_chance(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports_of(path)} & IMPURE


@pytest.mark.parametrize("path", sorted((PACKAGE / "testing").rglob("*.py")), ids=lambda path: path.stem)
def test_the_simulator_knows_no_socket_and_no_thread(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports_of(path)} & {"zmq", "threading", "time", "asyncio", "socket"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "testing").rglob("*.py")), ids=lambda path: path.stem)
def test_the_simulator_uses_of_the_client_what_has_no_socket(path: Path) -> None:
    used = {name.split(".")[2] for name in imports_of(path) if name.startswith("zdynamo.client.")}

    assert used <= PURE_CLIENT


def test_pytest_is_imported_by_the_plugin_alone_and_the_plugin_imports_nothing_of_zdynamo_at_first() -> None:
    tree = ast.parse((PACKAGE / "pytest_plugin.py").read_text())
    at_first = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}

    assert [path.stem for path in SOURCES if "pytest" in imports_of(path)] == ["pytest_plugin"]
    assert not [module for module in at_first if module and module.startswith("zdynamo")]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    long = [
        node.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= FUNCTION_LINES_MAX
    ]

    assert not long
    assert path.name == "messages.py" or text.count("\n") <= MODULE_LINES_MAX


def test_opentelemetry_is_imported_where_traces_are_made_and_these_modules_only_when_they_are() -> None:
    using = {path for path in SOURCES if any("opentelemetry" in name for name in imported_at_first(path))}
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in using}

    assert modules == {
        "zdynamo.client.spans", "zdynamo.http.spans", "zdynamo.threads.tracing", "zdynamo.tracing.export",
        "zdynamo.tracing.spans",
    }  # fmt: skip
    for path in set(SOURCES) - using:
        assert not imported_at_first(path) & modules, path


def imported_at_first(path: Path) -> set[str]:
    """Modules that are imported when this one is."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module}
    return found


def test_nothing_is_ever_unpickled() -> None:
    for path in SOURCES:
        assert not {name.split(".")[0] for name in imports_of(path)} & {"pickle", "marshal", "shelve"}


def test_the_picture_names_every_module_of_the_core_in_its_package() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    section = text[text.index("## The core, package by package") : text.index("## The way of one put")]
    rows = re.findall(r"^\| `(\w+)/` \| [^|]+ \| ([^|]+) \|$", section, re.MULTILINE)
    named = {package: set(re.findall(r"`(\w+)`", modules)) for package, modules in rows}
    core = PACKAGE / "core"
    packages = {"core": core} | {path.parent.name: path.parent for path in core.glob("*/__init__.py")}

    assert named == {name: {path.stem for path in folder.glob("[!_]*.py")} for name, folder in packages.items()}
