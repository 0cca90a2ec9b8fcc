"""A stretch of one bucket in one partition: where it begins and ends, and which keys of it a replica shows."""

from itertools import pairwise
from typing import NamedTuple

import xxhash

from zdynamo.core.records.dots import BIRTH_BYTES
from zdynamo.core.records.record import decode_record, shown
from zdynamo.core.store import Store
from zdynamo.messages import ReplicaListed
from zdynamo.partition import PREFIX_BYTES

SCAN_RECORDS = 500  # looked at for one answer, whether they show or not: about 2 ms
SCAN_BYTES = 2 * 2**20  # of those records; the last may be larger


class Stretch(NamedTuple):
    """Storage keys from `start` to before `end`."""

    start: bytes
    end: bytes


def stretch_of(bucket: bytes, partition: int, *, prefix: bytes = b"", after: bytes = b"") -> Stretch:
    """The keys of a bucket in a partition that begin with `prefix` and lie behind `after`."""
    first = partition.to_bytes(PREFIX_BYTES, "big") + bytes((len(bucket),)) + bucket
    start = first + prefix
    return Stretch(max(start, first + after + b"\x00") if after else start, _behind_all(start))


def digest_of(encoded: bytes) -> int:
    """64 bits that differ when two records do; 0: there is none."""
    return xxhash.xxh3_64_intdigest(encoded) if encoded else 0


def look(
    store: Store, stretch: Stretch, limit: int, wall_ms: int, *, lww: bool
) -> tuple[tuple[tuple[bytes, int], ...], bytes, bool]:
    """What `ReplicaListed` tells: the keys that show a value, how far this looked, and whether that was all.

    What is dead is left out: where others show it, they differ, and the record is read.
    """
    entries: list[tuple[bytes, int]] = []
    reached = b""
    size = 0
    for looked, (key, stored) in enumerate(store.scan(*stretch)):
        if len(entries) == limit or looked == SCAN_RECORDS or size >= SCAN_BYTES:
            return tuple(entries), reached, False
        encoded = stored[BIRTH_BYTES:]
        if shown(decode_record(encoded), wall_ms, lww=lww):
            entries.append((key, digest_of(encoded)))
        reached = key
        size += len(key) + len(stored)
    return tuple(entries), reached, True


def is_of(message: ReplicaListed, stretch: Stretch, limit: int) -> bool:
    """Whether a peer's answer can be one about that stretch."""
    keys = [key for key, _ in message.entries]
    return (
        len(keys) <= limit
        and all(one < other for one, other in pairwise(keys))
        and (not keys or (stretch.start <= keys[0] and keys[-1] < stretch.end))
        and (message.last or (stretch.start <= message.reached < stretch.end and keys[-1:] <= [message.reached]))
    )


def _behind_all(prefix: bytes) -> bytes:
    """The first of the bytes behind all that begin with `prefix`; it holds more than 0xff."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,))
