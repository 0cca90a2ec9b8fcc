"""Hash trees: whatever is stored, dropped, committed or lost, they are what a look at the store would make of it."""

from array import array
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.nodes import PARTITIONS, WALL_MS
from support.records import record

from zdynamo.core.anti_entropy.trees import BUILDING, UNKNOWN, Trees, digest, leaves_of
from zdynamo.core.reaping.rounds import Rounds
from zdynamo.core.reaping.tombstones import Tombstones
from zdynamo.core.records.buckets import Buckets
from zdynamo.core.records.dots import BIRTH_BYTES, Dots
from zdynamo.core.records.hybrid_clock import HybridClock
from zdynamo.core.records.record import EMPTY, decode_record
from zdynamo.core.replicas.aside import Aside, Moving
from zdynamo.core.replicas.replica import NO_COPY, Replica
from zdynamo.core.settings import NodeLimits
from zdynamo.partition import PARTITIONS_MAX, partition_of_storage_key, storage_key, stretch
from zdynamo.storage.memory import MemoryStore

KEYS = [storage_key(b"default", b"%d" % number, PARTITIONS) for number in range(40)]


class Copies:
    """A node's copies and their trees, and nothing else of it."""

    def __init__(self, store: MemoryStore | None = None, owned: range = range(PARTITIONS)) -> None:
        self.store = store or MemoryStore()
        self.tombstones = Tombstones(self.store, Buckets((), NodeLimits()))
        self.trees = Trees(self.store, self.tombstones.found)
        self.aside = Aside(self.store, Dots(self.store, 1), self.tombstones, self.trees)
        rounds, clock = Rounds(self.store), HybridClock(500)
        self.replica = Replica(self.store, clock, rounds, self.tombstones, self.aside, self.trees, clock_skew_ms=500)
        self.trees.own(owned, PARTITIONS)
        self.commit()

    def merge(self, key: bytes, record: bytes) -> None:
        assert self.replica.merge(0, key, record, 0, WALL_MS).refused is None

    def commit(self) -> None:
        self.store.commit()
        self.trees.committed()

    def fail(self) -> None:
        """The commit fails."""
        self.store._staged.clear()
        self.trees.discarded()

    def restart(self) -> "Copies":
        """Another process with what was committed."""
        return Copies(self.store)

    def build(self) -> None:
        while self.trees.wants_building:
            self.trees.build()

    def tree(self, partition: int) -> "array[int]":
        return array("Q", self.trees.encoded(partition))

    def counted(self, partition: int) -> "array[int]":
        """The tree as a look at all that is committed makes it."""
        leaves = [0] * leaves_of(PARTITIONS)
        for key, stored in self.store.scan(*stretch(partition)):
            encoded = stored[BIRTH_BYTES:]
            place = self.trees.place_of(key)
            leaves[place] = (leaves[place] + digest(key, decode_record(encoded), encoded)) % 2**64
        return array("Q", leaves)

    @property
    def is_right(self) -> bool:
        return all(self.tree(partition) == self.counted(partition) for partition in range(PARTITIONS))


def do_put(copies: Copies, key: bytes, number: int) -> None:
    held = copies.replica.load(key)
    copies.replica.stage(key, 1, decode_record(record(counter=number)), held)


def do_merge(copies: Copies, key: bytes, number: int) -> None:
    copies.merge(key, record(counter=number, actor=number % 3 + 1))


def do_delete(copies: Copies, key: bytes, number: int) -> None:
    copies.merge(key, record(counter=number, tombstone=True))


def do_drop(copies: Copies, key: bytes, number: int) -> None:
    copies.replica.drop(key)


def do_commit(copies: Copies, key: bytes, number: int) -> None:
    copies.commit()


def do_fail(copies: Copies, key: bytes, number: int) -> None:
    copies.fail()


def do_build(copies: Copies, key: bytes, number: int) -> None:
    copies.trees.build(records_max=number % 4 + 1)


def do_set_aside(copies: Copies, key: bytes, number: int) -> None:
    copies.aside.moving.setdefault(partition_of_storage_key(key), Moving(b"", bytes(8)))
    copies.aside.clear(key)


Deed = Callable[[Copies, bytes, int], None]
DEEDS: list[Deed] = [do_put, do_merge, do_delete, do_drop, do_commit, do_fail, do_build, do_build, do_set_aside]
STEPS = st.lists(st.tuples(st.sampled_from(DEEDS), st.sampled_from(KEYS), st.integers(1, 50)), max_size=60)


@given(before=STEPS, after=STEPS)
@settings(max_examples=400, deadline=None)
def test_trees_are_what_is_stored_whatever_happens_while_they_are_built(
    before: list[tuple[Deed, bytes, int]], after: list[tuple[Deed, bytes, int]]
) -> None:
    first = Copies()
    for deed, key, number in before:
        deed(first, key, number)
    first.commit()

    second = first.restart()
    for deed, key, number in after:
        deed(second, key, number)
    second.commit()
    second.build()

    assert second.is_right


@given(before=STEPS)
@settings(max_examples=200, deadline=None)
def test_trees_are_what_is_stored_after_any_writes_and_failed_commits(before: list[tuple[Deed, bytes, int]]) -> None:
    copies = Copies()

    for deed, key, number in before:
        deed(copies, key, number)
    copies.commit()

    assert copies.is_right


def test_equal_copies_have_equal_trees_in_whatever_order_they_were_written() -> None:
    one, other = Copies(), Copies()

    for number, key in enumerate(KEYS):
        one.merge(key, record(counter=number + 1))
    for number, key in reversed(list(enumerate(KEYS))):
        other.merge(key, record(counter=number + 1))

    assert [one.trees.root(at) for at in range(PARTITIONS)] == [other.trees.root(at) for at in range(PARTITIONS)]


def test_a_difference_is_found_at_its_leaf() -> None:
    one, other = Copies(), Copies()
    for copies in (one, other):
        copies.merge(KEYS[0], record())

    other.merge(KEYS[0], record(counter=2))

    partition = partition_of_storage_key(KEYS[0])
    assert one.trees.root(partition) != other.trees.root(partition)
    assert one.trees.differing(partition, other.trees.encoded(partition)) == {one.trees.place_of(KEYS[0])}


def test_the_same_record_under_two_keys_counts_twice() -> None:
    copies = Copies()

    copies.merge(KEYS[0], record())
    copies.merge(KEYS[1], record())

    leaves = [leaf for at in range(PARTITIONS) for leaf in copies.tree(at) if leaf]
    assert len(set(leaves)) == 2


@pytest.mark.parametrize("leaves", [b"", bytes(8), bytes(8 * leaves_of(PARTITIONS) + 1)])
def test_what_is_no_tree_differs_in_no_leaf(leaves: bytes) -> None:
    assert Copies().trees.differing(0, leaves) is None


def test_a_tombstone_counts_nothing() -> None:
    copies = Copies()
    empty = copies.trees.root(partition_of_storage_key(KEYS[0]))
    copies.merge(KEYS[0], record())

    copies.merge(KEYS[0], record(counter=2, tombstone=True))

    assert copies.trees.root(partition_of_storage_key(KEYS[0])) == empty


def test_an_expired_value_counts_until_it_is_removed() -> None:
    copies = Copies()
    partition = partition_of_storage_key(KEYS[0])
    empty = copies.trees.root(partition)

    copies.merge(KEYS[0], record(expires_ms=1))
    held = copies.trees.root(partition)
    copies.replica.drop(KEYS[0])

    assert held != empty
    assert copies.trees.root(partition) == empty


def test_an_empty_store_has_its_trees_at_once() -> None:
    trees = Copies().trees

    assert (trees.built, trees.owned) == (PARTITIONS, PARTITIONS)


def test_after_a_start_there_is_no_root_until_all_is_scanned() -> None:
    first = Copies()
    for key in KEYS:
        first.merge(key, record())
    first.commit()

    second = first.restart()
    at_first = {second.trees.root(at) for at in range(PARTITIONS)}
    second.build()

    assert at_first == {BUILDING}
    assert [second.trees.root(at) for at in range(PARTITIONS)] == [first.trees.root(at) for at in range(PARTITIONS)]


def test_nothing_is_scanned_before_what_is_staged_with_the_new_trees_is_committed() -> None:
    """It was staged before there was a tree to count it in, and a scan does not see it."""
    copies = Copies(owned=range(0))
    copies.merge(KEYS[0], record())
    copies.trees.own(range(PARTITIONS), PARTITIONS)

    copies.trees.build()
    copies.commit()
    copies.build()

    assert copies.is_right


def test_there_is_no_tree_of_what_is_not_owned() -> None:
    copies = Copies(owned=range(4))

    for key in KEYS:
        copies.merge(key, record())

    assert {copies.trees.root(at) for at in range(4, PARTITIONS)} == {UNKNOWN}


def test_a_partition_that_is_not_owned_any_more_is_forgotten() -> None:
    copies = Copies()

    copies.trees.own(range(1, PARTITIONS), PARTITIONS)

    assert copies.trees.root(0) == UNKNOWN
    assert copies.trees.owned == PARTITIONS - 1


def test_a_partition_that_is_owned_again_counts_what_is_still_there_also_where_nothing_was_at_the_start() -> None:
    copies = Copies()
    for key in KEYS:
        copies.merge(key, record())
    copies.commit()

    for owned in (range(0), range(PARTITIONS)):
        copies.trees.own(owned, PARTITIONS)
        copies.commit()
    copies.build()

    assert copies.is_right


@pytest.mark.parametrize("partitions", [2**power for power in range(16) if 2**power <= PARTITIONS_MAX])
def test_trees_of_all_partitions_take_4_mib_at_most(partitions: int) -> None:
    leaves = leaves_of(partitions)

    assert leaves & (leaves - 1) == 0
    assert 8 * leaves * partitions <= 4 * 2**20


def test_a_copy_that_is_staged_over_nothing_counts_all() -> None:
    copies = Copies()

    copies.replica.stage(KEYS[0], 1, decode_record(record()), NO_COPY)
    copies.replica.drop(KEYS[0])

    assert copies.trees.root(partition_of_storage_key(KEYS[0])) == Copies().trees.root(0)
    assert copies.replica.load(KEYS[0]).record is EMPTY
