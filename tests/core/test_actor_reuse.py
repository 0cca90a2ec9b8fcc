"""The actor-reuse family: a node that has forgotten what it minted mints again, and nothing may be eaten by that.

A clock's entry claims all earlier dots of its actor. If an actor ever minted below what others have seen of it, they
would take the new write for an old one and drop it.
"""

from support.nodes import LoneNode, put, sent, view

from zdynamo.core.records.record import EMPTY, decode_record, merge
from zdynamo.messages import StoreReplica

KEY = b"cart"


def written(node: LoneNode, number: int, value: bytes) -> bytes:
    """The record that a put of this node sends to the others; it covers nothing that it was not told of."""
    return sent(node.asked(put(number, KEY, value, attempt=2, w=1)), StoreReplica)[0][1].record  # type: ignore[attr-defined, no-any-return]


def values(*records: bytes) -> set[bytes]:
    """What a third replica holds in the end, having heard of these in this order."""
    held = EMPTY
    for record in records:
        held = merge(held, decode_record(record))
    return {sibling.value for sibling in held.siblings}


def test_a_fallback_that_coordinates_twice_with_a_hand_over_between_eats_nothing() -> None:
    fallback = LoneNode()
    first = written(fallback, 1, b"first")
    fallback.store.delete(fallback.key(KEY))  # handed over: its copy goes
    fallback.store.commit()

    second = written(fallback, 2, b"second")
    third = written(fallback, 3, b"third")

    assert values(first, second, third) == {b"first", b"second", b"third"}
    assert values(third, first) == {b"first", b"second", b"third"}


def test_an_owner_that_lost_a_partition_and_got_it_back_eats_nothing() -> None:
    owner = LoneNode()
    first = written(owner, 1, b"first")
    other = LoneNode(view(me="b", others="ac"))
    other.hears("a", StoreReplica(1, 1000, (), 0, other.key(KEY), first))
    second = written(other, 2, b"second")
    owner.store.delete(owner.key(KEY))
    owner.store.commit()

    early = written(owner, 3, b"early")  # before it has got anything back
    owner.hears("b", StoreReplica(1, 1000, (), 0, owner.key(KEY), second))
    late = written(owner, 4, b"late")

    everything = {b"first", b"second", b"early", b"late"}
    assert values(second, early, late) == everything
    assert values(late, first) == everything


def test_a_node_that_restores_an_old_copy_and_then_writes_eats_nothing() -> None:
    node = LoneNode()
    first = written(node, 1, b"first")
    old = dict(node.store.scan(b"", b"\xff" * 8))
    second = written(node, 2, b"second")
    for key, value in old.items():
        node.store.put(key, value)
    node.store.commit()
    restored = LoneNode(view(number=2), store=node.store)

    third = written(restored, 3, b"third")

    assert values(second, third) == {b"first", b"second", b"third"}
    assert values(first, third, second) == {b"first", b"second", b"third"}


def test_a_node_that_re_creates_a_key_after_its_tombstone_is_gone_eats_nothing() -> None:
    node = LoneNode()
    written(node, 1, b"first")
    node.store.delete(node.key(KEY))
    node.store.commit()

    again, beside = written(node, 2, b"again"), written(node, 3, b"beside")

    assert values(again, beside) == {b"again", b"beside"}
    assert values(beside, again) == {b"again", b"beside"}
