"""What `zdynamo top` and `zdynamo status` make of what nodes tell."""

from msgspec.structs import replace
from support.moments import description, moment

from zdynamo.cli import status, top
from zdynamo.cli.tables import short_bytes, short_count, short_latency, short_span
from zdynamo.figures.documents import cluster_document
from zdynamo.figures.moments import Moment, notices
from zdynamo.messages import HintsHeld, NodeDescription

HELD = (HintsHeld("c", 12_345, 2**20, 90_000),)


def cells(line: str) -> list[str]:
    return line.split()


def test_each_node_is_a_line_and_all_together_another() -> None:
    before = moment(description("a", uptime_ms=1_000), description("b", uptime_ms=1_000), "down", down="c")
    after = moment(
        description("a", uptime_ms=2_000, puts_us=(700,) * 40, busy_us=250_000, held=HELD, notices=("down: c",)),
        description("b", uptime_ms=2_000, gets_us=(3_000,) * 60, repairs__sent=7),
        "down",
        down="c",
    )

    headline, header, a, b, c, total, *told = top.lines(before, after, 80)

    assert headline == "cluster c  2 of 3 alive  layout 1  all agree"
    assert cells(header) == [
        "NODE",
        "STATE",
        "BUSY",
        "PUT/S",
        "PUT",
        "MS",
        "GET/S",
        "GET",
        "MS",
        "FAIL/S",
        "HELD",
        "REPAIR/S",
    ]
    assert cells(a) == ["a", "alive", "25%", "40", "0.8/1.0", "0", "-", "0", "12.3k", "0"]
    assert cells(b) == ["b", "alive", "0%", "0", "-", "60", "2.5/3.0", "0", "0", "7"]
    assert cells(c) == ["c", "down", *"--------"]
    assert cells(total) == ["all", "40", "60", "0", "12.3k", "7"]
    assert told == ["a: down: c"]


def test_the_table_fits_80_columns_however_much_there_is_to_tell() -> None:
    much = {"uptime_ms": 1_000, "puts_us": (300_000, 9_999_999) * 20, "gets_us": (300_000, 9_999_999) * 20}
    long = description("a", busy_us=999_999, held=(HintsHeld("c", 123_456_789, 1),), repairs__sent=9_999, **much)  # type: ignore[arg-type]

    shown = top.lines(None, moment(long, "no answer"), 80)

    assert max(len(line) for line in shown[1:4]) <= 80


def named(names: list[str], *told: NodeDescription) -> Moment:
    topology, members, answers = moment(*told)
    renamed = [
        replace(member, record=replace(member.record, name=name)) for name, member in zip(names, members, strict=True)
    ]
    return Moment(topology, tuple(renamed), answers)


ADDRESSES = ["node-1.rack-7.example:7400", "node-1.rack-7.example:7410", "node-2.rack-7.example:7400"]


def test_names_are_whole_where_there_is_room() -> None:
    after = named(ADDRESSES, description("a"), description("b"), description("c"))

    assert [line.split()[0] for line in top.lines(None, after, 120)[2:5]] == ADDRESSES


def test_names_that_have_to_be_cut_can_be_told_apart() -> None:
    addresses = ["127.0.0.1:7400", "127.0.0.1:7410", "127.0.0.2:7400"]
    after = named(addresses, description("a"), description("b"), description("c"))

    shown = top.lines(None, after, 80)

    assert max(map(len, shown[1:5])) <= 80
    assert len({line.split()[0] for line in shown[2:5]}) == 3


def test_a_low_terminal_shows_some_notices_and_says_how_many_there_are() -> None:
    from rich.console import Console

    noted = moment(description("a", notices=tuple(f"notice {number}" for number in range(20))))
    console = Console(width=80, height=12, no_color=True)

    with console.capture() as capture:
        console.print(top.picture(None, noted, 80, 12))

    shown = [line.rstrip() for line in capture.get().splitlines()]
    assert len(shown) <= 12
    assert shown[-1] == "and 15 more: zdynamo status"


def test_scripts_get_the_same_as_one_document() -> None:
    after = moment(description("a", uptime_ms=1_000, puts_us=(700,) * 4, missed=1, held=HELD), "no answer")

    shown = cluster_document(None, after)

    assert shown["agree"] == {"members": True, "layout": True, "buckets": True}
    a, b = shown["nodes"]
    assert a["requests_per_s"] == {"get": 0.0, "put": 5.0, "delete": 0.0, "list": 0.0}
    assert a["failed_per_s"] == 1.0
    assert a["hints"] == [{"target": "c", "count": 12_345, "bytes": 2**20, "held_ms": 90_000}]
    assert a["store"] == {"keys": 7, "disk_bytes": 4096, "free_bytes": -1}
    assert (b["reachable"], b["error"]) == (False, "no answer")
    assert b.keys() == a.keys()
    assert (b["busy"], b["store"], a["error"]) == (None, None, None)


def test_for_scripts_a_node_that_does_not_answer_has_the_same_keys() -> None:
    shown = moment(description("a"), "down", down="b")

    a, b = (status.document(member, shown.of(member)) for member in shown.members)

    assert b.keys() == a.keys()
    assert (b["error"], b["store"], a["error"]) == ("down", None, None)


def test_why_a_member_does_not_answer_is_noted_unless_it_is_known_to_be_down() -> None:
    shown = moment(description("a"), "silent", "down", down="c")

    assert notices(shown, shown.members) == ["b: silent"]


def test_status_has_a_row_for_each_node() -> None:
    shown = moment(
        description("a", puts_us=(700,) * 3, gets_us=(3_000,), missed=1, held=HELD, free_bytes=2**30, compare__known=2),
        "silent",
    )

    rows = [status.row(member, shown.of(member)) for member in shown.members]

    assert rows == [
        ("a", "a:client", "alive", "10 s", "5", "1", "0.7/1.0", "2.5/3.0", "12.3k", 2, 0, "7", "4.0 KiB", "1.0 GiB"),
        ("b", "b:client", "alive", *"-" * 11),
    ]
    assert len(rows[0]) == len(rows[1]) == len(status.COLUMNS)


def test_numbers_are_short() -> None:
    counts = (0, 0.25, 9.96, 17, 9_999, 12_345, 999_949, 4_500_000)

    assert [short_count(count) for count in counts] == ["0", "0.2", "10.0", "17", "9,999", "12.3k", "999.9k", "4.5M"]
    assert [short_bytes(size) for size in (17, 4096, 3 * 2**29)] == ["17 B", "4.0 KiB", "1.5 GiB"]
    assert [short_latency(*took) for took in ((1.23, 15.4), (None, None))] == ["1.2/15", "-"]
    spans = (17_000, 185_000, 9_600_000, 1_047_600_000)
    assert [short_span(ms) for ms in spans] == ["17 s", "3 min 5 s", "2 h 40 min", "12 d 3 h"]
