"""Each limit has its refusal, and nothing is stored of what is refused."""

import pytest
from msgspec.structs import replace
from support.nodes import LoneNode, answers, delete, get, put, request_id

from zdynamo.core.events import Reply
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import TTL_MS_MAX, Delete, Forward, Forwarded, Get, Put, Refused

LIMITS = NodeLimits(key_bytes_max=10, value_bytes_max=20, deadline_ms_max=1000)
BIGGEST = 2**64 - 1

GET = get(1)
PUT = put(1)
DELETE = delete(1)

REFUSALS = [
    (replace(PUT, key=b""), "the key has 0 bytes: use 1 to 10"),
    (replace(PUT, key=b"k" * 11), "the key has 11 bytes: use 1 to 10"),
    (replace(GET, key=b""), "the key has 0 bytes: use 1 to 10"),
    (replace(DELETE, key=b"k" * 11), "the key has 11 bytes: use 1 to 10"),
    (replace(PUT, value=b"v" * 21), "the value has 21 bytes: use at most 20"),
    (replace(PUT, bucket=""), "the bucket's name has 0 bytes: use 1 to 255"),
    (replace(PUT, bucket="ü" * 128), "the bucket's name has 256 bytes: use 1 to 255"),
    (replace(PUT, w=4), "w is 4: use 1 to 3, the number of copies, or 0 for the default"),
    (replace(PUT, w=-1), "w is -1: use 1 to 3, the number of copies, or 0 for the default"),
    (replace(PUT, pw=4), "pw is 4: use 1 to 3, the number of copies, or 0 for the default"),
    (replace(GET, r=4), "r is 4: use 1 to 3, the number of copies, or 0 for the default"),
    (replace(GET, pr=-1), "pr is -1: use 1 to 3, the number of copies, or 0 for the default"),
    (replace(DELETE, r=4), "r is 4: use 1 to 3, the number of copies, or 0 for the default"),
    (replace(DELETE, w=BIGGEST), f"w is {BIGGEST}: use 1 to 3, the number of copies, or 0 for the default"),
    (replace(PUT, deadline_ms=0), "the deadline is 0 ms: use 1 to 1000"),
    (replace(PUT, deadline_ms=-1), "the deadline is -1 ms: use 1 to 1000"),
    (replace(GET, deadline_ms=1001), "the deadline is 1001 ms: use 1 to 1000"),
    (replace(PUT, attempt=0), "attempt is 0: count from 1 to 1000000"),
    (replace(PUT, attempt=BIGGEST), f"attempt is {BIGGEST}: count from 1 to 1000000"),
    (replace(DELETE, attempt=-1), "attempt is -1: count from 1 to 1000000"),
    (
        replace(PUT, cluster="other"),
        "this node is of cluster cluster-of-tests, the client knows other: check the address",
    ),
    (replace(PUT, ttl_ms=-2), "ttl_ms is -2: use 1 to 3162240000000, 0 for never, or -1 for the bucket's expiry"),
    (
        replace(PUT, ttl_ms=BIGGEST),
        f"ttl_ms is {BIGGEST}: use 1 to 3162240000000, 0 for never, or -1 for the bucket's expiry",
    ),
    (
        replace(PUT, context=b"junk"),
        "the context is not one that a read of this key has given, or part of it is missing",
    ),
]


@pytest.mark.parametrize(("request_", "reason"), REFUSALS)
def test_what_is_beyond_a_limit_is_refused_and_nothing_of_it_is_stored(
    request_: Get | Put | Delete, reason: str
) -> None:
    node = LoneNode(limits=LIMITS)

    effects = node.asked(request_)

    assert effects == [Reply(b"client", Refused(request_id(1), reason))]
    assert not node.store.has_records()
    assert node.node.next_due_ms is None


@pytest.mark.parametrize(
    "request_",
    [
        replace(PUT, key=b"k" * 10, value=b"v" * 20, w=3, pw=3, deadline_ms=1000, bucket="ü" * 127),
        replace(PUT, value=b""),
        replace(PUT, ttl_ms=TTL_MS_MAX),
        replace(GET, r=3, pr=3),
        replace(DELETE, r=3, w=3),
    ],
)
def test_what_is_just_at_its_limit_is_taken(request_: Get | Put | Delete) -> None:
    node = LoneNode(limits=LIMITS)

    effects = node.asked(request_)

    assert answers(effects) == []
    assert effects


@pytest.mark.parametrize(("request_", "reason"), REFUSALS)
def test_what_a_peer_forwards_has_the_same_limits(request_: Get | Put | Delete, reason: str) -> None:
    node = LoneNode(limits=LIMITS)

    effects = node.hears("b", Forward(7, 1000, 1, request_))

    assert [effect.message for effect in effects] == [Forwarded(7, Refused(request_id(1), reason))]  # type: ignore[union-attr]
    assert not node.store.has_records()
