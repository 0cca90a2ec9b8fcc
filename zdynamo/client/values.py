"""Python values to what is stored and back: bytes as they are, str as text, everything else as MessagePack.

What comes back is equal to what went in, except: tuples come back as lists, bytearray and memoryview as bytes, an aware
datetime as the same moment in UTC, subclasses as their base type. Nothing is ever pickled.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import msgpack  # type: ignore[import-untyped]
from msgspec import Struct

from zdynamo.errors import Malformed, SiblingsFound

OCTETS = ""
TEXT = "text/plain"
MSGPACK = "application/msgpack"

BIGGER = "an int beyond 64 bits"


Resolver = Callable[[list[Any]], Any]  # siblings, at least two, to the one value that they amount to


class Value(Struct, frozen=True):
    """What R replicas hold under a key. False in a condition if that is nothing."""

    siblings: list[Any]  # none, one, or as many as there were concurrent writes
    context: bytes  # opaque: a put or delete that passes it on replaces exactly what was seen here
    resolver: Resolver | None = None

    def __bool__(self) -> bool:
        return self.exists

    @property
    def exists(self) -> bool:
        """Whether there is a value; it may be one that is false itself, such as 0."""
        return bool(self.siblings)

    @property
    def value(self) -> Any:
        """The one value, or what the resolver makes of several; None if there is none.

        Raises: SiblingsFound when there are several and no resolver; MergeFunctionError when the one that the bucket
        names cannot be used.
        """
        if len(self.siblings) > 1:
            return several(self.siblings) if self.resolver is None else self.resolver(list(self.siblings))
        return self.siblings[0] if self.siblings else None


def several(siblings: list[Any]) -> NoReturn:
    """Raises: SiblingsFound."""
    raise SiblingsFound(
        f"{len(siblings)} siblings from concurrent writes: look at .siblings and put the value that settles it with "
        "context=found.context, or give a resolver"
    )


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
