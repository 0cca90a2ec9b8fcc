"""Figures of a chaos run: how long operations took, how long there was no service, how faults were noticed."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from chaos_history import Loaded, Op, Struck
from msgspec import Struct

AROUND_MS = 500  # before and after the beginning of a fault


class Latency(Struct):
    """Of operations, in milliseconds, however they ended."""

    count: int = 0
    failed: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    max_ms: float = 0.0


class Spread(Struct):
    """Of several measurements, in seconds."""

    count: int
    min_s: float
    median_s: float
    max_s: float


def latency_of(operations: Sequence[Op]) -> Latency:
    if not operations:
        return Latency()
    took = sorted(operation.took_ms for operation in operations)
    return Latency(
        count=len(took),
        failed=sum(operation.outcome != "ok" for operation in operations),
        p50_ms=quantile(took, 0.5),
        p99_ms=quantile(took, 0.99),
        p999_ms=quantile(took, 0.999),
        max_ms=took[-1],
    )


def around(operations: Iterable[Op], moments_ms: Sequence[float]) -> list[Op]:
    """Those under way within half a second of any of the moments."""
    return [
        operation
        for operation in operations
        if any(
            operation.begin_ms <= moment + AROUND_MS and operation.end_ms >= moment - AROUND_MS for moment in moments_ms
        )
    ]


def by_kind(operations: Sequence[Op], faults: Iterable[Struck]) -> dict[str, Latency]:
    """Around the beginnings of the faults of each kind."""
    moments: dict[str, list[float]] = {}
    for fault in faults:
        if not fault.skipped:
            moments.setdefault(fault.kind, []).append(fault.at_ms)
    return {kind: latency_of(around(operations, at)) for kind, at in sorted(moments.items())}


def longest_gap_ms(operations: Iterable[Op], load: Loaded) -> float:
    """The longest time in which nothing succeeded."""
    ends = sorted(operation.end_ms for operation in operations if operation.outcome == "ok")
    moments = [load.from_ms, *(end for end in ends if load.from_ms < end < load.until_ms), load.until_ms]
    return max(later - earlier for earlier, later in pairwise(moments))


def longest_gap_of_one_ms(operations: Sequence[Op], load: Loaded) -> float:
    """The longest time in which one worker asked and nothing succeeded: from when it first asked again in vain."""
    longest = 0.0
    for worker in {operation.worker for operation in operations}:
        since: float | None = None
        for operation in operations:
            if operation.worker != worker:
                continue
            since = operation.begin_ms if since is None else since
            if operation.outcome == "ok":
                longest, since = max(longest, operation.end_ms - since), None
        if since is not None:
            longest = max(longest, load.until_ms - since)
    return longest


def spread(seconds: Iterable[float | None]) -> Spread | None:
    known = sorted(each for each in seconds if each is not None)
    if not known:
        return None
    return Spread(len(known), known[0], statistics.median(known), known[-1])


def quantile(ordered: Sequence[float], share: float) -> float:
    """The smallest measurement that so many are not above."""
    return ordered[min(len(ordered) - 1, max(0, -(-int(len(ordered) * share * 1000) // 1000)))]


def counted(operations: Iterable[Op], which: Callable[[Op], bool]) -> dict[str, int]:
    """Errors by the kind of operation."""
    found: dict[str, int] = {}
    for operation in operations:
        if which(operation):
            name = f"{operation.kind} {operation.answer}"
            found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))
