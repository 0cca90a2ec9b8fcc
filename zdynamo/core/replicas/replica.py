"""What this node stores for others: read a copy, merge a record into it (paper 4.3).

On disk a copy is `[birth: 8 bytes][record]`. The birth is the counter at which this node first minted in this copy; a
copy that is dropped takes its birth along, so that an actor never claims what it has forgotten.
"""

from typing import NamedTuple

from zdynamo.core.anti_entropy.trees import Trees
from zdynamo.core.reaping.rounds import Rounds
from zdynamo.core.reaping.tombstones import Tombstones
from zdynamo.core.records.dots import BIRTH_BYTES
from zdynamo.core.records.hybrid_clock import HybridClock, wall_ms_of
from zdynamo.core.records.record import EMPTY, Record, covers, decode_record, encode_record, is_later, merge
from zdynamo.core.replicas.aside import Aside
from zdynamo.core.store import Store
from zdynamo.errors import Malformed
from zdynamo.messages import Dot, ReplicaRefused

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
    before: Record = EMPTY
    after: Record = EMPTY  # where it has several siblings


MERGED = Merged(None)


class Replica:
    """The copies of this node."""

    def __init__(
        self,
        store: Store,
        clock: HybridClock,
        rounds: Rounds,
        tombstones: Tombstones,
        aside: Aside,
        trees: Trees,
        *,
        clock_skew_ms: int,
    ) -> None:
        self._store = store
        self._aside = aside
        self._rounds = rounds
        self._tombstones = tombstones
        self._trees = trees
        self._clock = clock
        self._clock_skew_ms = clock_skew_ms

    def load(self, key: bytes) -> Copy:
        if self._aside.moving:
            self._aside.clear(key)
        stored = self._store.get(key)
        if stored is None:
            return NO_COPY
        encoded = stored[BIRTH_BYTES:]
        return Copy(int.from_bytes(stored[:BIRTH_BYTES], "big"), decode_record(encoded), encoded)

    def fetch(self, key: bytes) -> bytes:
        """The encoded record, b"" if there is none."""
        if self._aside.moving:
            self._aside.clear(key)
        stored = self._store.get(key)
        return b"" if stored is None else stored[BIRTH_BYTES:]

    def stage(self, key: bytes, birth: int, record: Record, held: Copy) -> bytes:
        """The record, encoded. `held`: the copy that it replaces."""
        encoded = encode_record(record)
        self._put(key, birth.to_bytes(BIRTH_BYTES, "big"), encoded, record)
        self._trees.replaced(key, held.record, held.encoded, record, encoded)
        return encoded

    def drop(self, key: bytes) -> None:
        """Stage the end of a copy, and of its birth."""
        held = self.load(key)
        self._store.delete(key)
        self._tombstones.forget(key)
        self._trees.replaced(key, held.record, held.encoded, EMPTY, b"")

    def merge(self, request: int, key: bytes, encoded: bytes, round: int, wall_ms: int) -> Merged:
        """Stage the merge of a record, read or minted under that round, with the copy here."""
        if self._rounds.is_straggler(key, round):
            return Merged(ReplicaRefused(request, "stale round", self._rounds.of_key(key)))
        if self._aside.moving:
            self._aside.clear(key)
        stored = self._store.get(key)
        was = b"" if stored is None else stored[BIRTH_BYTES:]
        if was == encoded and stored is not None:
            return MERGED
        try:
            record = decode_record(encoded)
        except Malformed:
            return Merged(ReplicaRefused(request, "malformed"))
        for sibling in record.siblings:
            if wall_ms_of(sibling.time) > wall_ms + self._clock_skew_ms:
                return Merged(ReplicaRefused(request, "clock skew"))
            self._clock.saw(sibling.time)
        held = EMPTY if stored is None else decode_record(was)
        merged = merge(held, record)
        if merged is record:  # the usual case: it has seen all that is held here
            self._put(key, UNBORN if stored is None else stored[:BIRTH_BYTES], encoded, record)
            self._trees.replaced(key, held, was, record, encoded)
            return MERGED if len(record.siblings) < 2 else Merged(None, (), held, record)
        if merged is not held:
            encoded = encode_record(merged)
            self._put(key, UNBORN if stored is None else stored[:BIRTH_BYTES], encoded, merged)
            self._trees.replaced(key, held, was, merged, encoded)
        beyond = [sibling for sibling in merged.siblings if not covers(record.clock, sibling.dot)]
        if any(is_later(held, new) for held in beyond for new in record.siblings):
            beyond = []
        entries = merged.clock.entries if beyond else ()
        return Merged(None, entries, held, merged if len(merged.siblings) > 1 else EMPTY)

    def take_back(self, key: bytes, stored: bytes) -> None:
        """Stage the merge of a copy that was set aside, as it was stored."""
        held = self.load(key)
        self.stage(key, held.birth, merge(held.record, decode_record(stored[BIRTH_BYTES:])), held)

    def _put(self, key: bytes, birth: bytes, encoded: bytes, record: Record) -> None:
        self._store.put(key, birth + encoded)
        for sibling in record.siblings:
            if sibling.tombstone or sibling.expires_ms:
                self._tombstones.note(key, record)
                break
