"""Values as JSON and contexts as words."""

import re
from datetime import UTC, datetime

import pytest

from zdynamo.cli.output import counted, one_line, show_table
from zdynamo.plain import decode_context, encode_context, plain


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("ü", "ü"),
        ("ü".encode(), "ü"),
        (b"\xff\x00", {"base64": "/wA="}),
        ({"a": [b"\xff", (1, 2)]}, {"a": [{"base64": "/w=="}, [1, 2]]}),
        ({1: "one"}, {"1": "one"}),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
    ],
)
def test_every_value_has_a_form_in_json(value: object, shown: object) -> None:
    assert plain(value) == shown


@pytest.mark.parametrize("context", [b"", b"\x00", b"\xfb\xff\xfe", bytes(range(256))])
def test_a_context_survives_being_a_word(context: bytes) -> None:
    word = encode_context(context)

    assert decode_context(word) == context
    assert re.fullmatch(r"[A-Za-z0-9_-]*", word)


@pytest.mark.parametrize("word", ["!", "a b", "ü", "a"])
def test_what_is_no_context_is_refused(word: str) -> None:
    with pytest.raises(ValueError):
        decode_context(word)


def test_an_error_is_always_one_line() -> None:
    assert one_line("a\n  b\tc\n") == "a b c"


def test_a_table_that_is_not_for_a_terminal_has_no_blanks_at_the_ends_of_its_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show_table(("NAME", "SIZE", "ZONE"), [("a", 1, ""), ("long name", 1000, "x")], right=("SIZE",))

    assert capsys.readouterr().out == "NAME       SIZE  ZONE\na             1\nlong name  1000  x\n"


def test_one_is_not_many() -> None:
    assert [counted(count, "error") for count in (0, 1, 2)] == ["0 errors", "1 error", "2 errors"]
