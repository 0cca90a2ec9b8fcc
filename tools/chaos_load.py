"""The load of a chaos run: threads that put, get and delete, and record what they did and what they were told.

Strict workers use a bucket with pr=2 and pw=2, the others one with the defaults. Keys named `register` and `set` are
shared by all workers of a bucket, others have one writer. No value is ever put twice.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
from chaos_clients import Placed
from chaos_history import SLOPPY, STRICT, Op, Recorder
from chaos_plan import Load

from zdynamo.cli.cluster import ClusterFailed
from zdynamo.errors import DeadlineExceeded, OutcomeUnknown, RequestError
from zdynamo.testing.history import Kind, Outcome

UNSURE = (OutcomeUnknown, DeadlineExceeded)  # of a write: it may or may not have been kept
DELETED_OF = 200  # own keys, the latest: deletes come soon after a put, and late
ELEMENTS_MAX = 10  # of a set; the oldest make room
DOUBLED_MS = 50  # a node may have handed a write to another as well when it took so long
LATE_S = 5.0  # after the deadline of a call, at most, that it ends
BEHIND_S = 1.0  # further behind the wanted rate a worker forgets what it has not done
NEW = "new"  # how keys with one writer begin
FILLING = b"."  # behind a value, up to its size; left out in the history


class Seen(NamedTuple):
    """What a worker has seen last of a key."""

    context: bytes
    values: tuple[str, ...]
    looked_ms: int  # from when on they were looked for


class Worker(threading.Thread):
    """One thread; its client may be shared."""

    def __init__(self, number: int, placed: Placed, recorder: Recorder, load: Load, seed: int, strict: bool) -> None:
        super().__init__(name=f"chaos-{number}", daemon=True)
        self.bucket = STRICT if strict else SLOPPY
        self._number = number
        self._placed = placed
        self._recorder = recorder
        self._load = load
        self._random = random.Random(f"{seed}/{number}")
        self._stopping = threading.Event()
        self._sequence = 0
        self._seen: dict[str, Seen] = {}  # of shared keys
        self._own: list[str] = []
        self._to_preload = len(range(number, load.preload, load.workers))
        self.preloaded = threading.Event()
        self.patience_s = load.deadline_ms / 1_000 + LATE_S  # that its last call has
        self.problem: Exception | None = None  # that no answer of the cluster explains

    def run(self) -> None:
        try:
            for _ in range(self._to_preload):
                self._new()
            self.preloaded.set()
            self._work()
        except Exception as error:
            self.problem = error
            raise
        finally:
            self.preloaded.set()

    def stop(self) -> None:
        self._stopping.set()

    def _work(self) -> None:
        steps = (self._new, self._register, self._blind, self._set, self._get_any, self._delete)
        weights = msgspec.structs.astuple(self._load.mix)
        pause_s = self._load.workers / self._load.rate
        due_at = time.monotonic() + pause_s * self._random.random()
        while not self._stopping.wait(max(0.0, due_at - time.monotonic())):
            self._random.choices(steps, weights)[0]()
            due_at = max(due_at + pause_s, time.monotonic() - BEHIND_S)

    def _new(self) -> None:
        key = f"{NEW}-{self._number}-{self._sequence}"
        self._own.append(key)
        self._put(key, None)

    def _register(self) -> None:
        key = self._shared("register", self._load.keys)
        seen = self._seen.get(key) or self._get(key)
        if seen:
            self._put(key, seen)

    def _blind(self) -> None:
        self._put(self._shared("register", self._load.keys), None)

    def _set(self) -> None:
        key = self._shared("set", self._load.sets)
        seen = self._get(key)
        if seen:
            elements = {element for value in seen.values for element in value.partition("|")[2].split(",") if element}
            recent = sorted(elements, key=lambda element: int(element.partition(".")[2]))[1 - ELEMENTS_MAX :]
            self._put(key, seen, "|" + ",".join([*recent, f"{self._number}.{self._sequence}"]))

    def _get_any(self) -> None:
        chance = self._random.random()
        if chance < 0.4 and self._own:
            self._get(self._random.choice(self._own[-200:] if chance < 0.2 else self._own))
        elif chance < 0.5:
            self._get(self._shared("set", self._load.sets))
        else:
            self._get(self._shared("register", self._load.keys))

    def _delete(self) -> None:
        chance = self._random.random()
        if chance < 0.2:
            self._erase(self._shared("register", self._load.keys), None)
        elif chance < 0.5 or not self._own:
            key = self._shared("register", self._load.keys)
            self._erase(key, self._seen.get(key))
        else:
            key = self._random.choice(self._own[-DELETED_OF:])
            seen = self._get(key)
            if seen and seen.values:
                self._erase(key, seen)

    def _shared(self, kind: str, count: int) -> str:
        return f"{kind}-{self._random.randrange(count)}"

    def _put(self, key: str, over: Seen | None, data: str = "") -> None:
        self._sequence += 1
        value = f"{self._number}.{self._sequence}{data}"
        filled = value.encode().ljust(self._load.value_bytes, FILLING)
        context = over.context if over else None
        client, bucket = self._placed.client, self.bucket
        put = lambda: client.put(key, filled, bucket=bucket, context=context)  # noqa: E731
        written, call = self._call("put", key, put, value, over)
        if written is not None and not key.startswith(NEW):
            self._seen[key] = Seen(written, (value,), math.ceil(call.end_ms))

    def _get(self, key: str) -> Seen | None:
        found, call = self._call("get", key, lambda: self._placed.client.get(key, bucket=self.bucket))
        if found is None:
            return None
        seen = Seen(found.context, shown(found), math.floor(call.begin_ms))
        if not key.startswith(NEW):
            self._seen[key] = seen
        return seen

    def _erase(self, key: str, over: Seen | None) -> None:
        context = over.context if over else None
        client, bucket = self._placed.client, self.bucket
        self._call("delete", key, lambda: client.delete(key, bucket=bucket, context=context), "", over)
        self._seen.pop(key, None)

    def _call(
        self, kind: Kind, key: str, ask: Callable[[], Any], value: str = "", over: Seen | None = None
    ) -> tuple[Any | None, Op]:
        """The answer, None for an error, and what was recorded of it."""
        began_ms = self._recorder.now_ms()
        answer, error = None, None
        try:
            answer = ask()
        except RequestError as raised:
            error = raised
        took_ms = self._recorder.now_ms() - began_ms
        filled = value.encode().ljust(self._load.value_bytes, FILLING)
        call = Op(
            worker=self._number,
            client=self._placed.name,
            kind=kind,
            bucket=self.bucket,
            key=key,
            value=value,
            seen=over.values if over else None,
            seen_ms=over.looked_ms if over else -1,
            begin_ms=round(began_ms, 3),
            took_ms=round(took_ms, 3),
            deadline_ms=self._load.deadline_ms,
            doubled=kind != "get" and (self._placed.tried_again(key, filled if value else b"") or took_ms > DOUBLED_MS),
            outcome=outcome_of(kind, error),
            answer=type(error).__name__ if error else "",
            siblings=shown(answer) if kind == "get" and error is None else (),
        )
        self._recorder.add(call)
        return answer, call


def outcome_of(kind: Kind, error: RequestError | None) -> Outcome:
    if error is None:
        return "ok"
    return "unknown" if kind != "get" and isinstance(error, UNSURE) else "nothing"


def shown(found: Any) -> tuple[str, ...]:
    """What a get has found, as it stands in the history."""
    return tuple(value.rstrip(FILLING).decode() for value in found.siblings)


def workers_of(load: Load, placed: list[Placed], recorder: Recorder, seed: int) -> list[Worker]:
    """The strict ones are spread over the clients as the others are."""
    strict = round(load.strict * load.workers)
    return [
        Worker(number, placed[number % len(placed)], recorder, load, seed, number < strict)
        for number in range(load.workers)
    ]


@contextmanager
def working(workers: list[Worker]) -> Iterator[None]:
    """Raises: what a worker has met that is no answer of the cluster; ClusterFailed if a call does not end."""
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            worker.preloaded.wait()
        yield
    finally:
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.join(worker.patience_s)
    for worker in workers:
        if worker.is_alive():
            raise ClusterFailed(f"a call of {worker.name} has not ended within {worker.patience_s:.0f} s")
        if worker.problem:
            raise worker.problem
