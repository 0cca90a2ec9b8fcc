"""Reads where owners are missing: whom they ask, what counts, and what they say they do not know (paper 4.5, 4.6)."""

import pytest
from support.five import LIMITS, RECORD, Five, evidence
from support.nodes import answers, delete, get, put, request_id, sent
from support.records import record

from zdynamo.core.coordinator.reads import LINGER
from zdynamo.core.events import Effect, PeerUnreachable
from zdynamo.core.failures.patience import SAVED_MAX, TIMEOUTS
from zdynamo.core.reaping.tombstones import ends_ms
from zdynamo.core.records.record import decode_record
from zdynamo.core.replicas.replica import BIRTH_BYTES
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    Absent,
    Delete,
    Done,
    FetchReplica,
    Found,
    PathLost,
    QuorumNotMet,
    ReplicaFetched,
    ReplicaRefused,
    StoreReplica,
)

TIMEOUT_MS = LIMITS.replica_timeout_ms


def asked(effects: list[Effect]) -> list[str]:
    return [to for to, _ in sent(effects, FetchReplica)]


def number_of(effects: list[Effect]) -> int:
    return sent(effects, FetchReplica)[0][1].request  # type: ignore[attr-defined, no-any-return]


def kinds(effects: list[Effect]) -> list[type]:
    return [type(answer) for answer in answers(effects)]


class Reading(Five):
    """A node, and what its peers say about the one read that it works on."""

    def __init__(self, *, owning: bool = True, down: int = 0, has: bytes = RECORD, **fields: int) -> None:
        super().__init__(owning=owning, down=down)
        if has and owning:
            self.hears(self.others[0], StoreReplica(0, 1000, (), 0, self.key, has))
        elif has:
            self.holds(self.others[0], record=has)
        self.begun = self.asked(get(1, self.name, **fields))
        self.number = number_of(self.begun) if asked(self.begun) else 0

    def told(self, peer: str, record: bytes = b"", *, settled: bool = True, round: int = 0) -> list[Effect]:
        return self.hears(peer, ReplicaFetched(self.number, settled, round, record))


# Who is asked


def test_with_all_owners_there_nobody_else_is_asked() -> None:
    node = Reading()

    assert asked(node.begun) == [*node.others]


def test_paper_4_6_for_an_owner_that_is_down_a_fallback_is_asked() -> None:
    node = Reading(down=1)

    assert asked(node.begun) == [node.others[0], node.fallbacks[0]]


def test_for_an_owner_whose_connection_is_lost_a_fallback_is_asked() -> None:
    node = Five()
    node.step(PeerUnreachable(node.others[1]))

    assert asked(node.asked(get(1, node.name))) == [node.others[0], node.fallbacks[0]]


def test_for_an_owner_that_is_silent_a_fallback_is_asked_after_its_timeout() -> None:
    node = Reading(r=3)
    node.told(node.others[0], RECORD)

    early = node.after(TIMEOUT_MS - 1)
    late = node.after(1)
    done = node.told(node.fallbacks[0], RECORD, settled=False)

    assert (early, asked(late), kinds(done)) == ([], [node.fallbacks[0]], [Found])


def test_who_stands_in_is_not_slow_because_it_was_asked_late() -> None:
    node = Reading()
    node.after(TIMEOUT_MS)

    node.told(node.fallbacks[0], RECORD, settled=False)

    assert node.node._state.patience.timeout_ms(node.fallbacks, 0) == TIMEOUT_MS


def test_silent_owners_that_nobody_suspects_are_replaced_in_a_tenth_of_the_requests() -> None:
    node = Five()
    for number in range(200):
        node.asked(get(number, node.name))

    assert len(sent(node.after(TIMEOUT_MS), FetchReplica)) == SAVED_MAX


@pytest.mark.parametrize("r", [2, 3])
def test_an_owner_that_lets_several_reads_in_a_row_time_out_is_suspected_whether_or_not_they_have_their_answer(
    r: int,
) -> None:
    node = Five()
    heard, silent = node.others

    told = []
    for number in range(TIMEOUTS):
        begun = node.asked(get(number, node.name, r=r))
        node.hears(heard, ReplicaFetched(number_of(begun), True, 0, b""))
        told.append(evidence(node.after(TIMEOUT_MS if r == 3 else LINGER * TIMEOUT_MS)))

    assert told == [[]] * (TIMEOUTS - 1) + [[PathLost(silent, "timeouts")]]


@pytest.mark.parametrize("reason", ["disk", "limit"])
def test_for_an_owner_that_cannot_read_a_fallback_is_asked_once(reason: str) -> None:
    node = Reading(r=3)

    effects = [node.hears(node.others[0], ReplicaRefused(node.number, reason)) for _ in range(2)]

    assert [asked(each) for each in effects] == [[node.fallbacks[0]], []]


def test_a_fallback_that_goes_down_is_replaced_by_the_next() -> None:
    node = Reading(down=1, r=3)

    effects = node.sees_down(node.others[1], node.fallbacks[0])

    assert asked(effects) == [node.fallbacks[1]]


# What counts


def test_paper_4_6_what_only_a_fallback_holds_is_found() -> None:
    node = Reading(down=2, has=b"")

    done = node.told(node.fallbacks[0], RECORD, settled=False)

    assert kinds(done) == [Found]


def test_what_fallbacks_hold_is_merged_with_what_owners_do() -> None:
    node = Reading(down=1, r=3)

    node.told(node.others[0], RECORD)
    done = node.told(node.fallbacks[0], record(b"beside", 2, actor=8), settled=False)

    (found,) = answers(done)
    assert isinstance(found, Found)
    assert {sibling.value for sibling in found.siblings} == {b"v", b"beside"}


def test_fallbacks_without_the_key_do_not_make_it_absent() -> None:
    node = Reading(down=2, has=b"")

    effects = [node.told(fallback, settled=False) for fallback in node.fallbacks]

    reason = "2 replicas do not know: they stand in, or may have lost what they held"
    assert [answers(each) for each in effects] == [[], [QuorumNotMet(request_id(1), 2, 1, reason)]]


def test_a_tombstone_of_one_owner_does_not_make_it_absent() -> None:
    """The two owners that are away may have acknowledged a put since."""
    node = Reading(down=2, has=record(tombstone=True))

    effects = [node.told(fallback, settled=False) for fallback in node.fallbacks]

    assert [kinds(each) for each in effects] == [[], [QuorumNotMet]]


def test_a_tombstone_that_a_fallback_holds_does_not_make_it_absent() -> None:
    node = Reading(owning=False, has=record(tombstone=True), r=1)

    effects = [node.told(owner) for owner in node.others[:1]]

    assert asked(node.begun) == [*node.others]
    assert [kinds(node.begun), *map(kinds, effects)] == [[], [Absent]]


def test_r_owners_without_the_key_make_it_absent_whatever_fallbacks_do_not_know() -> None:
    node = Reading(down=1, has=b"")

    unknown = node.told(node.fallbacks[0], settled=False)
    done = node.told(node.others[0])

    assert (kinds(unknown), kinds(done)) == ([], [Absent])


def test_who_does_not_know_does_not_count_while_an_owner_that_may_know_is_waited_for() -> None:
    """Else one owner that is down makes reads miss what both others have acknowledged, and one of them has."""
    node = Reading(down=1)

    unknown = node.told(node.fallbacks[0], settled=False)
    done = node.told(node.others[0], record(b"later", 2))

    assert kinds(unknown) == []
    assert [sibling.value for sibling in answers(done)[0].siblings] == [b"later"]  # type: ignore[union-attr]


def test_who_does_not_know_counts_when_the_owner_that_may_is_silent_for_its_timeout() -> None:
    node = Reading(down=1)
    node.told(node.fallbacks[0], settled=False)

    assert kinds(node.after(TIMEOUT_MS)) == [Found]


def test_who_does_not_know_counts_when_the_owner_that_may_drops_out() -> None:
    node = Reading(down=1)
    node.told(node.fallbacks[0], settled=False)

    assert kinds(node.sees_down(*node.others)) == [Found]


def test_a_fallback_that_has_the_key_counts_at_once() -> None:
    node = Reading(down=1)

    assert kinds(node.told(node.fallbacks[0], RECORD, settled=False)) == [Found]


def test_an_old_copy_of_a_fallback_does_not_count() -> None:
    """What is more than one reaping round behind may be what was removed since."""
    node = Reading(down=1, has=b"")
    node.node._state.rounds.raise_to(node.partition, 2)

    node.told(node.others[0], round=2)
    begun = node.asked(get(2, node.name))
    node.number = number_of(begun)
    old = node.told(node.fallbacks[0], RECORD, settled=False, round=0)
    done = node.told(node.others[0], round=2)

    assert (kinds(old), kinds(done)) == ([], [Absent])


def test_a_node_that_holds_the_key_for_others_answers_with_it() -> None:
    node = Reading(owning=False, down=3)

    assert kinds(node.told(node.fallbacks[0], settled=False)) == [Found]


def test_with_r_1_a_node_that_holds_the_key_asks_nobody() -> None:
    node = Reading(owning=False, r=1)

    assert (asked(node.begun), kinds(node.begun)) == ([], [Found])


def test_a_node_that_holds_nothing_of_the_key_does_not_count_itself() -> None:
    node = Reading(owning=False, has=b"")

    assert asked(node.begun) == [*node.others]
    assert kinds(node.told(node.others[0], RECORD)) == []
    assert kinds(node.told(node.others[1], RECORD)) == [Found]


def test_with_too_few_left_to_ask_the_quorum_is_not_met_at_once() -> None:
    node = Five()
    node.sees_down("b", "c", "d", "e")

    (refused,) = answers(node.asked(get(1, node.name)))

    assert isinstance(refused, QuorumNotMet)
    assert (refused.needed, refused.got) == (2, 1)


# pr


def test_paper_6_a_strict_read_asks_owners_only_and_counts_no_other() -> None:
    node = Reading(down=1, pr=2)

    assert asked(node.begun) == [node.others[0]]
    assert kinds(node.told(node.others[0], RECORD)) == [Found]


def test_a_strict_read_replaces_nobody() -> None:
    node = Reading(pr=2)

    silent = node.after(TIMEOUT_MS)
    refused = node.hears(node.others[0], ReplicaRefused(node.number, "disk"))

    assert (asked(silent), asked(refused)) == ([], [])


def test_a_strict_read_with_too_few_owners_up_is_not_met_at_once() -> None:
    node = Reading(down=2, pr=2)

    assert answers(node.begun) == [QuorumNotMet(request_id(1), 2, 1, f"down: {', '.join(node.others)}")]


def test_a_strict_read_at_a_fallback_does_not_count_what_is_held_there() -> None:
    node = Reading(owning=False, pr=2)

    first = node.told(node.others[0], RECORD)
    second = node.told(node.others[1], RECORD)

    assert (kinds(first), kinds(second)) == ([], [Found])


def test_pr_of_1_needs_r_owners_that_know() -> None:
    """So R and W overlap in owners, if W are owners too."""
    node = Reading(down=1, pr=1)

    unsure = node.told(node.others[0], RECORD, settled=False)

    assert kinds(unsure) == [QuorumNotMet]


# Writes that read first


@pytest.mark.parametrize(
    "request_",
    [
        delete(1, b""),
        put(1, b"", condition="absent"),
    ],
    ids=["delete", "conditional put"],
)
def test_what_is_written_over_has_to_be_read_from_owners_that_know(request_: Delete) -> None:
    """A fallback that has nothing proves nothing, and what it covers unseen would be lost."""
    node = Five(down=2)

    effects = node.asked(type(request_)(**{**_fields(request_), "key": node.name}))

    assert answers(effects) == [QuorumNotMet(request_id(1), 2, 1, f"down: {', '.join(node.others)}")]
    assert sent(effects, FetchReplica) == []


def _fields(message: object) -> dict[str, object]:
    return {name: getattr(message, name) for name in message.__struct_fields__}  # type: ignore[attr-defined]


def test_a_delete_with_a_context_needs_no_owner() -> None:
    node = Five(owning=False, down=3, limits=NodeLimits(w=1))
    (done,) = answers(node.asked(put(1, node.name)))
    assert isinstance(done, Done)

    (deleted,) = answers(node.asked(delete(2, node.name, context=done.context)))

    assert isinstance(deleted, Done)
    assert ends_ms(decode_record((node.store.get(node.key) or b"")[BIRTH_BYTES:]), lww=False) == 0


# What a peer is told


def test_a_fallback_tells_what_it_holds_and_that_it_does_not_know_the_rest() -> None:
    node = Five(owning=False)
    node.holds(node.others[0])
    other = node.more_keys(1)[0]

    told = [node.hears("b", FetchReplica(number, 100, (), key)) for number, key in enumerate((node.key, other))]

    assert [sent(each, ReplicaFetched) for each in told] == [
        [("b", ReplicaFetched(0, False, 0, RECORD))],
        [("b", ReplicaFetched(1, False, 0, b""))],
    ]


def test_owners_are_sent_what_a_fallback_has_and_they_have_not() -> None:
    node = Reading(down=1, has=b"", r=3)
    node.told(node.others[0])

    done = node.told(node.fallbacks[0], RECORD, settled=False)

    assert [(to, message.record) for to, message in sent(done, StoreReplica)] == [(node.others[0], RECORD)]  # type: ignore[attr-defined]
    assert node.store.get(node.key) == bytes(8) + RECORD


def test_a_fallback_is_never_repaired() -> None:
    """It would have a copy without a hint."""
    node = Reading(down=1, r=3)
    node.told(node.others[0], RECORD)

    done = node.told(node.fallbacks[0], settled=False)

    assert sent(done, StoreReplica) == []


def test_nothing_is_left_in_memory_when_all_have_answered() -> None:
    node = Reading(r=3)
    node.after(TIMEOUT_MS)
    for peer in (*node.others, *node.fallbacks):
        node.told(peer, RECORD, settled=peer in node.others)

    pending = node.node._requests.pending

    assert (len(pending), pending.unanswered, pending.bytes_in_flight) == (0, 0, 0)
    assert not any(pending.bytes_to.values())
