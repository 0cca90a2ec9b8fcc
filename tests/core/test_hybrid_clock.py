"""Hybrid logical time: what is minted is accepted by peers, whatever the wall clock of a node does."""

import pytest
from support.nodes import WALL_MS, LoneNode, put, sent, view

from zdynamo.core.events import Now
from zdynamo.core.records.hybrid_clock import DOUBT_MS, HybridClock, wall_ms_of
from zdynamo.core.records.record import decode_record
from zdynamo.messages import ReplicaRefused, ReplicaStored, StoreReplica

SKEW_MS = 500
HOUR_MS = 3_600_000
MINT_EVERY_MS = 100


class Peer:
    """A clock whose wall may be off, and which minutes it lives through."""

    def __init__(self, off_ms: int = 0) -> None:
        self.clock = HybridClock(SKEW_MS)
        self.off_ms = off_ms

    def now(self, true_ms: int) -> Now:
        return Now(true_ms, WALL_MS + true_ms + self.off_ms)

    def mints(self, true_ms: int) -> int:
        return self.clock.next(self.now(true_ms))

    def accepts(self, time: int, true_ms: int) -> bool:
        if wall_ms_of(time) > self.clock.latest_ms(self.now(true_ms)) + SKEW_MS:
            return False
        self.clock.saw(time)
        return True


def ahead_ms(time: int, true_ms: int) -> int:
    return wall_ms_of(time) - WALL_MS - true_ms


def test_times_of_one_node_go_up_while_its_wall_clock_goes_on() -> None:
    peer = Peer()

    times = [peer.mints(ms // 10) for ms in range(1000)]

    assert times == sorted(set(times))


def test_times_go_up_while_the_wall_clock_stands_still_or_steps_back_a_little() -> None:
    peer = Peer()
    times = [peer.mints(1000)]

    for off_ms in (0, 0, -3, -100, -200, 0):
        peer.off_ms = off_ms
        times.append(peer.mints(1000))

    assert times == sorted(set(times))


def test_a_time_is_above_whatever_was_seen() -> None:
    peer = Peer()

    peer.clock.saw((WALL_MS + 100) << 16)

    assert peer.mints(0) == ((WALL_MS + 100) << 16) + 1


def test_a_time_is_above_what_it_is_written_over_even_after_a_restart() -> None:
    held = (WALL_MS + 100) << 16

    assert Peer().clock.next(Now(0, WALL_MS), above=held) == held + 1


def test_who_has_seen_a_time_from_the_future_stays_within_half_of_what_peers_accept() -> None:
    peer = Peer()

    peer.clock.saw((WALL_MS + SKEW_MS) << 16)

    assert ahead_ms(peer.mints(0), 0) == SKEW_MS // 2
    assert ahead_ms(peer.mints(0), 0) == SKEW_MS // 2


@pytest.mark.parametrize("ahead", [0, 100, 249, 251, 450, 500])
def test_a_peer_whose_clock_is_ahead_makes_nobody_refuse_anybody(ahead: int) -> None:
    """Times are handed on from node to node, and the one that is ahead goes on being heard."""
    peers = [Peer(ahead), Peer(), Peer(), Peer(-50)]
    refused = 0

    for step in range(200):
        true_ms = step * MINT_EVERY_MS
        time = peers[step % 4].mints(true_ms)
        refused += sum(not peer.accepts(time, true_ms) for peer in peers[:3])

    assert refused == 0


def test_a_jump_ahead_by_an_hour_and_back_leaves_no_trace() -> None:
    jumps, steady = Peer(), Peer()

    for step in range(600):
        true_ms = step * MINT_EVERY_MS
        jumps.off_ms = HOUR_MS if 100 <= step < 600 else 0
        time = jumps.mints(true_ms)

        assert ahead_ms(time, true_ms) == 0
        assert steady.accepts(time, true_ms)
        assert jumps.accepts(steady.mints(true_ms), true_ms)


def test_a_clock_that_stays_ahead_is_believed_after_a_while() -> None:
    peer = Peer()
    peer.mints(0)
    peer.off_ms = HOUR_MS

    doubted = [ahead_ms(peer.mints(ms), ms) for ms in (1, DOUBT_MS)]
    believed = ahead_ms(peer.mints(DOUBT_MS + 1), DOUBT_MS + 1)

    assert (doubted, believed) == ([0, 0], HOUR_MS)


def test_a_second_jump_ahead_is_doubted_from_its_own_beginning() -> None:
    peer = Peer()
    peer.mints(0)
    for off_ms, at_ms in ((HOUR_MS, 1), (0, DOUBT_MS - 1), (HOUR_MS, DOUBT_MS)):
        peer.off_ms = off_ms
        peer.mints(at_ms)

    assert ahead_ms(peer.mints(2 * DOUBT_MS - 1), 2 * DOUBT_MS - 1) == 0
    assert ahead_ms(peer.mints(2 * DOUBT_MS), 2 * DOUBT_MS) == HOUR_MS


def test_a_jump_back_by_an_hour_is_followed_at_once_and_others_are_still_heard_for_a_while() -> None:
    jumps, steady = Peer(), Peer()
    jumps.mints(0)
    jumps.accepts(steady.mints(0), 0)
    jumps.off_ms = -HOUR_MS

    heard = []
    for true_ms in range(1, 2 * DOUBT_MS, 1000):
        time = jumps.mints(true_ms)
        assert ahead_ms(time, true_ms) <= -HOUR_MS + SKEW_MS // 2
        assert steady.accepts(time, true_ms)
        heard.append(jumps.accepts(steady.mints(true_ms), true_ms))

    assert heard == [true_ms < DOUBT_MS for true_ms in range(0, 2 * DOUBT_MS - 1000, 1000)] + [False]


def test_a_clock_that_had_been_an_hour_ahead_comes_back_and_mints_what_others_take_at_once() -> None:
    jumps, steady = Peer(HOUR_MS), Peer()
    jumps.mints(0)
    assert not steady.accepts(jumps.mints(1), 1)

    jumps.off_ms = 0

    assert steady.accepts(jumps.mints(2), 2)


def test_drift_and_small_steps_are_followed() -> None:
    peer = Peer()

    for step in range(100):
        peer.off_ms = step * (SKEW_MS // 2 - 1)
        assert ahead_ms(peer.mints(step), step) == peer.off_ms


def test_the_writes_of_a_node_whose_wall_clock_jumps_ahead_are_taken_by_its_peers() -> None:
    node, peer = LoneNode(), LoneNode(view(me="b", others="ac"))
    node.wall_ms += HOUR_MS
    node.monotonic_ms += 10

    ((_, message),) = sent(node.asked(put(1)), StoreReplica)[:1]
    answered = peer.hears("a", message)  # type: ignore[arg-type]

    assert len(sent(answered, ReplicaStored)) == 1


def test_a_node_whose_wall_clock_jumped_back_goes_on_taking_what_its_peers_write() -> None:
    node, peer = LoneNode(), LoneNode(view(me="b", others="ac"))
    node.asked(put(9, b"before"))
    node.wall_ms -= HOUR_MS

    effects = peer.asked(put(1))
    answered = node.hears("b", sent(effects, StoreReplica)[0][1])  # type: ignore[arg-type]

    assert (len(sent(answered, ReplicaStored)), len(sent(answered, ReplicaRefused))) == (1, 0)


def test_a_write_is_later_than_what_it_replaces_where_its_coordinator_has_restarted() -> None:
    peer, node = LoneNode(view(me="b", others="ac")), LoneNode()
    peer.wall_ms += 200
    first = sent(peer.asked(put(1)), StoreReplica)[0][1]
    node.hears("b", first)  # type: ignore[arg-type]
    restarted = LoneNode(store=node.store)

    second = sent(restarted.asked(put(2, b"k", b"w")), StoreReplica)[0][1]

    (before,), (after,) = (decode_record(message.record).siblings for message in (first, second))  # type: ignore[attr-defined]
    assert before.time < after.time
