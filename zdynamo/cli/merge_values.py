"""Values to try a merge function on: like samples, as its annotations say, or of every kind that clients store."""

import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from zdynamo.errors import MergeFunctionError

Values = SearchStrategy[Any]

SIZE_MAX = 4  # of generated lists and dicts: small ones break a law as well as large ones
LETTERS = "abcxyz019 -_éß漢🙂"

ints = st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1)  # few enough to meet the same one twice
floats = st.floats(allow_nan=False).map(lambda number: number + 0.0)  # no -0.0
text = st.text(st.sampled_from(LETTERS), max_size=SIZE_MAX)
octets = st.binary(max_size=SIZE_MAX)
moments = st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC))
scalars = st.none() | st.booleans() | ints | floats | text | octets
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)

SIMPLE: dict[Any, Values] = {
    int: ints,
    float: floats,
    str: text,
    bytes: octets,
    bool: st.booleans(),
    datetime: moments,
    type(None): st.none(),
    None: st.none(),
    Any: anything,
    object: anything,
}
LISTS = (list, tuple, Sequence, Iterable)
DICTS = (dict, Mapping)


def kinds() -> dict[str, Values]:
    """By name, the kinds of values that a function without annotations may be meant for."""
    return {
        "int": ints,
        "float": floats,
        "text": text,
        "bytes": octets,
        "list of int": st.lists(ints, max_size=SIZE_MAX),
        "list of text": st.lists(text, max_size=SIZE_MAX),
        "list of anything": st.lists(anything, max_size=SIZE_MAX),
        "dict of int": st.dictionaries(text, ints, max_size=SIZE_MAX),
        "dict of text": st.dictionaries(text, text, max_size=SIZE_MAX),
        "dict of anything": st.dictionaries(text, anything, max_size=SIZE_MAX),
    }


def annotated(function: Callable[..., Any]) -> tuple[str, Values] | None:
    """What its first two parameters are annotated with; None if nothing is said.

    Raises: MergeFunctionError for types that clients do not store.
    """
    try:
        hints = typing.get_type_hints(function)
    except Exception:  # of builtins, or of names that are only known to type checkers
        return None
    hints.pop("return", None)
    said = list(dict.fromkeys(list(hints.values())[:2]))
    if not said or any(hint in (Any, object) or isinstance(hint, typing.TypeVar) for hint in said):
        return None
    return " or ".join(_name(hint) for hint in said), st.one_of([of_type(hint) for hint in said])


def of_type(hint: Any) -> Values:
    """Values of a type. Raises: MergeFunctionError."""
    if hint in SIMPLE:
        return SIMPLE[hint]
    origin, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([of_type(each) for each in inner])
    if origin is typing.Literal:
        return st.sampled_from(inner)
    if origin is typing.Annotated:
        return of_type(inner[0])
    if origin in LISTS:
        element = of_type(inner[0]) if inner else anything
        return st.lists(element, max_size=SIZE_MAX)
    if origin in DICTS:
        key, item = (of_type(each) for each in inner) if inner else (text, anything)
        return st.dictionaries(key, item, max_size=SIZE_MAX)
    if typing.is_typeddict(hint):
        return st.fixed_dictionaries({name: of_type(each) for name, each in typing.get_type_hints(hint).items()})
    raise MergeFunctionError(
        f"it takes {_name(hint)}, which clients do not store: give values that it merges by --like"
    )


def like(samples: Sequence[Any]) -> Values:
    """The samples themselves, and values made of the same types in the same places."""
    return st.sampled_from(samples) | _of_kind(samples)


def _of_kind(samples: Sequence[Any]) -> Values:
    by_type: dict[type, list[Any]] = {}
    for sample in samples:
        by_type.setdefault(type(sample), []).append(sample)
    return st.one_of([_of_one_type(kind, same) for kind, same in by_type.items()])


def _of_one_type(kind: type, samples: list[Any]) -> Values:
    if kind is list:
        elements = [element for sample in samples for element in sample]
        return st.lists(_of_kind(elements), max_size=SIZE_MAX) if elements else st.builds(list)
    if kind is dict:
        items: dict[Any, list[Any]] = {}
        for sample in samples:
            for key, item in sample.items():
                items.setdefault(key, []).append(item)
        made = {key: _of_kind(found) for key, found in items.items()}
        always = {key: values for key, values in made.items() if len(items[key]) == len(samples)}
        return st.fixed_dictionaries(always, optional={key: made[key] for key in made if key not in always})
    return SIMPLE[kind]


def _name(hint: Any) -> str:
    plain = isinstance(hint, type) and not typing.get_args(hint)
    return hint.__name__ if plain else str(hint).replace("typing.", "")
