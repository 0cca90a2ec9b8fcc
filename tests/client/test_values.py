"""What users store comes back as what it was."""

import enum
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdynamo.client import Value
from zdynamo.client.values import decode_value, encode_value
from zdynamo.errors import Malformed, SiblingsFound

numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False)
moments = st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]))
leaves = st.none() | st.booleans() | numbers | st.text() | st.binary() | moments
keys = st.text() | st.integers(-(2**63), 2**64 - 1) | st.binary()
plain_data = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20)


class Color(enum.Enum):
    RED = 1


@given(plain_data)
def test_plain_data_comes_back_equal_and_of_the_same_type(value):
    back = decode_value(*encode_value(value))

    assert back == value
    assert type(back) is type(value)


def test_bytes_are_stored_as_they_are_and_text_as_utf_8():
    assert encode_value(b"\x00\xff") == ("", b"\x00\xff")
    assert encode_value(bytearray(b"ab")) == ("", b"ab")
    assert encode_value("Zoë") == ("text/plain", b"Zo\xc3\xab")


def test_everything_else_is_stored_as_messagepack():
    assert encode_value({"a": [1, None]}) == ("application/msgpack", b"\x81\xa1a\x92\x01\xc0")


def test_tuples_come_back_as_lists():
    assert decode_value(*encode_value((1, (2, 3)))) == [1, [2, 3]]


def test_a_content_type_of_somebody_else_comes_back_as_bytes():
    assert decode_value("image/png", b"\x89PNG") == b"\x89PNG"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "object is not bytes"),
        ({1, 2}, "set is not bytes"),
        ([Color.RED], "Color is not bytes"),
        (2**64, "an int beyond 64 bits"),
        ([-(2**63) - 1], "an int beyond 64 bits"),
        (datetime(2026, 1, 1), "a datetime needs a timezone"),
        ({(1, 2): 3}, "unhashable"),
        ("\ud800", "lone surrogates"),
        (["\ud800"], "lone surrogates"),
    ],
)
def test_what_could_not_be_read_back_is_a_type_error_of_one_line(value, reason):
    with pytest.raises(TypeError, match=reason) as caught:
        encode_value(value)

    assert "\n" not in str(caught.value)


def test_data_nested_too_deeply_is_a_type_error():
    nested: list = []
    for _ in range(5_000):
        nested = [nested]

    with pytest.raises(TypeError, match="cannot store this list"):
        encode_value(nested)


@pytest.mark.parametrize(
    ("content_type", "stored"),
    [
        ("text/plain", b"\xff"),
        ("application/msgpack", b""),
        ("application/msgpack", b"\xc1"),
        ("application/msgpack", b"\x81\x90\x01"),
    ],
)
def test_bytes_that_are_not_what_they_claim_are_malformed(content_type, stored):
    with pytest.raises(Malformed, match=content_type):
        decode_value(content_type, stored)


@given(st.binary())
def test_no_stored_bytes_can_do_worse_than_malformed(stored):
    try:
        decode_value("application/msgpack", stored)
    except Malformed as error:
        assert "\n" not in str(error)


def test_a_value_with_siblings_says_what_to_do():
    found = Value(["a", "b"], b"context")

    with pytest.raises(SiblingsFound, match=r"2 siblings.*\.siblings"):
        _ = found.value

    assert Value(["a"], b"").value == "a"
