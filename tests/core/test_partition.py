"""Partitions and storage keys: the same for ever, since they are on disks and in clients."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdynamo.partition import (
    PARTITIONS_MAX,
    is_storage_key,
    partition_of,
    partition_of_storage_key,
    split_storage_key,
    storage_key,
)

partition_counts = st.sampled_from([1, 2, 256, 1024, PARTITIONS_MAX])
buckets, keys = st.binary(max_size=255), st.binary(min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("bucket", "key", "partitions", "partition", "stored"),
    [
        (b"", b"cart", 256, 229, "00e50063617274"),
        (b"users", b"alice", 256, 74, "004a057573657273616c696365"),
        (b"users", b"alice", 32768, 9474, "2502057573657273616c696365"),
        (b"b\x00", b"\xff\x00", 1024, 646, "0286026200ff00"),
    ],
)
def test_partition_and_storage_key_are_the_same_for_ever(
    bucket: bytes, key: bytes, partitions: int, partition: int, stored: str
) -> None:
    assert partition_of(bucket, key, partitions) == partition
    assert storage_key(bucket, key, partitions).hex() == stored


@given(buckets, keys, partition_counts)
def test_a_storage_key_tells_its_partition_bucket_and_key(bucket: bytes, key: bytes, partitions: int) -> None:
    stored = storage_key(bucket, key, partitions)

    assert split_storage_key(stored) == (partition_of(bucket, key, partitions), bucket, key)
    assert partition_of_storage_key(stored) < partitions
    assert is_storage_key(stored, partitions)


@given(buckets, keys)
def test_half_the_partitions_are_pairs_of_the_others(bucket: bytes, key: bytes) -> None:
    assert partition_of(bucket, key, 512) // 2 == partition_of(bucket, key, 256)


@given(buckets, keys, buckets, keys)
def test_different_names_have_different_storage_keys(one: bytes, key: bytes, other: bytes, other_key: bytes) -> None:
    same = (one, key) == (other, other_key)

    assert (storage_key(one, key, 256) == storage_key(other, other_key, 256)) is same


def test_a_bucket_is_one_range_in_its_partition() -> None:
    stored = sorted(storage_key(bucket, b"%d" % number, 4) for bucket in (b"a", b"ab", b"b") for number in range(50))

    named = [split_storage_key(key)[:2] for key in stored]
    changes = sum(one != other for one, other in pairwise(named))
    assert changes == len(set(named)) - 1


def test_keys_spread_evenly_over_partitions() -> None:
    counts = [0] * 256
    for number in range(25_600):
        counts[partition_of(b"", b"user:%d" % number, 256)] += 1

    assert 60 < min(counts) <= max(counts) < 145


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\0\0", b"\0\0\5abc", b"\xff\xffcounter"])
def test_what_is_no_storage_key_is_refused(garbage: bytes) -> None:
    assert not is_storage_key(garbage, 256)


def test_a_key_in_a_partition_that_is_not_its_own_is_no_storage_key() -> None:
    stored = storage_key(b"", b"cart", 256)
    elsewhere = (partition_of_storage_key(stored) ^ 1).to_bytes(2, "big") + stored[2:]

    assert not is_storage_key(elsewhere, 256)


@pytest.mark.parametrize("garbage", [b"", b"\0\0", b"\0\0\5abc"])
def test_splitting_what_is_no_storage_key_is_an_error(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not a storage key"):
        split_storage_key(garbage)
