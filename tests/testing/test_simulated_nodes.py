"""What can happen to a simulated process, its disk and its links, and who notices."""

from random import Random

from simulation.scenes import NAMES, ask, cluster, get, held_values, put, request_id, values

from zdynamo.client.events import DeadlinePassed, Outcome
from zdynamo.client.requests import make_put
from zdynamo.messages import ClientAnswer, Done, OutcomeUnknown, Put, Refused
from zdynamo.testing.network import QUEUE_MAX
from zdynamo.testing.simulator import Simulation
from zdynamo.testing.users import VANISHED_MS, Telling, User

KEY = b"k"


def write(simulation: Simulation, node: str, answers: list[ClientAnswer], *, w: int = 2) -> None:
    """Begin to put, without waiting."""
    simulation.request(node, Put(request_id(), "", 2_000, "default", KEY, b"v", "", w=w), answers.append)


def ask_a_paused_node(simulation: Simulation, node: str) -> list[Outcome]:
    """What a client is told of a put at that node, which stands still."""
    told: list[Outcome] = []
    simulation.pause(node)
    user = User(simulation, NAMES, random=Random(1))
    user.submit(make_put(KEY, ("", b"v"), "default"), 10_000, Telling(told.append), f"{node}:client")
    simulation.run(5)
    return told


def commits(simulation: Simulation, name: str) -> list[int]:
    """The number of entries of each commit from now on."""
    seen: list[int] = []
    simulation.disks[name].store.watch = lambda staged: seen.append(len(staged))
    return seen


def test_what_arrives_while_a_commit_goes_on_is_the_next_batch() -> None:
    simulation = cluster()
    simulation.disks["a"].slow_ms = (50, 50)
    seen, answers = commits(simulation, "a"), []
    for number in range(20):
        message = Put(request_id(), "", 2_000, "default", b"k%d" % number, b"v", "", w=1)
        simulation.request("a", message, answers.append)

    simulation.run(200)

    assert len(answers) == 20
    assert len(seen) <= 4


def test_nothing_is_answered_before_a_slow_commit_is_done() -> None:
    simulation = cluster()
    simulation.disks["a"].slow_ms = (100, 100)
    answers: list[ClientAnswer] = []
    write(simulation, "a", answers, w=1)

    simulation.run(90)
    early = list(answers)
    simulation.run(40)

    assert (early, [type(answer) for answer in answers]) == ([], [Done])


def test_a_paused_node_takes_what_has_waited_when_it_goes_on() -> None:
    simulation = cluster()
    answers: list[ClientAnswer] = []
    simulation.pause("a")
    write(simulation, "a", answers)

    simulation.run(400)
    early = list(answers)
    simulation.resume("a")
    simulation.run(100)

    assert (early, [type(answer) for answer in answers]) == ([], [Done])


def test_a_full_disk_refuses_and_has_written_nothing() -> None:
    simulation = cluster()
    simulation.disks["a"].store.full = True

    refused = ask(simulation, "a", Put(request_id(), "", 2_000, "default", KEY, b"v", ""))

    assert isinstance(refused, Refused)
    assert [held_values(simulation, name, KEY) for name in NAMES] == [set()] * 3


def test_a_commit_that_fails_stops_the_node_and_leaves_the_outcome_unknown() -> None:
    simulation = cluster()
    simulation.disks["a"].store.breaks = Random(1)

    answer = ask(simulation, "a", Put(request_id(), "", 2_000, "default", KEY, b"v", ""))

    assert isinstance(answer, OutcomeUnknown)
    assert sorted(simulation.nodes) == ["b", "c"]


def test_a_power_cut_takes_what_was_not_fsynced_and_a_kill_does_not() -> None:
    simulation = cluster()
    simulation.run(2_000)
    put(simulation, "a", KEY, b"v", w=3)

    simulation.cut_power("a")
    simulation.kill("b")

    assert [held_values(simulation, name, KEY) for name in NAMES] == [set(), {b"v"}, {b"v"}]


def test_a_power_cut_may_leave_the_earlier_ones_of_the_commits_that_were_not_fsynced() -> None:
    simulation = cluster()
    simulation.run(2_000)
    keys = [b"k1", b"k2", b"k3"]
    before = simulation.disks["a"].store.unsynced
    for key in keys:
        put(simulation, "a", key, b"v", w=3)

    kept = simulation.disks["a"].store.unsynced - before - 1
    simulation.cut_power("a", kept=before + kept)

    there = [bool(held_values(simulation, "a", key)) for key in keys]
    assert kept > 0
    assert there == sorted(there, reverse=True) and True in there and False in there


def test_whoever_is_connected_to_a_process_that_ends_is_told_at_once() -> None:
    simulation = cluster()
    told = ask_a_paused_node(simulation, "a")

    simulation.kill("a")
    simulation.run(20)

    assert told == [DeadlinePassed(10_000, attempts=1, last="")]
    assert all(node.node.counters["peers.unreachable"] for node in simulation.nodes.values())


def test_a_client_takes_a_machine_without_power_for_silent_until_heartbeats_are_missed() -> None:
    simulation = cluster()
    told = ask_a_paused_node(simulation, "a")

    simulation.cut_power("a")
    simulation.run(VANISHED_MS - 50)
    early = list(told)
    simulation.run(100)

    assert (early, told) == ([], [DeadlinePassed(10_000, attempts=1, last="")])


def test_a_client_loses_its_connection_when_a_machine_is_back_from_a_power_cut() -> None:
    simulation = cluster()
    told = ask_a_paused_node(simulation, "a")

    simulation.cut_power("a")
    simulation.run(500)
    early = list(told)
    simulation.start("a", "b")
    simulation.run(20)

    assert (early, told) == ([], [DeadlinePassed(10_000, attempts=1, last="")])


def test_a_link_that_stands_still_delivers_late_and_is_full_in_the_end() -> None:
    simulation = cluster()
    network, arrived = simulation.network, []
    network.stall([("x", "y")])

    taken = [network.carry("x", "y", arrived.append, number) for number in range(QUEUE_MAX + 1)]
    simulation.run(100)
    early = list(arrived)
    network.resume([("x", "y")])
    simulation.run(100)

    assert taken == [True] * QUEUE_MAX + [False]
    assert (early, sorted(arrived)) == ([], list(range(QUEUE_MAX)))


def test_a_link_that_is_cut_loses_what_is_sent() -> None:
    simulation = cluster()
    network, arrived = simulation.network, []
    network.isolate("x", ["y"])

    network.carry("x", "y", arrived.append, 1)
    network.heal()
    network.carry("x", "y", arrived.append, 2)
    simulation.run(100)

    assert arrived == [2]


def test_a_value_is_read_back_over_slow_links() -> None:
    simulation = cluster()
    simulation.network.slow = {("a", "b"): (200, 300), ("b", "a"): (200, 300)}

    put(simulation, "a", KEY, b"v", w=3)

    assert values(get(simulation, "c", KEY, r=3)) == {b"v"}
