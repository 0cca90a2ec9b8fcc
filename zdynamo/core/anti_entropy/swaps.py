"""Where two owners differ: the keys of some leaves, by stretches, and the records of keys that are not alike.

What is dead is not brought to who holds nothing: it may have removed it. Each answer is bounded, and says how far it
has come.
"""

from collections.abc import Collection
from typing import NamedTuple

from msgspec import Struct

from zdynamo.core.anti_entropy.pace import LOOKS, RECORD_BYTES
from zdynamo.core.anti_entropy.trees import digest
from zdynamo.core.events import Now
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.records.discards import merge_here
from zdynamo.core.records.dots import BIRTH_BYTES
from zdynamo.core.records.record import decode_record
from zdynamo.core.state import State
from zdynamo.errors import Malformed
from zdynamo.messages import CompareKeys, LeafKeys, RecordsSwapped, SwapRecords
from zdynamo.partition import is_storage_key, partition_of_storage_key, stretch

LOOK_RECORDS = 400  # looked at in one step: one or two milliseconds
LOOK_BYTES = 2**20
KEYS_MAX = 256  # of one stretch
SWAP_KEYS = 64  # of one message
SWAP_BYTES = 256 * 2**10  # of records in one message; one may be larger

Entries = tuple[tuple[bytes, int], ...]
Records = tuple[tuple[bytes, bytes], ...]


class Looked(NamedTuple):
    """A stretch of this node's keys."""

    entries: Entries
    reached: bytes  # all up to this storage key have been looked at
    last: bool  # and there is nothing behind


class Taken(Struct):
    """What has become of records that came."""

    done: int = 0
    stored: int = 0  # this node had less
    refused: int = 0


def look(state: State, partition: int, places: Collection[int], after: bytes, upto: bytes = b"") -> Looked:
    """A stretch of what is committed in some leaves ((): in all), from behind a storage key on.

    `upto`: the last storage key that is wanted; b"": all of the partition.
    """
    start, end = stretch(partition, after)
    found: list[tuple[bytes, int]] = []
    reached, last = after, True
    records = size = 0
    for key, stored in state.store.scan(start, upto + b"\0" if upto else end):
        if records >= LOOK_RECORDS or size >= LOOK_BYTES or len(found) >= KEYS_MAX:
            last = False
            break
        reached = key
        records += 1
        size += len(key) + len(stored)
        if not places or state.trees.place_of(key) in places:
            encoded = stored[BIRTH_BYTES:]
            counted = digest(key, decode_record(encoded), encoded)
            if counted:
                found.append((key, counted))
    state.pace.spend((size + records * RECORD_BYTES) // LOOKS)
    return Looked(tuple(found), reached, last)


def keys_for(message: CompareKeys, state: State) -> LeafKeys | None:
    """The keys that another owner wants; None: that was no sensible question."""
    partition, after = message.partition, message.after
    if after and partition_of_storage_key(after) != partition:
        return None
    looked = look(state, partition, frozenset(message.places), after)
    return LeafKeys(message.request, partition, state.rounds.of(partition), *looked)


def records_of(state: State, keys: Collection[bytes]) -> Records:
    """What this node holds under the first of these keys, as many as go into one message."""
    records: list[tuple[bytes, bytes]] = []
    size = 0
    for key in keys:
        encoded = state.replica.fetch(key)
        size += len(key) + len(encoded)
        if records and (size > SWAP_BYTES or len(records) >= SWAP_KEYS):
            break
        records.append((key, encoded))
    state.pace.spend(sum(RECORD_BYTES + len(key) + len(encoded) for key, encoded in records))
    return tuple(records)


def take(
    state: State, partition: int, round: int, records: Records, placement: Placement, now: Now
) -> tuple[Taken, Records]:
    """Stage the merge of what another owner holds. Returns how that went, and what this node now holds more than it."""
    taken, more = Taken(), []
    size = 0
    for key, encoded in records[:SWAP_KEYS]:
        if partition_of_storage_key(key) != partition or not is_storage_key(key, placement.partitions):
            taken.done += 1
            taken.refused += 1
            continue
        held = state.replica.fetch(key)
        size += max(len(held), len(encoded))
        if taken.done and size > SWAP_BYTES:
            break
        taken.done += 1
        if encoded and not _take_one(state, key, held, encoded, round, taken, placement, now):
            continue
        holds = state.replica.fetch(key)
        if holds not in (b"", encoded) and (encoded or not _is_dead(key, holds, state, now)):
            more.append((key, holds))
    state.pace.spend(size + taken.done * RECORD_BYTES)
    return taken, tuple(more)


def swapped(message: SwapRecords, placement: Placement, state: State, now: Now) -> RecordsSwapped:
    """The answer to what another owner holds."""
    partition = message.partition
    taken, more = take(state, partition, message.round, message.records, placement, now)
    state.counters["compare.stored_here"] += taken.stored
    round = state.rounds.of(partition)
    return RecordsSwapped(message.request, partition, round, taken.done, taken.stored, taken.refused, more)


def _take_one(
    state: State, key: bytes, held: bytes, encoded: bytes, round: int, taken: Taken, placement: Placement, now: Now
) -> bool:
    """Whether it was stored, or held already."""
    if not held and _is_dead(key, encoded, state, now):
        return False
    merged = merge_here(state, 0, key, encoded, round, placement, now)
    if merged.refused is not None:
        taken.refused += 1
        return False
    taken.stored += state.replica.fetch(key) != held
    return True


def _is_dead(key: bytes, encoded: bytes, state: State, now: Now) -> bool:
    """Whether nothing is shown of a record any more; false also for what is none."""
    try:
        return is_dead(decode_record(encoded), state.clock.wall_ms(now), lww=state.buckets.is_lww(key))
    except Malformed:
        return False
