"""The opaque token that a reader gets and a writer gives back: a clock with a checksum, for one key."""

import msgspec
import xxhash

from zdynamo.core.records.record import Clock
from zdynamo.errors import Malformed

VERSION = b"\x01"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Clock)


def encode_context(clock: Clock, key: bytes) -> bytes:
    """`[version: 1 byte][xxh32 of the rest, seeded with that of the storage key: 4][msgpack clock]`."""
    body = _encoder.encode(clock)
    return VERSION + xxhash.xxh32_digest(body, xxhash.xxh32_intdigest(key)) + body


def decode_context(token: bytes, key: bytes) -> Clock:
    """Raises: Malformed if it is not a whole context from a read of that storage key."""
    if token[:1] != VERSION or xxhash.xxh32_digest(token[5:], xxhash.xxh32_intdigest(key)) != token[1:5]:
        raise Malformed("the context is not one that a read of this key has given, or part of it is missing")
    return clock_in(token)


def clock_in(token: bytes) -> Clock:
    """For who only looks: whatever key it is of. Raises: Malformed."""
    try:
        return _decoder.decode(token[5:])
    except msgspec.DecodeError as error:
        raise Malformed(f"the context is damaged: {error}") from None
