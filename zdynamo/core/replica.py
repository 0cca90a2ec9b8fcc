"""What this node stores for others: read a copy, merge a record into it (paper 4.3).

On disk a copy is `[birth: 8 bytes][record]`. The birth is the counter at which this node first minted in this copy; a
copy that is dropped takes its birth along, so that an actor never claims what it has forgotten.
"""

from typing import NamedTuple

from zdynamo.core.dots import HybridClock, wall_ms_of
from zdynamo.core.record import EMPTY, Record, covers, covers_all, decode_record, encode_record, is_later, merge
from zdynamo.core.rounds import Rounds
from zdynamo.core.store import Store
from zdynamo.core.tombstones import Tombstones
from zdynamo.errors import Malformed
from zdynamo.messages import Dot, ReplicaRefused

BIRTH_BYTES = 8
UNBORN = bytes(BIRTH_BYTES)


class Copy(NamedTuple):
    """A record as this node holds it."""

    birth: int  # 0: this node has minted nothing in it
    record: Record
    encoded: bytes  # the record, b"" if there is none


NO_COPY = Copy(0, EMPTY, b"")


class Merged(NamedTuple):
    """How a merge went."""

    refused: ReplicaRefused | None
    beyond: tuple[Dot, ...] = ()  # the clock of what is held here, if the record does not cover all that it may


class Replica:
    """The copies of this node."""

    def __init__(
        self, store: Store, clock: HybridClock, rounds: Rounds, tombstones: Tombstones, *, clock_skew_ms: int
    ) -> None:
        self._store = store
        self._rounds = rounds
        self._tombstones = tombstones
        self._clock = clock
        self._clock_skew_ms = clock_skew_ms

    def load(self, key: bytes) -> Copy:
        stored = self._store.get(key)
        if stored is None:
            return NO_COPY
        encoded = stored[BIRTH_BYTES:]
        return Copy(int.from_bytes(stored[:BIRTH_BYTES], "big"), decode_record(encoded), encoded)

    def fetch(self, key: bytes) -> bytes:
        """The encoded record, b"" if there is none."""
        stored = self._store.get(key)
        return b"" if stored is None else stored[BIRTH_BYTES:]

    def stage(self, key: bytes, birth: int, record: Record) -> bytes:
        """The record, encoded."""
        encoded = encode_record(record)
        self._put(key, birth.to_bytes(BIRTH_BYTES, "big"), encoded, record)
        return encoded

    def drop(self, key: bytes) -> None:
        """Stage the end of a copy, and of its birth."""
        self._store.delete(key)
        self._tombstones.forget(key)

    def merge(self, request: int, key: bytes, encoded: bytes, round: int, wall_ms: int) -> Merged:
        """Stage the merge of a record, read or minted under that round, with the copy here."""
        if self._rounds.is_straggler(key, round):
            return Merged(ReplicaRefused(request, "stale round", self._rounds.of_key(key)))
        stored = self._store.get(key)
        if stored is not None and stored[BIRTH_BYTES:] == encoded:
            return Merged(None)
        try:
            record = decode_record(encoded)
        except Malformed:
            return Merged(ReplicaRefused(request, "malformed"))
        for sibling in record.siblings:
            if wall_ms_of(sibling.time) > wall_ms + self._clock_skew_ms:
                return Merged(ReplicaRefused(request, "clock skew"))
            self._clock.saw(sibling.time)
        if stored is None:
            self._put(key, UNBORN, encoded, record)
            return Merged(None)
        held = decode_record(stored[BIRTH_BYTES:])
        if covers_all(record.clock, held.clock):  # the usual case: the record has seen all that is held here
            self._put(key, stored[:BIRTH_BYTES], encoded, record)
            return Merged(None)
        merged = merge(held, record)
        self._put(key, stored[:BIRTH_BYTES], encode_record(merged), merged)
        beyond = [sibling for sibling in merged.siblings if not covers(record.clock, sibling.dot)]
        if not beyond or any(is_later(held, new) for held in beyond for new in record.siblings):
            return Merged(None)
        return Merged(None, merged.clock.entries)

    def _put(self, key: bytes, birth: bytes, encoded: bytes, record: Record) -> None:
        self._store.put(key, birth + encoded)
        if any(sibling.tombstone or sibling.expires_ms for sibling in record.siblings):
            self._tombstones.note(key, record)
