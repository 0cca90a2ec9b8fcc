"""The story of a key, for people: every operation, every version that a node stored, and what went wrong meanwhile."""

from collections.abc import Iterator

from zdynamo.core.reaping.tombstones import KEY as INDEX
from zdynamo.core.records.dots import BIRTH_BYTES
from zdynamo.core.records.record import Record, Sibling, decode_record
from zdynamo.partition import storage_key
from zdynamo.testing.faults import Fault
from zdynamo.testing.history import Key, Operation
from zdynamo.testing.promises import text

Line = tuple[int, str]  # when, and what


class Versions:
    """Every version of one key that any node has stored, as it happens."""

    def __init__(self, place: Key, partitions: int) -> None:
        bucket, key = place
        self.lines: list[Line] = []
        self._key = storage_key(bucket.encode(), key, partitions)

    def stored(self, name: str, time_ms: int, staged: dict[bytes, bytes | None]) -> None:
        """A node commits this."""
        if self._key in staged:
            stored = staged[self._key]
            version = "nothing any more" if stored is None else told(decode_record(stored[BIRTH_BYTES:]))
            self.lines.append((time_ms, f"  {name} stores {version}"))
        if INDEX + self._key in staged and staged[INDEX + self._key] is None and self._key not in staged:
            self.lines.append((time_ms, f"  {name} no longer counts it as dead"))


def tell(operations: list[Operation], faults: list[Fault], versions: list[Line]) -> Iterator[str]:
    """In the order of time, a line each."""
    lines = list(versions)
    for operation in operations:
        lines.append((operation.begin_ms, _begun(operation)))
        if operation.end_ms >= 0:
            lines.append((operation.end_ms, _ended(operation)))
    for fault in faults:
        lines.append((fault.begin_ms, f"! {fault.name} begins: {fault.what}"))
        if fault.end_ms >= 0:
            lines.append((fault.end_ms, f"! {fault.name} ends: {fault.what}"))
    for time_ms, line in sorted(lines, key=lambda line: line[0]):
        yield f"{time_ms:>8} {line}"


def told(record: Record) -> str:
    """A record, short enough to be read."""
    siblings = ", ".join(map(_sibling, record.siblings)) or "no sibling"
    clock = " ".join(f"{actor % 997}/{birth}..{counter}" for actor, birth, counter in record.clock.entries)
    cloud = "".join(f" +{actor % 997}/{birth}.{counter}" for actor, birth, counter in record.clock.cloud)
    return f"{siblings}; has seen {clock}{cloud}"


def _sibling(sibling: Sibling) -> str:
    actor, birth, counter = sibling.dot
    what = "a tombstone" if sibling.tombstone else text(sibling.value)
    return f"{what} [{actor % 997}/{birth}.{counter}]"


def _begun(operation: Operation) -> str:
    value = f" {text(operation.value)}" if operation.value else ""
    over = ""
    if operation.is_write:
        seen = operation.seen
        over = " without a context" if seen is None else f" over {', '.join(map(text, seen)) or 'nothing'}"
    strict = " (strict)" if operation.strict else ""
    strict += f", expires after {operation.ttl_ms} ms" if operation.ttl_ms else ""
    return f"> {operation.client} begins to {operation.kind}{value}{over}{strict}"


def _ended(operation: Operation) -> str:
    shown = f": {', '.join(map(text, operation.siblings)) or 'nothing'}" if operation.kind == "get" else ""
    value = f" {text(operation.value)}" if operation.value else ""
    twice = " (tried more than once)" if operation.doubled else ""
    return f"< {operation.client} is told {operation.answer} of {operation.kind}{value}{shown}{twice}"
