"""Who may stand in for owners: whoever knows the reaping round of their partition (paper 4.6)."""

import pytest
from support.five import RECORD, Five, to_hold
from support.nodes import CLUSTER, PARTITIONS, answers, put, request_id, sent

from zdynamo.core.events import Effect, FromPeer, Send
from zdynamo.core.recovery.partitions import KEY as PARTITIONS_KEY
from zdynamo.core.recovery.session import OLD_FOLDER, POWER_CUT
from zdynamo.messages import (
    DescribeNode,
    Frame,
    HandOver,
    HoldReplica,
    Refused,
    ReplicaRefused,
    ReplicaStored,
    RoundsTold,
    RoundsWanted,
)

NOTICE = "may not stand in for others in"


def fallback(*, down: int = 0, store: object = None) -> Five:
    """A node that has taken over the place of a lost member, and owns nothing of the key."""
    return Five(owning=False, took_over=True, down=down, store=store)  # type: ignore[arg-type]


def asks(effects: list[Effect]) -> list[str]:
    return [to for to, _ in sent(effects, RoundsWanted)]


def hold(node: Five, round: int = 0) -> list[Effect]:
    return node.hears("b", HoldReplica(7, 1000, (), round, node.key, RECORD, (node.others[0],)))


def told(node: Five, *, round: int = 0, but_not: int | None = None) -> RoundsTold:
    return RoundsTold(tuple(-1 if partition == but_not else round for partition in range(PARTITIONS)))


def notices(node: Five) -> str:
    (described,) = answers(node.asked(DescribeNode(request_id(99), "")))
    return "\n".join(described.notices)  # type: ignore[union-attr]


def tell_all(node: Five, round: int = 0) -> None:
    for peer in "bcde":
        node.hears(peer, told(node, round=round))
    node.after(1)


@pytest.mark.parametrize("round", [0, 1, 5])
def test_a_fallback_that_has_lost_what_it_knew_takes_nothing_before_an_owner_has_told_it_the_round(round: int) -> None:
    node = fallback()

    before = hold(node)
    node.hears(node.others[0], told(node, round=round))
    after = hold(node, round=round)

    assert before == [Send("b", ReplicaRefused(7, "unsettled"))]
    assert sent(after, ReplicaStored) == [("b", ReplicaStored(7))]
    assert node.node._state.rounds.of(node.partition) == round


def test_it_coordinates_nothing_in_their_place_either() -> None:
    node = fallback(down=3)

    (before,) = answers(node.asked(put(1, node.name, w=2)))
    node.hears(node.others[0], told(node))
    after = node.asked(put(2, node.name, w=2))

    assert isinstance(before, Refused) and before.retry and "has not heard from an owner" in before.reason
    assert set(to_hold(after)) == set(node.fallbacks)


def test_whoever_owns_a_key_takes_it_whatever_it_has_lost() -> None:
    node = Five(took_over=True, down=2)

    assert to_hold(node.asked(put(1, node.name, w=2)))
    assert [to for to, _ in sent(hold(node), ReplicaStored)] == ["b"]


def test_a_node_that_has_lost_nothing_asks_nobody() -> None:
    node = Five(owning=False)

    assert asks(node.after(5_000)) == []
    assert sent(hold(node), ReplicaStored) == [("b", ReplicaStored(7))]
    assert NOTICE not in notices(node)


def test_owners_are_asked_each_second_until_they_have_told_all() -> None:
    node = fallback()

    asked = [asks(node.after(1)), asks(node.after(500)), asks(node.after(500))]
    waiting = notices(node)
    tell_all(node)

    assert asked == [list("bcde"), [], list("bcde")]
    assert NOTICE in waiting and NOTICE not in notices(node)
    assert asks(node.after(5_000)) == []


def test_who_is_down_is_waited_for_but_not_asked() -> None:
    node = fallback(down=3)
    up = [peer for peer in "bcde" if peer not in node.others]

    assert asks(node.after(1)) == up
    assert f"waiting for {', '.join(sorted(node.others))}" in notices(node)


@pytest.mark.parametrize("round", [-1, 2**53 + 1])
def test_what_is_no_round_tells_nothing(round: int) -> None:
    node = fallback()

    node.hears(node.others[0], told(node, round=round))

    assert hold(node) == [Send("b", ReplicaRefused(7, "unsettled"))]


def test_who_owns_nothing_of_a_partition_has_nothing_to_tell_of_it() -> None:
    node = fallback()

    node.hears(node.fallbacks[0], told(node, round=5))
    node.hears(node.others[0], RoundsTold((0,)))

    assert hold(node) == [Send("b", ReplicaRefused(7, "unsettled"))]


def test_an_owner_tells_the_rounds_of_what_it_owns() -> None:
    node = Five()
    node.node._state.rounds.raise_to(node.partition, 4)

    ((_, answer),) = sent(node.hears("b", RoundsWanted()), RoundsTold)

    rounds = answer.rounds  # type: ignore[attr-defined]
    assert rounds[node.partition] == 4
    assert [partition for partition, round in enumerate(rounds) if round >= 0] == node.owned


def test_the_highest_round_that_an_owner_tells_counts() -> None:
    """The first may have been given an old copy, and not have noticed yet."""
    node = fallback()

    for round, peer in enumerate(node.others):
        node.hears(peer, told(node, round=2 + 2 * round))
    node.hears(node.others[0], told(node, round=2))

    assert node.node._state.rounds.of(node.partition) == 6


@pytest.mark.parametrize(("why", "rounds"), [(POWER_CUT, {0}), (OLD_FOLDER, {-1})])
def test_an_owner_knows_its_rounds_after_a_power_cut(why: str, rounds: set[int]) -> None:
    node = Five()
    partitions = node.node._state.partitions
    partitions.doubt(range(PARTITIONS), POWER_CUT)
    partitions.doubt(range(PARTITIONS), why)

    ((_, answer),) = sent(node.hears("b", RoundsWanted()), RoundsTold)

    assert {answer.rounds[partition] for partition in node.owned} == rounds  # type: ignore[attr-defined]


def test_an_owner_that_is_not_sure_itself_tells_none() -> None:
    node = Five(took_over=True)

    assert sent(node.hears("b", RoundsWanted()), RoundsTold) == [("b", RoundsTold((-1,) * PARTITIONS))]


def test_a_restart_does_not_make_up_for_what_was_lost() -> None:
    before = fallback()

    node = Five(owning=False, store=before.store)

    assert hold(node) == [Send("b", ReplicaRefused(7, "unsettled"))]
    tell_all(node)
    assert sent(hold(Five(owning=False, store=before.store)), ReplicaStored) == [("b", ReplicaStored(7))]


def test_what_was_told_and_not_kept_is_asked_again() -> None:
    node = fallback()
    told_by = node.others[0]
    node.after(1)
    node.node.step(FromPeer(Frame(CLUSTER, told_by, 1, "a", 1, (told(node, round=5),))), node.now)

    node.store._staged.clear()
    node.node.abandon([], surely_nothing=True)

    assert node.node._state.rounds.of(node.partition) == 0
    assert hold(node) == [Send("b", ReplicaRefused(7, "unsettled"))]
    assert asks([*node.after(0), *node.after(999)]) == []  # a full disk would keep everybody busy
    assert told_by in asks(node.after(1))


def test_what_was_found_to_be_lost_stays_so_when_the_first_commit_after_it_fails() -> None:
    """Then everybody is asked again, without waiting for another view."""
    node = fallback()
    state = node.node._state
    state.store.put(PARTITIONS_KEY, b"")  # as it was before the view came
    node.store.commit()

    node.node.abandon([], surely_nothing=True)

    assert hold(node) == [Send("b", ReplicaRefused(7, "unsettled"))]
    assert asks([*node.after(1000), *node.after(1000)])


def test_what_is_lost_once_more_is_asked_for_without_another_view() -> None:
    """As when it is found again that a disk was lost, since that could not be kept before."""
    node = fallback()
    tell_all(node)

    node.node._state.partitions.lose_rounds()

    assert asks(node.after(1000))


def test_what_is_held_from_two_rounds_before_goes_when_an_owner_tells_the_round() -> None:
    """It was there before the disk was set back: all owners would refuse it."""
    held = Five(owning=False)
    held.holds(held.others[0])
    node = fallback(store=held.store)
    node.node._state.partitions.lose_rounds()

    node.hears(node.others[0], told(node, round=2))
    effects = [effect for _ in range(20) for effect in node.after(100)]

    assert node.store.get(node.key) in (None, b"")
    assert sent(effects, HandOver) == []
