"""Merge functions for what is stored most, for instance `conflict = "merge:zdynamo.merges:union"`.

They go by an order of all plain data, so that the outcome is the same whatever the order of the siblings.
"""

from datetime import datetime
from typing import Any

from zdynamo.merging import merge_function


@merge_function
def union(one: list[Any], other: list[Any]) -> list[Any]:
    """Lists as sets: what is in either, once, in order. What was taken out of one of them comes back."""
    for value in (one, other):
        if not isinstance(value, list):
            raise TypeError(f"union merges lists, not {type(value).__name__}")
    distinct = {_order(element): element for element in (*one, *other)}
    return [distinct[place] for place in sorted(distinct)]


@merge_function
def maximum(one: Any, other: Any) -> Any:
    """The greater one: of numbers, text, moments, and of lists of them."""
    return max(one, other, key=_order)


@merge_function
def longest(one: str | bytes | list[Any], other: str | bytes | list[Any]) -> str | bytes | list[Any]:
    """The longer text, bytes or list; of equally long ones the greater."""
    return max(one, other, key=lambda value: (len(value), _order(value)))


@merge_function
def counts(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    """A counter in parts: each writer raises the number under its own name, and the sum counts. The greater stays."""
    for value in (one, other):
        if not isinstance(value, dict):
            raise TypeError(f"counts merges dicts, not {type(value).__name__}")
    names = sorted({**one, **other}, key=_order)
    return {name: maximum(one.get(name, other.get(name)), other.get(name, one.get(name))) for name in names}


def _order(value: Any) -> tuple[Any, ...]:
    """The value's place among all plain data; of two values with one place either may stand for both."""
    if value is None:
        return (0,)
    if isinstance(value, bool):
        return (1, value)
    if isinstance(value, int | float):
        return (2, 0.0 if value != value else value, repr(value))  # nan, and 1 beside 1.0
    if isinstance(value, str):
        return (3, value)
    if isinstance(value, bytes):
        return (4, value)
    if isinstance(value, list | tuple):
        return (5, tuple(_order(element) for element in value))
    if isinstance(value, dict):
        return (6, tuple(sorted((_order(key), _order(item)) for key, item in value.items())))
    if isinstance(value, datetime):
        return (7, value.timestamp(), str(value))
    raise TypeError(f"{type(value).__name__} is no plain data")
