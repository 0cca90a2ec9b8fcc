"""Which functions clients may call to merge siblings, and how they are named."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from zdynamo.errors import MergeFunctionError
from zdynamo.merging import is_merge_function, load_function, load_merge_function, merge_function

MODULE = """
from zdynamo.merging import merge_function

@merge_function
def larger(one, other):
    return max(one, other)

def unmarked(one, other):
    return one

class Carts:
    @staticmethod
    @merge_function
    def union(one, other):
        return sorted({*one, *other})

number = 1
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is importable; what was imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_marked_function_is_found_by_its_name(modules: Path) -> None:
    (modules / "carts_to_load.py").write_text(MODULE)

    assert load_merge_function("carts_to_load:larger")(1, 2) == 2
    assert load_merge_function("carts_to_load:Carts.union")([1], [2]) == [1, 2]


def test_what_nobody_has_marked_is_never_loaded_to_be_called(modules: Path) -> None:
    (modules / "carts_to_load.py").write_text(MODULE)

    for reference in ("carts_to_load:unmarked", "os:system", "builtins:exec"):
        with pytest.raises(MergeFunctionError, match=r"is not marked with @zdynamo\.merge_function"):
            load_merge_function(reference)
    assert load_function("carts_to_load:unmarked")(1, 2) == 1


@pytest.mark.parametrize(
    ("reference", "line"),
    [
        ("union", "'union' names no function: write it as MODULE:FUNCTION, such as zdynamo.merges:union"),
        (":union", "':union' names no function: write it as MODULE:FUNCTION, such as zdynamo.merges:union"),
        ("carts:", "'carts:' names no function: write it as MODULE:FUNCTION, such as zdynamo.merges:union"),
        ("a b:c", "'a b:c' names no function: write it as MODULE:FUNCTION, such as zdynamo.merges:union"),
        ("a..b:c", "'a..b:c' names no function: write it as MODULE:FUNCTION, such as zdynamo.merges:union"),
        (
            "no_such_module:f",
            "no_such_module:f: the module no_such_module cannot be imported "
            "(ModuleNotFoundError: No module named 'no_such_module')",
        ),
        ("carts_to_load:nothing", "carts_to_load:nothing: carts_to_load has no function nothing"),
        ("carts_to_load:number", "carts_to_load:number: carts_to_load has no function number"),
        ("carts_to_load:larger.more", "carts_to_load:larger.more: carts_to_load has no function larger.more"),
        ("fails_to_load:f", "fails_to_load:f: the module fails_to_load cannot be imported (KeyError: 'x')"),
        ("leaves:f", "leaves:f: the module leaves cannot be imported (SystemExit: 3)"),
    ],
)
def test_what_cannot_be_loaded_is_one_line_that_says_why(modules: Path, reference: str, line: str) -> None:
    (modules / "carts_to_load.py").write_text(MODULE)
    (modules / "fails_to_load.py").write_text("{}['x']")
    (modules / "leaves.py").write_text("raise SystemExit(3)")

    with pytest.raises(MergeFunctionError) as caught:
        load_function(reference)

    assert str(caught.value) == line


def test_a_mark_is_only_on_what_was_marked() -> None:
    @merge_function
    def marked(one: object, other: object) -> object:
        return one

    assert is_merge_function(marked)
    assert not is_merge_function(max)
    assert not is_merge_function("marked")


def test_what_cannot_carry_the_mark_is_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match="wrap it in a function of your own"):
        merge_function(max)
