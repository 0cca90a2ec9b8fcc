"""The member table: everywhere alike, whatever the order in which records arrive."""

from hypothesis import given
from hypothesis import strategies as st
from support.nodes import member

from zdynamo.core.members.table import MEMBERS_MAX, MemberTable
from zdynamo.messages import Addresses, MemberRecord

ADDRESSES = Addresses("a:1", "a:2", "a:3", "")

records = st.builds(
    MemberRecord,
    id=st.sampled_from(["a", "b", "c"]),
    version=st.integers(1, 4),
    name=st.just("n"),
    epoch=st.integers(1, 3),
    boot=st.sampled_from(["x", "y"]),
    started_ms=st.just(0),
    addresses=st.just(ADDRESSES),
    zone=st.just(""),
    weight=st.just(1),
    status=st.sampled_from(["member", "member", "removed"]),
)


@given(st.lists(records), st.randoms())
def test_the_order_of_records_does_not_matter(told: list[MemberRecord], random: object) -> None:
    shuffled = list(told)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = MemberTable(), MemberTable()

    one.merge(told)
    for each in shuffled:
        other.merge([each])

    assert one.all == other.all
    assert one.digest == other.digest


@given(st.lists(records))
def test_the_same_records_again_are_no_news(told: list[MemberRecord]) -> None:
    table = MemberTable()
    table.merge(told)

    assert table.merge(told) == []


def test_the_newer_record_replaces_the_older_and_is_news() -> None:
    table = MemberTable([member("a", version=1)])

    news = table.merge([member("a", version=2, name="new"), member("b")])

    assert news == [member("a", version=2, name="new"), member("b")]
    assert table.all == (member("a", version=2, name="new"), member("b"))


def test_removal_is_for_ever() -> None:
    table = MemberTable([member("a", version=1, status="removed")])

    assert table.merge([member("a", version=9)]) == []
    assert table.members == ()
    assert table.all == (member("a", version=1, status="removed"),)


def test_tables_that_differ_have_different_digests() -> None:
    tables = [
        MemberTable(),
        MemberTable([member("a")]),
        MemberTable([member("a", version=2)]),
        MemberTable([member("b")]),
    ]

    assert len({table.digest for table in tables}) == 4


def test_the_member_at_an_address_is_found_unless_it_is_removed() -> None:
    table = MemberTable([member("a", addresses=ADDRESSES, status="removed"), member("b", addresses=ADDRESSES)])

    assert table.at("a:1") == member("b", addresses=ADDRESSES)
    assert table.at("z:1") is None


def test_a_full_table_takes_no_new_members_but_news_of_those_it_has() -> None:
    table = MemberTable(member(f"{number:05}") for number in range(MEMBERS_MAX))

    assert table.merge([member("new")]) == []
    assert table.merge([member("00000", version=2)]) == [member("00000", version=2)]
