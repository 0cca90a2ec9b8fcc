"""Looking through the index for what is dead: how much of it one step takes."""

from itertools import islice

import xxhash
from msgspec import Struct

from zdynamo.core.events import Now
from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.reaping.turns import Turn
from zdynamo.core.reaping.witness import KEYS_MAX, Item, safe_wall_ms
from zdynamo.core.records.record import decode_record
from zdynamo.core.state import State

ENTRIES_MAX = 1_024  # of the index, looked at in one step
BYTES_MAX = 2**20  # of records, looked at in one step; one may be larger
KEYS_OF_STEP_MAX = 256  # dead ones that are found in one step, for several passes
KEYS_AFTER_FAILURE = 8  # of a pass where the last one has failed: to ask is cheap until all is well again


class Work(Struct):
    """What has been done in this step."""

    entries: int = 0
    bytes: int = 0
    keys: int = 0

    @property
    def enough(self) -> bool:
        return self.entries >= ENTRIES_MAX or self.bytes >= BYTES_MAX or self.keys >= KEYS_OF_STEP_MAX


def gather(state: State, partition: int, turn: Turn, work: Work, now: Now) -> tuple[Item, ...]:
    """The next dead records of a partition; entries that are out of date are mended on the way."""
    wall_ms = safe_wall_ms(state, now)
    items: list[Item] = []
    if not turn.after:
        turn.begin_sweep()
    keys_max = min(KEYS_AFTER_FAILURE if turn.failed else KEYS_MAX, KEYS_OF_STEP_MAX - work.keys)
    entries_max = ENTRIES_MAX - work.entries
    looked = 0
    for key, ends_ms in islice(state.tombstones.entries(partition, turn.after), entries_max):
        looked += 1
        turn.after = key
        turn.seen += 1
        if ends_ms > wall_ms:
            turn.will_end(ends_ms)
            continue
        encoded = state.replica.fetch(key)
        work.bytes += len(key) + len(encoded)
        if not encoded:
            state.tombstones.forget(key)
        elif is_dead(record := decode_record(encoded), wall_ms, lww=state.buckets.is_lww(key)):
            items.append((key, xxhash.xxh3_64_intdigest(encoded)))
            turn.again = True
        else:
            state.tombstones.renew(key, record)
        if len(items) == keys_max or work.bytes >= BYTES_MAX:
            break
    else:
        if looked < entries_max:
            turn.after, turn.waiting = b"", turn.seen
    work.entries += looked
    work.keys += len(items)
    return tuple(items)
