"""How long a peer is waited for, and how many are replaced that nobody suspects (paper 4.6)."""

import pytest

from zdynamo.core.failures.patience import BYTES_PER_MS, SAVED_MAX, SHARE, SLOWEST, TIMEOUTS, Patience
from zdynamo.messages import FetchReplica, PeerMessage, Ping, ReplicaFetched, ReplicaRefused, ReplicaStored

TIMEOUT_MS = 100


def patience(**requests: int) -> tuple[Patience, dict[str, int]]:
    counters = {"gets": 0, "puts": 0, "deletes": 0, "requests.forwarded": 0} | requests
    return Patience(TIMEOUT_MS, counters), counters


def told(knows: Patience, peer: str, *took_ms: int) -> None:
    """Those who coordinate tell what is above `quick_ms`."""
    for took in took_ms:
        if took > knows.quick_ms:
            knows.answered(peer, took)


def test_a_peer_that_has_said_nothing_yet_is_waited_for_as_configured() -> None:
    knows, _ = patience()

    assert knows.timeout_ms(("b", "c"), 0) == TIMEOUT_MS


def test_quick_answers_change_nothing_and_are_not_kept() -> None:
    knows, _ = patience()

    told(knows, "b", *range(TIMEOUT_MS // 2 + 1))

    assert (knows.timeout_ms(("b",), 0), knows._slowest_ms) == (TIMEOUT_MS, {})


def test_a_slow_peer_is_waited_for_twice_as_long_as_it_took() -> None:
    knows, _ = patience()

    told(knows, "b", 180)

    assert knows.timeout_ms(("b",), 0) == 360
    assert knows.timeout_ms(("c",), 0) == TIMEOUT_MS
    assert knows.timeout_ms(("b", "c"), 0) == 360


def test_however_slow_a_peer_was_it_is_not_waited_for_longer_than_that() -> None:
    knows, _ = patience()

    told(knows, "b", 60_000)

    assert knows.timeout_ms(("b",), 0) == SLOWEST * TIMEOUT_MS


def test_a_peer_that_is_quick_again_is_soon_waited_for_as_configured() -> None:
    knows, _ = patience()
    told(knows, "b", 400)

    waits = []
    for _ in range(300):
        told(knows, "b", 5)
        waits.append(knows.timeout_ms(("b",), 0))

    assert waits == sorted(waits, reverse=True)
    assert waits[100] < 400 < waits[0]
    assert (waits[-1], knows._slowest_ms) == (TIMEOUT_MS, {})


def test_one_slow_peer_is_no_reason_to_wait_for_the_others() -> None:
    knows, _ = patience()
    told(knows, "b", 400)

    told(knows, "c", *(5 for _ in range(300)))

    assert knows.timeout_ms(("b",), 0) == 800
    assert knows.timeout_ms(("c",), 0) == TIMEOUT_MS


def test_large_records_are_waited_for_longer() -> None:
    knows, _ = patience()

    assert knows.timeout_ms(("b",), 100 * BYTES_PER_MS) == TIMEOUT_MS + 100


def test_who_is_suspected_is_always_replaced_and_costs_nothing() -> None:
    knows, _ = patience()

    assert all(knows.may_replace(suspect=True) for _ in range(1000))
    assert sum(knows.may_replace(suspect=False) for _ in range(1000)) == SAVED_MAX


@pytest.mark.parametrize("kind", ["gets", "puts", "deletes", "requests.forwarded"])
def test_of_those_that_nobody_suspects_a_tenth_of_the_requests_is_replaced_in_the_long_run(kind: str) -> None:
    knows, counters = patience()
    while knows.may_replace(suspect=False):
        pass

    replaced = 0
    for _ in range(1000):
        counters[kind] += 1
        replaced += knows.may_replace(suspect=False)

    assert 1000 * SHARE - 1 <= replaced <= 1000 * SHARE


def test_what_was_not_used_is_saved_up_to_a_limit() -> None:
    knows, counters = patience()
    counters["puts"] = 1_000_000

    assert sum(knows.may_replace(suspect=False) for _ in range(1000)) == SAVED_MAX


def timeouts(knows: Patience, peer: str, count: int, from_ms: int = 0) -> list[bool]:
    """One after the other; whether each was one too many."""
    times_ms = [from_ms + number * TIMEOUT_MS for number in range(count)]
    return [knows.timed_out(peer, at_ms, at_ms + TIMEOUT_MS) for at_ms in times_ms]


def test_a_peer_that_lets_several_requests_in_a_row_time_out_is_to_be_looked_after() -> None:
    knows, _ = patience()

    assert timeouts(knows, "b", 2 * TIMEOUTS) == 2 * ([False] * (TIMEOUTS - 1) + [True])


def test_requests_that_wait_at_the_same_time_are_one_silence() -> None:
    knows, _ = patience()

    assert not any(knows.timed_out("b", began_ms, TIMEOUT_MS) for began_ms in range(TIMEOUT_MS))


def test_the_silence_of_one_peer_is_not_that_of_another() -> None:
    knows, _ = patience()

    for at_ms in range(0, TIMEOUTS * TIMEOUT_MS, TIMEOUT_MS):
        peer = "b" if at_ms else "c"
        assert not knows.timed_out(peer, at_ms, at_ms + TIMEOUT_MS)


@pytest.mark.parametrize(
    "answer",
    [ReplicaStored(1), ReplicaFetched(1, True, 0, b""), ReplicaRefused(1, "disk")],
    ids=type,
)
def test_an_answer_of_any_kind_ends_a_silence_however_late_it_is(answer: PeerMessage) -> None:
    knows, _ = patience()
    timeouts(knows, "b", TIMEOUTS - 1)

    knows.heard("b", (Ping(1), answer))

    assert not any(timeouts(knows, "b", TIMEOUTS - 1, from_ms=10_000))


@pytest.mark.parametrize("message", [Ping(1), FetchReplica(1, 100, (), b"")], ids=type)
def test_what_a_peer_asks_says_nothing_of_whether_it_hears(message: PeerMessage) -> None:
    knows, _ = patience()
    timeouts(knows, "b", TIMEOUTS - 1)

    knows.heard("b", (message,))

    assert timeouts(knows, "b", 1, from_ms=10_000) == [True]
