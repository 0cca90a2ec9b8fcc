"""A quorum counts distinct replicas."""

from zdynamo.core.coordinator.tally import Tally


def test_a_repeated_answer_counts_once() -> None:
    tally = Tally(2, ["a", "b", "c"])

    assert tally.yes("a")
    assert not tally.yes("a")

    assert (tally.got, tally.won) == (1, False)


def test_an_answer_of_somebody_who_was_not_asked_does_not_count() -> None:
    tally = Tally(1, ["a"])

    assert not tally.yes("z")

    assert not tally.won


def test_a_quorum_is_lost_when_too_few_can_still_answer() -> None:
    tally = Tally(2, ["a", "b", "c"])

    tally.no("a")
    before = tally.lost
    tally.no("b")

    assert (before, tally.lost) == (False, True)


def test_a_no_after_a_yes_takes_nothing_back() -> None:
    tally = Tally(1, ["a", "b"])

    tally.yes("a")
    tally.no("a")

    assert tally.won
