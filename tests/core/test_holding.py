"""What a node holds for owners that are away: it is kept, it comes home whole, and only then is it forgotten."""

import pytest
from support.deaths import RECREATED, VALUE, digest, node_round
from support.nodes import PARTITIONS, LoneNode, answers, get, put, request_id, sent, view

from zdynamo.core.events import Effect, Send, Tick
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.witness import RESTARTED
from zdynamo.core.replicas.handoff import AGAIN_MS, ANSWER_MS
from zdynamo.core.replicas.hints import Held
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    BeginRound,
    Done,
    FetchReplica,
    Found,
    HandOver,
    HoldReplica,
    NodeId,
    QuorumNotMet,
    ReapAsk,
    ReapHeld,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
    RoundBegun,
    StoreReplica,
)
from zdynamo.partition import partition_of_storage_key, storage_key
from zdynamo.storage.memory import MemoryStore
from zdynamo.testing.disk import SimulatedStore

LAYOUT = "abcde"
SIZE = len(VALUE)


def key_where(owning: bool) -> tuple[bytes, bytes]:
    """A key and its storage key that `a` owns, or not."""
    placement = Placement(view(others="bcde", layout=LAYOUT))
    for number in range(100):
        name = b"%d" % number
        key = storage_key(b"default", name, PARTITIONS)
        if ("a" in placement.owners_of(key)) == owning:
            return name, key
    raise AssertionError("there is one")


NAME, KEY = key_where(owning=False)
OWN_NAME, OWN_KEY = key_where(owning=True)
PARTITION = partition_of_storage_key(KEY)
OWNERS = Placement(view(others="bcde", layout=LAYOUT)).owners_of(KEY)
PEERS = [owner for owner in Placement(view(others="bcde", layout=LAYOUT)).owners_of(OWN_KEY) if owner != "a"]


def fallback(store: MemoryStore | None = None, down: str = "", **limits: int) -> LoneNode:
    return LoneNode(view(others="bcde", layout=LAYOUT, down=down), store=store, limits=NodeLimits(**limits))


def told_to_hold(node: LoneNode, *targets: NodeId, record: bytes = VALUE) -> list[Effect]:
    return node.hears(OWNERS[0], HoldReplica(1, 1000, (), node_round(node, KEY), KEY, record, targets))


def held(node: LoneNode) -> dict[NodeId, Held]:
    return node.node._state.hints.held


def ticked(node: LoneNode, ms: int = AGAIN_MS) -> list[tuple[NodeId, HandOver]]:
    """What is handed over when so much time has passed."""
    node.monotonic_ms += ms
    return sent(node.step(Tick()), HandOver)  # type: ignore[return-value]


def soon(node: LoneNode) -> list[tuple[NodeId, HandOver]]:
    """The next that is handed over; a sweep that left something is begun anew after a rest."""
    return next((handed for _ in range(4) if (handed := ticked(node))), [])


def test_a_fallback_acknowledges_what_it_holds_and_knows_for_whom_also_after_a_restart() -> None:
    store = MemoryStore()
    node = fallback(store)

    answered = told_to_hold(node, *OWNERS[1:])
    again = fallback(store)

    assert sent(answered, ReplicaStored) == [(OWNERS[0], ReplicaStored(1))]
    assert held(node) == held(again) == {owner: Held(1, SIZE) for owner in OWNERS[1:]}
    assert [target for target, _ in ticked(again)] == sorted(OWNERS[1:])


@pytest.mark.parametrize("targets", [(), ("a",), tuple(set(LAYOUT) - set(OWNERS) - {"a"})])
def test_what_would_be_held_for_nobody_is_not_acknowledged(targets: tuple[NodeId, ...]) -> None:
    node = fallback()

    answered = told_to_hold(node, *targets)

    assert answered == sent_one(OWNERS[0], ReplicaRefused(1, "limit"))
    assert node.node._state.replica.fetch(KEY) == b""


def test_a_fallback_that_holds_as_much_as_it_may_refuses_more() -> None:
    node = fallback(hint_count_max=1)
    told_to_hold(node, OWNERS[1])
    other = next(key for key in keys_of_partition() if key != KEY)

    answered = node.hears(OWNERS[0], HoldReplica(2, 1000, (), 0, other, VALUE, (OWNERS[1],)))

    assert answered == sent_one(OWNERS[0], ReplicaRefused(2, "limit"))
    assert held(node) == {OWNERS[1]: Held(1, SIZE)}


def test_a_fallback_that_is_full_takes_what_is_newer_of_what_it_holds() -> None:
    """Or the older one would come home, and be read, after the newer one was acknowledged."""
    node = fallback(hint_count_max=1)
    told_to_hold(node, OWNERS[1])

    answered = node.hears(OWNERS[0], HoldReplica(2, 1000, (), 0, KEY, RECREATED, (OWNERS[1],)))

    assert sent(answered, ReplicaStored) == [(OWNERS[0], ReplicaStored(2))]
    assert node.node._state.replica.fetch(KEY) == RECREATED


def test_hint_and_copy_go_when_the_target_has_it() -> None:
    node = fallback()
    told_to_hold(node, OWNERS[1])

    ((target, handed),) = ticked(node)
    node.hears(target, ReplicaStored(handed.request))

    assert (target, handed.key, handed.record) == (OWNERS[1], KEY, VALUE)
    assert held(node) == {}
    assert node.node._state.replica.fetch(KEY) == b""


def test_the_copy_stays_until_the_last_target_has_it() -> None:
    node = fallback()
    told_to_hold(node, *OWNERS[1:])

    (first, handed), (second, also) = ticked(node)
    node.hears(first, ReplicaStored(handed.request))
    between = node.node._state.replica.fetch(KEY)
    node.hears(second, ReplicaStored(also.request))

    assert between == VALUE
    assert held(node) == {}
    assert node.node._state.replica.fetch(KEY) == b""


def test_a_target_that_stays_silent_is_sent_it_again() -> None:
    node = fallback()
    told_to_hold(node, OWNERS[1])
    ((_, handed),) = ticked(node)

    silent = ticked(node, ANSWER_MS)
    again = soon(node)

    assert silent == []
    assert [(target, message.record) for target, message in again] == [(OWNERS[1], VALUE)]
    assert again[0][1].request != handed.request
    assert held(node) == {OWNERS[1]: Held(1, SIZE)}


def test_what_has_changed_on_its_way_is_handed_over_again_as_it_is_now() -> None:
    node = fallback()
    told_to_hold(node, OWNERS[1])
    ((target, handed),) = ticked(node)
    told_to_hold(node, OWNERS[1], record=RECREATED)

    node.hears(target, ReplicaStored(handed.request))
    after = held(node).copy()
    ((_, again),) = soon(node)

    assert after == {OWNERS[1]: Held(1, SIZE)}
    assert again.record == RECREATED


def test_what_is_handed_over_is_fsynced_before_it_is_acknowledged_also_what_was_there_already() -> None:
    store = SimulatedStore()
    node = LoneNode(view(others="bcde", layout=LAYOUT), store=store)
    for key, record in ((OWN_KEY, RECREATED), (OWN_KEY, RECREATED)):
        node.hears("b", StoreReplica(1, 1000, (), 0, key, record))

    answered = node.hears("e", HandOver(2, 1000, (), 0, OWN_KEY, RECREATED))
    store.cut_power()

    assert sent(answered, ReplicaStored) == [("e", ReplicaStored(2))]
    assert node.node._state.replica.fetch(OWN_KEY) == RECREATED


def test_a_fallback_says_what_it_holds_and_never_that_there_is_nothing() -> None:
    node = fallback()
    question = FetchReplica(3, 1000, (), KEY)

    nothing = node.hears("b", question)
    told_to_hold(node, OWNERS[1])
    something = node.hears("b", question)

    assert nothing == sent_one("b", ReplicaFetched(3, False, 0, b""))
    assert something == sent_one("b", ReplicaFetched(3, False, 0, VALUE))


def test_of_a_write_with_pw_fallbacks_count_for_w_and_owners_alone_for_pw() -> None:
    node = fallback(down=PEERS[0])
    begun = node.asked(put(1, OWN_NAME, w=2, pw=2))
    ((standing, holding),) = sent(begun, HoldReplica)
    ((owner, storing),) = sent(begun, StoreReplica)

    by_fallback = node.hears(standing, ReplicaStored(holding.request))  # type: ignore[attr-defined]
    by_owner = node.hears(owner, ReplicaStored(storing.request))  # type: ignore[attr-defined]

    assert (owner, answers(by_fallback)) == (PEERS[1], [])
    assert [type(answer) for answer in answers(by_owner)] == [Done]


def test_a_read_with_pr_asks_owners_only() -> None:
    node = fallback(down=PEERS[0])
    node.hears(PEERS[1], StoreReplica(1, 1000, (), 0, OWN_KEY, VALUE))
    strict = node.asked(get(1, OWN_NAME, r=2, pr=2))
    sloppy = node.asked(get(2, OWN_NAME, r=2))
    standing = next(peer for peer, _ in sent(sloppy, FetchReplica) if peer not in PEERS)

    by_fallback = node.hears(standing, ReplicaFetched(number_to(standing, sloppy), False, 0, VALUE))
    by_owner = node.hears(PEERS[1], ReplicaFetched(number_to(PEERS[1], strict), True, 0, VALUE))

    assert [peer for peer, _ in sent(strict, FetchReplica)] == [PEERS[1]]
    assert [type(answer) for answer in answers(by_fallback)] == [Found]
    assert [type(answer) for answer in answers(by_owner)] == [Found]


def test_with_too_few_owners_up_a_strict_read_fails_at_once() -> None:
    node = fallback(down="".join(PEERS))

    answered = node.asked(get(1, OWN_NAME, r=2, pr=2))

    assert answers(answered) == [QuorumNotMet(request_id(1), 2, 1, f"down: {', '.join(sorted(PEERS))}")]


def test_a_fallback_that_holds_something_new_takes_back_that_it_holds_nothing() -> None:
    node = fallback()
    leader = OWNERS[0]
    other = next(key for key in keys_of_partition() if key != KEY)

    told = node.hears(leader, ReapAsk(7, PARTITION, 0, ((other, digest(VALUE)),)))
    told_to_hold(node, OWNERS[1])
    begun = node.hears(leader, BeginRound(7, PARTITION, 1))

    assert told == sent_one(leader, ReapHeld(7, PARTITION, 0, "", ()))
    assert begun == sent_one(leader, RoundBegun(7, PARTITION, 0, RESTARTED))


def keys_of_partition() -> list[bytes]:
    keys = (storage_key(b"default", b"key-%d" % number, PARTITIONS) for number in range(200))
    return [key for key in keys if partition_of_storage_key(key) == PARTITION]


def sent_one(to: NodeId, message: object) -> list[Effect]:
    return [Send(to, message)]  # type: ignore[arg-type]


def number_to(peer: NodeId, effects: list[Effect]) -> int:
    return next(message.request for to, message in sent(effects, FetchReplica) if to == peer)  # type: ignore[attr-defined]
