"""The opaque token that a reader gets and a writer gives back: a clock with a checksum."""

import msgspec
import xxhash

from zdynamo.core.record import Clock
from zdynamo.errors import Malformed

VERSION = b"\x01"

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Clock)


def encode_context(clock: Clock) -> bytes:
    """`[version: 1 byte][xxh32 of the rest: 4][msgpack clock]`."""
    body = _encoder.encode(clock)
    return VERSION + xxhash.xxh32_digest(body) + body


def decode_context(token: bytes) -> Clock:
    """Raises: Malformed if it is not a whole context from a read."""
    if token[:1] != VERSION or xxhash.xxh32_digest(token[5:]) != token[1:5]:
        raise Malformed("the context is not one that a read has given, or part of it is missing")
    try:
        return _decoder.decode(token[5:])
    except msgspec.DecodeError as error:
        raise Malformed(f"the context is damaged: {error}") from None
