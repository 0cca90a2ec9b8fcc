"""After a read: whoever holds less than the others is sent the rest, when the client has its answer; and healing."""

import pytest
from support.nodes import LoneNode, answers, get, request_id, sent, view

from zdynamo.core.coordinator.reads import HEALS_MAX, LINGER, LINGERING_MAX
from zdynamo.core.coordinator.repairs import REPAIRS_MAX
from zdynamo.core.events import Effect, FromClient, FromPeer, PeerUnreachable, Tick
from zdynamo.core.records.record import EMPTY, NOTHING_SEEN, Record, Sibling, decode_record, encode_record, merge, write
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Absent,
    FetchReplica,
    Found,
    Frame,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
    StoreReplica,
)
from zdynamo.partition import partition_of_storage_key

LIMITS = NodeLimits()
LINGER_MS = LINGER * LIMITS.replica_timeout_ms


def sibling(actor: int, counter: int, *, tombstone: bool = False, expires_ms: int = 0) -> Sibling:
    dot = (actor, 1, counter)
    return Sibling(dot, counter << 16, expires_ms, tombstone, "", b"%d.%d" % dot[::2], repr(dot).encode())


OLD = write(EMPTY, NOTHING_SEEN, sibling(7, 1))
NEW = write(OLD, OLD.clock, sibling(7, 2))
BESIDE = write(OLD, OLD.clock, sibling(8, 3))
DEAD = write(OLD, OLD.clock, sibling(7, 4, tombstone=True))


class Reading:
    """A node that is no owner reads, or an owner does; the test answers for the replicas."""

    def __init__(self, node: LoneNode | None = None, **fields: object) -> None:
        self.node = node or LoneNode()
        effects = self.node.asked(get(deadline_ms=5000, **fields))
        self.number: int = sent(effects, FetchReplica)[0][1].request  # type: ignore[attr-defined]

    def hears(self, replica: str, record: Record, *, round: int = 0, settled: bool = True) -> list[Effect]:
        encoded = encode_record(record) if record.siblings else b""
        return self.node.hears(replica, ReplicaFetched(self.number, settled, round, encoded))


def holding(record: Record, **fields: object) -> LoneNode:
    """An owner that holds this record."""
    node = LoneNode(**fields)  # type: ignore[arg-type]
    if record.siblings:
        node.hears("b", StoreReplica(1, 1000, (), 0, node.key(b"k"), encode_record(record)))
    return node


def held(node: LoneNode) -> bytes:
    return node.node._requests.local(0, node.key(b"k"), node.node._placement).record  # type: ignore[arg-type]


def stored(effects: list[Effect]) -> dict[str, Record]:
    return {to: decode_record(message.record) for to, message in sent(effects, StoreReplica)}  # type: ignore[attr-defined]


def test_a_replica_that_answers_late_with_less_is_sent_what_the_others_hold() -> None:
    reading = Reading(holding(NEW))

    answered = reading.hears("b", NEW)
    late = reading.hears("c", OLD)

    assert isinstance(answers(answered)[0], Found)
    assert stored(answered) == {}
    assert stored(late) == {"c": NEW}
    assert reading.node.node.counters["repairs.sent"] == 1


def test_replicas_that_hold_different_writes_are_all_sent_both() -> None:
    reading = Reading(holding(NEW))

    reading.hears("b", BESIDE)
    late = reading.hears("c", OLD)

    both = merge(NEW, BESIDE)
    assert stored(late) == {"b": both, "c": both}
    assert held(reading.node) == encode_record(both)
    assert reading.node.node.counters["repairs.sent"] == 3


def test_replicas_that_agree_are_sent_nothing() -> None:
    reading = Reading(holding(NEW))

    effects = reading.hears("b", NEW) + reading.hears("c", NEW)

    assert stored(effects) == {}
    assert reading.node.node.counters["repairs.sent"] == 0


def test_a_replica_that_holds_nothing_is_sent_a_value() -> None:
    reading = Reading(holding(NEW))

    reading.hears("b", NEW)

    assert stored(reading.hears("c", EMPTY)) == {"c": NEW}


@pytest.mark.parametrize(
    "gone", [DEAD, write(EMPTY, NOTHING_SEEN, sibling(7, 1, expires_ms=1))], ids=["deleted", "expired"]
)
def test_what_is_dead_is_not_sent_to_who_holds_nothing(gone: Record) -> None:
    reading = Reading(holding(gone))

    reading.hears("b", gone)

    assert stored(reading.hears("c", EMPTY)) == {}


def test_a_tombstone_is_sent_to_who_holds_the_value_still() -> None:
    reading = Reading(holding(DEAD))

    reading.hears("b", DEAD)

    assert stored(reading.hears("c", OLD)) == {"c": DEAD}


def test_the_client_has_its_answer_before_anything_is_repaired() -> None:
    reading = Reading(holding(OLD))

    answered = reading.hears("b", NEW)

    assert [type(answer) for answer in answers(answered)] == [Found]
    assert stored(answered) == {}


def test_after_a_short_while_those_that_have_answered_are_repaired_without_the_rest() -> None:
    reading = Reading(holding(OLD))
    reading.hears("b", NEW)
    node = reading.node

    node.monotonic_ms += LINGER_MS - 1
    too_soon = node.step(Tick())
    node.monotonic_ms += 50
    effects = node.step(Tick())

    assert (too_soon, effects) == ([], [])
    assert held(node) == encode_record(NEW)


def test_a_replica_that_cannot_be_reached_is_not_waited_for() -> None:
    reading = Reading(holding(OLD))
    reading.hears("b", NEW)

    reading.node.step(PeerUnreachable("c"))

    assert held(reading.node) == encode_record(NEW)


def test_a_read_that_lingers_keeps_no_client_waiting_and_takes_no_room_of_others() -> None:
    node = LoneNode(limits=NodeLimits(requests_max=1))
    for number in range(5):
        Reading(node, number=number).hears("b", EMPTY)

    assert node.node.idle


def test_who_has_an_old_copy_counts_for_nothing_and_nothing_of_it_is_passed_on() -> None:
    reading = Reading(LoneNode(view(me="a", others="bcd", layout="bcd")))

    first = reading.hears("b", OLD, round=3)
    second = reading.hears("c", NEW, round=5)
    third = reading.hears("d", NEW, round=4)

    assert (answers(first), answers(second)) == ([], [])
    (found,) = answers(third)
    assert isinstance(found, Found)
    assert [value.value for value in found.siblings] == [b"7.2"]
    assert stored(third) == {}


def test_a_value_of_an_old_copy_is_not_shown_where_the_others_have_removed_it() -> None:
    reading = Reading(LoneNode(view(me="a", others="bcd", layout="bcd")))

    reading.hears("b", OLD, round=1)
    reading.hears("c", EMPTY, round=3)
    done = reading.hears("d", EMPTY, round=3)

    assert [type(answer) for answer in answers(done)] == [Absent]
    assert stored(done) == {}


def test_a_repair_carries_the_least_round_that_it_was_read_under() -> None:
    reading = Reading(LoneNode(view(me="a", others="bcd", layout="bcd")))

    reading.hears("b", OLD, round=4)
    reading.hears("c", NEW, round=5)
    effects = reading.hears("d", NEW, round=5)

    assert [(to, message.round) for to, message in sent(effects, StoreReplica)] == [("b", 4)]  # type: ignore[attr-defined]


def test_nothing_is_repaired_with_what_was_read_before_the_previous_round_of_this_node() -> None:
    node = holding(NEW)
    reading = Reading(node)
    reading.hears("b", BESIDE)
    node.node._state.rounds.raise_to(partition_of_storage_key(node.key(b"k")), 2)
    node.store.commit()
    node.node.committed()

    effects = reading.hears("c", NEW)

    assert stored(effects) == {}
    assert held(node) == encode_record(NEW)
    assert node.node.counters["repairs.skipped"] > 0


def test_repairs_in_flight_are_bounded_and_make_room_when_they_are_answered() -> None:
    node = LoneNode(view(me="a", others="bcd", layout="bcd"))

    def repair() -> list[tuple[str, object]]:
        reading = Reading(node)
        reading.hears("b", NEW)
        reading.hears("c", NEW)
        return sent(reading.hears("d", OLD), StoreReplica)

    begun = [repair() for _ in range(REPAIRS_MAX)]
    beyond = repair()
    node.hears("d", ReplicaStored(begun[0][0][1].request))  # type: ignore[attr-defined]
    node.hears("d", ReplicaRefused(begun[1][0][1].request, "disk"))  # type: ignore[attr-defined]
    again = [repair() for _ in range(3)]

    assert all(len(messages) == 1 for messages in begun)
    assert beyond == []
    assert [len(messages) for messages in again] == [1, 1, 0]
    assert node.node.counters["repairs.skipped"] == 2


def test_repairs_that_are_never_answered_make_room_after_a_while() -> None:
    node = LoneNode(view(me="a", others="bcd", layout="bcd"))
    reading = Reading(node)
    for replica, record in (("b", NEW), ("c", NEW), ("d", OLD)):
        reading.hears(replica, record)
    assert node.node.next_due_ms is not None

    for _ in range(3):
        node.monotonic_ms += LINGER_MS
        node.step(Tick())

    assert node.node._requests._repairs._in_flight == 0
    assert len(node.node._requests.pending) == 0


def test_reads_that_linger_are_bounded_beyond_they_repair_at_once() -> None:
    node = holding(OLD)
    for number in range(LINGERING_MAX):
        Reading(node, number=number).hears("b", OLD)

    beyond = Reading(node, number=LINGERING_MAX).hears("b", NEW)

    assert isinstance(answers(beyond)[0], Found)
    assert held(node) == encode_record(NEW)
    assert len(node.node._requests.pending) == LINGERING_MAX


def test_fetched_records_have_a_budget_and_beyond_it_the_node_is_overloaded() -> None:
    node = LoneNode(limits=NodeLimits(in_flight_bytes_max=1000))
    big = write(EMPTY, NOTHING_SEEN, sibling(7, 1).__class__((7, 1, 1), 0, 0, False, "", bytes(2000), b"r"))
    reading = Reading(node, r=3)

    reading.hears("b", big)
    beyond = node.asked(get(2, deadline_ms=5000))
    reading.hears("c", big)
    after = node.asked(get(3, deadline_ms=5000))

    assert [type(answer).__name__ for answer in answers(beyond)] == ["Overloaded"]
    assert answers(after) == []


def test_a_repair_of_a_batch_whose_commit_fails_is_not_sent_and_no_read_is_answered_twice() -> None:
    node = holding(OLD)
    reading = Reading(node)
    fetched = ReplicaFetched(reading.number, True, 0, encode_record(BESIDE))
    effects = node.node.step(FromPeer(Frame("cluster-of-tests", "b", 1, "a", 1, (fetched,))), node.now)
    late = ReplicaFetched(reading.number, True, 0, encode_record(NEW))
    effects += node.node.step(FromPeer(Frame("cluster-of-tests", "c", 1, "a", 1, (late,))), node.now)
    effects += node.node.step(FromClient(b"client", get(2, deadline_ms=5000)), node.now)

    instead = node.node.abandon(effects, surely_nothing=True)

    assert sent(instead, StoreReplica) == []
    assert sorted(answer.request for answer in answers(instead)) == [request_id(1), request_id(2)]
    assert node.node._requests._repairs._in_flight == 0


def test_a_read_that_lingers_is_not_answered_again_when_a_later_commit_fails() -> None:
    reading = Reading(holding(OLD))
    reading.hears("b", OLD)

    assert answers(reading.node.node.abandon([], surely_nothing=True)) == []


class Healing:
    """An owner heals a key; the test answers for the others."""

    def __init__(self, node: LoneNode) -> None:
        self.node = node
        placement = node.node._placement
        self.begun = node.node._requests.heal(node.key(b"k"), placement, node.now)  # type: ignore[arg-type]

    def hears(self, replica: str, record: Record) -> list[Effect]:
        (number,) = {message.request for _, message in sent(self.begun, FetchReplica)}  # type: ignore[attr-defined]
        encoded = encode_record(record) if record.siblings else b""
        return self.node.hears(replica, ReplicaFetched(number, True, 0, encoded))


def test_healing_brings_what_is_dead_also_to_those_that_hold_nothing() -> None:
    healing = Healing(holding(DEAD))

    first = healing.hears("b", OLD)
    second = healing.hears("c", EMPTY)

    assert {to for to, _ in sent(healing.begun, FetchReplica)} == {"b", "c"}
    assert first == []
    assert stored(second) == {"b": DEAD, "c": DEAD}
    assert answers(second) == []


def test_healing_takes_what_others_hold() -> None:
    healing = Healing(holding(EMPTY))

    healing.hears("b", DEAD)
    healing.hears("c", DEAD)

    assert held(healing.node) == encode_record(DEAD)


def test_healing_does_with_those_that_answer() -> None:
    healing = Healing(holding(DEAD))
    healing.hears("b", EMPTY)

    effects = healing.node.step(PeerUnreachable("c"))

    assert stored(effects) == {"b": DEAD}


def test_healing_alone_does_nothing() -> None:
    assert Healing(holding(DEAD, seen=view(down="bc"))).begun == []


def test_healings_are_bounded_and_make_room_when_they_are_over() -> None:
    node = holding(DEAD)
    begun = [Healing(node) for _ in range(HEALS_MAX)]

    beyond = Healing(node).begun
    begun[0].hears("b", DEAD)
    begun[0].hears("c", DEAD)

    assert beyond == []
    assert len(Healing(node).begun) == 2


def test_an_object_over_its_limits_can_still_be_repaired_and_healed() -> None:
    crowd = EMPTY
    for number in range(1, 9):
        crowd = write(crowd, NOTHING_SEEN, sibling(number, number))
    limits = NodeLimits(siblings_max=2, record_bytes_max=10)
    reading, healing = Reading(holding(EMPTY, limits=limits)), Healing(holding(crowd, limits=limits))

    reading.hears("b", crowd)
    repaired = reading.hears("c", EMPTY)
    healing.hears("b", EMPTY)
    healed = healing.hears("c", EMPTY)

    assert stored(repaired) == {"c": crowd}
    assert held(reading.node) == encode_record(crowd)
    assert stored(healed) == {"b": crowd, "c": crowd}
