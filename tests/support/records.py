"""Records as nodes store and send them, without a node that writes them."""

from support.nodes import WALL_MS, request_id
from zdynamo.core.records.record import EMPTY, NOTHING_SEEN, Clock, Record, Sibling, encode_record, merge, write


def sibling(
    counter: int = 1,
    value: bytes = b"v",
    *,
    actor: int = 7,
    ahead_ms: int = 0,
    expires_ms: int = 0,
    tombstone: bool = False,
) -> Sibling:
    """Of a request of its own, written at WALL_MS or so long after it."""
    dot, request = (actor, 1, counter), request_id(actor << 64 | counter)
    at = (WALL_MS + ahead_ms) << 16
    return Sibling(dot, at, expires_ms, tombstone, "", b"" if tombstone else value, request)


def record_of(*siblings: Sibling) -> bytes:
    return encode_record(Record(Clock((max(sibling.dot for sibling in siblings),)), siblings))


def record(value: bytes = b"v", counter: int = 1, **fields: object) -> bytes:
    """Of one sibling."""
    return record_of(sibling(counter, value, **fields))  # type: ignore[arg-type]


def merged(*siblings: Sibling) -> Record:
    """Each written by a coordinator that knew of none of the others."""
    together = EMPTY
    for one in siblings:
        together = merge(together, write(EMPTY, NOTHING_SEEN, one))
    return together
