"""Coordinating gets: what counts as an answer, and what *absent* means."""

from support.nodes import LoneNode, answers, get, put, request_id, sent, view

from zdynamo.core.events import Tick
from zdynamo.messages import Absent, FetchReplica, Found, QuorumNotMet, ReplicaFetched, StoreReplica


def fetch_of(effects: list[object]) -> int:
    return sent(effects, FetchReplica)[0][1].request  # type: ignore[arg-type, attr-defined, no-any-return]


def record_of(value: bytes, number: int = 9) -> bytes:
    writer = LoneNode(view(me="b", others="ac"))
    effects = writer.asked(put(number, b"k", value))
    return sent(effects, StoreReplica)[0][1].record  # type: ignore[attr-defined, no-any-return]


def test_a_key_is_absent_when_r_settled_owners_have_nothing() -> None:
    node = LoneNode()

    begun = node.asked(get())
    done = node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, b""))

    assert answers(begun) == []
    assert [type(answer) for answer in answers(done)] == [Absent]


def test_an_owner_that_does_not_know_does_not_make_a_key_absent() -> None:
    node = LoneNode()

    begun = node.asked(get())
    unknown = node.hears("b", ReplicaFetched(fetch_of(begun), False, 0, b""))
    settled = node.hears("c", ReplicaFetched(fetch_of(begun), True, 0, b""))

    assert answers(unknown) == []
    assert [type(answer) for answer in answers(settled)] == [Absent]


def test_when_too_few_owners_know_the_quorum_is_not_met() -> None:
    node = LoneNode()

    begun = node.asked(get())
    node.hears("b", ReplicaFetched(fetch_of(begun), False, 0, b""))
    lost = node.hears("c", ReplicaFetched(fetch_of(begun), False, 0, b""))

    assert answers(lost) == [
        QuorumNotMet(request_id(1), 2, 1, "2 replicas do not know: they stand in, or may have lost what they held")
    ]


def test_who_does_not_know_counts_beside_an_answer_that_found_the_key() -> None:
    node = LoneNode(view(took_over=True, down="c"))

    begun = node.asked(get())
    done = node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, record_of(b"v")))

    assert isinstance(answers(done)[0], Found)


def test_who_does_not_know_does_not_count_while_another_owner_may() -> None:
    node = LoneNode(view(took_over=True))

    begun = node.asked(get())
    first = node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, record_of(b"v")))
    done = node.hears("c", ReplicaFetched(fetch_of(begun), True, 0, record_of(b"v")))

    assert answers(first) == []
    assert isinstance(answers(done)[0], Found)


def test_who_does_not_know_never_counts_in_strict_mode() -> None:
    node = LoneNode(view(took_over=True))

    begun = node.asked(get(pr=2))
    first = node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, record_of(b"v")))
    second = node.hears("c", ReplicaFetched(fetch_of(begun), True, 0, record_of(b"v")))

    assert answers(first) == []
    assert isinstance(answers(second)[0], Found)


def test_the_answers_of_replicas_are_merged() -> None:
    node = LoneNode()
    node.asked(put(5, b"k", b"mine", w=1))

    begun = node.asked(get())
    done = node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, record_of(b"other")))

    (found,) = answers(done)
    assert {sibling.value for sibling in found.siblings} == {b"mine", b"other"}  # type: ignore[union-attr]


def test_one_request_written_by_two_coordinators_is_one_value() -> None:
    node = LoneNode()
    node.asked(put(5, b"k", b"same", w=1))
    other = LoneNode(view(me="b", others="ac"))
    effects = other.asked(put(5, b"k", b"same", attempt=2, w=1))
    twice = sent(effects, StoreReplica)[0][1].record  # type: ignore[attr-defined]

    begun = node.asked(get())
    done = node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, twice))

    (found,) = answers(done)
    assert [sibling.value for sibling in found.siblings] == [b"same"]  # type: ignore[union-attr]


def test_a_read_short_of_r_at_its_deadline_says_needed_and_got() -> None:
    node = LoneNode()
    node.asked(get())

    node.monotonic_ms += 1000
    late = node.step(Tick())

    assert answers(late) == [QuorumNotMet(request_id(1), needed=2, got=1)]


def test_a_garbled_record_of_a_replica_counts_as_no_answer() -> None:
    node = LoneNode()

    begun = node.asked(get())
    garbled = node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, b"\xc1garbage"))
    done = node.hears("c", ReplicaFetched(fetch_of(begun), True, 0, b""))

    assert answers(garbled) == []
    assert [type(answer) for answer in answers(done)] == [Absent]


def test_a_late_answer_to_a_finished_read_is_dropped() -> None:
    node = LoneNode()
    begun = node.asked(get())
    node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, b""))

    assert node.hears("c", ReplicaFetched(fetch_of(begun), True, 0, b"")) == []


def test_an_owner_that_took_over_an_empty_disk_says_that_it_does_not_know() -> None:
    node = LoneNode(view(took_over=True))

    effects = node.hears("b", FetchReplica(7, 1000, (), node.key(b"k")))

    assert [message for _, message in sent(effects, ReplicaFetched)] == [ReplicaFetched(7, False, 0, b"")]


def test_an_owner_that_may_have_lost_the_last_write_never_counts_in_strict_mode_even_with_an_older_one() -> None:
    node = LoneNode()

    begun = node.asked(get(pr=2))
    node.hears("b", ReplicaFetched(fetch_of(begun), False, 0, record_of(b"old")))
    done = node.hears("c", ReplicaFetched(fetch_of(begun), True, 0, b""))

    assert isinstance(answers(done)[0], Found)


def test_one_answer_of_an_owner_that_may_have_lost_the_last_write_is_not_enough_for_a_strict_read() -> None:
    node = LoneNode(view(took_over=True))
    node.hears("b", StoreReplica(1, 1000, (), 0, node.key(b"k"), record_of(b"old")))

    begun = node.asked(get(r=1, pr=1))

    assert answers(begun) == []
    assert answers(node.hears("b", ReplicaFetched(fetch_of(begun), True, 0, record_of(b"new", 10))))
