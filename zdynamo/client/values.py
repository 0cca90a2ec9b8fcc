"""Python values to what is stored and back: bytes as they are, str as text, everything else as MessagePack.

What comes back is equal to what went in, except: tuples come back as lists, bytearray and memoryview as bytes, an aware
datetime as the same moment in UTC, subclasses as their base type. Nothing is ever pickled.
"""

from datetime import datetime
from typing import Any

import msgpack  # type: ignore[import-untyped]
from msgspec import Struct

from zdynamo.errors import Malformed, SiblingsFound

OCTETS = ""
TEXT = "text/plain"
MSGPACK = "application/msgpack"

BIGGER = "an int beyond 64 bits"


class Value(Struct, frozen=True):
    """What R replicas hold under a key."""

    siblings: list[Any]  # one, or as many as there were concurrent writes
    context: bytes  # opaque: a put or delete that passes it on replaces exactly these siblings

    @property
    def value(self) -> Any:
        """The one value. Raises: SiblingsFound when there are several."""
        if len(self.siblings) != 1:
            raise SiblingsFound(
                f"{len(self.siblings)} siblings from concurrent writes: look at .siblings, and put the value that "
                "settles it with context=found.context"
            )
        return self.siblings[0]


def encode_value(value: object) -> tuple[str, bytes]:
    """Content type and bytes. Raises: TypeError for what could not be read back."""
    if isinstance(value, bytes | bytearray | memoryview):
        return OCTETS, bytes(value)
    try:
        if isinstance(value, str):
            return TEXT, value.encode()
        packed = msgpack.packb(value, use_bin_type=True, datetime=True, default=_refuse)
        _unpack(packed)  # packb takes what unpackb cannot give back, such as a tuple as a key
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise TypeError(f"cannot store this {type(value).__name__}: {_reason(error)}") from None
    return MSGPACK, packed


def decode_value(content_type: str, stored: bytes) -> Any:
    """What was stored; bytes for a content type that this client does not know. Raises: Malformed."""
    try:
        if content_type == TEXT:
            return stored.decode()
        if content_type == MSGPACK:
            return _unpack(stored)
    except Exception as error:  # unpackb raises whatever its extensions do; the bytes are another client's
        raise Malformed(f"the stored value is not {content_type}: {_reason(error)}") from None
    return stored


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, raw=False, strict_map_key=False, timestamp=3)


def _refuse(part: object) -> object:
    if isinstance(part, datetime):
        raise TypeError("a datetime needs a timezone")
    if isinstance(part, int):
        raise TypeError(BIGGER)
    raise TypeError(f"{type(part).__name__} is not bytes, str or plain data (numbers, lists, dicts, aware datetimes)")


def _reason(error: Exception) -> str:
    if isinstance(error, OverflowError):
        return BIGGER
    if isinstance(error, UnicodeError):
        return "text with lone surrogates"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
