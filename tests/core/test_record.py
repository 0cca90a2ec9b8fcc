"""Records: the laws of merging, what a write covers, what a clock claims, and bytes that are canonical."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zdynamo.core.records.record import (
    EMPTY,
    NOTHING_SEEN,
    Clock,
    Record,
    Sibling,
    covers,
    current,
    decode_record,
    encode_record,
    join,
    merge,
    shown,
    with_dots,
    write,
)
from zdynamo.errors import Malformed
from zdynamo.messages import Dot

ACTORS, BIRTHS, COUNTERS = (1, 2), (1, 4), range(1, 7)
ALL_DOTS = [(actor, birth, counter) for actor in ACTORS for birth in BIRTHS for counter in COUNTERS]


def sibling(dot: Dot, *, tombstone: bool = False, expires_ms: int = 0, request: bytes = b"") -> Sibling:
    """The write that a dot names: one dot, one content."""
    request = request or repr(dot).encode()
    return Sibling(dot, dot[2] << 16, expires_ms, tombstone, "b", repr(dot).encode(), request)


dots = st.sampled_from(ALL_DOTS)
clocks = st.builds(
    lambda entries, cloud: with_dots(_claiming(entries), cloud),
    st.lists(dots, max_size=3),
    st.lists(dots, max_size=3),
)


def _claiming(entries: list[Dot]) -> Clock:
    clock = NOTHING_SEEN
    for entry in entries:
        clock = join(clock, Clock((entry,)))
    return clock


def _record(clock: Clock, living: list[Dot]) -> Record:
    return Record(clock, tuple(sibling(dot) for dot in sorted(set(living)) if covers(clock, dot)))


records = st.builds(_record, clocks, st.lists(dots, max_size=4))


def dots_of(record: Record) -> set[Dot]:
    return {sibling.dot for sibling in record.siblings}


def seen_by(clock: Clock) -> set[Dot]:
    return {dot for dot in ALL_DOTS if covers(clock, dot)}


@given(records, records)
def test_merge_is_commutative(one: Record, other: Record) -> None:
    assert merge(one, other) == merge(other, one)


@given(records, records, records)
def test_merge_is_associative(one: Record, other: Record, third: Record) -> None:
    assert merge(merge(one, other), third) == merge(one, merge(other, third))


@given(records, records)
def test_merge_is_idempotent(one: Record, other: Record) -> None:
    merged = merge(one, other)

    assert merge(one, one) == one
    assert merge(merged, one) == merge(other, merged) == merged


@given(records, records)
def test_a_merge_is_one_of_its_records_itself_where_the_other_adds_nothing(one: Record, other: Record) -> None:
    merged = merge(one, other)

    assert (merged is one) == (merged == one)
    assert (merged is other) == (merged == other != one)


@given(records)
def test_nothing_is_the_neutral_element(record: Record) -> None:
    assert merge(EMPTY, record) == merge(record, EMPTY) == record


@given(records, records)
def test_merge_keeps_what_both_have_or_the_other_has_not_seen(one: Record, other: Record) -> None:
    mine, theirs = dots_of(one), dots_of(other)

    merged = merge(one, other)

    assert dots_of(merged) == (mine & theirs) | (mine - seen_by(other.clock)) | (theirs - seen_by(one.clock))
    assert seen_by(merged.clock) == seen_by(one.clock) | seen_by(other.clock)


@given(clocks, clocks)
def test_a_joined_clock_has_seen_what_either_had(one: Clock, other: Clock) -> None:
    assert seen_by(join(one, other)) == seen_by(one) | seen_by(other)
    assert join(one, other) == join(other, one)


@given(records, clocks)
def test_a_write_covers_what_its_context_has_seen_and_nothing_else(record: Record, context: Clock) -> None:
    new = sibling((1, 1, 9))

    written = write(record, context, new)

    assert dots_of(written) == dots_of(record) - seen_by(context) | {new.dot}
    assert seen_by(written.clock) >= seen_by(record.clock) | seen_by(context)


@given(records)
def test_a_write_without_a_context_covers_nothing(record: Record) -> None:
    written = write(record, NOTHING_SEEN, sibling((1, 1, 9)))

    assert dots_of(written) == dots_of(record) | {(1, 1, 9)}


@given(records, records)
def test_a_write_over_a_read_replaces_what_was_read_wherever_it_arrives(here: Record, elsewhere: Record) -> None:
    read = merge(here, elsewhere)
    new = sibling((1, 1, 9))

    written = write(here, read.clock, new)

    assert dots_of(merge(written, elsewhere)) == {new.dot}


def test_a_dot_beyond_the_clock_claims_no_earlier_one() -> None:
    clock = with_dots(NOTHING_SEEN, [(1, 1, 5)])

    assert seen_by(clock) == {(1, 1, 5)}


def test_a_context_that_names_an_unseen_dot_does_not_lose_the_actors_earlier_write() -> None:
    replica = write(EMPTY, NOTHING_SEEN, sibling((2, 1, 2)))
    late = Record(Clock(((1, 1, 3),)), (sibling((1, 1, 3)),))

    written = write(replica, with_dots(NOTHING_SEEN, [(1, 1, 5)]), sibling((2, 1, 4)))

    assert dots_of(merge(written, late)) == {(1, 1, 3), (2, 1, 2), (2, 1, 4)}


def test_a_dot_that_a_context_named_stays_covered_when_it_arrives_late() -> None:
    late = Record(Clock((), ((1, 1, 5),)), (sibling((1, 1, 5)),))

    written = write(EMPTY, with_dots(NOTHING_SEEN, [(1, 1, 5)]), sibling((2, 1, 4)))

    assert dots_of(merge(written, late)) == {(2, 1, 4)}


def test_an_earlier_birth_says_nothing_of_a_later_one() -> None:
    before = Record(Clock(((1, 1, 6),)), (sibling((1, 1, 6)),))
    reborn = Record(Clock(((1, 4, 5),)), (sibling((1, 4, 5)),))

    assert dots_of(merge(before, reborn)) == {(1, 1, 6), (1, 4, 5)}


def test_a_dot_that_the_clock_comes_to_claim_leaves_the_cloud() -> None:
    clock = with_dots(Clock(((1, 1, 2),)), [(1, 1, 4), (1, 1, 2)])

    assert clock == Clock(((1, 1, 2),), ((1, 1, 4),))
    assert join(clock, Clock(((1, 1, 4),))) == Clock(((1, 1, 4),))


def test_equal_sets_of_dots_are_equal_clocks() -> None:
    assert with_dots(Clock(((1, 1, 2),)), [(1, 1, 4), (1, 1, 3)]) == Clock(((1, 1, 4),))


def test_merge_with_what_is_known_makes_no_new_record() -> None:
    old = write(EMPTY, NOTHING_SEEN, sibling((1, 1, 1)))
    new = write(old, old.clock, sibling((1, 1, 2)))

    assert merge(new, old) is new


@given(records, records)
def test_equal_records_have_equal_bytes(one: Record, other: Record) -> None:
    assert encode_record(merge(one, other)) == encode_record(merge(other, one))


@given(records)
def test_a_record_survives_its_bytes(record: Record) -> None:
    assert decode_record(encode_record(record)) == record


def test_the_bytes_of_a_record_are_the_same_for_ever() -> None:
    record = Record(
        Clock(((1, 2, 3),), ((4, 5, 6),)),
        (Sibling((1, 2, 3), 7 << 16, 0, False, "text", b"milk", b"request-16-bytes"),),
    )

    assert encode_record(record).hex() == (
        "929291930102039193040506"  # the clock: entries, cloud
        "919893010203ce0007000000c2a474657874c4046d696c6bc410726571756573742d31362d627974657390"
    )


A, B = sibling((1, 1, 1)), sibling((2, 1, 1))


@pytest.mark.parametrize(
    "record",
    [
        Record(Clock((B.dot, A.dot)), (A, B)),
        Record(Clock((A.dot, A.dot)), (A,)),
        Record(Clock(((1, 1, 1), (1, 1, 2))), (A,)),
        Record(Clock((A.dot, B.dot)), (B, A)),
        Record(Clock((A.dot, B.dot)), (A, A)),
        Record(Clock((), (B.dot, A.dot)), (A,)),
        Record(Clock(((1, 1, 3),), ((1, 1, 2),)), (A,)),
        Record(Clock(((1, 1, 3),), ((1, 1, 4),)), (A,)),
        Record(Clock((B.dot,)), (A,)),
    ],
    ids=[
        "entries",
        "entry twice",
        "actor twice",
        "siblings",
        "sibling twice",
        "cloud",
        "cloud in clock",
        "cloud next to clock",
        "unseen",
    ],
)
def test_bytes_that_are_not_canonical_are_refused(record: Record) -> None:
    with pytest.raises(Malformed):
        decode_record(encode_record(record))


@given(st.binary(max_size=60))
def test_garbage_is_refused_and_never_crashes(garbage: bytes) -> None:
    try:
        record = decode_record(garbage)
    except Malformed:
        return
    assert all(covers(record.clock, one.dot) for one in record.siblings)


@given(records, st.integers(0, 1000), st.integers(0, 255))
def test_a_record_with_a_wrong_byte_is_refused_or_still_a_record(record: Record, at: int, byte: int) -> None:
    encoded = bytearray(encode_record(record))
    encoded[at % len(encoded)] = byte

    try:
        read = decode_record(bytes(encoded))
    except Malformed:
        return
    assert decode_record(encode_record(read)) == read


def test_a_reader_is_shown_values_only_and_none_that_has_expired() -> None:
    siblings = (sibling((1, 1, 1)), sibling((1, 1, 2), tombstone=True), sibling((1, 1, 3), expires_ms=500))
    record = Record(Clock(((1, 1, 3),)), siblings)

    assert [one.dot for one in shown(record, 499)] == [(1, 1, 1), (1, 1, 3)]
    assert [one.dot for one in shown(record, 500)] == [(1, 1, 1)]


def test_one_request_that_two_coordinators_minted_is_shown_once() -> None:
    record = merge(
        write(EMPTY, NOTHING_SEEN, sibling((1, 1, 1), request=b"one")),
        write(EMPTY, NOTHING_SEEN, sibling((2, 1, 1), request=b"one")),
    )

    assert len(record.siblings) == 2
    assert [one.dot for one in shown(record, 0)] == [(1, 1, 1)]


@st.composite
def remembering(draw: st.DrawFn) -> Record:
    """Siblings of a few requests that remember each other as they please."""
    names = [b"request %d" % number for number in range(5)]
    siblings = [
        Sibling((number, 1, 1), number, 0, draw(st.booleans()), "", b"v", draw(st.sampled_from(names)), tuple(gone))
        for number in range(draw(st.integers(1, 6)))
        for gone in [draw(st.lists(st.sampled_from(names), unique=True))]
    ]
    return Record(Clock(tuple(sibling.dot for sibling in siblings)), tuple(siblings))


@given(remembering())
def test_whatever_siblings_remember_one_is_left(record: Record) -> None:
    assert current(record)


@given(remembering())
def test_a_sibling_that_nobody_remembers_is_left(record: Record) -> None:
    remembered = {request for sibling in record.siblings for request in sibling.gone}

    assert {sibling for sibling in record.siblings if sibling.request not in remembered} <= set(current(record))


def test_requests_that_have_covered_each_other_in_turn_are_all_left() -> None:
    one, two, three = (
        Sibling((at, 1, 1), at, 0, False, "", name, name, (b"abc"[at : at + 1], b"bca"[at : at + 1]))
        for at, name in enumerate((b"a", b"b", b"c"))
    )
    beside = Sibling((9, 1, 1), 9, 0, False, "", b"d", b"d", (b"d",))
    record = Record(Clock(tuple(sibling.dot for sibling in (one, two, three, beside))), (one, two, three, beside))

    assert current(record) == record.siblings
