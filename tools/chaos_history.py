"""The history of a chaos run: lines of JSON that say what was done, what struck, and what was there in the end.

The verdict is made of these lines and nothing else, so that a file can be judged again (`chaos.py --check`).
"""

import math
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from zdynamo.errors import ZdynamoError
from zdynamo.testing.history import History, Kind, Operation, Outcome

STRICT, SLOPPY = "strict", "sloppy"  # buckets
EVERYWHERE = "every replica"


class HistoryDamaged(ZdynamoError):
    """A history file cannot be read, or is not whole."""


class Run(Struct, tag="run"):
    """What was run."""

    plan: str
    seed: int
    nodes: int
    must_converge_s: float = 0.0
    must_p999_ms: float = 0.0


class Op(Struct, tag="op", omit_defaults=True, kw_only=True):
    """One call of one worker."""

    worker: int
    client: str
    kind: Kind
    bucket: str
    key: str
    value: str = ""
    seen: tuple[str, ...] | None = None  # values that its context covers; None: without a context
    seen_ms: int = -1  # when whoever gave the context began to look for them; -1: when this began
    begin_ms: float
    took_ms: float
    deadline_ms: int
    doubled: bool = False  # several attempts of it may have been under way
    outcome: Outcome = "ok"
    answer: str = ""  # the error
    siblings: tuple[str, ...] = ()  # what a get showed

    @property
    def end_ms(self) -> float:
        return self.begin_ms + self.took_ms


class Struck(Struct, tag="fault", kw_only=True):
    """A fault, from when to when."""

    kind: str
    what: str  # for people
    at_ms: int
    ended_ms: int = -1
    waited: bool = False  # for its victim to be called down
    detected_s: float | None = None  # until all others did
    rejoined_s: float | None = None  # from its end until all saw each other
    skipped: str = ""  # why there was none
    expected: bool = False  # of a node that ended by itself: a fault that makes nodes end had struck


class Loaded(Struct, tag="load"):
    """From when to when there was load."""

    from_ms: int
    until_ms: int


class Converged(Struct, tag="converged", kw_only=True):
    """How replicas came to hold the same."""

    keys: int
    began_ms: float = 0.0  # when its times count from
    hints: int = 0  # held when the time given was over
    hints_s: float | None = None  # until none was held
    trees_s: float | None = None  # until the nodes had found all hash trees alike; None: not in time
    hints_left: int = 0  # held for good
    by_itself_s: float | None  # until all keys were seen to be equal, without anybody reading; None: not in time
    differed_until_s: float = 0.0  # when a key was last seen to differ: all keys cannot be looked at in one moment
    differed: int = 0  # keys at the end of the time
    after_reading_s: float | None = None  # when all had been read once
    left: int = 0  # keys that differed for good
    examples: list[str] = []


class Final(Struct, tag="final"):
    """What all owners of a key together hold in the end."""

    bucket: str
    key: str
    values: tuple[str, ...]


class Unreadable(Struct, tag="unreadable"):
    """A key that could not be read in the end: what cannot be read is lost."""

    bucket: str
    key: str
    why: str


ENDS = {Run: "what was run", Loaded: "the end of the load", Converged: "whether replicas became equal"}
Line = Run | Op | Struck | Loaded | Converged | Final | Unreadable


class Recorder:
    """The lines of a run, in memory and in a file if there is one. Safe to use from threads."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self.lines: list[Line] = []
        self._file = file
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._encoder = msgspec.json.Encoder()

    def now_ms(self) -> float:
        return (time.monotonic() - self._began) * 1000

    def add(self, line: Line) -> None:
        with self._lock:
            self.lines.append(line)
            if self._file:
                self._file.write(self._encoder.encode(line) + b"\n")

    def ok(self, *kinds: Kind) -> int:
        """How many calls of these kinds have ended well."""
        with self._lock:
            return sum(isinstance(line, Op) and line.kind in kinds and line.outcome == "ok" for line in self.lines)


def read(path: Path) -> list[Line]:
    """Raises: HistoryDamaged, one line that says where."""
    decoder = msgspec.json.Decoder(Line)
    lines: list[Line] = []
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, 1):
                try:
                    lines.append(decoder.decode(text))
                except msgspec.DecodeError as error:
                    raise HistoryDamaged(f"{path}, line {number} is none of a history: {error}") from None
    except OSError as error:
        raise HistoryDamaged(f"{path} cannot be read: {error.strerror}") from None
    return lines


def written_keys(lines: Iterable[Line]) -> list[tuple[str, str]]:
    """Bucket and key of all that anybody has tried to write."""
    return sorted({(line.bucket, line.key) for line in lines if isinstance(line, Op) and line.kind != "get"})


def check_whole(lines: Sequence[Line]) -> None:
    """What was not looked for is not there. Raises: HistoryDamaged."""
    kinds = {type(line) for line in lines}
    missing = [name for kind, name in ENDS.items() if kind not in kinds]
    seen = {(line.bucket, line.key) for line in lines if isinstance(line, Final | Unreadable)}
    left = [each for each in written_keys(lines) if each not in seen]
    if left:
        missing.append(f"what {len(left):,} keys hold in the end, such as {'/'.join(left[0])}")
    if missing:
        raise HistoryDamaged(f"the history proves nothing, it is not whole: {', '.join(missing)} is missing")


def history_of(lines: Iterable[Line]) -> History:
    """For the checkers of the promises."""
    operations: list[Operation] = []
    history = History(operations=operations, ended_ms=0)
    for number, line in enumerate(lines):
        if isinstance(line, Op):
            operations.append(_operation(line, number))
            history.ended_ms = max(history.ended_ms, operations[-1].end_ms)
        elif isinstance(line, Final):
            history.final[line.bucket, line.key.encode()] = {EVERYWHERE: _bytes(line.values)}
        elif isinstance(line, Unreadable):
            history.final[line.bucket, line.key.encode()] = {EVERYWHERE: ()}
        elif isinstance(line, Loaded):
            history.ended_ms = max(history.ended_ms, line.until_ms)
    return history


def _operation(op: Op, number: int) -> Operation:
    """In whole milliseconds, rounded outwards: what overlapped still does."""
    return Operation(
        client=f"worker {op.worker}",
        kind=op.kind,
        bucket=op.bucket,
        key=op.key.encode(),
        request=number.to_bytes(16, "big"),
        value=op.value.encode(),
        seen=None if op.seen is None else _bytes(op.seen),
        seen_ms=op.seen_ms,
        strict=op.bucket == STRICT,
        begin_ms=math.floor(op.begin_ms),
        deadline_ms=op.deadline_ms,
        doubled=op.doubled,
        end_ms=math.ceil(op.end_ms),
        outcome=op.outcome,
        answer=op.answer,
        answers=1,
        siblings=_bytes(op.siblings),
    )


def _bytes(values: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(value.encode() for value in values)
