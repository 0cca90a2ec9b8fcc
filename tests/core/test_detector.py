"""Who is suspected, given up and alive again, and when, as one node sees one member."""

import pytest

from zdynamo.core.failures.detector import ASK_AGAIN_MS, FIRST_CONTACT_MS, Liveness
from zdynamo.core.failures.flaps import CRASHES_MS
from zdynamo.core.failures.suspicion import Inquiry, Others, Word
from zdynamo.core.settings import Rhythms
from zdynamo.messages import MemberState

RHYTHMS = Rhythms()
NOBODY, ONE = Others(0, 0), Others(1, 1)


class Watched:
    """One member, looked at whenever it wants to be; its pings are answered while `answers`."""

    def __init__(self, *, others: Others = NOBODY, answers: bool = True, patience: float = 1.0) -> None:
        self.liveness = Liveness(RHYTHMS, "boot", 0)
        self.others = others
        self.answers = answers
        self.beats = True
        self.patience = patience
        self.ms = 0
        self.heard_ms: int | None = None  # when the process thread was last heard; None: just now
        self.pings: list[int] = []  # when they were sent
        self.asks: list[int] = []
        self.states: list[tuple[int, MemberState]] = []
        self._beat_ms = 0

    def run(self, for_ms: int) -> "Watched":
        end_ms = self.ms + for_ms
        while True:
            if self.beats and self.ms >= self._beat_ms:
                self.liveness.heartbeat(0, 0, self.ms)
                self._beat_ms = self.ms + RHYTHMS.heartbeat_ms
            self.look()
            beat_ms = self._beat_ms if self.beats else end_ms + 1
            due_ms = min(self.liveness.next_due_ms(self.ms), beat_ms)
            assert due_ms > self.ms
            if due_ms > end_ms:
                break
            self.ms = due_ms
        self.ms = end_ms
        return self

    def look(self) -> None:
        number = len(self.pings) + 1
        before = self.liveness.state
        heard_ms = self.ms if self.heard_ms is None else self.heard_ms
        steps = self.liveness.look(
            patience=self.patience, others=self.others, proof=number, heard_ms=heard_ms, now_ms=self.ms
        )
        if "ask" in steps:
            self.asks.append(self.ms)
        if self.liveness.state != before:
            self.states.append((self.ms, self.liveness.state))
        if "ping" in steps:
            self.pings.append(self.ms)
            if self.answers:
                self.pong(number)

    def pong(self, number: int | None = None) -> None:
        before = self.liveness.state
        self.liveness.pong(number or len(self.pings), self.ms)
        if self.liveness.state != before:
            self.states.append((self.ms, self.liveness.state))

    def witnesses_say(self, *words: Word, wait_ms: int = 600) -> None:
        made = Inquiry(1, frozenset(str(number) for number in range(len(words))), self.ms + wait_ms)
        self.liveness.asked(made)
        for number, word in enumerate(words):
            made.hear(str(number), 1, word)

    def falls_silent(self) -> "Watched":
        self.beats = self.answers = False
        return self

    def fall_and_rise(self) -> int:
        """Until it is alive again. Returns how long it had to answer pings for that."""
        self.falls_silent().run(2_000)
        assert self.state == "down"
        began_ms = self.ms
        self.beats = self.answers = True
        while self.state != "alive":
            self.run(100)
            assert self.ms - began_ms < 60_000
        return self.ms - began_ms

    @property
    def state(self) -> MemberState:
        return self.liveness.state


def alive(**options: object) -> Watched:
    """One that has been alive for ten seconds."""
    watched = Watched(**options).run(10_000)  # type: ignore[arg-type]
    assert watched.states == [(0, "alive")]
    watched.states.clear()
    watched.pings.clear()
    return watched


def test_a_member_is_suspect_until_it_answers_its_first_ping() -> None:
    watched = Watched(answers=False)

    watched.look()
    before = watched.state
    watched.pong()

    assert (watched.pings, before, watched.state) == ([0], "suspect", "alive")


def test_a_member_that_never_answers_has_some_time_and_the_others_are_asked_meanwhile() -> None:
    watched = Watched(answers=False, others=ONE)

    watched.run(FIRST_CONTACT_MS // 2)
    watched.witnesses_say("missed", wait_ms=2_000)
    watched.run(3_000)

    assert watched.asks[0] == FIRST_CONTACT_MS // 2
    assert watched.states == [(FIRST_CONTACT_MS, "down")]


def test_an_alive_member_is_pinged_twice_a_second_when_there_is_a_heartbeat_anyway() -> None:
    watched = alive()

    watched.run(20_000)

    assert len(watched.pings) == 40
    assert {ping % RHYTHMS.heartbeat_ms for ping in watched.pings} == {0}


def test_silence_makes_a_member_suspect_and_pings_it_at_once_and_often() -> None:
    watched = alive().falls_silent()

    watched.run(1_200)

    ((suspected_ms, state),) = watched.states
    assert state == "suspect"
    assert 700 <= suspected_ms - 10_000 <= 800
    assert suspected_ms in watched.pings
    assert len([ping for ping in watched.pings if ping >= suspected_ms]) >= 3


def test_a_suspect_that_does_not_answer_is_down() -> None:
    watched = alive().falls_silent()

    watched.run(1_500)

    assert [state for _, state in watched.states] == ["suspect", "down"]


def test_heartbeats_do_not_save_a_member_whose_data_path_is_dead() -> None:
    watched = alive()
    watched.answers = False

    watched.run(3_000)

    assert [state for _, state in watched.states] == ["suspect", "down"]
    assert watched.states[0][0] - 10_000 >= 1_500


def test_a_member_whose_connection_is_lost_is_suspect_and_pinged_at_once_and_soon_down() -> None:
    watched = alive().falls_silent()

    watched.liveness.lost("lost", 1, watched.ms)
    state = watched.state
    watched.run(500)

    assert state == "suspect"
    assert (watched.pings[0], watched.states) == (10_000, [(10_300, "down")])


def test_a_lost_connection_weighs_more_than_silence_but_counts_once() -> None:
    watched = alive().falls_silent().run(800)

    watched.liveness.lost("lost", 9, watched.ms)
    for _ in range(5):
        watched.run(100)
        watched.liveness.lost("lost", 99, watched.ms)

    assert [(ms, state) for ms, state in watched.states if state == "down"] == [(11_100, "down")]


def test_timeouts_make_a_member_suspect_that_clears_it_with_a_pong_and_is_left_alone_for_a_while() -> None:
    watched = alive()

    for _ in range(70):
        watched.liveness.lost("timeouts", len(watched.pings) + 1, watched.ms)
        watched.run(100)

    assert watched.states == [(10_000, "alive"), (15_000, "alive")]


def test_nobody_is_given_up_before_the_own_process_thread_has_said_anything() -> None:
    watched = alive()
    watched.answers = False
    watched.heard_ms = watched.ms

    standing_still = watched.run(10_000).state
    watched.heard_ms = None
    watched.run(100)

    assert (standing_still, watched.state) == ("suspect", "down")


def test_who_is_down_already_is_not_suspected_again() -> None:
    watched = alive().falls_silent().run(2_000)

    watched.liveness.lost("lost", 1, watched.ms)

    assert watched.state == "down"


def test_a_pong_from_before_the_suspicion_proves_nothing() -> None:
    """It was on its way when the member died."""
    watched = alive()
    watched.run(600)
    earlier = len(watched.pings)
    watched.falls_silent().liveness.lost("lost", earlier + 1, watched.ms)

    watched.pong(earlier)
    before = watched.state
    watched.run(10)
    watched.pong()

    assert (before, watched.state) == ("suspect", "alive")


def test_a_pong_from_before_the_suspicion_does_not_raise_the_dead_either() -> None:
    watched = alive()
    watched.run(600)
    earlier = len(watched.pings)
    watched.falls_silent().liveness.lost("lost", earlier + 1, watched.ms)
    watched.run(1_000)

    watched.pong(earlier)

    assert watched.state == "down"


def test_only_an_answered_ping_brings_a_member_back() -> None:
    watched = alive().falls_silent().run(5_000)

    watched.liveness.heartbeat(7, 0, watched.ms)
    after_heartbeat = watched.state
    watched.pong()

    assert (after_heartbeat, watched.state) == ("down", "alive")


def test_a_node_that_stood_still_itself_blames_nobody() -> None:
    watched = alive()

    watched.ms += 60_000
    watched.liveness.stood_still(60_000)
    watched.look()

    assert watched.states == []


def test_a_node_that_stood_still_while_it_suspected_somebody_waits_as_long_as_before() -> None:
    watched = alive().falls_silent()
    watched.liveness.lost("lost", 1, watched.ms)
    watched.run(200)

    watched.ms += 5_000
    watched.liveness.stood_still(5_000)
    watched.run(500)

    assert watched.states == [(15_300, "down")]


@pytest.mark.parametrize(("patience", "expected_ms"), [(1.0, 1_323), (2.0, 2_646)])
def test_a_node_that_is_not_well_is_more_patient(patience: float, expected_ms: int) -> None:
    watched = alive(patience=patience).falls_silent()

    watched.run(4_000)

    assert watched.states[-1][1] == "down"
    assert watched.states[-1][0] - 10_000 == pytest.approx(expected_ms, abs=150)


def test_a_member_that_says_that_it_stood_still_is_given_that_time() -> None:
    watched = alive()
    watched.liveness.heartbeat(0, 500, watched.ms)

    watched.falls_silent().run(4_000)

    assert [(pytest.approx(ms - 10_000, abs=60), state) for ms, state in watched.states] == [
        (1_223, "suspect"), (2_323, "down"),
    ]  # fmt: skip


def test_no_member_can_say_that_it_stands_still_for_ever() -> None:
    watched = alive()
    watched.liveness.heartbeat(0, 2**60, watched.ms)

    watched.falls_silent().run(4_000)

    assert watched.state == "down"


def test_a_higher_incarnation_clears_a_suspicion_of_silence_once_but_is_no_proof_of_the_data_path() -> None:
    watched = alive().falls_silent().run(1_200)
    suspected_ms = watched.states[0][0]

    watched.liveness.heartbeat(1, 0, watched.ms)
    state = watched.state
    watched.run(100)
    watched.liveness.heartbeat(2, 0, watched.ms)
    watched.run(1_000)

    assert state == "suspect"
    assert watched.states == [(suspected_ms, "suspect"), (11_800, "down")]


def test_the_same_incarnation_clears_nothing() -> None:
    watched = alive().falls_silent().run(1_200)

    watched.liveness.heartbeat(0, 0, watched.ms)
    watched.run(300)

    assert watched.state == "down"


def test_no_incarnation_explains_a_lost_connection() -> None:
    watched = alive().falls_silent()
    watched.liveness.lost("lost", 1, watched.ms)

    watched.run(200)
    watched.liveness.heartbeat(1, 0, watched.ms)
    watched.run(150)

    assert watched.states == [(10_300, "down")]


def test_a_member_that_others_reach_is_unreachable_and_alive_when_it_answers() -> None:
    watched = alive(others=ONE).falls_silent().run(800)
    watched.witnesses_say("reached")

    watched.run(2_000)
    cut = watched.state
    watched.pong()

    assert (cut, watched.state) == ("unreachable", "alive")


def test_the_others_are_asked_again_about_who_was_given_up() -> None:
    watched = alive(others=ONE).falls_silent().run(800)
    watched.witnesses_say("reached")
    watched.run(1_500)
    asked = len(watched.asks)

    watched.run(ASK_AGAIN_MS)
    again = watched.asks[asked:]
    watched.witnesses_say("missed")
    watched.run(ASK_AGAIN_MS)

    assert watched.state == "down"
    assert len(again) == 1
    assert len(watched.asks) == asked + 2


def test_a_member_that_falls_again_and_again_has_to_be_steady_for_longer_each_time() -> None:
    watched = alive()

    waits_ms = [watched.fall_and_rise() for _ in range(5)]

    assert waits_ms == [500, 1_500, 2_500, 4_500, 8_500]


def test_a_flapping_member_that_stops_answering_begins_anew() -> None:
    watched = alive()
    for _ in range(3):
        watched.fall_and_rise()
    watched.falls_silent().run(2_000)

    watched.beats = watched.answers = True
    watched.run(3_000)
    watched.falls_silent().run(3_000)
    watched.beats = watched.answers = True
    watched.run(3_000)
    early = watched.state
    watched.run(2_000)

    assert (early, watched.state) == ("down", "alive")


def test_a_restarted_member_is_alive_with_its_first_pong() -> None:
    watched = alive()
    for _ in range(4):
        watched.fall_and_rise()
    watched.falls_silent().run(2_000)

    watched.liveness.changed("another boot", watched.ms)
    watched.answers = True
    watched.run(10)

    assert watched.state == "alive"


def test_a_new_version_of_the_record_by_the_same_process_is_no_restart() -> None:
    watched = alive()
    watched.liveness.heartbeat(5, 0, watched.ms)

    for _ in range(20):
        watched.liveness.changed("boot", watched.ms)

    assert (watched.state, watched.liveness.incarnation) == ("alive", 5)


def test_a_crash_loop_is_down_until_it_has_been_steady() -> None:
    watched = alive()

    states = []
    for number in range(5):
        watched.run(500)
        watched.liveness.changed(f"boot {number}", watched.ms)
        states.append(watched.state)
    watched.run(1_500)
    early = watched.state
    watched.run(1_500)

    assert states == ["alive", "alive", "alive", "down", "down"]
    assert (early, watched.state) == ("down", "alive")


def test_restarts_one_after_the_other_are_no_crash_loop() -> None:
    watched = alive()

    for number in range(10):
        watched.run(CRASHES_MS // 3 + 1)
        watched.liveness.changed(f"boot {number}", watched.ms)

        assert watched.state == "alive"
