"""The promises of zdynamo, checked on a history: what clients were told, and what each replica holds in the end.

Each function returns what it finds broken. They need no node and no simulator, so that histories of real clients are
checked by the same code. What only an observer of all nodes can see is checked by `audits`.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain

from msgspec import Struct

from zdynamo.testing.history import History, Key, Operation
from zdynamo.testing.writes_of_key import WritesOfKey


class Broken(Struct, frozen=True):
    """A promise that does not hold, and where."""

    promise: str
    what: str
    key: Key | None = None

    def __str__(self) -> str:
        return f"{self.promise}: {self.what}"


def check(history: History) -> list[Broken]:
    """All promises that clients can check."""
    found = list(one_answer(history))
    for key, operations in history.by_key().items():
        writes = WritesOfKey(operations)
        for promise in OF_A_KEY:
            found += promise(history, key, operations, writes)
    return found


def one_answer(history: History) -> Iterator[Broken]:
    """Each operation ends once, by its deadline; what was told to have left nothing, or was never put, never shows."""
    requests: set[bytes] = set()
    for operation in history.operations:
        if operation.request in requests:
            yield Broken("one-answer", f"{name(operation)} has the request id of another operation", operation.place)
        requests.add(operation.request)
        spent_ms = operation.end_ms - operation.begin_ms
        if operation.answers != 1:
            yield Broken("one-answer", f"{name(operation)} was answered {operation.answers} times", operation.place)
        elif spent_ms > operation.deadline_ms + history.answers_late_ms:
            what = f"{name(operation)} took {spent_ms} ms, its deadline is {operation.deadline_ms} ms"
            yield Broken("one-answer", what, operation.place)


def only_what_was_put(history: History, key: Key, operations: list[Operation], writes: WritesOfKey) -> Iterator[Broken]:
    """An answer that nothing was written is true."""
    for shower, values in _shown(history, key, operations):
        for value in values:
            put = writes.put_of(value)
            if put is None:
                yield Broken("one-answer", f"{shower} shows {text(value)}, which nobody has put there", key)
            elif not put.has_written:
                what = f"{shower} shows {text(value)}, though its client was told that nothing was written"
                yield Broken("one-answer", what, key)


def no_lost_write(history: History, key: Key, operations: list[Operation], writes: WritesOfKey) -> Iterator[Broken]:
    """An acknowledged value is in the end with every replica, or covered by what had seen it."""
    lww = key[0] in history.lww
    if lww and any(write.has_written and (write.kind == "delete" or write.ttl_ms) for write in operations):
        return  # what the last write hides goes with it
    acknowledged = writes.bits(put.value for put in writes.puts if put.outcome == "ok")
    for replica, values in history.final.get(key, {}).items():
        if lww and values:
            continue  # the last write, which hides the others
        there = writes.bits(values) | writes.expired(history.ended_ms, history.clocks_off_ms)
        for put in writes.named(acknowledged & ~writes.accounted(there, history.ended_ms)):
            what = f"{name(put)} was acknowledged; {replica} does not have it, nor anything that has seen it"
            yield Broken("no-lost-write", what, key)


def no_resurrection(history: History, key: Key, operations: list[Operation], writes: WritesOfKey) -> Iterator[Broken]:
    """What an acknowledged write or delete had seen or met shows in no later strict read, nor in the end."""
    over = sorted(
        (write for write in operations if write.is_write and write.outcome == "ok" and writes.surely_covered(write)),
        key=lambda write: write.end_ms,
    )
    strict = deque(write for write in over if write.strict)
    earlier: list[Operation] = []
    covered = 0
    for read in operations:
        while strict and strict[0].end_ms < read.begin_ms:
            earlier.append(strict.popleft())
            covered |= writes.surely_covered(earlier[-1])
        is_sure = read.kind == "get" and read.outcome == "ok" and read.strict and read.vouched
        if is_sure and covered & writes.bits(read.siblings):
            yield from _back(name(read), writes.bits(read.siblings), earlier, key, writes)
    for replica, values in history.final.get(key, {}).items():
        yield from _back(f"{replica} in the end", writes.bits(values), over, key, writes)
        for put in writes.named(writes.bits(values)):
            if put.ttl_ms and put.at_work_until_ms + put.ttl_ms + history.clocks_off_ms < history.ended_ms:
                yield Broken("no-resurrection", f"{replica} in the end shows {text(put.value)}, which has expired", key)


def no_needless_siblings(
    history: History, key: Key, operations: list[Operation], writes: WritesOfKey
) -> Iterator[Broken]:
    """What is shown together is concurrent, as far as clients can know, and no write is shown twice."""
    for shower, values in _shown(history, key, operations):
        if len(values) < 2:
            continue
        if len(set(values)) < len(values):
            twice = next(value for value in values if values.count(value) > 1)
            yield Broken("no-needless-siblings", f"{shower} shows {text(twice)} more than once", key)
        shown = writes.bits(values)
        for put in writes.named(shown):
            for old in writes.named(shown & writes.surely_covered(put)):
                what = f"{shower} shows {text(old.value)} beside {text(put.value)}, which had seen it"
                yield Broken("no-needless-siblings", what, key)


def regular_reads(history: History, key: Key, operations: list[Operation], writes: WritesOfKey) -> Iterator[Broken]:
    """A strict read shows what strict writes were acknowledged before it, or what is concurrent with it or later.

    So does every read that finds nothing: *absent* needs R owners that know. An ordinary one may be stale otherwise,
    and so may one in which a node took part that could not know yet that it was put back to a snapshot.
    """
    if key[0] in history.lww:
        return
    acknowledged = writes.bits(put.value for put in writes.puts if put.outcome == "ok" and put.strict)
    for read in operations:
        if read.kind != "get" or read.outcome != "ok" or not read.vouched or (read.siblings and not read.strict):
            continue
        there = writes.bits(read.siblings) | writes.expired(read.end_ms, history.clocks_off_ms)
        for put in writes.named(acknowledged & ~writes.accounted(there, read.end_ms)):
            if put.end_ms < read.begin_ms:
                shown = ", ".join(map(text, read.siblings)) or "nothing"
                yield Broken("regular-reads", f"{name(read)} shows {shown} and has missed {name(put)}", key)


OfAKey = Callable[[History, Key, list[Operation], WritesOfKey], Iterator[Broken]]
OF_A_KEY: tuple[OfAKey, ...] = (
    only_what_was_put, no_lost_write, no_resurrection, no_needless_siblings, regular_reads,
)  # fmt: skip


def name(operation: Operation) -> str:
    """For people."""
    value = f" {text(operation.value)}" if operation.kind == "put" else ""
    return f"{operation.kind}{value} by {operation.client} at {operation.begin_ms} ms"


def text(value: bytes) -> str:
    """A value, or its beginning."""
    return value[:40].decode("utf-8", "backslashreplace")


def _back(shower: str, shown: int, over: list[Operation], key: Key, writes: WritesOfKey) -> Iterator[Broken]:
    """What is shown though it was written over; a copy of its request that is still at work may bring it back."""
    for write in over:
        for put in writes.named(shown & writes.surely_covered(write)):
            what = f"{shower} shows {text(put.value)}, which the {name(write)} had replaced"
            yield Broken("no-resurrection", what, key)


def _shown(history: History, key: Key, operations: list[Operation]) -> Iterator[tuple[str, tuple[bytes, ...]]]:
    """Who shows which values: every read, and every replica in the end."""
    reads = ((name(read), read.siblings) for read in operations if read.kind == "get" and read.outcome == "ok")
    final = ((f"{replica} in the end", values) for replica, values in history.final.get(key, {}).items())
    return chain(reads, final)
