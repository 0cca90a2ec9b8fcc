"""Which partition a key belongs to, and how keys are laid out in a store (paper 6.2, strategy 3)."""

import xxhash

HASH_VERSION = 1  # checked between nodes: another hash is another cluster
PARTITIONS_MAX = 32_768  # partitions fit in 15 bits; storage keys from 0x8000 on are the node's own
BUCKET_BYTES_MAX = 255
PREFIX_BYTES = 2


def partition_of(bucket: bytes, key: bytes, partitions: int) -> int:
    """The top bits of xxh3-64 over the length-prefixed bucket and the key. `partitions` is a power of two."""
    return xxhash.xxh3_64_intdigest(bytes((len(bucket),)) + bucket + key) * partitions >> 64


def hash_of(bucket: bytes, key: bytes) -> int:
    """All 64 bits of it."""
    return xxhash.xxh3_64_intdigest(bytes((len(bucket),)) + bucket + key)


def hash_of_storage_key(key: bytes) -> int:
    """The same, of a storage key."""
    return xxhash.xxh3_64_intdigest(key[PREFIX_BYTES:])


def storage_key(bucket: bytes, key: bytes, partitions: int) -> bytes:
    """`[partition: 2 bytes][bucket length: 1][bucket][key]`: a partition is one range, and in it a bucket is one."""
    named = bytes((len(bucket),)) + bucket + key
    return (xxhash.xxh3_64_intdigest(named) * partitions >> 64).to_bytes(PREFIX_BYTES, "big") + named


def partition_of_storage_key(key: bytes) -> int:
    """The partition that a storage key starts with."""
    return int.from_bytes(key[:PREFIX_BYTES], "big")


def stretch(partition: int, after: bytes = b"") -> tuple[bytes, bytes]:
    """The bounds of a partition's storage keys, from behind one of them on."""
    start = after + b"\0" if after else partition.to_bytes(PREFIX_BYTES, "big")
    return start, (partition + 1).to_bytes(PREFIX_BYTES, "big")


def split_storage_key(key: bytes) -> tuple[int, bytes, bytes]:
    """Partition, bucket and key of a storage key. Raises: ValueError if it is none."""
    if len(key) <= PREFIX_BYTES or len(key) < PREFIX_BYTES + 1 + key[PREFIX_BYTES]:
        raise ValueError(f"not a storage key: {key[:16]!r}")
    end = PREFIX_BYTES + 1 + key[PREFIX_BYTES]
    return partition_of_storage_key(key), key[PREFIX_BYTES + 1 : end], key[end:]


def is_storage_key(key: bytes, partitions: int) -> bool:
    """Whether the bytes are a storage key whose partition is the right one."""
    named = key[PREFIX_BYTES:]
    return (
        len(named) > 1
        and len(named) > 1 + named[0]
        and xxhash.xxh3_64_intdigest(named) * partitions >> 64 == partition_of_storage_key(key)
    )
