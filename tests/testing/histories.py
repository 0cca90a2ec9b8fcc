"""Histories made by hand: one key, times in milliseconds, values as letters."""

from itertools import count
from typing import Any

from zdynamo.testing.history import History, Kind, Operation
from zdynamo.testing.promises import check

BUCKET, KEY = "default", b"k"

_requests = count(1)


def put(value: str, begin_ms: int, end_ms: int, seen: str | None = None, **fields: Any) -> Operation:
    """`seen`: the values that its context covers, a letter each; None: without a context."""
    return _operation("put", begin_ms, end_ms, value=value.encode(), seen=_letters(seen), **fields)


def delete(begin_ms: int, end_ms: int, seen: str | None = None, **fields: Any) -> Operation:
    return _operation("delete", begin_ms, end_ms, seen=_letters(seen), **fields)


def get(shown: str, begin_ms: int, end_ms: int, **fields: Any) -> Operation:
    return _operation("get", begin_ms, end_ms, siblings=_letters(shown) or (), **fields)


def broken(*operations: Operation, final: str | dict[str, str] | None = None, lww: bool = False) -> list[str]:
    """The names of the promises that the history breaks, each once. `final`: of all replicas, or of each."""
    history = History(operations=list(operations), ended_ms=100_000, lww=frozenset({BUCKET} if lww else ()))
    if final is not None:
        held = final if isinstance(final, dict) else dict.fromkeys("abc", final)
        history.final = {(BUCKET, KEY): {name: _letters(values) or () for name, values in held.items()}}
    return sorted({each.promise for each in check(history)})


def _operation(kind: Kind, begin_ms: int, end_ms: int, **fields: Any) -> Operation:
    made: dict[str, Any] = {
        "client": "c", "bucket": BUCKET, "key": KEY, "request": next(_requests).to_bytes(16, "big"),
        "strict": True, "deadline_ms": 1_000, "outcome": "ok", "answers": 1, **fields,
    }  # fmt: skip
    return Operation(kind=kind, begin_ms=begin_ms, end_ms=end_ms, **made)


def _letters(values: str | None) -> tuple[bytes, ...] | None:
    return None if values is None else tuple(letter.encode() for letter in values)
