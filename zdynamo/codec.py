"""Messages to bytes and back; the border where everything from outside is validated.

A client frame is an array of requests or answers; a peer frame is a `Frame`; a gossip frame is one `Gossip` message.
"""

from typing import Annotated, TypeVar

import msgspec

from zdynamo.errors import Malformed
from zdynamo.messages import ClientAnswer, ClientRequest, Frame, Gossip, View

T = TypeVar("T")

REQUESTS_MAX = 4096  # of a client frame: enough for any batch, few enough to answer pings meanwhile

_encoder = msgspec.msgpack.Encoder()
_requests = msgspec.msgpack.Decoder(Annotated[list[ClientRequest], msgspec.Meta(max_length=REQUESTS_MAX)])
_answers = msgspec.msgpack.Decoder(list[ClientAnswer])
_frame = msgspec.msgpack.Decoder(Frame)
_view = msgspec.msgpack.Decoder(View)
_gossip: msgspec.msgpack.Decoder[Gossip] = msgspec.msgpack.Decoder(Gossip)

encode = _encoder.encode


def decode_requests(frame: bytes) -> list[ClientRequest]:
    """Raises: Malformed."""
    return _decode(_requests, frame)


def decode_answers(frame: bytes) -> list[ClientAnswer]:
    """Raises: Malformed."""
    return _decode(_answers, frame)


def decode_frame(frame: bytes) -> Frame:
    """Raises: Malformed."""
    return _decode(_frame, frame)


def decode_gossip(frame: bytes) -> Gossip:
    """Raises: Malformed."""
    return _decode(_gossip, frame)


def decode_view(frame: bytes) -> View:
    """Of the router's own making. Raises: Malformed."""
    return _decode(_view, frame)


def _decode(decoder: msgspec.msgpack.Decoder[T], frame: bytes) -> T:
    try:
        return decoder.decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:  # the second: not UTF-8
        raise Malformed(str(error)) from None
