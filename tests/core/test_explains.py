"""Explaining a key: who should have it, and what each owner holds."""

import pytest
from msgspec.structs import replace
from support.nodes import WALL_MS, LoneNode, answers, request_id, sent, view

from zdynamo.core.coordinator.explains import Explains
from zdynamo.core.coordinator.listed import digest_of
from zdynamo.core.coordinator.pending import Pending
from zdynamo.core.events import Effect, FromClient, Reply, Send, Tick, ViewChanged
from zdynamo.core.owners.placement import Placement
from zdynamo.core.owners.ring import Ring
from zdynamo.core.records.record import Clock, Record, Sibling, encode_record
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Bucket,
    Explain,
    Explained,
    Inspect,
    Inspected,
    Overloaded,
    Refused,
    ReplicaRefused,
    ReplicaState,
    SiblingState,
    StoreReplica,
)
from zdynamo.partition import partition_of, partition_of_storage_key

RULES = Bucket("default", 2, 2)
VALUE = Sibling((7, 1, 3), WALL_MS << 16 | 5, WALL_MS + 10, False, "text", b"secret", request_id(8))
TOMBSTONE = Sibling((8, 1, 2), (WALL_MS - 1) << 16, 0, True, "", b"", request_id(9))
BOTH = Record(Clock(((7, 1, 3), (8, 1, 2)), ((9, 1, 5),)), (VALUE, TOMBSTONE))


def explain(**fields: object) -> Explain:
    return replace(Explain(request_id(1), "", 1000, "default", b"k"), **fields)


def hold(node: LoneNode, record: Record) -> bytes:
    """The node is sent a record for keeping. Returns: its bytes."""
    encoded = encode_record(record)
    node.hears("b", StoreReplica(0, 1000, (), 0, node.key(b"k"), encoded))
    return encoded


def number_of(effects: list[Effect]) -> int:
    return sent(effects, Inspect)[0][1].request  # type: ignore[attr-defined, no-any-return]


def explained(effects: list[Effect]) -> Explained:
    (answer,) = answers(effects)
    assert isinstance(answer, Explained)
    return answer


def held(node: str, digest: int = 1) -> ReplicaState:
    return ReplicaState(node, reachable=True, settled=True, digest=digest)


def test_a_key_is_explained_by_what_each_of_its_owners_holds() -> None:
    node = LoneNode()

    begun = node.asked(explain())
    first = node.hears("c", Inspected(number_of(begun), held("c", 3)))
    done = node.hears("b", Inspected(number_of(begun), held("b", 2)))

    inspect = Inspect(number_of(begun), 500, node.key(b"k"))
    owners = explained(done).owners
    states = {"a": ReplicaState("a", reachable=True, settled=True), "b": held("b", 2), "c": held("c", 3)}
    assert sorted(begun, key=lambda send: send.to) == [Send("b", inspect), Send("c", inspect)]  # type: ignore[union-attr]
    assert first == []
    assert done == [
        Reply(
            b"client",
            Explained(
                request_id(1),
                partition_of(b"default", b"k", 16),
                owners,
                (),
                RULES,
                tuple(states[owner] for owner in owners),
            ),
        )
    ]
    assert sorted(owners) == ["a", "b", "c"]
    assert node.node.idle


def test_a_node_tells_all_of_a_record_but_its_values() -> None:
    node = LoneNode()
    encoded = hold(node, BOTH)

    effects = node.hears("b", Inspect(7, 500, node.key(b"k")))

    state = ReplicaState(
        "a",
        reachable=True,
        settled=True,
        round=0,
        digest=digest_of(encoded),
        clock=BOTH.clock.entries,
        cloud=BOTH.clock.cloud,
        siblings=(
            SiblingState(VALUE.dot, WALL_MS, WALL_MS + 10, False, "text", 6, request_id(8)),
            SiblingState(TOMBSTONE.dot, WALL_MS - 1, 0, True, "", 0, request_id(9)),
        ),
    )
    assert effects == [Send("b", Inspected(7, state))]


def test_two_nodes_that_hold_the_same_tell_the_same_digest() -> None:
    one, other = LoneNode(), LoneNode(view(me="b", others="ac"))
    hold(one, BOTH)
    other.hears("a", StoreReplica(0, 1000, (), 0, one.key(b"k"), encode_record(BOTH)))
    other.hears("a", StoreReplica(0, 1000, (), 0, one.key(b"other"), encode_record(Record(BOTH.clock, (VALUE,)))))

    def digest(node: LoneNode, name: bytes) -> int:
        ((_, told),) = sent(node.hears("c", Inspect(7, 500, node.key(name))), Inspected)
        return told.state.digest  # type: ignore[attr-defined, no-any-return]

    assert digest(one, b"k") == digest(other, b"k") != digest(other, b"other")
    assert digest(one, b"nothing") == 0


def test_the_fallbacks_come_in_the_order_in_which_they_would_be_asked_and_who_holds_something_tells() -> None:
    node = LoneNode(view(others="bcdefg", layout="abcdefg"))

    assert node.seen.layout is not None
    ring = Ring(node.seen.layout, 16, 3)
    holding = ring.fallbacks(partition_of_storage_key(node.key(b"k")))[1]

    begun = node.asked(explain())
    for asked, message in sent(begun, Inspect):
        state = held(asked) if asked in "aeg" or asked == holding else ReplicaState(asked, reachable=True)
        begun += node.hears(asked, Inspected(message.request, state))  # type: ignore[attr-defined]

    told = explained(begun)
    assert told.owners + told.fallbacks == ring.preference_list(told.partition)
    assert [state.node for state in told.replicas] == [*told.owners, holding]


def test_the_rules_are_those_in_force_for_the_bucket() -> None:
    rules = Bucket("sessions", pr=3, expiry_ms=5, conflict="lww")
    node = LoneNode(view(others="", layout="a"), buckets=(rules,))

    ruled = explained(node.asked(explain(bucket="sessions")))
    other = explained(node.asked(explain(bucket="others")))

    assert ruled.bucket == Bucket("sessions", 3, 2, 3, 0, 5, "lww")
    assert other.bucket == Bucket("others", 2, 2)


def test_owners_that_are_down_or_silent_are_not_reachable() -> None:
    node = LoneNode(view(down="b"))

    begun = node.asked(explain())
    early = node.step(Tick())
    node.monotonic_ms += 500
    done = node.step(Tick())

    assert [to for to, _ in sent(begun, Inspect)] == ["c"]
    assert early == []
    assert {state.node: state.reachable for state in explained(done).replicas} == {"a": True, "b": False, "c": False}
    assert node.node.next_due_ms is None


def test_a_short_deadline_is_kept() -> None:
    node = LoneNode()
    node.asked(explain(deadline_ms=40))

    node.monotonic_ms += 40

    assert len(explained(node.step(Tick())).replicas) == 3


def test_an_owner_that_goes_down_or_refuses_is_not_waited_for() -> None:
    node = LoneNode()

    begun = node.asked(explain())
    refused = node.hears("b", ReplicaRefused(number_of(begun), "malformed"))
    down = node.step(ViewChanged(view(number=2, down="c")))

    assert answers(refused) == []
    assert sum(state.reachable for state in explained(down).replicas) == 1


def test_an_owner_answers_once_for_itself_and_a_node_that_was_not_asked_never() -> None:
    node = LoneNode(view(others="bcd", layout="abc"))

    begun = node.asked(explain())
    number = number_of(begun)
    effects = [node.hears(peer, Inspected(number, held("c", 9))) for peer in "bbd"]
    done = node.hears("c", Inspected(number, held("c", 3)))
    late = node.hears("c", Inspected(number, held("c", 4)))

    assert effects == [[], [], []]
    assert {state.node: state.digest for state in explained(done).replicas} == {"a": 0, "b": 9, "c": 3}
    assert late == []


def test_a_node_that_owns_nothing_explains_what_the_owners_hold() -> None:
    node = LoneNode(view(me="d", others="abc"))

    begun = node.asked(explain())
    for owner, message in sent(begun, Inspect):
        begun += node.hears(owner, Inspected(message.request, held(owner)))  # type: ignore[attr-defined]

    assert all(state.reachable and state.settled for state in explained(begun).replicas)


def test_a_replica_that_lost_its_disk_is_not_settled() -> None:
    node = LoneNode(view(others="", layout="a", took_over=True))

    (state,) = explained(node.asked(explain())).replicas

    assert (state.reachable, state.settled) == (True, False)


def test_what_a_dead_record_waits_for_is_told_and_of_a_living_one_nothing() -> None:
    def waits(*records: Record) -> str:
        node = LoneNode()
        for record in records:
            hold(node, record)
        explains = Explains(node.node._state, Pending(1, node.node._state.pace), waits=lambda key, now: "b is down")
        (send,) = explains.inspect("b", Inspect(7, 500, node.key(b"k")), Placement(node.seen), node.now)
        return send.message.state.waits  # type: ignore[union-attr, no-any-return]

    expired = replace(VALUE, expires_ms=WALL_MS)
    assert waits(Record(Clock((TOMBSTONE.dot,)), (TOMBSTONE,))) == "b is down"
    assert waits(Record(Clock((expired.dot,)), (expired,))) == "b is down"
    assert waits(BOTH) == ""
    assert waits() == ""


def test_before_the_first_data_nobody_owns_the_key() -> None:
    told = explained(LoneNode(view(layout=None)).asked(explain()))

    assert (told.owners, told.fallbacks, told.replicas) == ((), (), ())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"key": b""}, "the key has 0 bytes: use 1 to 10"),
        ({"key": b"k" * 11}, "the key has 11 bytes: use 1 to 10"),
        ({"bucket": "b" * 256}, "the bucket's name has 256 bytes: use 1 to 255"),
        ({"deadline_ms": 1001}, "the deadline is 1001 ms: use 1 to 1000"),
    ],
)
def test_what_is_beyond_a_limit_is_refused(fields: dict[str, object], reason: str) -> None:
    node = LoneNode(limits=NodeLimits(key_bytes_max=10, deadline_ms_max=1000))

    assert node.asked(explain(**fields)) == [Reply(b"client", Refused(request_id(1), reason))]


def test_a_node_with_as_many_requests_as_it_takes_sheds_explanations_too() -> None:
    node = LoneNode(limits=NodeLimits(requests_max=1))
    node.asked(explain())

    assert [type(answer) for answer in answers(node.asked(explain()))] == [Overloaded]


def test_a_request_that_waited_past_its_deadline_is_dropped() -> None:
    assert LoneNode().step(FromClient(b"client", explain(), waited_ms=1000)) == []


def test_a_key_that_is_none_is_not_inspected() -> None:
    effects = LoneNode().hears("b", Inspect(7, 500, b"\xff\xffcounter"))

    assert effects == [Send("b", ReplicaRefused(7, "malformed"))]


def test_what_a_failed_commit_would_have_stored_is_not_told() -> None:
    node = LoneNode(view(others="", layout="a"))
    done = node.asked(explain())
    peer = [Send("b", Inspected(7, held("a")))]

    ((refused),) = answers(node.node.abandon(done, surely_nothing=True))

    assert isinstance(refused, Refused)
    assert refused.retry
    assert node.node.abandon(list(peer), surely_nothing=True) == [Send("b", ReplicaRefused(7, "disk"))]
