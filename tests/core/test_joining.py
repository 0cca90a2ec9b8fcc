"""How a node without a cluster comes to one: asking, founding, joining, taking over, or giving up with one line."""

import pytest
from msgspec.structs import replace

from zdynamo.core.events import Noted
from zdynamo.core.members.events import AskSeed, Fail, Profile
from zdynamo.core.members.joining import OCCUPIED_MS, Joined, Joining
from zdynamo.core.settings import Rhythms
from zdynamo.messages import Addresses, Constants, MemberRecord, MemberState, MemberView, Topology
from zdynamo.partition import HASH_VERSION

RHYTHMS = Rhythms(listen_ms=2000, seed_retry_max_ms=1600)
CONSTANTS = Constants(256, 3, HASH_VERSION, 1, "")


def profile(*seeds: str, found: bool = False, address: str = "a:1") -> Profile:
    return Profile(
        name="a", addresses=Addresses(address, "a:2", "a:3", ""), zone="", weight=1, seeds=seeds, found=found,
        constants=CONSTANTS,
    )  # fmt: skip


def joining(*seeds: str, found: bool = False, address: str = "a:1") -> Joining:
    return Joining(profile(*seeds, found=found, address=address), RHYTHMS, 0)


def topology(*members: tuple[str, MemberState], **constants: int) -> Topology:
    views = tuple(
        MemberView(
            MemberRecord(name, 1, name, 1, f"boot-{name}", 0, Addresses(f"{name}:1", "", "", ""), "", 1), state, 0.0
        )
        for name, state in members
    )
    return Topology(bytes(16), "cluster", "b", replace(CONSTANTS, **constants), views, None, (), 1, 1)


def asked_at(node: Joining, until_ms: int, every_ms: int = 50) -> list[int]:
    return [
        now_ms
        for now_ms in range(0, until_ms, every_ms)
        if any(isinstance(effect, AskSeed) for effect in node.ask(now_ms))
    ]


def test_seeds_are_asked_at_once_and_then_ever_more_seldom_up_to_a_limit() -> None:
    times = asked_at(joining("s:1"), 10_000)

    assert times == [0, 100, 300, 700, 1500, 3100, 4700, 6300, 7900, 9500]


def test_all_seeds_are_asked_but_not_this_node_itself() -> None:
    effects = joining("a:1", "s:1", "t:1").ask(0)

    assert effects == [AskSeed("s:1"), AskSeed("t:1")]


def test_seeds_that_do_not_answer_are_said_with_how_long_and_again_now_and_then() -> None:
    node = joining("s:1", "t:1")

    said = [effect for ms in range(0, 10_000, 50) for effect in node.ask(ms) if isinstance(effect, Noted)]

    assert {effect.name for effect in said} == {"seeds.unanswered"}
    assert said[0] == Noted("seeds.unanswered", {"seeds": ["s:1", "t:1"], "for_ms": 1500}, "warning")
    assert 5 <= len(said) <= 6


def test_a_node_without_seeds_has_nobody_to_ask() -> None:
    assert [effect for ms in range(0, 5_000, 50) for effect in joining().ask(ms)] == []


@pytest.mark.parametrize(
    ("seeds", "found", "founds_at_ms"),
    [
        ((), False, 2000),
        ((), True, 0),
        (("a:1",), False, 2000),
        (("a:1", "s:1"), False, 2000),
        (("a:1", "s:1"), True, 0),
        (("s:1",), False, None),
        (("s:1", "a:1"), False, None),
        (("s:1",), True, None),
    ],
)
def test_only_who_has_no_seeds_or_is_the_first_of_them_founds_and_listens_before(
    seeds: tuple[str, ...], found: bool, founds_at_ms: int | None
) -> None:
    node = joining(*seeds, found=found)

    allowed = [now_ms for now_ms in range(0, 60_000, 50) if node.may_found(now_ms)]

    assert allowed[:1] == ([] if founds_at_ms is None else [founds_at_ms])


def test_who_has_joined_founds_no_more() -> None:
    node = joining()

    node.over()

    assert not node.may_found(60_000)


def test_who_gave_up_the_cluster_that_it_had_founded_does_not_found_again() -> None:
    node = joining()
    node.over()

    node.again()

    assert not node.may_found(60_000)


def test_a_cluster_without_a_member_at_this_address_takes_the_node_in() -> None:
    assert joining("b:1").decide(topology(("b", "alive"), ("c", "down")), 100) == Joined(None)


def test_a_member_at_this_address_that_is_down_is_replaced() -> None:
    seen = topology(("a", "down"), ("b", "alive"))

    assert joining("b:1").decide(seen, 100) == Joined(seen.members[0].record)


@pytest.mark.parametrize("state", ["alive", "suspect", "unreachable"])
def test_a_member_at_this_address_that_is_not_down_is_waited_for_and_then_the_node_is_refused(
    state: MemberState,
) -> None:
    node = joining("b:1")
    seen = topology(("a", state), ("b", "alive"))

    waited = [node.decide(seen, 1_000), node.decide(seen, 1_000 + OCCUPIED_MS - 1)]
    refused = node.decide(seen, 1_000 + OCCUPIED_MS)

    assert waited == [[], []]
    assert refused == [Fail("a:1 is the address of member a, which answers: give this node another address")]


def test_a_member_at_this_address_that_is_called_down_while_waiting_is_replaced() -> None:
    node = joining("b:1")
    node.decide(topology(("a", "alive"), ("b", "alive")), 1_000)
    seen = topology(("a", "down"), ("b", "alive"))

    assert node.decide(seen, 3_000) == Joined(seen.members[0].record)


def test_while_it_waits_for_the_member_at_its_address_a_node_asks_often_and_does_not_found() -> None:
    node = joining("a:1", "b:1")
    for ms in range(0, 8_000, 50):
        node.ask(ms)

    node.decide(topology(("a", "alive")), 8_000)

    assert AskSeed("b:1") in node.ask(8_100)
    assert AskSeed("b:1") in node.ask(8_300)
    assert not node.may_found(60_000)


@pytest.mark.parametrize(
    ("constants", "line"),
    [
        ({"partitions": 64}, "cluster.partitions is 256 here and 64 in the cluster: set it to 64"),
        ({"n": 5}, "cluster.n is 3 here and 5 in the cluster: set it to 5"),
        (
            {"hash_version": 2},
            "this zdynamo places keys by hash version 1, the cluster by 2: run the version of zdynamo that it runs",
        ),
    ],
)
def test_a_setting_that_differs_from_the_clusters_stops_the_node_with_one_line_that_names_it(
    constants: dict[str, int], line: str
) -> None:
    assert joining("b:1").decide(topology(("b", "alive"), **constants), 100) == [Fail(line)]


@pytest.mark.parametrize(
    ("constants", "line"),
    [
        ({"partitions": 64}, "cluster.partitions is 256 here and 64 in the cluster: set it to 64"),
        ({"n": 5}, "cluster.n is 3 here and 5 in the cluster: set it to 5"),
    ],
)
def test_a_node_that_was_a_member_does_not_go_on_with_other_settings(constants: dict[str, int], line: str) -> None:
    kept = topology(("a", "alive"), **constants).constants

    assert joining("b:1").resumed(kept) == [Fail(line)]


def test_a_node_that_was_a_member_goes_on_whatever_number_of_members_it_would_wait_for() -> None:
    assert joining("b:1").resumed(topology(("a", "alive"), min_members=7).constants) == []


def test_a_cluster_with_another_number_of_members_to_wait_for_is_joined() -> None:
    assert joining("b:1").decide(topology(("b", "alive"), min_members=7), 100) == Joined(None)
