"""What a node says and asks when it suspects others, and when others suspect it."""

from random import Random

import pytest
from core.test_membership import LoneMembership, noted
from support.nodes import member

from zdynamo.core.events import Noted
from zdynamo.core.failures.flaps import CRASHES_MS
from zdynamo.core.failures.opinions import PROBES_MAX, TOLD_MAX
from zdynamo.core.failures.suspicion import WITNESSES_MAX
from zdynamo.core.members.events import Gossiped, Mail, MembershipEffect, NewView, Publish, Ticked
from zdynamo.core.members.membership import BEAT_APART_MS
from zdynamo.messages import Heartbeat, MemberState, NodeId, PathLost, PeerMessage, Ping, Pong, Probe, Probed


class Cluster(LoneMembership):
    """Node `a`, and others who do what the test says; all are alive."""

    process_runs = True

    def __init__(self, *others: NodeId) -> None:
        super().__init__()
        self.others = others
        self.rumor(*(member(node) for node in others))
        self.tick()
        for node in others:
            self.hears(node, Pong(10**6))
        self.beat_all()
        self.effects.clear()

    def tick(self) -> list[MembershipEffect]:
        """Wait until there is something to do, and do it. The process thread answers if it runs."""
        self.ms = max(self.ms + 1, self.membership.next_due_ms)
        effects = self.step(Ticked())
        for message in sent(effects, self.id) if self.process_runs else ():
            assert isinstance(message, Ping)
            self.hears(self.id, Pong(message.sequence))
        return effects

    def run(self, for_ms: int, *, answering: tuple[NodeId, ...] = ()) -> list[MembershipEffect]:
        """Let time pass. Who answers does so at once, and has a heartbeat."""
        effects: list[MembershipEffect] = []
        end_ms = self.ms + for_ms
        while self.membership.next_due_ms <= end_ms:
            made = self.tick()
            effects += made
            for node in answering:
                effects += self.beats(node)
                for message in sent(made, node):
                    if isinstance(message, Ping):
                        effects += self.hears(node, Pong(message.sequence))
        self.ms = end_ms
        return effects

    def beats(self, node: NodeId, **fields: object) -> list[MembershipEffect]:
        boot = fields.pop("boot", f"boot-{node}-1")
        digests = (self.membership._table.digest, 0)
        return self.step(Gossiped(Heartbeat(self.cluster, node, 1, boot, 1, *digests, **fields)))  # type: ignore[arg-type]

    def beat_all(self) -> None:
        for node in self.others:
            self.beats(node)

    def loses(self, node: NodeId, cause: str = "lost") -> list[MembershipEffect]:
        return self.hears(self.id, PathLost(node, cause))  # type: ignore[arg-type]

    def state(self, node: NodeId) -> MemberState:
        return next(each.state for each in self.membership.view(self.now).members if each.record.id == node)


def sent(effects: list[MembershipEffect], to: NodeId) -> list[PeerMessage]:
    return [effect.message for effect in effects if isinstance(effect, Mail) and effect.to == to]


def probes(effects: list[MembershipEffect]) -> list[tuple[NodeId, Probe]]:
    mails = [effect for effect in effects if isinstance(effect, Mail)]
    return [(mail.to, mail.message) for mail in mails if isinstance(mail.message, Probe)]


def heartbeats(effects: list[MembershipEffect]) -> list[Heartbeat]:
    told = [effect.message for effect in effects if isinstance(effect, Publish)]
    return [message for message in told if isinstance(message, Heartbeat)]


def answered(a: Cluster, asked: list[tuple[NodeId, Probe]], *, reached: bool, stalled: bool = False) -> None:
    for witness, probe in asked:
        a.hears(witness, Probed(probe.number, probe.target, reached, stalled))


def test_a_lost_path_makes_the_member_suspect_at_once_and_it_is_pinged_and_three_others_are_asked() -> None:
    a = Cluster("b", "c", "d", "e", "f")

    lost = a.loses("b")
    now_ms = a.ms
    effects = a.tick()

    assert [type(effect) for effect in lost] == [Noted, NewView]
    assert (noted(lost), a.state("b")) == (["member.suspected"], "suspect")
    assert a.ms == now_ms + 1
    assert [type(message) for message in sent(effects, "b")] == [Ping]
    assert len(probes(effects)) == WITNESSES_MAX
    assert {probe for _, probe in probes(effects)} == {Probe(probes(effects)[0][1].number, "b", 150)}
    assert {witness for witness, _ in probes(effects)} < set("cdef")


def test_only_this_node_itself_knows_that_its_path_is_lost() -> None:
    a = Cluster("b", "c")

    assert a.hears("c", PathLost("b", "lost")) == []
    assert a.loses("nobody") == []
    assert a.loses(a.id) == []


def test_the_view_shows_a_suspect_before_mail_goes_to_it() -> None:
    a = Cluster("b", "c")

    effects = a.run(1_000, answering=("c",))

    kinds = [type(effect) for effect in effects]
    ask = next(number for number, effect in enumerate(effects) if isinstance(effect, Mail) and effect.to == "c"
               and isinstance(effect.message, Probe))  # fmt: skip
    assert NewView in kinds[:ask]


def test_a_member_that_nobody_reaches_is_down() -> None:
    a = Cluster("b", "c", "d", "e")
    a.loses("b")
    asked = probes(a.tick())

    answered(a, asked, reached=False)
    effects = a.run(400, answering=("c", "d", "e"))

    assert (noted(effects), a.state("b")) == (["member.down"], "down")


def test_a_member_that_another_reaches_is_unreachable() -> None:
    a = Cluster("b", "c", "d", "e")
    a.loses("b")
    asked = probes(a.tick())

    answered(a, asked[:2], reached=False)
    answered(a, asked[2:], reached=True)
    effects = a.run(700, answering=("c", "d", "e"))

    assert (noted(effects), a.state("b")) == (["member.unreachable"], "unreachable")


@pytest.mark.parametrize(("stalled", "states"), [(False, ["suspect", "down"]), (True, ["suspect", "suspect"])])
def test_who_has_just_stood_still_confirms_nothing(stalled: bool, states: list[MemberState]) -> None:
    a = Cluster("b", "c", "d", "e")
    a.loses("b")
    asked = probes(a.tick())

    answered(a, asked, reached=False, stalled=stalled)
    seen = []
    for for_ms in (250, 550):
        a.run(for_ms, answering=("c", "d", "e"))
        seen.append(a.state("b"))

    assert seen == states


def test_a_node_that_is_cut_off_from_all_blames_them_later() -> None:
    a = Cluster("b", "c", "d", "e")

    effects = a.run(5_000)

    downs = [
        number for number, effect in enumerate(effects) if isinstance(effect, Noted) and effect.name == "member.down"
    ]
    a = Cluster("b", "c", "d", "e")
    early = noted(a.run(2_400))
    late = noted(a.run(400))
    assert len(downs) == 4
    assert (set(early), late) == ({"member.suspected"}, ["member.down"] * 4)


def test_a_node_whose_process_thread_hangs_gives_up_nobody_and_asks_it_until_it_answers() -> None:
    a = Cluster("b", "c", "d", "e")
    a.process_runs = False

    hanging = a.run(10_000)
    a.process_runs = True
    a.run(100)

    assert set(noted(hanging)) == {"member.suspected"}
    assert len(sent(hanging, a.id)) > 1
    assert sent(a.tick(), a.id) == []


def test_those_that_run_well_are_asked_first() -> None:
    a = Cluster("b", "c", "d", "e", "f", "g")
    for node in ("c", "d", "g"):
        a.beats(node, stalled_ms=300)

    a.loses("b")

    assert {witness for witness, _ in probes(a.tick())} > {"e", "f"}


def test_whom_to_ask_is_drawn_by_lot() -> None:
    asked = set()
    for seed in range(20):
        a = Cluster("b", "c", "d", "e", "f")
        a.membership._opinions._random = Random(seed)
        a.loses("b")
        asked.add(frozenset(witness for witness, _ in probes(a.tick())))

    assert len(asked) == 4


def test_probes_in_flight_are_bounded_and_a_suspect_waits_for_its_turn() -> None:
    names = [f"m{number:02}" for number in range(60)]
    a = Cluster(*names)
    victims, others = names[:40], tuple(names[40:])
    for victim in victims:
        a.loses(victim)

    first = probes(a.tick())
    early = [a.state(victim) for victim in victims]
    effects = a.run(290, answering=others)
    not_asked = [victim for victim in victims if victim not in {probe.target for _, probe in first}]

    assert PROBES_MAX - WITNESSES_MAX < len(first) <= PROBES_MAX
    assert set(early) == {"suspect"}
    assert probes(effects) == []
    assert {a.state(victim) for victim in not_asked} == {"suspect"}

    a.run(5_000, answering=others)

    asked = {probe.target for _, probe in probes(a.effects)}
    assert asked == set(victims)
    assert {a.state(victim) for victim in victims} == {"down"}


def test_a_probe_is_carried_out_and_its_answer_told() -> None:
    a = Cluster("b", "c")

    (ping,) = a.hears("c", Probe(7, "b", 300))
    assert isinstance(ping, Mail)
    answer = a.hears("b", Pong(ping.message.sequence))  # type: ignore[union-attr]

    assert ping.to == "b"
    assert answer == [Mail("c", Probed(7, "b", reached=True, stalled=False))]


def test_a_probe_without_an_answer_is_told_too() -> None:
    a = Cluster("b", "c")
    a.hears("c", Probe(7, "b", 300))

    early = a.run(299, answering=("c",))
    late = a.run(1, answering=("c",))

    assert [message for message in sent(early, "c") if isinstance(message, Probed)] == []
    assert [message for message in sent(late, "c") if isinstance(message, Probed)] == [Probed(7, "b", False, False)]


def test_a_witness_that_stood_still_says_so() -> None:
    a = Cluster("b", "c")
    a.hears("c", Probe(7, "b", 300))

    a.ms += 800
    woken = a.step(Ticked())
    later = a.run(300, answering=("c",))

    assert [message for message in sent(woken, "c") if isinstance(message, Probed)] == []
    assert Probed(7, "b", False, True) in sent(later, "c")


def test_a_probe_of_a_stranger_or_about_one_is_not_carried_out() -> None:
    a = Cluster("b")

    assert a.hears("nobody", Probe(7, "b", 300)) == []
    assert a.hears("b", Probe(7, "nobody", 300)) == []
    assert a.hears("nobody", Probed(7, "b", True, False)) == []
    assert a.hears("b", Probed(7, "b", True, False)) == []


def test_a_suspicion_is_told_at_once_with_the_incarnation_that_is_known() -> None:
    a = Cluster("b", "c", "d")
    a.beats("b", incarnation=4)
    a.ms += BEAT_APART_MS

    a.loses("b")
    told = heartbeats(a.tick())

    assert [each.suspects for each in told] == [(("b", 4),)]


def test_suspicions_told_are_bounded() -> None:
    names = [f"m{number:02}" for number in range(40)]
    a = Cluster(*names)
    for name in names:
        a.loses(name)

    told = heartbeats(a.run(300))

    assert {len(each.suspects) for each in told} == {TOLD_MAX}


def test_a_member_that_has_not_answered_yet_is_no_suspicion_to_tell_of() -> None:
    a = LoneMembership()
    a.rumor(member("b"))
    a.ms = a.membership.next_due_ms

    a.step(Ticked())
    a.ms += 200
    told = heartbeats(a.step(Ticked()))

    assert [each.suspects for each in told] == [()]


def test_who_hears_that_it_is_suspected_raises_its_incarnation_says_so_at_once_and_pings_the_accuser() -> None:
    a = Cluster("b", "c")
    a.ms += BEAT_APART_MS

    effects = a.beats("b", suspects=((a.id, 0),))

    assert [each.incarnation for each in heartbeats(effects)] == [1]
    assert [type(message) for message in sent(effects, "b")] == [Ping]
    assert sent(effects, "c") == []


def test_an_accusation_of_an_earlier_incarnation_raises_it_no_further() -> None:
    a = Cluster("b", "c")
    a.ms += BEAT_APART_MS
    a.beats("b", suspects=((a.id, 0),))

    again = [a.beats(node, suspects=((a.id, told),)) for node, told in (("b", 0), ("c", 0), ("c", 2**60))]

    assert [heartbeats(effects) for effects in again] == [[], [], []]
    assert a.membership._opinions.incarnation == 1


def test_however_many_accuse_there_is_a_pause_between_two_heartbeats() -> None:
    a = Cluster("b", "c")
    a.ms += BEAT_APART_MS

    told = [heartbeats(a.beats("b", suspects=((a.id, incarnation),))) for incarnation in range(5)]
    soon = heartbeats(a.run(BEAT_APART_MS))

    assert [[each.incarnation for each in beats] for beats in told] == [[1], [], [], [], []]
    assert [each.incarnation for each in soon] == [5]


def test_what_an_earlier_process_said_of_suspicions_does_not_count() -> None:
    a = Cluster("b", "c")
    a.ms += BEAT_APART_MS

    effects = a.beats("b", boot="an earlier one", incarnation=9, suspects=((a.id, 0),))

    assert effects == []
    assert a.membership._opinions._of["b"].incarnation == 0


def test_a_refuted_suspicion_of_silence_has_its_whole_time_again() -> None:
    a = Cluster("b", "c", "d")
    a.run(1_000, answering=("c", "d"))
    suspected = a.state("b")

    refuted_ms = a.ms
    a.beats("b", incarnation=1)
    effects = a.tick()
    answered(a, probes(effects), reached=False)
    a.run(500, answering=("c", "d"))
    early = a.state("b")
    a.run(200, answering=("c", "d"))

    assert (suspected, early, a.state("b")) == ("suspect", "suspect", "down")
    assert a.ms - refuted_ms > 600
    assert [type(message) for message in sent(effects, "b")] == [Ping]


def test_a_node_that_stood_still_says_so_for_a_while_and_blames_nobody() -> None:
    a = Cluster("b", "c")

    a.ms += 700
    woken = a.step(Ticked())
    (first,) = heartbeats(woken)
    later = a.run(2_000, answering=("b", "c"))

    assert noted(woken + later) == []
    assert 400 <= first.stalled_ms <= 700
    assert heartbeats(later)[-1].stalled_ms == 0


def test_what_waited_while_a_node_stood_still_is_not_taken_for_late() -> None:
    """The first thing that it steps may be a heartbeat, or the word of a lost path, and not a tick."""
    a = Cluster("b", "c")

    a.ms += 5_000
    effects = a.beats("b")
    more = a.run(300, answering=("b", "c"))

    assert noted(effects + more) == ["node.paused"]


def test_a_stall_is_counted_once() -> None:
    a = Cluster("b", "c")

    a.ms += 700
    for _ in range(5):
        a.beats("b")
    a.step(Ticked())

    assert a.membership._opinions.health.stalled_ms(a.ms) <= 700


def test_an_idle_node_is_woken_for_its_heartbeats_and_for_little_else() -> None:
    a = Cluster("b", "c", "d", "e")
    a.run(2_000, answering=a.others)

    wakings = 0
    end_ms = a.ms + 10_000
    while a.membership.next_due_ms <= end_ms:
        wakings += 1
        for message in a.tick():
            if isinstance(message, Mail) and isinstance(message.message, Ping):
                a.hears(message.to, Pong(message.message.sequence))
        a.beat_all()

    assert wakings <= 55


def test_a_flapping_member_is_noted_and_kept_down_until_it_has_been_steady() -> None:
    a = Cluster("b", "c", "d")
    for _ in range(3):
        a.run(4_000, answering=("c", "d"))
        for _ in range(40):
            if a.state("b") == "alive":
                break
            a.run(200, answering=("b", "c", "d"))
    notes = [effect for effect in a.effects if isinstance(effect, Noted) and effect.name == "member.flapping"]

    assert [note.fields["steady_ms"] for note in notes] == [1_000, 2_000]


def test_a_crash_loop_is_noted_and_called_down() -> None:
    a = Cluster("b", "c")

    for epoch in range(2, 7):
        a.rumor(member("b", version=epoch, epoch=epoch))
    effects = a.run(100, answering=("b", "c"))
    early = a.state("b")
    a.run(CRASHES_MS, answering=("b", "c"))

    assert noted(a.effects).count("member.down") == 1
    assert noted(effects) == ["member.flapping"]
    assert (early, a.state("b")) == ("down", "alive")
