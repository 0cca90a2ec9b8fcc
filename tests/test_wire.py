"""The wire is frozen: what a node of today writes, nodes and clients of every later version read."""

import contextlib
from collections.abc import Callable
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from zdynamo import codec, messages
from zdynamo.core.records.context import decode_context, encode_context
from zdynamo.core.records.record import Clock, Record, Sibling, decode_record, encode_record
from zdynamo.errors import Malformed
from zdynamo.messages import (
    Absent,
    Addresses,
    BeginRound,
    Bucket,
    ClientAnswer,
    ClientLimits,
    ClientRequest,
    CompareHashes,
    CompareKeys,
    ConditionFailed,
    Constants,
    Delete,
    DescribeCluster,
    DescribeNode,
    Digests,
    Done,
    Explain,
    Explained,
    FetchReplica,
    Figures,
    Forward,
    Forwarded,
    Found,
    Frame,
    Get,
    Gossip,
    HandOver,
    Hashes,
    Heartbeat,
    Hello,
    HintsHeld,
    HoldReplica,
    Inspect,
    Inspected,
    KeysListed,
    Layout,
    LayoutMember,
    LayoutWanted,
    LeafKeys,
    ListKeys,
    ListReplica,
    MemberRecord,
    MemberView,
    NodeDescription,
    OutcomeUnknown,
    Overloaded,
    Page,
    PathLost,
    PeerMessage,
    Ping,
    Pong,
    Probe,
    Probed,
    PullPage,
    Put,
    QuorumNotMet,
    Reap,
    ReapAsk,
    Reaped,
    ReapHeld,
    RecordsSwapped,
    Refusal,
    Refused,
    Repair,
    RepairProgress,
    ReplicaFetched,
    ReplicaListed,
    ReplicaRefused,
    ReplicaState,
    ReplicaStored,
    RequestsOf,
    RoundBegun,
    RoundsTold,
    RoundsWanted,
    Rumor,
    SiblingState,
    SiblingValue,
    Spread,
    StoreReplica,
    StoreSizes,
    SwapRecords,
    Table,
    Topology,
)

REQUEST = bytes(range(16))
MEMBER = MemberRecord(
    "0123456789abcdef", 7, "naïve", 3, "fedcba9876543210", 1_800_000_000_000,
    Addresses("localhost:7400", "localhost:7401", "localhost:7402", "localhost:7403"), "rack-1", 2,
)  # fmt: skip
CONSTANTS = Constants(256, 3, 1, 3, "0123456789abcdef")
LAYOUT = Layout(1, 0xDEADBEEF00C0FFEE, (LayoutMember("0123456789abcdef", "rack-1", 2),))
TRACE = bytes(range(1, 25)) + b"\x01"
GET = Get(REQUEST, "cl", 5000, "default", b"key", 2, 1, TRACE)
PUT = Put(REQUEST, "cl", 5000, "default", b"key", b"value", "s", 2, b"ctx", 3, 1, 60_000, "unchanged", TRACE)
DELETE = Delete(REQUEST, "cl", 5000, "default", b"key", 2, b"ctx", 2, 3, TRACE)
CLOCK = Clock(((1, 2, 300), (2**64 - 1, 5, 6)), ((7, 8, 9),))
RECORD = Record(CLOCK, (Sibling((1, 2, 300), 1_800_000_000_000 << 16, 0, False, "s", b"value", REQUEST),))
STATE = ReplicaState(
    "0123456789abcdef", True, True, 3, 2**64 - 1, ((1, 2, 300),), ((7, 8, 9),),
    (SiblingState((1, 2, 300), 1_800_000_000_000, 0, True, "s", 5, REQUEST),), "b is down", "c",
)  # fmt: skip

REQUESTS: dict[ClientRequest, str] = {
    GET: (
        "9900c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c74c4036b65790201c4190102030405060708090a0b"
        "0c0d0e0f10111213141516171801"
    ),
    PUT: (
        "9f01c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c74c4036b6579c40576616c7565a17302c4"
        "036374780301cdea60a9756e6368616e676564c4190102030405060708090a0b0c0d0e0f10111213141516171801"
    ),
    DELETE: (
        "9b02c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c74c4036b657902c4036374780203c41901020304"
        "05060708090a0b0c0d0e0f10111213141516171801"
    ),
    DescribeCluster(REQUEST, "cl"): "9303c410000102030405060708090a0b0c0d0e0fa2636c",
    DescribeNode(REQUEST, "cl"): "9304c410000102030405060708090a0b0c0d0e0fa2636c",
    ListKeys(
        REQUEST, "cl", 5000, "default", 7, b"pre", b"after", 100, 2
    ): "9a05c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c7407c403707265c40561667465726402",
    Explain(
        REQUEST, "cl", 5000, "default", b"key"
    ): "9606c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c74c4036b6579",
    Repair(REQUEST, "cl", 7, 300): "9507c410000102030405060708090a0b0c0d0e0fa2636c07cd012c",
}
REQUESTS_WITHOUT_TRACE: dict[ClientRequest, str] = {
    GET: "9800c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c74c4036b65790201",
    PUT: (
        "9e01c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c74c4036b6579c40576616c7565a17302c4"
        "036374780301cdea60a9756e6368616e676564"
    ),
    DELETE: "9a02c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c74c4036b657902c4036374780203",
}
ANSWERS: dict[ClientAnswer, str] = {
    Found(REQUEST, b"ctx", (SiblingValue("s", b"value", 1_800_000_000_000),)): (
        "9400c410000102030405060708090a0b0c0d0e0fc4036374789193a173c40576616c7565cf000001a3185c5000"
    ),
    Absent(REQUEST, b"ctx"): "9301c410000102030405060708090a0b0c0d0e0fc403637478",
    Done(REQUEST, b"ctx", False): "9402c410000102030405060708090a0b0c0d0e0fc403637478c2",
    QuorumNotMet(REQUEST, 2, 1, "down: b"): "9503c410000102030405060708090a0b0c0d0e0f0201a7646f776e3a2062",
    OutcomeUnknown(REQUEST, 2, 1): "9404c410000102030405060708090a0b0c0d0e0f0201",
    Overloaded(REQUEST, 50): "9305c410000102030405060708090a0b0c0d0e0f32",
    Refused(REQUEST, "why", True): "9406c410000102030405060708090a0b0c0d0e0fa3776879c3",
    Topology(
        REQUEST, "cl", "0123456789abcdef", CONSTANTS, (MemberView(MEMBER, "suspect", 1.5),), LAYOUT,
        (("0123456789abcdef",), ()), 9, 2**64 - 1,
        (Bucket("b", 1, 2, 1, 2, 1000, "lww"),), ClientLimits(4096, 8388608),
    ): (
        "9c07c410000102030405060708090a0b0c0d0e0fa2636cb03031323334353637383961626364656695cd0100030103b03031"
        "323334353637383961626364656691939ab03031323334353637383961626364656607a66e61c3af766503b0666564636261"
        "39383736353433323130cf000001a3185c500094ae6c6f63616c686f73743a37343030ae6c6f63616c686f73743a37343031"
        "ae6c6f63616c686f73743a37343032ae6c6f63616c686f73743a37343033a67261636b2d3102a66d656d626572a773757370"
        "656374cb3ff80000000000009301cfdeadbeef00c0ffee9193b030313233343536373839616263646566a67261636b2d3102"
        "9291b0303132333435363738396162636465669009cfffffffffffffffff9197a16201020102cd03e8a36c777792cd1000ce"
        "00800000"
    ),
    KeysListed(REQUEST, (b"key", b"other"), b"other", True): (
        "9509c410000102030405060708090a0b0c0d0e0f92c4036b6579c4056f74686572c4056f74686572c3"
    ),
    Explained(
        REQUEST, 7, ("0123456789abcdef",), ("fedcba9876543210",), Bucket("b", 1, 2, 1, 2, 1000, "lww"), (STATE,)
    ): (
        "970ac410000102030405060708090a0b0c0d0e0f0791b03031323334353637383961626364656691b0666564636261393837"
        "3635343332313097a16201020102cd03e8a36c7777919ab030313233343536373839616263646566c3c303cfffffffffffff"
        "ffff91930102cd012c91930708099197930102cd012ccf000001a3185c500000c3a17305c410000102030405060708090a0b"
        "0c0d0e0fa96220697320646f776ea163"
    ),
    ConditionFailed(REQUEST, b"ctx"): "930bc410000102030405060708090a0b0c0d0e0fc403637478",
    RepairProgress(
        REQUEST, 300, False, 512, 17, 3, 4, 5, (("b is down", 2),), "trees"
    ): (
        "9b0cc410000102030405060708090a0b0c0d0e0fcd012cc2cd0200110304059192a96220697320646f776e02a57472656573"
    ),
}  # fmt: skip
HELD = HintsHeld("fedcba9876543210", 3, 4096, 5000)
FIGURES = Figures(
    2, 3, (250, 500), (RequestsOf("put", {"done": 3}, Spread(900, (1, 1, 1))),), Spread(70, (1, 0, 0)),
    StoreSizes(7, 4096, -1), Digests(2**64 - 1, 2, 0), ("fedcba9876543210",), (),
)  # fmt: skip
DESCRIPTION = NodeDescription(
    REQUEST, "0123456789abcdef", "a", "cl", {"puts": 1}, ("alone",), "memory", "never", 12, (HELD,), FIGURES
)
DESCRIPTION_HEX = (
    "9c08c410000102030405060708090a0b0c0d0e0fb030313233343536373839616263646566a161a2636c81a4707574730191"
    "a5616c6f6e65a66d656d6f7279a56e657665720c9194b06665646362613938373635343332313003cd1000cd138899020392"
    "ccfacd01f49193a370757481a4646f6e650392cd0384930101019246930100009307cd1000ff93cfffffffffffffffff0200"
    "91b06665646362613938373635343332313090"
)
DESCRIPTION_WITHOUT_FIGURES_HEX = (
    "9b08c410000102030405060708090a0b0c0d0e0fb030313233343536373839616263646566a161a2636c81a4707574730191"
    "a5616c6f6e65a66d656d6f7279a56e657665720c9193b06665646362613938373635343332313003cd1000"
)
PEER: dict[PeerMessage, str] = {
    Hello(1, 1, MEMBER, CONSTANTS, 4, "localhost:7410", ("x",)): (
        "980001019ab03031323334353637383961626364656607a66e61c3af766503b066656463626139383736353433323130cf00"
        "0001a3185c500094ae6c6f63616c686f73743a37343030ae6c6f63616c686f73743a37343031ae6c6f63616c686f73743a37"
        "343032ae6c6f63616c686f73743a37343033a67261636b2d3102a66d656d62657295cd0100030103b0303132333435363738"
        "3961626364656604ae6c6f63616c686f73743a3734313091a178"
    ),
    Refusal("why"): "9201a3776879",
    Ping(5): "920205",
    Pong(5): "920305",
    Table((MEMBER,), LAYOUT, True): (
        "9404919ab03031323334353637383961626364656607a66e61c3af766503b066656463626139383736353433323130cf0000"
        "01a3185c500094ae6c6f63616c686f73743a37343030ae6c6f63616c686f73743a37343031ae6c6f63616c686f73743a3734"
        "3032ae6c6f63616c686f73743a37343033a67261636b2d3102a66d656d6265729301cfdeadbeef00c0ffee9193b030313233"
        "343536373839616263646566a67261636b2d3102c3"
    ),
    LayoutWanted(): "9105",
    Forward(77, 4000, 1, GET): (
        "95064dcd0fa0019900c410000102030405060708090a0b0c0d0e0fa2636ccd1388a764656661756c74c4036b65790201c41901020304"
        "05060708090a0b0c0d0e0f10111213141516171801"
    ),
    Forwarded(77, Absent(REQUEST, b"ctx")): "93074d9301c410000102030405060708090a0b0c0d0e0fc403637478",
    StoreReplica(
        78, 4000, (1, 2), 3, b"\x00\x01\x07defaultkey", b"record"
    ): "97084ecd0fa092010203c40d00010764656661756c746b6579c4067265636f7264",
    ReplicaStored(78, ((1, 2, 300),)): "93094e91930102cd012c",
    FetchReplica(79, 4000, (1,), b"\x00\x01\x07defaultkey"): "950a4fcd0fa09101c40d00010764656661756c746b6579",
    ReplicaFetched(79, True, 3, b"record"): "950b4fc303c4067265636f7264",
    ReplicaRefused(79, "stale round", 5): "940c4fab7374616c6520726f756e6405",
    PullPage(80, 7, b"\x00\x01\x07defaultkey", 262144, 3): "960d5007c40d00010764656661756c746b6579ce0004000003",
    Page(
        80, 7, True, 3, ((b"\x00\x01\x07defaultkey", b"record"),), True
    ): "970e5007c3039192c40d00010764656661756c746b6579c4067265636f7264c3",
    ReapAsk(
        81, 7, 3, ((b"\x00\x01\x07defaultkey", 2**64 - 1),)
    ): "950f5107039192c40d00010764656661756c746b6579cfffffffffffffffff",
    ReapHeld(81, 7, 3, "is unsettled", (0, 2)): "9610510703ac697320756e736574746c6564920002",
    BeginRound(81, 7, 4): "9411510704",
    RoundBegun(81, 7, 4, "is unsettled"): "9512510704ac697320756e736574746c6564",
    Reap(
        81, 7, 5, ((b"\x00\x01\x07defaultkey", 2**64 - 1),)
    ): "95135107059192c40d00010764656661756c746b6579cfffffffffffffffff",
    Reaped(81, 7, (1,)): "941451079101",
    ListReplica(
        82, 4000, b"\x00\x01\x07defaultkey", b"\x00\x02", 1000
    ): "961552cd0fa0c40d00010764656661756c746b6579c4020002cd03e8",
    ReplicaListed(
        82, True, 3, ((b"\x00\x01\x07defaultkey", 2**64 - 1),), b"\x00\x01\x07defaultkey", False
    ): "971652c3039192c40d00010764656661756c746b6579cfffffffffffffffffc40d00010764656661756c746b6579c2",
    Inspect(83, 4000, b"\x00\x01\x07defaultkey"): "941753cd0fa0c40d00010764656661756c746b6579",
    Inspected(83, STATE): (
        "9318539ab030313233343536373839616263646566c3c303cfffffffffffffffff91930102cd012c91930708099197930102"
        "cd012ccf000001a3185c500000c3a17305c410000102030405060708090a0b0c0d0e0fa96220697320646f776ea163"
    ),
    HoldReplica(84, 4000, (1, 2), 3, b"\x00\x01\x07defaultkey", b"record", ("fedcba9876543210",)): (
        "981954cd0fa092010203c40d00010764656661756c746b6579c4067265636f726491b066656463626139383736353433323130"
    ),
    HandOver(
        85, 5000, (1, 2), 3, b"\x00\x01\x07defaultkey", b"record"
    ): "971a55cd138892010203c40d00010764656661756c746b6579c4067265636f7264",
    Probe(84, "0123456789abcdef", 300): "941b54b030313233343536373839616263646566cd012c",
    Probed(84, "0123456789abcdef", False, True): "951c54b030313233343536373839616263646566c2c3",
    PathLost("0123456789abcdef", "timeouts"): "931db030313233343536373839616263646566a874696d656f757473",
    CompareHashes(84, 2**64 - 1, 7, 2**64 - 1, 3): "961e54cfffffffffffffffff07cfffffffffffffffff03",
    Hashes(84, -1, False, 3, b"hash" * 4): "961f54ffc203c41068617368686173686861736868617368",
    CompareKeys(85, 7, 3, (0, 300), b"\x00\x01\x07defaultkey"): "96205507039200cd012cc40d00010764656661756c746b6579",
    LeafKeys(
        85, 7, 3, ((b"\x00\x01\x07defaultkey", 2**64 - 1),), b"\x00\x01\x07defaultkey", True
    ): "97215507039192c40d00010764656661756c746b6579cfffffffffffffffffc40d00010764656661756c746b6579c3",
    SwapRecords(
        86, 7, 3, ((b"\x00\x01\x07defaultkey", b"record"),)
    ): "95225607039192c40d00010764656661756c746b6579c4067265636f7264",
    RecordsSwapped(
        86, 7, 3, 2, 1, 1, ((b"\x00\x01\x07defaultkey", b"record"),)
    ): "98235607030201019192c40d00010764656661756c746b6579c4067265636f7264",
    RoundsWanted(): "9124",
    RoundsTold((-1, 0, 3, 2**40)): "922594ff0003cf0000010000000000",
}
GOSSIP: dict[Gossip, str] = {
    Heartbeat(
        "cl", "0123456789abcdef", 3, "fedcba9876543210", 17, 2**64 - 1, 0, 99, 5, (("fedcba9876543210", 4),), 640
    ): (
        "9c00a2636cb03031323334353637383961626364656603b06665646362613938373635343332313011cfffffffffffffffff"
        "0063059192b06665646362613938373635343332313004cd0280"
    ),
    Rumor("cl", "0123456789abcdef", (MEMBER,), LAYOUT): (
        "9501a2636cb030313233343536373839616263646566919ab03031323334353637383961626364656607a66e61c3af766503"
        "b066656463626139383736353433323130cf000001a3185c500094ae6c6f63616c686f73743a37343030ae6c6f63616c686f"
        "73743a37343031ae6c6f63616c686f73743a37343032ae6c6f63616c686f73743a37343033a67261636b2d3102a66d656d62"
        "65729301cfdeadbeef00c0ffee9193b030313233343536373839616263646566a67261636b2d3102"
    ),
}
FRAME = Frame("cl", "0123456789abcdef", 3, "fedcba9876543210", 4, (Ping(5), Pong(6)), ((300, TRACE),))
FRAME_HEX = (
    "97a2636cb03031323334353637383961626364656603b06665646362613938373635343332313004929202059203069192cd012cc419"
    "0102030405060708090a0b0c0d0e0f10111213141516171801"
)
FRAME_WITHOUT_TRACES_HEX = (
    "96a2636cb03031323334353637383961626364656603b0666564636261393837363534333231300492920205920306"
)
RECORD_HEX = (
    "929292930102cd012c93cfffffffffffffffff050691930708099198930102cd012ccf01a3185c5000000000c2a173c40576"
    "616c7565c410000102030405060708090a0b0c0d0e0f90"
)
KEY = b"\x00\x01\x07defaultkey"
CONTEXT_HEX = "016b884a489292930102cd012c93cfffffffffffffffff05069193070809"

FRAMES: list[tuple[Callable[[bytes], object], bytes]] = [
    (codec.decode_requests, codec.encode(list(REQUESTS))),
    (codec.decode_answers, codec.encode([*ANSWERS, DESCRIPTION])),
    (codec.decode_frame, codec.encode(Frame("cl", "a", 3, "b", 4, tuple(PEER), ((300, TRACE),)))),
    *((codec.decode_gossip, codec.encode(message)) for message in GOSSIP),
    (decode_record, encode_record(RECORD)),
    (partial(decode_context, key=KEY), encode_context(CLOCK, KEY)),
]


def named(examples: dict[object, str]) -> list[object]:
    return [pytest.param(message, frozen, id=type(message).__name__) for message, frozen in examples.items()]


@pytest.mark.parametrize(("request_", "frozen"), named(REQUESTS))  # type: ignore[arg-type]
def test_a_request_has_the_bytes_it_always_had(request_: ClientRequest, frozen: str) -> None:
    assert codec.encode(request_).hex() == frozen
    assert codec.decode_requests(b"\x91" + bytes.fromhex(frozen)) == [request_]


@pytest.mark.parametrize(("traced", "frozen"), named(REQUESTS_WITHOUT_TRACE))  # type: ignore[arg-type]
def test_a_request_of_a_client_that_knows_nothing_of_traces_is_read(traced: Get | Put | Delete, frozen: str) -> None:
    assert codec.decode_requests(b"\x91" + bytes.fromhex(frozen)) == [replace(traced, trace=b"")]


@pytest.mark.parametrize(("answer", "frozen"), [*named(ANSWERS), (DESCRIPTION, DESCRIPTION_HEX)])  # type: ignore[arg-type]
def test_an_answer_has_the_bytes_it_always_had(answer: ClientAnswer, frozen: str) -> None:
    assert codec.encode(answer).hex() == frozen
    assert codec.decode_answers(b"\x91" + bytes.fromhex(frozen)) == [answer]


def test_a_description_by_an_earlier_version_is_read() -> None:
    earlier = bytes.fromhex(DESCRIPTION_WITHOUT_FIGURES_HEX)

    held = HintsHeld("fedcba9876543210", 3, 4096)
    assert codec.decode_answers(b"\x91" + earlier) == [replace(DESCRIPTION, hints=(held,), figures=None)]


@pytest.mark.parametrize(("message", "frozen"), named(PEER))  # type: ignore[arg-type]
def test_a_peer_message_has_the_bytes_it_always_had(message: PeerMessage, frozen: str) -> None:
    assert codec.encode(message).hex() == frozen
    assert msgspec.msgpack.decode(bytes.fromhex(frozen), type=PeerMessage) == message


@pytest.mark.parametrize(("message", "frozen"), named(GOSSIP))  # type: ignore[arg-type]
def test_a_gossip_message_has_the_bytes_it_always_had(message: Gossip, frozen: str) -> None:
    assert codec.encode(message).hex() == frozen
    assert codec.decode_gossip(bytes.fromhex(frozen)) == message


def test_a_heartbeat_of_a_node_that_knows_nothing_of_suspicions_is_read() -> None:
    frozen = "9900a2636cb03031323334353637383961626364656603b06665646362613938373635343332313011cfffffffffffffffff0063"

    heartbeat = codec.decode_gossip(bytes.fromhex(frozen))

    assert heartbeat == Heartbeat("cl", "0123456789abcdef", 3, "fedcba9876543210", 17, 2**64 - 1, 0, 99)


def test_a_frame_has_the_bytes_it_always_had() -> None:
    assert codec.encode(FRAME).hex() == FRAME_HEX
    assert codec.decode_frame(bytes.fromhex(FRAME_HEX)) == FRAME


def test_a_frame_of_a_node_that_knows_nothing_of_traces_is_read() -> None:
    assert codec.decode_frame(bytes.fromhex(FRAME_WITHOUT_TRACES_HEX)) == replace(FRAME, traces=())


def test_a_record_has_the_bytes_it_always_had() -> None:
    assert encode_record(RECORD).hex() == RECORD_HEX
    assert decode_record(bytes.fromhex(RECORD_HEX)) == RECORD


def test_a_context_has_the_bytes_it_always_had() -> None:
    assert encode_context(CLOCK, KEY).hex() == CONTEXT_HEX
    assert decode_context(bytes.fromhex(CONTEXT_HEX), KEY) == CLOCK


def test_tags_never_change() -> None:
    families = {
        name: {kind.__name__: kind.__struct_config__.tag for kind in getattr(messages, name).__args__}
        for name in ("ClientRequest", "ClientAnswer", "PeerMessage")
    }

    assert families == {
        "ClientRequest": {
            "Get": 0, "Put": 1, "Delete": 2, "DescribeCluster": 3, "DescribeNode": 4, "ListKeys": 5, "Explain": 6,
            "Repair": 7,
        },
        "ClientAnswer": {
            "Found": 0, "Absent": 1, "Done": 2, "QuorumNotMet": 3, "OutcomeUnknown": 4, "Overloaded": 5,
            "Refused": 6, "Topology": 7, "NodeDescription": 8, "KeysListed": 9, "Explained": 10, "ConditionFailed": 11,
            "RepairProgress": 12,
        },
        "PeerMessage": {
            "Hello": 0, "Refusal": 1, "Ping": 2, "Pong": 3, "Table": 4, "LayoutWanted": 5, "Forward": 6,
            "Forwarded": 7, "StoreReplica": 8, "ReplicaStored": 9, "FetchReplica": 10, "ReplicaFetched": 11,
            "ReplicaRefused": 12, "PullPage": 13, "Page": 14, "ReapAsk": 15, "ReapHeld": 16, "BeginRound": 17,
            "RoundBegun": 18, "Reap": 19, "Reaped": 20, "ListReplica": 21, "ReplicaListed": 22, "Inspect": 23,
            "Inspected": 24, "HoldReplica": 25, "HandOver": 26, "Probe": 27, "Probed": 28, "PathLost": 29,
            "CompareHashes": 30, "Hashes": 31, "CompareKeys": 32, "LeafKeys": 33, "SwapRecords": 34,
            "RecordsSwapped": 35, "RoundsWanted": 36, "RoundsTold": 37,
        },
    }  # fmt: skip
    assert [kind.__struct_config__.tag for kind in (Heartbeat, Rumor)] == [0, 1]


def test_every_message_has_a_frozen_example() -> None:
    examples = [*REQUESTS, *ANSWERS, DESCRIPTION, *PEER]
    kinds = [*ClientRequest.__args__, *ClientAnswer.__args__, *PeerMessage.__args__]  # type: ignore[attr-defined]

    assert {type(example) for example in examples} == set(kinds)


@pytest.mark.parametrize("message", [*REQUESTS, *ANSWERS, DESCRIPTION, *PEER, *GOSSIP], ids=lambda m: type(m).__name__)
def test_fields_that_a_later_version_adds_at_the_end_are_accepted(message: msgspec.Struct) -> None:
    later = msgspec.msgpack.decode(codec.encode(message))

    grown = msgspec.msgpack.encode([*later, {"a field": "of later"}, 1])

    assert msgspec.msgpack.decode(grown, type=type(message)) == message


def test_fields_of_a_later_version_are_accepted_in_what_messages_are_made_of() -> None:
    frame = msgspec.msgpack.decode(codec.encode(Frame("cl", "a", 3, "b", 4, (Table((MEMBER,), LAYOUT, True),))))

    frame[5][0][1][0] += ["later"]  # the member record
    frame[5][0][2] += ["later"]  # the layout
    frame[5][0] += ["later"]
    frame += ["later"]

    assert codec.decode_frame(msgspec.msgpack.encode(frame)).messages == (Table((MEMBER,), LAYOUT, True),)


def test_a_message_of_a_later_version_is_refused_with_its_whole_frame() -> None:
    """Whoever sends it has to know from Hello that the other side understands it."""
    frame = msgspec.msgpack.encode(["cl", "a", 3, "b", 4, [[2, 1], [99, 1]]])

    with pytest.raises(Malformed):
        codec.decode_frame(frame)


def test_a_request_id_has_sixteen_bytes() -> None:
    with pytest.raises(Malformed):
        codec.decode_requests(codec.encode([replace(GET, request=bytes(15))]))


@given(st.binary(max_size=200), st.sampled_from(FRAMES))
def test_random_bytes_are_malformed_and_nothing_worse(garbage: bytes, known: tuple) -> None:  # type: ignore[type-arg]
    only_malformed(known[0], garbage)


@given(st.data(), st.sampled_from(FRAMES))
def test_a_mutated_frame_is_malformed_and_nothing_worse(data: st.DataObject, known: tuple) -> None:  # type: ignore[type-arg]
    decode, frame = known
    mutated = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated) - 1))
        match data.draw(st.sampled_from(["flip", "set", "insert", "cut"])):
            case "flip":
                mutated[at] ^= 1 << data.draw(st.integers(0, 7))
            case "set":
                mutated[at] = data.draw(st.integers(0, 255))
            case "insert":
                mutated.insert(at, data.draw(st.sampled_from([0xC1, 0xC9, 0xCF, 0xD3, 0xDD, 0xDF, 0xFF])))
            case "cut" if at:
                del mutated[at:]

    only_malformed(decode, bytes(mutated))


@pytest.mark.parametrize(("decode", "frame"), FRAMES, ids=lambda part: getattr(part, "__name__", ""))
def test_a_frame_cut_short_anywhere_is_malformed(decode: Callable[[bytes], object], frame: bytes) -> None:
    for length in range(len(frame)):
        with pytest.raises(Malformed):
            decode(frame[:length])


@pytest.mark.parametrize(("decode", "frame"), FRAMES, ids=lambda part: getattr(part, "__name__", ""))
def test_every_flipped_bit_is_malformed_or_another_message(decode: Callable[[bytes], object], frame: bytes) -> None:
    for bit in range(8 * len(frame)):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        only_malformed(decode, bytes(flipped))


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of 4 billion
        b"\x91\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",  # a map of as many
        b"\xc6\xff\xff\xff\xff",  # so many bytes
        b"\x91" * 100_000,  # nested
        b"\x91\x95\x00\xc4\x10" + bytes(16) + b"\xa2\xff\xfe\x01\xa1b\xc4\x01k",  # text that is not UTF-8
    ],
)
@pytest.mark.parametrize("decode", [decode for decode, _ in FRAMES], ids=lambda part: getattr(part, "__name__", ""))
def test_a_frame_made_to_hurt_is_malformed(decode: Callable[[bytes], object], bomb: bytes) -> None:
    with pytest.raises(Malformed):
        decode(bomb)


def only_malformed(decode: Callable[[bytes], object], frame: bytes) -> None:
    with contextlib.suppress(Malformed):
        decode(frame)


def test_a_client_frame_with_too_many_requests_is_malformed() -> None:
    request = DescribeCluster(bytes(16), "")

    assert len(codec.decode_requests(codec.encode([request] * codec.REQUESTS_MAX))) == codec.REQUESTS_MAX
    with pytest.raises(Malformed):
        codec.decode_requests(codec.encode([request] * (codec.REQUESTS_MAX + 1)))
