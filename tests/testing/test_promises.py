"""The checkers of the promises can fail: histories made by hand that break one, and their neighbours that do not."""

from testing.histories import broken, delete, get, put

LOST, BACK, NEEDLESS, STALE, ANSWER = (
    "no-lost-write", "no-resurrection", "no-needless-siblings", "regular-reads", "one-answer",
)  # fmt: skip


# no-lost-write


def test_an_acknowledged_value_that_is_with_every_replica_is_kept() -> None:
    assert broken(put("a", 0, 5), final="a") == []


def test_an_acknowledged_value_that_one_replica_lacks_is_lost() -> None:
    assert broken(put("a", 0, 5), final={"x": "a", "y": "", "z": "a"}) == [LOST]


def test_a_value_of_unknown_outcome_may_be_there_or_not() -> None:
    for final in ("a", ""):
        assert broken(put("a", 0, 1_000, outcome="unknown"), final=final) == []


def test_a_value_is_replaced_by_what_had_seen_it() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 15, "a"), final="b") == []


def test_a_value_is_replaced_along_a_chain_of_writes_that_had_seen_each_other() -> None:
    chain = (put("a", 0, 5), put("b", 10, 15, "a"), put("c", 20, 25, "b"))

    assert broken(*chain, final="c") == []
    assert broken(*chain, delete(30, 35, "c"), final="") == []


def test_a_chain_that_ends_in_nothing_has_lost_all_of_it() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 1_000, "a", outcome="unknown"), final="") == [LOST]


def test_a_value_is_not_replaced_by_a_write_whose_context_had_not_seen_it() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 15, ""), final="b") == [LOST]


def test_a_value_is_not_replaced_by_a_write_that_surely_left_nothing() -> None:
    assert LOST in broken(put("a", 0, 5), put("b", 10, 15, "a", outcome="nothing"), final="b")


def test_a_put_without_a_context_replaces_what_it_may_have_met() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 15), final="b") == []
    assert broken(put("b", 0, 15), put("a", 10, 12), final="b") == []


def test_a_put_without_a_context_cannot_replace_what_began_after_it_had_ended() -> None:
    assert broken(put("b", 0, 5), put("a", 10, 15, ""), final="b") == [LOST]


def test_two_puts_that_have_erased_each_other_are_lost() -> None:
    assert broken(put("a", 0, 10), put("b", 5, 15), final="") == [LOST]


def test_a_delete_without_a_context_takes_what_it_may_have_met() -> None:
    assert broken(put("a", 0, 5), delete(10, 15), final="") == []
    assert broken(delete(0, 5), put("a", 10, 15), final="") == [LOST]


def test_a_delete_takes_only_what_its_context_had_seen() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 15, "a"), delete(20, 25, "a"), final="") == [LOST]


def test_what_expires_is_not_lost() -> None:
    assert broken(put("a", 0, 5, ttl_ms=3_000), final="") == []
    assert broken(put("a", 0, 5, ttl_ms=200_000), final="") == [LOST]


def test_of_a_bucket_that_keeps_the_last_write_nothing_is_lost() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 15, ""), final="b", lww=True) == []
    assert broken(put("a", 0, 5), put("b", 10, 15, ""), final="", lww=True) == [LOST]
    assert broken(put("a", 0, 5), delete(10, 15, ""), final="", lww=True) == []


def test_nor_does_anything_come_back_there() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 15, "a"), final="a", lww=True) == [BACK]
    assert broken(put("a", 0, 5), put("b", 10, 15, "a"), get("a", 20, 25), final="b", lww=True) == [BACK]


# no-resurrection


def test_a_deleted_value_that_a_later_read_shows_is_back() -> None:
    assert broken(put("a", 0, 5), delete(10, 15, "a"), get("a", 20, 25)) == [BACK]


def test_a_replaced_value_that_a_replica_shows_in_the_end_is_back() -> None:
    writes = put("a", 0, 5), put("b", 10, 15, "a")

    assert broken(*writes, final={"x": "b", "y": "a"}) == [LOST, BACK]


def test_what_a_strict_delete_without_a_context_must_have_met_is_gone() -> None:
    assert broken(put("a", 0, 5), delete(10, 15), get("a", 20, 25)) == [BACK]
    assert broken(put("a", 0, 5), delete(10, 15), final="a") == [BACK]
    assert broken(put("a", 0, 5), put("b", 6, 9, "a"), delete(10, 15), get("a", 20, 25)) == [BACK]


def test_what_a_delete_without_a_context_may_have_missed_may_be_there() -> None:
    for missed in (put("a", 0, 12), put("a", 0, 5, strict=False), put("a", 0, 5, outcome="unknown")):
        assert broken(missed, delete(10, 15), get("a", 20, 25), final="a") == []
    assert broken(put("a", 0, 5), delete(10, 15, strict=False), get("a", 20, 25), final="a") == []


def test_a_delete_of_a_value_that_would_have_expired_counts_like_any_other() -> None:
    """By the clock of the coordinator it may have; the delete has to cover it all the same."""
    assert broken(put("a", 0, 5, ttl_ms=60_000), delete(10, 15), get("a", 20, 25)) == [BACK]


def test_what_a_deleted_value_had_replaced_does_not_come_back_either() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 15, "a"), delete(20, 25, "b"), get("a", 30, 35)) == [BACK]


def test_a_read_that_began_before_the_delete_had_ended_may_show_the_value() -> None:
    assert broken(put("a", 0, 5), delete(10, 15, "a"), get("a", 14, 25)) == []


def test_a_read_that_is_not_strict_may_show_the_value() -> None:
    assert broken(put("a", 0, 5), delete(10, 15, "a"), get("a", 20, 25, strict=False)) == []


def test_a_node_that_was_put_back_to_a_snapshot_may_answer_before_it_is_told_but_nothing_may_come_of_it() -> None:
    writes = put("a", 0, 5), put("b", 10, 15, "a")
    assert broken(*writes, get("a", 20, 25, vouched=False), final="b") == []
    assert broken(*writes, get("", 20, 25, vouched=False), final="b") == []
    assert broken(*writes, delete(20, 25, vouched=False), get("b", 30, 35), final="b") == []
    assert broken(*writes, get("a", 20, 25, vouched=False), final="a") == [LOST, BACK]


def test_a_value_written_anew_is_another_one() -> None:
    assert broken(put("a", 0, 5), delete(10, 15, "a"), put("b", 20, 25, ""), get("b", 30, 35), final="b") == []


def test_a_delete_of_unknown_outcome_promises_nothing() -> None:
    assert broken(put("a", 0, 5), delete(10, 1_010, "a", outcome="unknown"), get("a", 2_000, 2_005), final="a") == []


def test_a_late_copy_of_the_request_brings_a_value_back_for_a_while_only() -> None:
    doubled = put("a", 0, 5, doubled=True)

    assert broken(doubled, delete(10, 15, "a"), get("a", 20, 25), final="a") == []
    assert broken(doubled, delete(10_000, 10_005, "a"), get("a", 11_000, 11_005)) == [BACK]


def test_an_expired_value_that_is_shown_in_the_end_is_back() -> None:
    assert broken(put("a", 0, 5, ttl_ms=3_000), final="a") == [BACK]


# no-needless-siblings


def test_siblings_are_concurrent() -> None:
    assert broken(put("a", 0, 5, ""), put("b", 10, 15, ""), get("ab", 20, 25), final="ab") == []


def test_a_value_beside_one_that_had_seen_it_is_needless() -> None:
    assert NEEDLESS in broken(put("a", 0, 5), put("b", 10, 15, "a"), get("ab", 20, 25))


def test_a_put_that_was_under_way_when_it_was_seen_may_be_beside_what_replaced_it() -> None:
    """One without a context is written once more over what it meets."""
    early, late = put("a", 0, 20), put("a", 0, 5)
    over = put("b", 10, 15, "a")

    assert broken(early, over, get("ab", 30, 35), final="ab") == []
    assert broken(early, over, put("c", 30, 35, "b"), get("ac", 40, 45), final="ac") == []
    assert NEEDLESS in broken(late, over, get("ab", 30, 35), final="ab")


def test_a_value_beside_one_that_had_seen_it_along_a_chain_is_needless() -> None:
    writes = put("a", 0, 5), put("b", 10, 15, "a"), put("c", 20, 25, "b")

    assert broken(*writes, get("ac", 20, 22, strict=False)) == [NEEDLESS]


def test_a_request_that_is_shown_twice_is_needless() -> None:
    assert broken(put("a", 0, 900, doubled=True), get("aa", 1_000, 1_005)) == [NEEDLESS]


# regular-reads


def test_a_read_shows_the_last_acknowledged_write() -> None:
    assert broken(put("a", 0, 5), get("a", 10, 15)) == []
    assert broken(put("a", 0, 5), get("", 10, 15)) == [STALE]


def test_a_read_that_shows_an_older_value_is_stale() -> None:
    assert STALE in broken(put("a", 0, 5), put("b", 10, 15, "a"), get("a", 20, 25))


def test_a_read_may_show_what_is_concurrent_with_it_or_later() -> None:
    assert broken(put("a", 0, 5), put("b", 10, 900, "a"), get("b", 20, 25), get("a", 30, 35)) == []


def test_a_read_that_shows_a_concurrent_sibling_only_is_stale() -> None:
    assert broken(put("a", 0, 5, ""), put("b", 0, 5, ""), get("b", 20, 25)) == [STALE]


def test_a_read_after_a_delete_may_show_nothing() -> None:
    assert broken(put("a", 0, 5), delete(10, 15), get("", 20, 25)) == []
    assert broken(put("a", 0, 5), delete(30, 35), get("", 20, 25)) == [STALE]


def test_no_read_finds_nothing_where_a_strict_write_was_acknowledged() -> None:
    assert broken(put("a", 0, 5), get("", 10, 15, strict=False)) == [STALE]
    assert broken(put("a", 0, 5), delete(6, 9), get("", 10, 15, strict=False)) == []


def test_reads_and_writes_that_are_not_strict_may_miss_each_other() -> None:
    assert broken(put("a", 0, 5, ""), put("b", 6, 9, "a"), get("a", 10, 15, strict=False)) == []
    assert broken(put("a", 0, 5, strict=False), get("", 10, 15, strict=False)) == []
    assert broken(put("a", 0, 5, strict=False), get("", 10, 15)) == []


# one-answer


def test_an_operation_without_an_answer_or_with_two_breaks_a_promise() -> None:
    assert broken(get("", 0, 5, answers=0)) == [ANSWER]
    assert broken(get("", 0, 5, answers=2)) == [ANSWER]


def test_an_answer_after_the_deadline_breaks_a_promise() -> None:
    assert broken(get("", 0, 1_100)) == []
    assert broken(get("", 0, 1_300)) == [ANSWER]


def test_two_operations_with_one_request_id_break_a_promise() -> None:
    assert broken(get("", 0, 5, request=b"r" * 16), get("", 0, 5, request=b"r" * 16)) == [ANSWER]


def test_a_value_that_was_told_to_be_nowhere_and_shows_breaks_a_promise() -> None:
    nothing = put("a", 0, 5, outcome="nothing")

    assert broken(nothing, get("", 10, 15), final="") == []
    assert broken(nothing, get("a", 10, 15)) == [ANSWER]
    assert broken(nothing, final="a") == [ANSWER]


def test_a_value_that_nobody_has_put_breaks_a_promise() -> None:
    assert broken(get("a", 10, 15)) == [ANSWER]


# the size of histories


def test_a_chain_of_thousands_of_writes_is_checked_in_moments() -> None:
    letters = [chr(number) for number in range(0x4E00, 0x4E00 + 2_000)]
    chain = [put(letter, at * 10, at * 10 + 5, letters[at - 1] if at else "") for at, letter in enumerate(letters)]
    reads = [get(letter, at * 10 + 6, at * 10 + 9) for at, letter in enumerate(letters)]

    assert broken(*chain, *reads, final=letters[-1]) == []
