"""A request that two coordinators wrote: what comes to light of it late shows nothing new."""

from collections.abc import Callable
from itertools import count

import pytest
from support.nodes import LoneNode, answers, delete, get, put, sent, view

from zdynamo.messages import (
    Absent,
    Done,
    FetchReplica,
    Found,
    ReplicaFetched,
    ReplicaStored,
    StoreReplica,
)
from zdynamo.partition import partition_of_storage_key

KEY = b"k"
numbers = count(10)  # of requests: each is later than those before


def record_of(effects: list[object]) -> bytes:
    return sent(effects, StoreReplica)[0][1].record  # type: ignore[attr-defined, arg-type, no-any-return]


def hidden_twin() -> bytes:
    """What a node wrote that was killed before it could tell anybody."""
    return record_of(LoneNode(view(me="b", others="ac")).asked(put(1, KEY, w=1)))


def shown(node: LoneNode) -> set[bytes]:
    begun = node.asked(get(99, KEY, r=1))
    (answer,) = answers(begun)
    return {sibling.value for sibling in answer.siblings} if isinstance(answer, Found) else set()


def hears_of(node: LoneNode, record: bytes) -> None:
    (effect,) = node.hears("b", StoreReplica(7, 1000, (), 0, node.key(KEY), record))
    assert isinstance(effect.message, ReplicaStored)  # type: ignore[union-attr]


def remove(node: LoneNode) -> None:
    node.asked(delete(next(numbers), KEY, r=1, w=1))


def overwrite(node: LoneNode) -> None:
    node.asked(put(next(numbers), KEY, b"new", w=1))


def overwrite_what_was_read(node: LoneNode) -> None:
    (found,) = answers(node.asked(get(98, KEY, r=1)))
    node.asked(put(next(numbers), KEY, b"new", context=found.context, w=1))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("later", "left"),
    [
        ([], {b"v"}),
        ([remove], set()),
        ([overwrite], {b"new"}),
        ([overwrite_what_was_read], {b"new"}),
        ([remove, overwrite], {b"new"}),
        ([remove, overwrite_what_was_read, remove], set()),
    ],
)
def test_a_twin_that_comes_to_light_late_shows_nothing_new(
    later: list[Callable[[LoneNode], None]], left: set[bytes]
) -> None:
    twin, node = hidden_twin(), LoneNode()
    node.asked(put(1, KEY, attempt=2, w=1))
    for step in later:
        step(node)
        node.monotonic_ms += 1

    hears_of(node, twin)

    assert shown(node) == left


def test_a_twin_of_a_deleted_value_found_by_the_delete_elsewhere_stays_away() -> None:
    """The coordinator of the delete has not got the value itself; it reads it from another."""
    twin, node, other = hidden_twin(), LoneNode(), LoneNode(view(me="c", others="ab"))
    second = record_of(other.asked(put(1, KEY, attempt=2, w=1)))
    begun = node.asked(delete(2, KEY, w=1))
    number = sent(begun, FetchReplica)[0][1].request  # type: ignore[attr-defined]
    node.hears("c", ReplicaFetched(number, True, 0, second))

    hears_of(node, twin)

    assert shown(node) == set()


def test_a_late_attempt_of_what_has_been_deleted_writes_nothing() -> None:
    node = LoneNode()
    node.asked(put(1, KEY, attempt=2, w=1))
    remove(node)

    node.asked(put(1, KEY, w=1))

    assert shown(node) == set()


def test_a_value_of_another_request_is_shown_beside() -> None:
    twin, node = record_of(LoneNode(view(me="b", others="ac")).asked(put(5, KEY, b"other", w=1))), LoneNode()
    node.asked(put(1, KEY, attempt=2, w=1))
    remove(node)

    hears_of(node, twin)

    assert shown(node) == {b"other"}


def test_a_record_of_which_only_a_twin_is_left_is_dead() -> None:
    twin, node = hidden_twin(), LoneNode()
    node.asked(put(1, KEY, attempt=2, w=1))
    remove(node)
    hears_of(node, twin)

    assert isinstance(answers(node.asked(get(99, KEY, r=1)))[0], Absent)
    entries = list(node.node._state.tombstones.entries(partition_of_storage_key(node.key(KEY)), b""))
    assert entries == [(node.key(KEY), 0)]


def test_a_late_attempt_of_a_delete_takes_nothing_that_was_written_since() -> None:
    node = LoneNode()
    node.asked(put(1, KEY, w=1))
    first = delete(next(numbers), KEY, r=1, w=1)
    node.asked(first)
    overwrite(node)

    (again,) = answers(node.asked(first))

    assert isinstance(again, Done) and again.changed
    assert shown(node) == {b"new"}


def test_a_delete_reads_from_owners_that_know() -> None:
    node = LoneNode()
    begun = node.asked(delete(next(numbers), KEY))
    number = sent(begun, FetchReplica)[0][1].request  # type: ignore[attr-defined]

    unsure = node.hears("b", ReplicaFetched(number, False, 0, hidden_twin()))
    sure = node.hears("c", ReplicaFetched(number, True, 0, b""))

    assert sent(unsure, StoreReplica) == []
    assert len(sent(sure, StoreReplica)) == 2
