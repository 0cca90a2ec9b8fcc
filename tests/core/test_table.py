"""The member table: everywhere alike, whatever the order in which records arrive."""

from hypothesis import given
from hypothesis import strategies as st

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


def record(node: str, version: int = 1, **fields: object) -> MemberRecord:
    values = {"name": node, "epoch": 1, "boot": "x", "started_ms": 0, "zone": "", "weight": 1, **fields}
    return MemberRecord(id=node, version=version, addresses=ADDRESSES, **values)  # type: ignore[arg-type]


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
    table = MemberTable([record("a", 1)])

    news = table.merge([record("a", 2, name="new"), record("b")])

    assert news == [record("a", 2, name="new"), record("b")]
    assert table.all == (record("a", 2, name="new"), record("b"))


def test_removal_is_for_ever() -> None:
    table = MemberTable([record("a", 1, status="removed")])

    assert table.merge([record("a", 9)]) == []
    assert table.members == ()
    assert table.all == (record("a", 1, status="removed"),)


def test_tables_that_differ_have_different_digests() -> None:
    tables = [MemberTable(), MemberTable([record("a")]), MemberTable([record("a", 2)]), MemberTable([record("b")])]

    assert len({table.digest for table in tables}) == 4


def test_the_member_at_an_address_is_found_unless_it_is_removed() -> None:
    table = MemberTable([record("a", status="removed"), record("b")])

    assert table.at("a:1") == record("b")
    assert table.at("z:1") is None


def test_a_full_table_takes_no_new_members_but_news_of_those_it_has() -> None:
    table = MemberTable(record(f"{number:05}") for number in range(MEMBERS_MAX))

    assert table.merge([record("new")]) == []
    assert table.merge([record("00000", 2)]) == [record("00000", 2)]
