"""Is an owner settled? It is not when it has lost what it held."""

import pytest

from zdynamo.core.partitions import Partitions
from zdynamo.partition import storage_key
from zdynamo.storage.memory import MemoryStore

KEYS = [storage_key(b"default", b"%d" % number, 16) for number in range(200)]


def settled(partitions: Partitions) -> set[bool]:
    return {partitions.settled(key) for key in KEYS}


@pytest.mark.parametrize(
    ("took_over", "lost_disk", "lost"), [(False, False, False), (True, False, True), (False, True, True)]
)
def test_an_owner_is_settled_unless_it_has_lost_what_it_held(took_over: bool, lost_disk: bool, lost: bool) -> None:
    partitions = Partitions(MemoryStore(), lost_disk=lost_disk)

    found = partitions.layout_known(took_over=took_over, partitions=16)

    assert found == lost
    assert settled(partitions) == {not lost}


def test_a_loss_is_found_once() -> None:
    partitions = Partitions(MemoryStore(), lost_disk=True)

    assert partitions.layout_known(took_over=False, partitions=16)
    assert not partitions.layout_known(took_over=True, partitions=16)


def test_a_loss_is_remembered_over_a_restart_and_not_found_again() -> None:
    store = MemoryStore()
    Partitions(store, lost_disk=True).layout_known(took_over=False, partitions=16)
    store.commit()

    again = Partitions(store, lost_disk=False)

    assert not again.layout_known(took_over=False, partitions=16)
    assert settled(again) == {False}


def test_an_owner_that_has_had_a_layout_is_settled_after_a_restart() -> None:
    store = MemoryStore()
    Partitions(store, lost_disk=False).layout_known(took_over=False, partitions=16)
    store.commit()

    again = Partitions(store, lost_disk=False)
    again.layout_known(took_over=True, partitions=16)

    assert settled(again) == {True}
