"""Who is called down, who unreachable, and who is not blamed, in simulated clusters."""

from collections import Counter

import pytest

from simulation.scenes import cluster, request_id
from zdynamo import codec
from zdynamo.core.failures.opinions import PROBES_MAX
from zdynamo.core.failures.suspicion import WITNESSES_MAX
from zdynamo.messages import ClientAnswer, Get, PeerMessage, Probe, Put
from zdynamo.testing.simulator import Simulation

FIVE = ("a", "b", "c", "d", "e")
NINE = tuple("abcdefghi")
ACCUSATIONS = ("member.down", "member.unreachable")


def states(simulation: Simulation) -> dict[str, str]:
    """What each node says of the others that are not alive: `{"a": "b unreachable"}`."""
    said = {}
    for name, node in simulation.nodes.items():
        assert node.view is not None
        bad = [f"{member.record.name} {member.state}" for member in node.view.members if member.state != "alive"]
        if bad:
            said[name] = ", ".join(sorted(bad))
    return said


def accusations(simulation: Simulation) -> list[tuple[str, str, str]]:
    return [
        (name, note.name, str(note.fields["member"])) for _, name, note in simulation.notes if note.name in ACCUSATIONS
    ]


def cut(simulation: Simulation, one: str, other: str) -> None:
    """Both ways, between each of the one and each of the other."""
    for name in one:
        simulation.network.isolate(name, other)


def pause(simulation: Simulation, name: str, for_ms: int) -> None:
    simulation.pause(name)
    simulation.run(for_ms)
    simulation.resume(name)


def run_under_load(simulation: Simulation, for_ms: int) -> None:
    """A hundred puts a second, all by way of `a`."""
    for number in range(for_ms // 10):
        put = Put(request_id(), "", 2_000, "default", b"%d" % number, b"", "")
        simulation.request("a", put, lambda answer: None)
        simulation.run(10)


class Counting(Simulation):
    """Counts the messages between peers, by the second and kind."""

    def send(self, sender: str, address: str, frame: bytes) -> None:
        for message in codec.decode_frame(frame).messages:
            self.count[self.time_ms // 1_000, type(message)] += 1
        super().send(sender, address, frame)

    count: Counter[tuple[int, type[PeerMessage]]] = Counter()

    def sent(self, kind: type[PeerMessage]) -> list[int]:
        return [number for (_, each), number in self.count.items() if each is kind]


@pytest.mark.parametrize("seed", range(5))
def test_a_link_that_is_cut_one_way_is_noticed_at_both_ends_and_told_apart_from_death(seed: int) -> None:
    simulation = cluster(seed, FIVE)

    simulation.network.cut.add(("a", "b"))
    simulation.run(10_000)
    cut_off = states(simulation)
    simulation.network.heal()
    simulation.run(2_000)

    assert cut_off == {"a": "b unreachable", "b": "a unreachable"}
    assert states(simulation) == {}


@pytest.mark.parametrize("seed", range(5))
def test_a_link_that_is_cut_both_ways_is_noticed_at_both_ends_and_by_nobody_else(seed: int) -> None:
    simulation = cluster(seed, FIVE)

    cut(simulation, "a", "b")
    simulation.run(4_000)

    assert states(simulation) == {"a": "b unreachable", "b": "a unreachable"}


def test_a_node_that_is_cut_from_half_of_the_others_calls_nobody_down() -> None:
    simulation = cluster(1, FIVE)

    cut(simulation, "a", "de")
    simulation.run(10_000)
    cut_off = states(simulation)
    simulation.network.heal()
    simulation.run(2_000)

    assert cut_off == {"a": "d unreachable, e unreachable", "d": "a unreachable", "e": "a unreachable"}
    assert states(simulation) == {}


@pytest.mark.parametrize("seed", range(5))
def test_halves_call_each_other_down_and_are_together_again_soon_after_the_link_is_mended(seed: int) -> None:
    simulation = cluster(seed, FIVE)

    cut(simulation, "ab", "cde")
    simulation.run(10_000)
    halves = states(simulation)
    simulation.network.heal()
    simulation.run(2_000)

    theirs, ours = "c down, d down, e down", "a down, b down"
    assert halves == {"a": theirs, "b": theirs, "c": ours, "d": ours, "e": ours}
    assert states(simulation) == {}


def test_who_dies_behind_a_cut_link_is_down_in_the_end() -> None:
    simulation = cluster(1, FIVE)
    cut(simulation, "a", "b")
    simulation.run(5_000)

    simulation.kill("b")
    simulation.run(10_000)

    assert states(simulation) == dict.fromkeys("acde", "b down")


def test_who_lives_again_behind_a_cut_link_is_unreachable_and_not_down() -> None:
    simulation = cluster(1, FIVE)
    simulation.kill("b")
    simulation.run(3_000)
    cut(simulation, "a", "b")

    simulation.start("b", "c")
    simulation.run(10_000)

    assert states(simulation) == {"a": "b unreachable", "b": "a unreachable"}


@pytest.mark.parametrize("seed", range(5))
def test_pauses_of_half_a_second_accuse_nobody_and_who_was_paused_suspects_nobody(seed: int) -> None:
    simulation = cluster(seed, FIVE)
    simulation.notes.clear()

    for turn in range(20):
        pause(simulation, FIVE[turn % 5], 500)
        simulation.run(500)

    assert accusations(simulation) == []
    assert [note.fields for _, _, note in simulation.notes if note.name == "member.suspected"] == []


def test_pauses_of_half_a_second_under_load_make_nobody_suspect() -> None:
    simulation = cluster(1, FIVE)
    simulation.notes.clear()

    for name in FIVE[1:]:
        simulation.pause(name)
        run_under_load(simulation, 500)
        simulation.resume(name)
        run_under_load(simulation, 500)

    assert [note.fields for _, _, note in simulation.notes if note.name == "member.suspected"] == []


def test_a_node_that_stood_still_for_long_is_called_down_blames_nobody_and_is_back_at_once() -> None:
    simulation = cluster(1, FIVE)
    simulation.notes.clear()

    pause(simulation, "c", 5_000)
    away = states(simulation)
    simulation.run(1_000)

    assert {name: said for name, said in away.items() if name != "c"} == dict.fromkeys("abde", "c down")
    assert [note.name for _, name, note in simulation.notes if name == "c"] == ["node.paused"]
    assert states(simulation) == {}


def test_a_node_that_is_cut_off_from_all_blames_them_later_than_they_blame_it() -> None:
    simulation = cluster(1, FIVE)
    simulation.notes.clear()

    simulation.network.isolate("a", "bcde")
    simulation.run(5_000)

    at_ms: dict[str, list[int]] = {}
    for time_ms, name, note in simulation.notes:
        if note.name in ACCUSATIONS:
            at_ms.setdefault(name, []).append(time_ms)
    assert [len(at_ms[name]) for name in FIVE] == [4, 1, 1, 1, 1]
    assert min(at_ms["a"]) > 1_000 + max(at_ms["b"] + at_ms["c"] + at_ms["d"] + at_ms["e"])


@pytest.mark.parametrize("seed", range(5))
def test_who_is_suspected_though_it_lives_refutes_it(seed: int) -> None:
    simulation = cluster(seed, FIVE)
    simulation.notes.clear()

    simulation.network.cut.add(("b", "a"))
    simulation.run_until(lambda: states(simulation) == {"a": "b suspect"}, 3_000)
    simulation.run(200)
    simulation.network.heal()
    simulation.run(1_000)

    assert simulation.nodes["b"].membership._opinions.incarnation >= 1
    assert simulation.nodes["a"].membership._opinions._of[simulation.nodes["b"].membership._id].incarnation >= 1
    assert (accusations(simulation), states(simulation)) == ([], {})


def test_a_member_that_comes_and_goes_is_let_back_ever_later_and_forgiven_in_the_end() -> None:
    simulation = cluster(1, FIVE)

    simulation.notes.clear()
    for _ in range(12):
        simulation.network.isolate("b", "acde")
        simulation.run(3_500)
        simulation.network.heal()
        simulation.run(2_500)
    returns = [note for _, name, note in simulation.notes if name == "a" and note.name == "member.alive"]
    simulation.run(10_000)

    assert 4 <= len(returns) <= 5  # of 12: three, and one or two more when the first falls are forgiven
    assert states(simulation) == {}


def test_a_member_that_is_restarted_in_order_is_let_back_at_once() -> None:
    simulation = cluster(1, FIVE)

    for _ in range(6):
        simulation.kill("b")
        simulation.run(7_000)
        simulation.start("b")
        simulation.run_until(lambda: simulation.all_see(FIVE), 1_000)


def test_a_lost_connection_is_noticed_in_half_a_second() -> None:
    simulation = cluster(1, FIVE)

    simulation.kill("b")
    simulation.run(500)

    assert states(simulation) == dict.fromkeys("acde", "b down")


def test_nobody_takes_work_that_messages_bring_for_a_stall_of_its_own() -> None:
    simulation = cluster(1, FIVE)

    simulation.network.cut.add(("a", "b"))
    for _ in range(100):
        simulation.run(50)
        assert all(
            node.membership._opinions.health.patience(simulation.time_ms) == 1 for node in simulation.nodes.values()
        )


def test_a_node_whose_own_commit_hangs_gives_up_nobody_and_serves_what_has_waited() -> None:
    simulation, hangs_ms = cluster(1, FIVE), 5_000
    simulation.notes.clear()
    answers: list[ClientAnswer] = []

    simulation.disks["b"].slow_ms = (hangs_ms, hangs_ms)
    simulation.request("b", Put(request_id(), "", 3 * hangs_ms, "default", b"x", b"", ""), answers.append)
    simulation.run(100)
    assert simulation.nodes["b"]._effects is not None, "it is an owner, and its commit is going on"
    simulation.disks["b"].slow_ms = (0, 0)
    simulation.run(hangs_ms - 200)
    simulation.request("b", Get(request_id(), "", 3 * hangs_ms, "default", b"other"), answers.append)
    simulation.run(1_000)

    assert [accused for accuser, _, accused in accusations(simulation) if accuser == "b"] == []
    assert sorted(type(answer).__name__ for answer in answers) == ["Absent", "Done"]


class Stuck(Simulation):
    """A node of which only the router still runs: its heartbeats go on, all else is neither heard nor answered."""

    name = ""

    def send(self, sender: str, target: str, frame: bytes) -> None:
        if self.name not in (sender, target):
            super().send(sender, target, frame)


@pytest.mark.parametrize("seed", range(3))
def test_who_answers_no_request_though_its_heartbeats_come_is_down_before_pings_alone_would_tell(seed: int) -> None:
    simulation = Stuck(seed, min_members=5)
    for name in FIVE:
        simulation.start(name, *FIVE[: name != "a"])
    simulation.run_until(lambda: simulation.all_see(FIVE), 10_000)
    simulation.run(1_000)
    simulation.notes.clear()

    simulation.name = "b"
    run_under_load(simulation, 2_000)

    suspected = [
        note.fields["cause"] for _, name, note in simulation.notes if (name, note.name) == ("a", "member.suspected")
    ]
    assert suspected == ["timeouts"]
    assert states(simulation)["a"] == "b down"


def test_the_death_of_many_makes_no_storm_of_probes() -> None:
    simulation = Counting(1, min_members=9)
    for name in NINE:
        simulation.start(name, *NINE[: name != "a"])
    simulation.run_until(lambda: simulation.all_see(NINE), 10_000)
    simulation.run(1_000)
    simulation.count.clear()

    for name in "fghi":
        simulation.kill(name)
    simulation.run(60_000)

    survivors, dead = 5, 4
    probes = simulation.sent(Probe)
    assert max(probes) <= survivors * min(PROBES_MAX, WITNESSES_MAX * dead)
    assert sum(probes) <= survivors * dead * WITNESSES_MAX * (1 + 60 // 5)
    assert simulation.all_see("fghi", "down")
