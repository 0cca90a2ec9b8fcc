"""Copies that are out of sight: what an owner held of a partition that it was given an old copy of.

Something may have been removed since that copy was made, so nothing of it may be shown, merged or sent. It is moved to
the node's own keys, in slices; whoever comes to a key first moves it. A record that this very process has written over
nothing is no part of the old copy, and stays.

An old copy may have been made while an older one was aside. Then what came in sight since then is moved too, to what is
aside already: each value tells in which reaping round it was moved, or a key that has been moved before would be taken
for done.
"""

from collections.abc import Mapping
from typing import NamedTuple

from zdynamo.core.anti_entropy.trees import Trees
from zdynamo.core.reaping.tombstones import Tombstones
from zdynamo.core.records.dots import BIRTH_BYTES, Dots
from zdynamo.core.records.record import EMPTY, decode_record, encode_record, merge
from zdynamo.core.store import OWN_KEYS, Store
from zdynamo.partition import partition_of_storage_key, stretch

KEY = OWN_KEYS + b"aside"  # and the storage key; the value: `[round: 8 bytes][copy]`, no copy if none was held
ROUND_BYTES = 8
SLICE_RECORDS = 200  # moved in one step
SLICE_BYTES = 2**20


class Moving(NamedTuple):
    """How far a partition has been moved."""

    after: bytes  # the storage key up to which that is done
    round: bytes  # in which it was found to be an old copy; that is a greater one each time


class Aside:
    """Moves copies out of sight, and knows where that is going on."""

    def __init__(self, store: Store, dots: Dots, tombstones: Tombstones, trees: Trees) -> None:
        self._store = store
        self._dots = dots
        self._tombstones = tombstones
        self._trees = trees
        self.moving: dict[int, Moving] = {}  # by partition

    def clear(self, key: bytes) -> None:
        """Before a copy is read or stored: if an old one is in the way, it is moved."""
        moving = self.moving.get(partition_of_storage_key(key))
        if moving is not None and key > moving.after:
            self._move(key, moving.round)

    def move(self, partition: int) -> bool:
        """A slice; whether that was the last."""
        after, round = self.moving[partition]
        start, end = stretch(partition, after)
        size = 0
        for count, (key, stored) in enumerate(self._store.scan(start, end)):
            if count >= SLICE_RECORDS or size >= SLICE_BYTES:
                return False
            self._move(key, round)
            self.moving[partition] = Moving(key, round)
            size += len(stored)
        del self.moving[partition]
        return True

    def take(self, partition: int) -> list[tuple[bytes, bytes]]:
        """A slice of what is aside, as it was stored, by storage key; it is aside no more. []: nothing is."""
        start, end = stretch(partition)
        taken: list[tuple[bytes, bytes]] = []
        size = 0
        for key, stored in self._store.scan(KEY + start, KEY + end):
            if len(taken) >= SLICE_RECORDS or size >= SLICE_BYTES:
                break
            taken.append((key[len(KEY) :], stored[ROUND_BYTES:]))
            size += len(stored)
            self._store.delete(key)
        return taken

    def reload(self, moving: Mapping[int, Moving]) -> None:
        """Partitions that are being moved."""
        self.moving = dict(moving)

    def _move(self, key: bytes, round: bytes) -> None:
        """Unless that has been done in this round."""
        moved = self._store.get(KEY + key) or b""
        if moved.startswith(round):
            return
        before, stored = moved[ROUND_BYTES:], self._store.get(key)
        if stored is None or self._is_new(stored):
            self._store.put(KEY + key, round + before)
            return
        self._store.put(KEY + key, round + (_merged(before, stored) if before else stored))
        self._store.delete(key)
        self._tombstones.forget(key)
        encoded = stored[BIRTH_BYTES:]
        self._trees.replaced(key, decode_record(encoded), encoded, EMPTY, b"")

    def _is_new(self, stored: bytes) -> bool:
        """Whether the copy has seen only what this process has minted."""
        if not self._dots.is_of_this_process(int.from_bytes(stored[:BIRTH_BYTES], "big")):
            return False
        clock, actor = decode_record(stored[BIRTH_BYTES:]).clock, self._dots.actor
        return all(dot[0] == actor for dot in clock.entries + clock.cloud)


def _merged(before: bytes, stored: bytes) -> bytes:
    """What has gone aside twice; who takes it back does not look at the birth."""
    both = merge(decode_record(before[BIRTH_BYTES:]), decode_record(stored[BIRTH_BYTES:]))
    return stored[:BIRTH_BYTES] + encode_record(both)
