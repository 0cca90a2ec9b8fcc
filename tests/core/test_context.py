"""The token that a reader gets: whole, or not taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdynamo.core.records.context import decode_context, encode_context
from zdynamo.core.records.record import Clock, covers
from zdynamo.errors import Malformed

CLOCK = Clock(((1, 2, 300), (2, 5, 6)), ((7, 8, 9),))

KEY = b"\x00\x01\x07defaultkey"

dots = st.tuples(*[st.integers(0, 2**64 - 1)] * 3)


@given(st.lists(dots, unique_by=lambda dot: dot[:2]), st.lists(dots, unique=True))
def test_a_context_gives_back_the_clock_that_it_was_made_of(
    entries: list[tuple[int, int, int]], cloud: list[tuple[int, int, int]]
) -> None:
    clock = Clock(tuple(sorted(entries)), tuple(sorted(cloud)))

    assert decode_context(encode_context(clock, KEY), KEY) == clock


def test_a_context_cut_short_anywhere_is_not_taken() -> None:
    token = encode_context(CLOCK, KEY)

    for length in range(len(token)):
        with pytest.raises(Malformed):
            decode_context(token[:length], KEY)


def test_a_context_with_any_bit_flipped_is_not_taken() -> None:
    token = encode_context(CLOCK, KEY)

    for bit in range(8 * len(token)):
        flipped = bytearray(token)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Malformed):
            decode_context(bytes(flipped), KEY)


@pytest.mark.parametrize("foreign", [b"", b"\x01", b"\x01" + bytes(4), b"g2wAAAABaAJtAAAADL", b"\x02" + bytes(20)])
def test_a_token_of_somebody_else_is_not_taken(foreign: bytes) -> None:
    with pytest.raises(Malformed, match="not one that a read of this key has given"):
        decode_context(foreign, KEY)


def test_a_context_of_another_key_is_not_taken() -> None:
    with pytest.raises(Malformed, match="of this key"):
        decode_context(encode_context(CLOCK, KEY), KEY + b"s")


def test_a_context_claims_no_more_than_its_clock() -> None:
    clock = decode_context(encode_context(CLOCK, KEY), KEY)

    seen = {dot: covers(clock, dot) for dot in ((1, 2, 300), (1, 2, 301), (7, 8, 9), (7, 8, 8))}

    assert seen == {(1, 2, 300): True, (1, 2, 301): False, (7, 8, 9): True, (7, 8, 8): False}
