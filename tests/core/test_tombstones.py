"""The index of what is dead, or will be."""

import pytest
from support.deaths import EXPIRES_MS
from support.records import sibling

from zdynamo.core.reaping.tombstones import Tombstones, ends_ms, is_dead
from zdynamo.core.records.record import EMPTY, NOTHING_SEEN, Record
from zdynamo.partition import storage_key
from zdynamo.storage.memory import MemoryStore

LATER_MS = EXPIRES_MS + 1000
TOMBSTONE = sibling(1, tombstone=True)
VALUE = sibling(2)
EXPIRING = sibling(3, expires_ms=EXPIRES_MS)
EXPIRING_LATER = sibling(4, expires_ms=LATER_MS)
KEYS = sorted(storage_key(b"default", b"%d" % number, 1) for number in range(5))


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
    assert ends_ms(record(*siblings)) == ends


def test_a_record_is_dead_from_its_end_on() -> None:
    assert [is_dead(record(TOMBSTONE, EXPIRING), EXPIRES_MS + late) for late in (-1, 0, 1)] == [False, True, True]
    assert is_dead(record(TOMBSTONE), 0)
    assert not is_dead(record(VALUE, TOMBSTONE), LATER_MS)
    assert is_dead(EMPTY, 0)


def test_entries_are_in_order_from_behind_a_key_on() -> None:
    store = MemoryStore()
    tombstones = Tombstones(store)
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
    tombstones = Tombstones(store)

    tombstones.note(KEYS[0], record(TOMBSTONE, VALUE))
    store.commit()

    assert (list(tombstones.entries(0, b"")), tombstones.fresh) == ([], set())


def test_an_entry_is_brought_up_to_date() -> None:
    store = MemoryStore()
    tombstones = Tombstones(store)
    for key in KEYS[:2]:
        tombstones.note(key, record(EXPIRING))
    store.commit()

    tombstones.renew(KEYS[0], record(EXPIRING_LATER))
    tombstones.renew(KEYS[1], record(VALUE))
    store.commit()

    assert list(tombstones.entries(0, b"")) == [(KEYS[0], LATER_MS)]


def test_partitions_with_entries_are_known_after_a_restart() -> None:
    store = MemoryStore()
    tombstones = Tombstones(store)
    for partition in (0, 3, 255, 256, 32_767):
        for name in (b"\x01bk", b"\x01bl"):
            tombstones.note(partition.to_bytes(2, "big") + name, record(TOMBSTONE))
    store.commit()

    assert Tombstones(store).fresh == {0, 3, 255, 256, 32_767}
