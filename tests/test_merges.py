"""What the merge functions that zdynamo brings make of two values; the checker tests that they hold the laws."""

from datetime import UTC, datetime
from typing import Any

import pytest

from zdynamo.merges import counts, longest, maximum, union
from zdynamo.merging import load_merge_function

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("function", "one", "other", "merged"),
    [
        (union, ["milk", "bread"], ["eggs", "milk"], ["bread", "eggs", "milk"]),
        (union, [], [3, 1, 3], [1, 3]),
        (union, [{"id": 1}], [{"id": 1}, [2]], [[2], {"id": 1}]),
        (union, [10, -1, 2.5], [9], [-1, 2.5, 9, 10]),
        (maximum, 3, 11, 11),
        (maximum, "a", "b", "b"),
        (maximum, EARLY, LATE, LATE),
        (maximum, [1, 9], [2], [2]),
        (longest, "long", "z", "long"),
        (longest, [1, 2], [3], [1, 2]),
        (longest, "ab", "az", "az"),
        (counts, {"a": 1, "b": 5}, {"b": 2, "c": 3}, {"a": 1, "b": 5, "c": 3}),
    ],
)
def test_two_values_become_one_whatever_their_order(function: Any, one: Any, other: Any, merged: Any) -> None:
    assert function(one, other) == function(other, one) == merged


@pytest.mark.parametrize(
    ("function", "one", "other", "line"),
    [
        (union, ["a"], "a", "union merges lists, not str"),
        (counts, {}, 1, "counts merges dicts, not int"),
        (maximum, {1}, {2}, "set is no plain data"),
    ],
)
def test_what_a_function_is_not_for_is_refused_in_words(function: Any, one: Any, other: Any, line: str) -> None:
    with pytest.raises(TypeError, match=line):
        function(one, other)


@pytest.mark.parametrize("name", ["union", "maximum", "longest", "counts"])
def test_clients_may_call_each_of_them(name: str) -> None:
    assert load_merge_function(f"zdynamo.merges:{name}")
