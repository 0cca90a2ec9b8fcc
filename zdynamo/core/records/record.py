"""What is kept under a key: a causal clock and siblings, and how two such records merge (paper 4.4).

The clock is a dotted version vector: each entry `(actor, birth, counter)` claims every dot of that actor and birth up
to the counter. `cloud` holds dots seen beyond the clock, when a client's context names a write that this replica has
not received. Merge keeps a sibling if the other side has it too or has not seen its dot, so that it is commutative,
associative and idempotent, and never drops a sibling for any reason but a clock that covers it.
"""

from collections.abc import Iterable
from itertools import pairwise
from operator import attrgetter

import msgspec
from msgspec import Struct

from zdynamo.errors import Malformed
from zdynamo.messages import Dot


class Sibling(Struct, array_like=True, frozen=True):
    """One write that no later write has covered."""

    dot: Dot
    time: int  # hybrid logical: wall milliseconds << 16 | logical counter
    expires_ms: int  # wall clock; 0: never
    tombstone: bool
    content_type: str
    value: bytes
    request: bytes  # of the client that wrote it: a retry is recognised by it
    gone: tuple[bytes, ...] = ()  # requests with several attempts, its own and those it covers: twins are not shown


class Clock(Struct, array_like=True, frozen=True):
    """A set of dots: all up to an entry's counter, and the cloud's one by one. Entries and cloud are sorted."""

    entries: tuple[Dot, ...] = ()
    cloud: tuple[Dot, ...] = ()


class Record(Struct, array_like=True, frozen=True):
    """A clock and the siblings that it has seen and nothing has covered, sorted by dot."""

    clock: Clock
    siblings: tuple[Sibling, ...]


CLIENT_BYTES = 8  # of a request id: who made it; the rest counts
GONE_MAX = 16  # requests that a sibling remembers; the oldest make room
FEW = 4  # siblings that are found sooner by looking through all
NOTHING_SEEN = Clock()
EMPTY = Record(NOTHING_SEEN, ())

_by_dot = attrgetter("dot")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Record)

encode_record = _encoder.encode  # canonical: equal records have equal bytes


def decode_record(encoded: bytes) -> Record:
    """Raises: Malformed, also for records that are not canonical."""
    try:
        record = _decoder.decode(encoded)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from None
    clock = record.clock
    if len(record.siblings) > 1 or len(clock.entries) > 1 or clock.cloud:
        _check_canonical(record)
    for sibling in record.siblings:
        if sibling.dot not in clock.entries and not covers(clock, sibling.dot):
            raise Malformed("a sibling that its clock has not seen")
    return record


def covers(clock: Clock, dot: Dot) -> bool:
    """Whether the clock has seen the dot."""
    for entry in clock.entries:
        if entry[1] == dot[1] and entry[0] == dot[0]:
            return entry[2] >= dot[2] or dot in clock.cloud
    return dot in clock.cloud


def join(one: Clock, other: Clock) -> Clock:
    """What either has seen; `one` or `other` itself if that has seen it all."""
    mine, theirs = one.entries, other.entries
    if one.cloud or other.cloud or len(mine) != 1 or len(theirs) != 1:
        if one == other or (not theirs and not other.cloud):
            return one
        if not mine and not one.cloud:
            return other
        joined = _clock(mine + theirs, one.cloud + other.cloud)
        return one if joined == one else other if joined == other else joined
    (here,), (there,) = mine, theirs
    if here[0] == there[0] and here[1] == there[1]:
        return one if here[2] >= there[2] else other
    return Clock((here, there) if here < there else (there, here))


def with_dots(clock: Clock, dots: Iterable[Dot]) -> Clock:
    """The clock and single dots beyond it."""
    return _clock(clock.entries, clock.cloud + tuple(dots))


def merge(one: Record, other: Record) -> Record:
    """The record of who has seen both: commutative, associative, idempotent.

    It is `one` itself if nothing is new to it, else `other` itself if that has seen all of `one`.
    """
    mine, theirs = one.clock, other.clock
    clock = join(mine, theirs)
    held, brought = one.siblings, other.siblings
    if clock is mine and held == brought:
        return one
    if len(brought) > FEW:
        dots = {sibling.dot for sibling in brought}
        kept = [sibling for sibling in held if sibling.dot in dots or not covers(theirs, sibling.dot)]
    else:
        kept = [sibling for sibling in held if sibling in brought or not covers(theirs, sibling.dot)]
    new = [sibling for sibling in brought if not covers(mine, sibling.dot)]
    if clock is mine and not new and len(kept) == len(held):
        return one
    if len(kept) + len(new) == len(brought) and clock == theirs:
        return other
    together = kept + new
    if kept and new:
        together.sort(key=_by_dot)
    return Record(clock, tuple(together))


def write(record: Record, seen: Clock, sibling: Sibling) -> Record:
    """The record after a write by its coordinator: what `seen` covers goes, the rest stays beside the new sibling.

    What the same client has written later stays too: no request has seen a later one, so this is a late attempt.
    The coordinator's record holds all that its actor ever minted for this key, so the new dot raises the clock's entry.
    """
    dot, clock = sibling.dot, record.clock
    if not clock.cloud and (seen is clock or seen == clock):  # the usual case: it covers all but what is later
        kept = [old for old in record.siblings if is_later(old, sibling)]
        raised = Clock(_raised(clock.entries, dot))
    else:
        kept = [old for old in record.siblings if is_later(old, sibling) or not covers(seen, old.dot)]
        raised = _clock((*clock.entries, *seen.entries, dot), clock.cloud + seen.cloud)
    written = carrying(sibling, (old for old in record.siblings if old not in kept)) if record.siblings else sibling
    return Record(raised, tuple(sorted((*kept, written), key=_by_dot)) if kept else (written,))


def carrying(sibling: Sibling, covered: Iterable[Sibling]) -> Sibling:
    """The sibling, remembering what those that it covers remember.

    An attempt whose coordinator died at once may come to light when that node is back, long after another attempt has
    been covered by this very write. It must not be taken for something new.
    """
    gone = sibling.gone
    for old in covered:
        if old.gone:
            gone = (*(request for request in old.gone if request not in gone), *gone)
    return sibling if gone is sibling.gone else msgspec.structs.replace(sibling, gone=gone[-GONE_MAX:])


def written_by(record: Record, request: bytes) -> Sibling | None:
    """The sibling that the request has written, or one that has covered that."""
    for sibling in record.siblings:
        if sibling.request == request or request in sibling.gone:
            return sibling
    return None


def current(record: Record) -> tuple[Sibling, ...]:
    """The siblings without those that are twins of what another has covered.

    Where attempts of several requests have covered each other in turn, all of them stay. So there is always one.
    """
    siblings = record.siblings
    if len(siblings) < 2 or not any(sibling.gone for sibling in siblings):
        return siblings
    requests = {sibling.request for sibling in siblings}
    covered: dict[bytes, set[bytes]] = {request: set() for request in requests}  # what each has covered a twin of
    for sibling in siblings:
        covered[sibling.request] |= requests.intersection(sibling.gone)
    hidden = {
        twin
        for request, twins in covered.items()
        for twin in twins
        if twin != request and request not in _reached(twin, covered)
    }
    return tuple(sibling for sibling in siblings if sibling.request not in hidden)


def is_later(one: Sibling, other: Sibling) -> bool:
    """Whether both are of one client, which began `one` after `other`: request ids count up."""
    return one.request > other.request and one.request[:CLIENT_BYTES] == other.request[:CLIENT_BYTES]


def shown(record: Record, wall_ms: int, *, lww: bool = False) -> list[Sibling]:
    """The siblings as a reader is shown them: values only, expired ones left out, and one for each client request.

    `lww`: only the last written of all siblings, and nothing if that is a tombstone or expired.
    """
    siblings = deciding(record, lww=lww)
    if len(siblings) == 1:
        return [] if has_ended(siblings[0], wall_ms) else [siblings[0]]
    by_request: dict[bytes, Sibling] = {}
    for sibling in siblings:
        if not has_ended(sibling, wall_ms):
            by_request.setdefault(sibling.request, sibling)
    return list(by_request.values())


def deciding(record: Record, *, lww: bool) -> tuple[Sibling, ...]:
    """The siblings that say whether there is a value: all that are current; `lww`: the last written of them."""
    siblings = current(record)
    return (last_written(record),) if lww and len(siblings) > 1 else siblings


def has_ended(sibling: Sibling, wall_ms: int) -> bool:
    """Whether it is a tombstone, or expired by that time."""
    return sibling.tombstone or 0 < sibling.expires_ms <= wall_ms


def last_written(record: Record) -> Sibling:
    """The sibling with the greatest hybrid time; of equal times that with the greatest dot."""
    return max(current(record), key=_by_time)


def _reached(start: bytes, covered: dict[bytes, set[bytes]]) -> set[bytes]:
    """What has been covered by a request, by what that has covered, and so on."""
    reached: set[bytes] = set()
    ahead = [start]
    while ahead:
        new = covered[ahead.pop()] - reached
        reached |= new
        ahead += new
    return reached


def _raised(entries: tuple[Dot, ...], dot: Dot) -> tuple[Dot, ...]:
    """With a dot that is higher than all of its actor and birth."""
    if len(entries) == 1 and entries[0][0] == dot[0] and entries[0][1] == dot[1]:
        return (dot,)
    for place, entry in enumerate(entries):
        if entry[1] == dot[1] and entry[0] == dot[0]:
            return (*entries[:place], dot, *entries[place + 1 :])
    return tuple(sorted((*entries, dot))) if entries else (dot,)


def _clock(entries: Iterable[Dot], cloud: Iterable[Dot]) -> Clock:
    """The one form of this set of dots: an entry reaches as far as it can, and the cloud holds what lies beyond."""
    highest = {(entry[0], entry[1]): entry for entry in sorted(entries)}  # the last of each actor and birth
    if not cloud:
        return Clock(tuple(highest.values()))
    beyond = []
    for dot in sorted(set(cloud)):
        entry = highest.get((dot[0], dot[1]))
        if entry is None or entry[2] + 1 < dot[2]:
            beyond.append(dot)
        elif entry < dot:  # the next one
            highest[dot[0], dot[1]] = dot
    return Clock(tuple(highest.values()), tuple(beyond))


def _check_canonical(record: Record) -> None:
    clock, siblings = record.clock, record.siblings
    unsorted = any(one.dot >= other.dot for one, other in pairwise(siblings))
    if unsorted or clock != _clock(clock.entries, clock.cloud):
        raise Malformed("a record that is not canonical")


def _by_time(sibling: Sibling) -> tuple[int, Dot]:
    return sibling.time, sibling.dot
