"""What a chaos run has been told, and what it therefore must find: one book a key, one ledger a run."""

import json
import threading
import time
from collections import Counter
from typing import IO

from msgspec import Struct

from zdynamo.core.context import clock_in
from zdynamo.core.record import Clock, join
from zdynamo.errors import DeadlineExceeded, OutcomeUnknown, RequestError

UNSURE = (OutcomeUnknown, DeadlineExceeded)  # of a write: it may or may not have been kept


class Book:
    """The writes of one key, all by one thread, so that "later" is exact.

    An acknowledged value must be found until a later acknowledged write has seen it (its context covers it), or a later
    write of unknown outcome is found in its place.
    """

    __slots__ = ("_open", "_refused", "_unsure", "_writes", "acknowledgements", "context")

    def __init__(self) -> None:
        self.acknowledgements = 0
        self._writes = 0
        self._open: dict[int, tuple[bytes, Clock]] = {}
        self._unsure: dict[int, bytes] = {}
        self._refused: set[bytes] = set()
        self.context: bytes | None = None  # of the last acknowledged write

    def acknowledged(self, value: bytes, context: bytes) -> None:
        clock = clock_in(context)
        self._writes += 1
        self.acknowledgements += 1
        self._open = {at: kept for at, kept in self._open.items() if join(clock, kept[1]) != clock}
        self._open[self._writes] = (value, clock)
        self.context = context

    def unsure(self, value: bytes) -> None:
        self._writes += 1
        self._unsure[self._writes] = value

    def refused(self, value: bytes) -> None:
        """Surely nothing was written, says the answer."""
        self._refused.add(value)

    def missing(self, found: set[bytes]) -> list[bytes]:
        """Acknowledged values that are neither found nor covered."""
        replaced_up_to = max((at for at, value in self._unsure.items() if value in found), default=0)
        return [value for at, (value, _) in self._open.items() if value not in found and at >= replaced_up_to]

    def phantoms(self, found: set[bytes]) -> list[bytes]:
        """Found although the answer said that nothing was written."""
        return sorted(self._refused & found)


class Failure(Struct):
    """An acknowledged write that is not as it was acknowledged."""

    kind: str  # lost, stale, resurrected, phantom
    key: str
    value: str


class Ledger:
    """Counts, times and violations of all workers; the only thing they share. Safe to use from threads."""

    def __init__(self, history: IO[str] | None = None) -> None:
        self.answers: Counter[str] = Counter()  # "put ok" and the like
        self.failures: list[Failure] = []
        self.reasons: dict[str, str] = {}  # why keys were unreadable at the end, with an example
        self.longest_gap_s = 0.0
        self.longest_operation_s = 0.0
        self.longest_worker_gap_s = 0.0
        self._lock = threading.Lock()
        self._history = history
        self._began = time.monotonic()
        self._succeeded_at: float | None = None

    def begin(self) -> None:
        """The load starts now: gaps count from here."""
        self._began = self._succeeded_at = time.monotonic()

    def end(self) -> None:
        """The load has ended: whoever is still without an answer counts up to now."""
        if self._succeeded_at is not None:
            self.longest_gap_s = max(self.longest_gap_s, time.monotonic() - self._succeeded_at)

    def note(
        self, worker: int, op: str, key: str, value: bytes, began: float, error: RequestError | None, quiet_s: float
    ) -> None:
        """One operation has ended; `quiet_s`: how long this worker had been without a success."""
        ended = time.monotonic()
        outcome = type(error).__name__ if error else "ok"
        with self._lock:
            self.answers[f"{op} {outcome}"] += 1
            self.longest_operation_s = max(self.longest_operation_s, ended - began)
            self.longest_worker_gap_s = max(self.longest_worker_gap_s, quiet_s)
            if error is None and self._succeeded_at is not None:
                self.longest_gap_s = max(self.longest_gap_s, ended - self._succeeded_at)
                self._succeeded_at = ended
            if self._history:
                times = {"began": round(began - self._began, 6), "ended": round(ended - self._began, 6)}
                line = {"worker": worker, "op": op, "key": key, "value": value.decode(), **times, "outcome": outcome}
                self._history.write(json.dumps(line) + "\n")

    def fail(self, kind: str, key: str, value: bytes) -> None:
        with self._lock:
            self.failures.append(Failure(kind, key, value.decode()))

    def unreadable(self, key: str, error: RequestError) -> None:
        """At the end, with all nodes up."""
        with self._lock:
            self.answers[f"verdict {type(error).__name__}"] += 1
            self.reasons.setdefault(str(error), key)

    def count(self, op: str, *outcomes: str) -> int:
        return sum(self.answers[f"{op} {outcome}"] for outcome in outcomes)
