"""What a broken or hostile peer sends is turned down and never hurts the node."""

import pytest
from support.nodes import LoneNode, sent

from zdynamo.messages import FetchReplica, ReplicaRefused, StoreReplica

NO_STORAGE_KEYS = [b"", b"\x00", b"\x00\x00\x03abc", b"\x7f\xff\x01bk", b"\xff\xffactor", b"key"]


@pytest.mark.parametrize("key", NO_STORAGE_KEYS)
def test_a_fetch_of_what_is_no_storage_key_is_refused(key: bytes) -> None:
    node = LoneNode()

    effects = node.hears("b", FetchReplica(7, 100, (), key))

    assert sent(effects, ReplicaRefused) == [("b", ReplicaRefused(7, "malformed"))]


@pytest.mark.parametrize("key", NO_STORAGE_KEYS)
def test_a_copy_under_what_is_no_storage_key_is_refused_and_not_stored(key: bytes) -> None:
    node = LoneNode()
    before = node.store.get(key)

    effects = node.hears("b", StoreReplica(7, 100, (), 0, key, b"\x92\x92\x90\x90\x90"))

    assert sent(effects, ReplicaRefused) == [("b", ReplicaRefused(7, "malformed"))]
    assert node.store.get(key) == before
