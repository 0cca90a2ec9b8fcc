"""What a suspect is, by what others say of it, and when."""

import pytest

from zdynamo.core.failures.suspicion import Inquiry, Others, Word, least_ms, second_verdict, verdict, wait_ms
from zdynamo.messages import MemberState

NOBODY, THREE = Others(0, 0), Others(3, 3)
CUT_OFF = Others(0, 3)  # all others are suspects themselves


def inquiry(*words: Word, asked: int = 3, until_ms: int = 600) -> Inquiry:
    """Of so many, of whom the first have answered like this."""
    witnesses = [str(number) for number in range(asked)]
    made = Inquiry(7, frozenset(witnesses), until_ms)
    for witness, word in zip(witnesses, words, strict=False):
        made.hear(witness, 7, word)
    return made


@pytest.mark.parametrize(
    ("asked", "confirmed", "expected_ms"),
    [
        (0, 0, 600),  # there is nobody to ask: our own evidence has to do
        (3, 0, 1800),
        (3, 1, 1200),
        (3, 2, 849),
        (3, 3, 600),
        (1, 0, 1800),
        (1, 1, 600),
        (2, 1, 1043),
    ],
)
def test_each_confirmation_shortens_the_wait(asked: int, confirmed: int, expected_ms: int) -> None:
    assert wait_ms(600, asked, confirmed) == expected_ms


@pytest.mark.parametrize(
    ("cause", "patience", "stalled_ms", "expected_ms"),
    [
        ("silent", 1.0, 0, 600),
        ("unanswered", 1.0, 0, 600),
        ("timeouts", 1.0, 0, 600),
        ("new", 1.0, 0, 2000),
        ("lost", 1.0, 0, 300),
        ("silent", 2.0, 0, 1200),
        ("lost", 2.0, 0, 600),
        ("silent", 1.0, 500, 1100),
        ("silent", 1.0, 60_000, 1600),
        ("lost", 1.0, 500, 300),  # no stall explains a closed connection
    ],
)
def test_the_least_wait_depends_on_the_cause_and_on_who_has_stood_still(
    cause: str, patience: float, stalled_ms: int, expected_ms: int
) -> None:
    assert least_ms(cause, 600, 2000, patience=patience, stalled_ms=stalled_ms) == expected_ms  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "waited_ms", "expected"),
    [
        (("missed", "missed", "missed"), 599, "suspect"),
        (("missed", "missed", "missed"), 600, "down"),
        (("missed", "missed"), 848, "suspect"),
        (("missed", "missed"), 849, "down"),
        (("missed", "missed", "stalled"), 848, "suspect"),  # who stood still confirms nothing
        (("stalled", "stalled", "stalled"), 1799, "suspect"),
        (("stalled", "stalled", "stalled"), 1800, "down"),
        ((), 1799, "suspect"),  # nobody answers: it may be us
        ((), 1800, "down"),
        (("missed", "missed", "reached"), 1199, "suspect"),  # it is alive: no hurry
        (("missed", "missed", "reached"), 1200, "unreachable"),
        (("reached",), 60_000, "unreachable"),
    ],
)
def test_the_verdict_on_a_suspect(words: tuple[Word, ...], waited_ms: int, expected: MemberState) -> None:
    assert verdict(waited_ms, 600, THREE, inquiry(*words), now_ms=waited_ms) == expected


def test_nobody_is_called_down_while_answers_are_waited_for() -> None:
    asked_late = inquiry("missed", "missed", until_ms=3_000)

    states = [verdict(2_000, 600, THREE, asked_late, now_ms) for now_ms in (2_999, 3_000)]

    assert states == ["suspect", "down"]


@pytest.mark.parametrize(
    ("others", "waited_ms", "expected"),
    [
        (NOBODY, 599, "suspect"),
        (NOBODY, 600, "down"),
        (CUT_OFF, 1799, "suspect"),
        (CUT_OFF, 1800, "down"),
        (THREE, 60_000, "suspect"),  # they have to be asked first
    ],
)
def test_the_verdict_when_nobody_was_asked(others: Others, waited_ms: int, expected: MemberState) -> None:
    assert verdict(waited_ms, 600, others, None, now_ms=waited_ms) == expected


@pytest.mark.parametrize(
    ("before", "words", "expected"),
    [
        ("down", ("reached",), "unreachable"),
        ("down", ("missed",), "down"),
        ("down", (), "down"),
        ("unreachable", ("missed", "reached"), "unreachable"),
        ("unreachable", ("missed", "stalled"), "down"),
        ("unreachable", ("stalled", "stalled"), "unreachable"),
        ("unreachable", (), "unreachable"),
    ],
)
def test_who_was_given_up_is_judged_again(before: MemberState, words: tuple[Word, ...], expected: MemberState) -> None:
    assert second_verdict(before, THREE, inquiry(*words)) == expected


def test_a_member_that_only_others_reached_is_down_when_there_are_no_others_left() -> None:
    assert [second_verdict("unreachable", others, None) for others in (THREE, CUT_OFF, NOBODY)] == [
        "unreachable", "unreachable", "down",
    ]  # fmt: skip


def test_only_who_was_asked_is_heard_and_only_once_and_only_about_that() -> None:
    made = inquiry("missed")

    made.hear("a stranger", 7, "reached")
    made.hear("1", 6, "reached")
    made.hear("0", 7, "reached")

    assert made.words == {"0": "missed"}
