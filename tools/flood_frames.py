"""Garbage for each port of a node: random bytes, and valid frames of every message broken in many ways.

`client_frames`, `peer_frames` and `gossip_frames` are endless. A frame that happens to be a whole and true membership
message of this very cluster is left out: that would be a forgery and not garbage (links are not authenticated yet).
"""

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from zdynamo import codec
from zdynamo.errors import Malformed
from zdynamo.messages import (
    Addresses,
    Delete,
    DescribeCluster,
    DescribeNode,
    Done,
    FetchReplica,
    Forward,
    Forwarded,
    Frame,
    Get,
    Heartbeat,
    Hello,
    LayoutWanted,
    MemberRecord,
    Ping,
    Pong,
    Put,
    Refusal,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
    Rumor,
    StoreReplica,
    Table,
    Topology,
)

BUCKET = "garbage"
DEADLINE_MS = 1000
RANDOM_BYTES_MAX = 2000
NESTED = 50_000
WRONG: list[Any] = [None, True, -1, 2**63, 1.5, "", "\ud7ff", b"", b"\xff" * 40, [], [[]], {}, {"a": 1}]
HUGE = [b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"]
FORGERIES = (Hello, Table, LayoutWanted)

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
READY = b"\x04\x1b\x05READY\x0bSocket-Type\x00\x00\x00\x06DEALER"
HUGE_FRAME = b"\x02" + (2**40).to_bytes(8, "big")
LARGE_FRAME = b"\x02" + (10 * 2**20).to_bytes(8, "big")  # may be legal, but it never comes
OPENINGS = (b"", b"GET / HTTP/1.1\r\n\r\n", GREETING[:11], GREETING, GREETING + READY + HUGE_FRAME,
            GREETING + READY + LARGE_FRAME, GREETING + b"\x04\xff" * 20)  # fmt: skip

Decode = Callable[[bytes], object]


def client_frames(topology: Topology, chance: random.Random) -> Iterator[bytes]:
    request, cluster = chance.randbytes(16), topology.cluster
    messages = [
        Get(request, cluster, DEADLINE_MS, BUCKET, b"key"),
        Put(request, cluster, DEADLINE_MS, BUCKET, b"key", b"value", "", context=b"\x01\x02\x03\x04\x05\x06"),
        Put(request, cluster, DEADLINE_MS, BUCKET, b"k" * 9000, b"value", "text/plain", attempt=0, w=200),
        Delete(request, cluster, -5, "", b"", context=chance.randbytes(30)),
        DescribeCluster(request, "another cluster"),
        DescribeNode(request, cluster),
        Done(request, b"an answer is no request"),
    ]
    whole = [codec.encode([message]) for message in messages] + [codec.encode(messages)]
    yield from _broken(whole, chance)


def peer_frames(topology: Topology, chance: random.Random) -> Iterator[bytes]:
    """From a stranger, from a member, from another cluster; to this node and to nobody."""
    member, to = (view.record for view in topology.members[:2])
    stranger = chance.randbytes(8).hex()
    get = Get(chance.randbytes(16), topology.cluster, DEADLINE_MS, BUCKET, b"key")
    messages = [
        Ping(1), Pong(1), Refusal("because"),
        Forward(7, DEADLINE_MS, 1, get), Forwarded(7, Done(get.request, b"")),
        StoreReplica(7, DEADLINE_MS, (1, 2), 0, b"key", chance.randbytes(40)), ReplicaStored(7, ((1, 2, 3),)),
        FetchReplica(7, DEADLINE_MS, (1, 2), b"key"), ReplicaFetched(7, True, 0, chance.randbytes(40)),
        ReplicaRefused(7, "malformed"),
    ]  # fmt: skip
    hello = Hello(1, 1, _ghost(stranger), topology.constants, 0, "nowhere")
    table = Table((_ghost(stranger), member), topology.layout, True)
    whole = []
    for sender in (stranger, member.id):
        for message in messages:
            whole.append(Frame(topology.cluster, sender, member.epoch, to.id, to.epoch, (message,)))
        whole.append(Frame("another cluster", sender, member.epoch, to.id, to.epoch, (hello, table, *messages)))
        whole.append(Frame(topology.cluster, sender, 2**62, "", 0, tuple(messages)))
        whole.append(Frame(topology.cluster, stranger, 1, to.id, to.epoch, (table,)))
    frames = [codec.encode(frame) for frame in whole]
    yield from (frame for frame in _broken(frames, chance) if not _forged(codec.decode_frame, frame, topology))


def gossip_frames(topology: Topology, chance: random.Random) -> Iterator[bytes]:
    member = topology.members[0].record
    ghost = _ghost(chance.randbytes(8).hex())
    whole: list[Any] = [
        Heartbeat("another cluster", member.id, member.epoch, member.boot, 1, 2, 3),
        Heartbeat(topology.cluster, ghost.id, 1, ghost.boot, 1, 2, 3),
        Rumor("another cluster", ghost.id, (ghost, member), topology.layout),
        Rumor(topology.cluster, member.id, (), None),
    ]
    frames = [codec.encode(message) for message in whole]
    yield from (frame for frame in _broken(frames, chance) if not _forged(codec.decode_gossip, frame, topology))


def tcp_opening(chance: random.Random) -> bytes:
    """How a connection of raw TCP begins: noise, half a greeting, or a true greeting and what cannot be after it."""
    return chance.choice(OPENINGS) + chance.randbytes(chance.randrange(500))


def is_malformed(decode: Decode, frame: bytes) -> bool:
    """Whether the border counts it as malformed."""
    try:
        decode(frame)
    except Malformed:
        return True
    return False


def _broken(whole: list[bytes], chance: random.Random) -> Iterator[bytes]:
    ways = (_random, _same, _bit_flips, _truncated, _extended, _huge, _wrong_types, _spliced)
    weights = (15, 5, 30, 15, 5, 5, 20, 5)
    yield from (b"", b"\x91" * NESTED, b"\x81" * NESTED, b"\xc1", *HUGE)
    for way in (chance.choices(ways, weights)[0] for _ in itertools.repeat(None)):
        yield way(chance.choice(whole), chance)


def _random(_: bytes, chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(RANDOM_BYTES_MAX))


def _same(frame: bytes, _: random.Random) -> bytes:
    return frame


def _bit_flips(frame: bytes, chance: random.Random) -> bytes:
    flipped = bytearray(frame)
    for _ in range(chance.choice((1, 1, 2, 8))):
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def _truncated(frame: bytes, chance: random.Random) -> bytes:
    return frame[: chance.randrange(len(frame))]


def _extended(frame: bytes, chance: random.Random) -> bytes:
    return frame + chance.randbytes(chance.randrange(1, 50))


def _huge(frame: bytes, chance: random.Random) -> bytes:
    """A length that is not there."""
    at = chance.randrange(len(frame))
    return frame[:at] + chance.choice(HUGE) + frame[at:]


def _wrong_types(frame: bytes, chance: random.Random) -> bytes:
    """A field somewhere holds something else."""
    plain = msgspec.msgpack.decode(frame)
    place = plain
    while isinstance(place, list) and place:
        at = chance.randrange(len(place))
        if not isinstance(place[at], list) or chance.random() < 0.3:
            place[at] = chance.choice(WRONG)
            break
        place = place[at]
    return codec.encode(plain)


def _spliced(frame: bytes, chance: random.Random) -> bytes:
    half = chance.randrange(len(frame))
    return frame[half:] + frame[:half]


def _forged(decode: Decode, frame: bytes, topology: Topology) -> bool:
    try:
        message: Any = decode(frame)
    except Malformed:
        return False
    if message.cluster != topology.cluster:
        return False
    if isinstance(message, Frame):
        return any(isinstance(each, FORGERIES) for each in message.messages)
    known = {view.record.id for view in topology.members}
    return message.id in known if isinstance(message, Heartbeat) else bool(message.members)


def _ghost(id: str) -> MemberRecord:
    nowhere = "127.0.0.1:1"
    return MemberRecord(id, 1, "ghost", 1, "boot-of-a-ghost", 0, Addresses(nowhere, nowhere, nowhere, nowhere), "", 1)
