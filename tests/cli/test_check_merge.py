"""Merge functions are checked for their laws, and the smallest example that breaks one is shown in words."""

import json
import os
import random
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypedDict

import pytest

from zdynamo import merges
from zdynamo.cli.merge_laws import Report, check
from zdynamo.errors import MergeFunctionError

EXAMPLES = 40
HOLD = {"well_behaved": True, "commutative": True, "associative": True, "idempotent": True}


def checked(function: Any, *samples: Any) -> Report:
    return check(function, "merge", list(samples), EXAMPLES)


def laws(report: Report) -> dict[str, bool | None]:
    return {verdict.law: verdict.holds for verdict in report.verdicts}


def broken(report: Report) -> dict[str, str]:
    return {verdict.law: verdict.broken for verdict in report.verdicts if verdict.broken}


@pytest.mark.parametrize("name", ["union", "maximum", "longest", "counts"])
def test_the_functions_that_zdynamo_brings_hold_every_law(name: str) -> None:
    report = check(getattr(merges, name), name, [], 100)

    assert laws(report) == HOLD


def test_a_set_union_holds_every_law_on_whatever_it_takes() -> None:
    report = checked(lambda a, b: sorted(set(a) | set(b)))

    assert laws(report) == HOLD
    assert {"list of int", "list of text"} <= set(report.values)
    assert "int" not in report.values


def test_each_broken_law_comes_with_its_smallest_example() -> None:
    def subtract(a: Literal[0, 1], b: Literal[0, 1]) -> int:
        return a - b

    report = checked(subtract)

    assert broken(report) == {
        "commutative": "merge(0, 1) gives -1, but merge(1, 0) gives 1",
        "associative": "merging 0 and 0, then 1 gives -1, but merging 0 and 1 first gives 1",
        "idempotent": "merge(0, 1) gives -1, but merging 1 in once more gives -2",
    }


def test_one_that_keeps_the_first_is_not_commutative() -> None:
    assert set(broken(checked(lambda a, _: a))) == {"commutative"}


def test_one_that_joins_lists_is_neither_commutative_nor_idempotent() -> None:
    def join(a: list[int], b: list[int]) -> list[int]:
        return a + b

    report = checked(join)

    assert laws(report) == {"well_behaved": True, "commutative": False, "associative": True, "idempotent": False}
    assert broken(report)["commutative"] == "merge([0], [1]) gives [0, 1], but merge([1], [0]) gives [1, 0]"


def test_one_that_raises_is_reported_with_what_it_was_given() -> None:
    def picky(a: int, b: int) -> int:
        if 7 in (a, b):
            raise ValueError("no sevens,\nplease")
        return max(a, b)

    report = checked(picky, 0, 7)

    assert broken(report) == {"well_behaved": "merge(0, 7) raises ValueError: no sevens, please"}
    assert laws(report)["commutative"] is None
    assert not report.holds


def test_one_that_gives_what_cannot_be_stored_is_not_well_behaved() -> None:
    def as_set(a: list[int], b: list[int]) -> Any:
        return set(a) | set(b)

    assert broken(checked(as_set))["well_behaved"].startswith("merge([], []) gives set(): cannot store this set")


def test_one_that_changes_its_arguments_is_not_well_behaved() -> None:
    def grow(a: list[int], b: list[int]) -> list[int]:
        a.extend(element for element in b if element not in a)
        return a

    assert broken(checked(grow))["well_behaved"] == "merge([], [0]) changes its arguments: [] is [0] afterwards"


def test_one_that_answers_by_chance_is_not_well_behaved() -> None:
    chance = random.Random(1)

    def guess(a: int, b: int) -> float:
        return chance.random()

    assert "well_behaved" in broken(checked(guess))


@pytest.mark.parametrize("function", [lambda siblings: siblings, lambda a, b, c: a, lambda *, a, b: a, lambda: 1])
def test_one_that_does_not_take_two_values_is_told_how_it_is_called(function: Any) -> None:
    with pytest.raises(MergeFunctionError, match=r"^merge is called with two values, as merge\(a, b\), and .*$"):
        checked(function)


@pytest.mark.parametrize("function", [max, lambda a, b, c=0: max(a, b), lambda *values: max(values)])
def test_one_that_can_be_called_with_two_values_takes_two(function: Any) -> None:
    assert laws(checked(function, 1, 2)) == HOLD


def test_one_that_is_async_is_refused() -> None:
    async def merge(a: int, b: int) -> int:
        return max(a, b)

    class Merge:
        async def __call__(self, a: int, b: int) -> int:
            return max(a, b)

    for function in (merge, Merge()):
        with pytest.raises(MergeFunctionError, match=r"^merge is async, and clients do not await it: "):
            checked(function)


def test_one_that_exits_is_reported_as_one_that_raises() -> None:
    def leave(a: int, b: int) -> int:
        raise SystemExit(3)

    assert broken(checked(leave, 1)) == {"well_behaved": "merge(1, 1) raises SystemExit: 3"}


def test_numbers_that_are_equal_but_of_another_type_are_not_the_same() -> None:
    report = checked(lambda a, b: a, 1, True)

    assert "commutative" in broken(report)


def test_what_a_tuple_becomes_when_it_is_stored_is_what_counts() -> None:
    def pair(a: list[int], b: list[int]) -> Any:
        return max(tuple(a), tuple(b))

    assert laws(checked(pair)) == HOLD


def test_that_merging_a_value_with_itself_changes_it_is_told_but_breaks_no_law() -> None:
    report = checked(lambda a, b: sorted(set(a) | set(b)), [0, 0])

    assert laws(report) == HOLD
    assert report.normal_form == "merge([0, 0], [0, 0]) gives [0]"


class Cart(TypedDict):
    items: dict[str, int]
    changed: datetime
    note: str | None


def test_annotations_say_what_it_is_tried_on() -> None:
    seen: list[Any] = []

    def newer(a: Cart, b: Cart) -> Cart:
        seen.extend((a, b))
        return max(a, b, key=lambda cart: (cart["changed"], sorted(cart["items"].items()), cart["note"] or ""))

    report = checked(newer)

    assert report.values == ["Cart"]
    assert all(set(cart) == {"items", "changed", "note"} for cart in seen)
    assert {type(cart["note"]) for cart in seen} == {str, type(None)}


def test_a_type_that_clients_do_not_store_is_refused_with_the_way_out() -> None:
    def merge_sets(a: set[int], b: set[int]) -> set[int]:
        return a | b

    with pytest.raises(MergeFunctionError, match=r"^it takes set\[int\], which clients do not store: .* --like$"):
        checked(merge_sets)


def test_samples_say_what_it_is_tried_on() -> None:
    seen: list[Any] = []

    def merge(a: Any, b: Any) -> Any:
        seen.extend((a, b))
        return max(a, b, key=repr)

    checked(merge, {"milk": 1}, {"milk": 2, "tags": ["x"]})

    assert all(isinstance(value["milk"], int) and set(value) <= {"milk", "tags"} for value in seen)
    assert any(value["milk"] not in (1, 2) for value in seen)
    assert {type(element) for value in seen for element in value.get("tags", ())} == {str}


# The verb

MODULE = """
from zdynamo.merging import merge_function

@merge_function
def larger(a: int, b: int):
    return max(a, b)

def unmarked(a: int, b: int):
    return max(a, b)

@merge_function
def leaves(a: int, b: int):
    raise SystemExit(3)

async def waits(a: int, b: int):
    return max(a, b)

@merge_function
def talks(a: int, b: int):
    print("merging")
    return max(a, b)

@merge_function
def added(a: int, b: int):
    return (a + b) % 2**40
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(MODULE)
    (tmp_path / "samples.json").write_text("[1, 2]")
    (tmp_path / "none.json").write_text("[]")
    (tmp_path / "one.json").write_text("1")
    (tmp_path / "binary.json").write_bytes(bytes(range(256)))
    return tmp_path


def check_merge(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "zdynamo", "check-merge", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_a_function_in_the_current_folder_that_holds_the_laws_is_exit_0_and_leaves_nothing_behind(folder: Path) -> None:
    before = sorted(folder.iterdir())

    done = check_merge(folder, "shop:larger", "--examples", "50")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("shop:larger, tried on: int\n")
    assert sorted(folder.iterdir()) == before


def test_a_broken_law_is_exit_1_with_the_example_in_words(folder: Path) -> None:
    done = check_merge(folder, "shop:added", "--values", "samples.json", "--examples", "50")

    assert done.returncode == 1
    assert "\nnot idempotent: added(1, 1) gives 2, but merging 1 in once more gives 3\n" in done.stdout


def test_with_json_every_law_has_its_verdict(folder: Path) -> None:
    done = check_merge(folder, "shop:unmarked", "--like", "1", "--examples", "50", "--json")

    shown = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (shown["holds"], shown["marked"], shown["values"]) == (True, False, ["like the samples"])
    assert {law["law"]: law["holds"] for law in shown["laws"]} == HOLD


def test_one_that_exits_is_exit_1_and_nothing_can_be_said_about_the_other_laws(folder: Path) -> None:
    done = check_merge(folder, "shop:leaves", "--examples", "50", "--json")

    (first, *others) = json.loads(done.stdout)["laws"]
    assert (done.returncode, done.stderr) == (1, "")
    assert (first["holds"], first["broken"]) == (False, "leaves(0, 0) raises SystemExit: 3")
    assert [law["holds"] for law in others] == [None, None, None]


def test_what_a_function_prints_is_not_taken_for_the_verdict(folder: Path) -> None:
    done = check_merge(folder, "shop:talks", "--examples", "10", "--json")

    assert json.loads(done.stdout)["holds"] is True
    assert "merging" in done.stderr


def test_one_that_is_not_marked_is_told_that_clients_do_not_call_it(folder: Path) -> None:
    done = check_merge(folder, "shop:unmarked", "--examples", "50")

    assert done.returncode == 0
    assert "not marked with @zdynamo.merge_function" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["shop"], "write it as MODULE:FUNCTION"),
        (["nothing:f"], "the module nothing cannot be imported"),
        (["shop:nothing"], "shop has no function nothing"),
        (["shop:larger", "--like", "{"], "no JSON"),
        (["shop:larger", "--values", "shop.py"], "no JSON"),
        (["shop:larger", "--values", "missing.json"], "missing.json cannot be read"),
        (["shop:larger", "--values", "binary.json"], "binary.json is no text: it has to hold a JSON list of values"),
        (["shop:larger", "--values", "none.json"], "none.json holds an empty list"),
        (["shop:larger", "--values", "one.json"], "one.json holds no JSON list"),
        (["shop:larger", "--examples", "0"], "--examples"),
        (["shop:waits"], "waits is async"),
    ],
    ids=str,
)
def test_what_cannot_be_tried_is_one_line_and_exit_2_as_no_law_was_broken(
    folder: Path, arguments: list[str], says: str
) -> None:
    done = check_merge(folder, *arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_hypothesis_the_line_says_how_to_install_it(folder: Path) -> None:
    (folder / "hypothesis.py").write_text("raise ModuleNotFoundError('not installed', name='hypothesis')")

    done = check_merge(folder, "shop:larger")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "zdynamo: check-merge needs hypothesis: pip install 'zdynamo[check]'\n"
