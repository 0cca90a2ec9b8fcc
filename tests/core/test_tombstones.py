"""The index of what is dead, or will be."""

import pytest
from support.deaths import EXPIRES_MS
from support.records import sibling

from zdynamo.core.reaping.tombstones import Tombstones, ends_ms, is_dead
from zdynamo.core.records.buckets import Buckets
from zdynamo.core.records.record import EMPTY, NOTHING_SEEN, Record
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Bucket
from zdynamo.partition import storage_key
from zdynamo.storage.memory import MemoryStore

LATER_MS = EXPIRES_MS + 1000
TOMBSTONE = sibling(1, tombstone=True)
VALUE = sibling(2)
EXPIRING = sibling(3, expires_ms=EXPIRES_MS)
EXPIRING_LATER = sibling(4, expires_ms=LATER_MS)
LAST_DELETED = sibling(6, tombstone=True, ahead_ms=1)
LAST_EXPIRES = sibling(5, expires_ms=EXPIRES_MS, ahead_ms=1)
LAST_VALUE = sibling(7, ahead_ms=1)
LWW_KEY = storage_key(b"last", b"k", 1)
KEYS = sorted(storage_key(b"default", b"%d" % number, 1) for number in range(5))


def index(store: MemoryStore, table: tuple[Bucket, ...] = (Bucket("last", conflict="lww"),)) -> Tombstones:
    return Tombstones(store, Buckets(table, NodeLimits()))


def record(*siblings: object) -> Record:
    return Record(NOTHING_SEEN, tuple(siblings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("siblings", "ends"),
    [
        ((TOMBSTONE,), 0),
        ((TOMBSTONE, VALUE), None),
        ((EXPIRING,), EXPIRES_MS),
        ((TOMBSTONE, EXPIRING), EXPIRES_MS),
        ((EXPIRING, EXPIRING_LATER), LATER_MS),
        ((EXPIRING, VALUE), None),
        ((sibling(5, expires_ms=-1),), None),
    ],
)
def test_a_record_ends_with_its_last_value(siblings: tuple[object, ...], ends: int | None) -> None:
    assert ends_ms(record(*siblings), lww=False) == ends


def test_a_record_is_dead_from_its_end_on() -> None:
    both = record(TOMBSTONE, EXPIRING)
    assert [is_dead(both, EXPIRES_MS + late, lww=False) for late in (-1, 0, 1)] == [False, True, True]
    assert is_dead(record(TOMBSTONE), 0, lww=False)
    assert not is_dead(record(VALUE, TOMBSTONE), LATER_MS, lww=False)
    assert is_dead(EMPTY, 0, lww=False)


@pytest.mark.parametrize(
    ("siblings", "ends"),
    [
        ((VALUE, LAST_DELETED), 0),
        ((EXPIRING_LATER, LAST_DELETED), 0),
        ((VALUE, LAST_EXPIRES), EXPIRES_MS),
        ((EXPIRING_LATER, LAST_EXPIRES), EXPIRES_MS),
        ((LAST_DELETED,), 0),
        ((TOMBSTONE, LAST_VALUE), None),
        ((LAST_EXPIRES, LAST_DELETED, EXPIRING_LATER), 0),  # the later of two equal times is that of the greater dot
    ],
)
def test_where_the_last_write_wins_a_record_ends_with_that(siblings: tuple[object, ...], ends: int | None) -> None:
    assert ends_ms(record(*siblings), lww=True) == ends
    late = [is_dead(record(*siblings), EXPIRES_MS + late, lww=True) for late in (-1, 0)]
    assert late == [ends == 0, ends is not None]


def test_of_a_record_with_a_hidden_value_there_is_an_entry_only_where_the_last_write_wins() -> None:
    store = MemoryStore()
    tombstones = index(store)

    for key in (KEYS[0], LWW_KEY):
        tombstones.note(key, record(VALUE, LAST_DELETED))
    store.commit()

    assert list(tombstones.entries(0, b"")) == [(LWW_KEY, 0)]


def test_a_record_that_was_stored_by_another_rule_has_its_entry_when_it_is_found() -> None:
    store = MemoryStore()
    before, after = index(store, ()), index(store)
    before.note(LWW_KEY, record(VALUE, LAST_EXPIRES))

    for key, found in ((KEYS[0], record(VALUE, LAST_DELETED)), (LWW_KEY, record(VALUE, LAST_EXPIRES))):
        after.found(key, found)
    store.commit()

    assert list(after.entries(0, b"")) == [(LWW_KEY, EXPIRES_MS)]


def test_an_entry_that_is_there_is_not_written_again_when_its_record_is_found() -> None:
    store = MemoryStore()
    tombstones = index(store)
    tombstones.note(LWW_KEY, record(VALUE, LAST_DELETED))
    store.commit()

    tombstones.found(LWW_KEY, record(VALUE, LAST_DELETED))

    assert not store._staged


def test_an_entry_goes_when_the_bucket_shows_its_siblings_again() -> None:
    store = MemoryStore()
    index(store).note(LWW_KEY, record(VALUE, LAST_DELETED))
    store.commit()

    again = index(store, ())
    again.renew(LWW_KEY, record(VALUE, LAST_DELETED))
    store.commit()

    assert list(again.entries(0, b"")) == []


def test_entries_are_in_order_from_behind_a_key_on() -> None:
    store = MemoryStore()
    tombstones = index(store)
    for key in reversed(KEYS):
        tombstones.note(key, record(EXPIRING))
    tombstones.note(KEYS[1], record(TOMBSTONE))
    tombstones.forget(KEYS[3])
    store.commit()

    assert list(tombstones.entries(0, b"")) == [
        (KEYS[0], EXPIRES_MS), (KEYS[1], 0), (KEYS[2], EXPIRES_MS), (KEYS[4], EXPIRES_MS)
    ]  # fmt: skip
    assert list(tombstones.entries(0, KEYS[1])) == [(KEYS[2], EXPIRES_MS), (KEYS[4], EXPIRES_MS)]
    assert list(tombstones.entries(0, KEYS[4])) == list(tombstones.entries(1, b"")) == []


def test_what_has_a_value_for_ever_has_no_entry() -> None:
    store = MemoryStore()
    tombstones = index(store)

    tombstones.note(KEYS[0], record(TOMBSTONE, VALUE))
    store.commit()

    assert (list(tombstones.entries(0, b"")), tombstones.fresh) == ([], set())


def test_an_entry_is_brought_up_to_date() -> None:
    store = MemoryStore()
    tombstones = index(store)
    for key in KEYS[:2]:
        tombstones.note(key, record(EXPIRING))
    store.commit()

    tombstones.renew(KEYS[0], record(EXPIRING_LATER))
    tombstones.renew(KEYS[1], record(VALUE))
    store.commit()

    assert list(tombstones.entries(0, b"")) == [(KEYS[0], LATER_MS)]


def test_partitions_with_entries_are_known_after_a_restart() -> None:
    store = MemoryStore()
    tombstones = index(store)
    for partition in (0, 3, 255, 256, 32_767):
        for name in (b"\x01bk", b"\x01bl"):
            tombstones.note(partition.to_bytes(2, "big") + name, record(TOMBSTONE))
    store.commit()

    assert index(store).fresh == {0, 3, 255, 256, 32_767}
