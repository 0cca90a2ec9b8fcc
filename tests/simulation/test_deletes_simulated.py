"""Deletes and expiry on simulated clusters: all goes in the end, on proof, and nothing comes back (paper 4.4)."""

from collections.abc import Callable
from random import Random

import pytest

from simulation.scenes import BUCKET, DEADLINE_MS, NAMES, ask, cluster, delete, get, put, request_id, values
from simulation.workload import Client
from zdynamo.core.reaping.tombstones import KEY as INDEX
from zdynamo.core.settings import NodeLimits
from zdynamo.core.store import OWN_KEYS
from zdynamo.messages import Absent, ClientAnswer, Delete, Done, Explain, Explained, Found
from zdynamo.testing.simulator import Simulation

SEEDS = range(4)
SOON = NodeLimits(reap_interval_ms=500)
KEYS = [b"key-%d" % number for number in range(30)]


def left_over(simulation: Simulation) -> dict[str, int]:
    """How many records and entries of the index each disk holds."""
    found = {}
    for name, disk in simulation.disks.items():
        records = sum(1 for _ in disk.store.scan(b"", OWN_KEYS))
        entries = sum(1 for _ in disk.store.scan(INDEX, INDEX + b"\xff\xff"))
        found[name] = records + entries
    return found


def all_is_gone(simulation: Simulation) -> bool:
    return not any(left_over(simulation).values())


def reaped(simulation: Simulation) -> int:
    return sum(node.node.counters["tombstones.reaped"] for node in simulation.nodes.values())


def down(simulation: Simulation, name: str) -> None:
    """Kill a node, and wait until the others call it down."""
    simulation.kill(name)
    simulation.run_until(lambda: simulation.all_see([name], "down"), 10_000)


def back(simulation: Simulation, name: str) -> None:
    simulation.start(name, *(other for other in NAMES if other != name))
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_copy_of_what_was_deleted_is_gone_from_every_disk_within_a_minute(seed: int) -> None:
    simulation, random = cluster(seed), Random(seed)
    for key in KEYS:
        put(simulation, random.choice(NAMES), key, b"value")
    for key in KEYS:
        delete(simulation, random.choice(NAMES), key)
    assert left_over(simulation)["a"] >= len(KEYS)

    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    assert reaped(simulation) == len(KEYS) * len(NAMES)
    assert all(isinstance(get(simulation, name, key, r=3), Absent) for name in NAMES for key in KEYS[:5])


def test_what_is_dead_in_many_partitions_goes_in_many_passes_at_a_time() -> None:
    simulation = cluster(partitions=256, limits=SOON)
    client = Client(simulation, NAMES, Random(1))
    answers: list[ClientAnswer | None] = []

    def write(key: bytes) -> None:
        client.put(key, b"value", lambda _: client.delete(key, answers.append))

    for number in range(1_000):
        write(b"key-%d" % number)
    simulation.run_until(lambda: len(answers) == 1_000, 10_000)

    simulation.run_until(lambda: all_is_gone(simulation), 4_000)

    assert sum(node.node.counters["reap.passes"] for node in simulation.nodes.values()) > 200


@pytest.mark.parametrize("name", NAMES)
def test_nodes_rest_when_everything_is_gone(name: str) -> None:
    simulation = cluster(limits=NodeLimits(repair_interval_ms=0))
    put(simulation, "a", b"k", b"value")
    delete(simulation, "a", b"k")
    simulation.run(120_000)

    assert all_is_gone(simulation)
    assert simulation.nodes[name].node.next_due_ms is None


@pytest.mark.parametrize("away", NAMES)
def test_nothing_is_removed_while_a_node_is_down_and_everything_after_its_return(away: str) -> None:
    simulation = cluster(limits=SOON)
    others = [name for name in NAMES if name != away]
    for key in KEYS:
        put(simulation, "a", key, b"value", w=3)
    down(simulation, away)
    for key in KEYS:
        delete(simulation, others[0], key)

    simulation.run(300_000)
    removed_meanwhile = reaped(simulation)
    told = ask(simulation, others[0], Explain(request_id(), "", 2_000, "default", KEYS[0]))
    back(simulation, away)
    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    assert removed_meanwhile == 0
    assert isinstance(told, Explained)
    assert {state.waits.partition(";")[0] for state in told.replicas if state.node != away and state.reachable} == {
        f"{away} is down"
    }
    assert all(isinstance(get(simulation, name, key, r=3), Absent) for name in NAMES for key in KEYS[:5])


@pytest.mark.parametrize("loss", ["disk", "power"])
def test_deleted_values_do_not_come_back_when_a_node_loses_what_it_held(loss: str) -> None:
    simulation = cluster(limits=SOON)
    for key in KEYS:
        put(simulation, "a", key, b"value", w=3)
    for key in KEYS:
        delete(simulation, "b", key)
    simulation.run(700)  # in the middle of the first passes

    if loss == "disk":
        down(simulation, "c")
        simulation.lose_disk("c")
    else:
        simulation.cut_power("c")
        simulation.run_until(lambda: simulation.all_see("c", "down"), 10_000)
    back(simulation, "c")
    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    assert all(isinstance(get(simulation, name, key, r=3), Absent) for name in NAMES for key in KEYS[:5])


@pytest.mark.parametrize("seed", SEEDS)
def test_everything_deleted_goes_although_nodes_are_killed_and_messages_lost_and_doubled(seed: int) -> None:
    simulation, random = cluster(seed, limits=SOON), Random(seed)
    client = Client(simulation, NAMES, random)
    acknowledged: list[bytes] = []
    simulation.network.loss, simulation.network.duplication = 0.02, 0.05
    simulation.network.delay_ms = (1, 40)

    def begin(key: bytes) -> None:
        def written(answer: ClientAnswer | None) -> None:
            client.delete(key, deleted)

        def deleted(answer: ClientAnswer | None) -> None:
            if isinstance(answer, Done):
                acknowledged.append(key)
            else:
                client.delete(key, deleted)

        client.put(key, b"value", written)

    for number, key in enumerate(KEYS):
        simulation.at(simulation.time_ms + number * 400, lambda key=key: begin(key))  # type: ignore[misc]
    for _ in range(6):
        victim = random.choice(NAMES)
        simulation.run(random.randrange(500, 2_000))
        simulation.kill(victim)
        simulation.run(random.randrange(50, 1_500))
        back(simulation, victim)
    simulation.run_until(lambda: len(acknowledged) == len(KEYS), 60_000)
    simulation.network.heal()
    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    answers: list[ClientAnswer | None] = []
    for key in KEYS:
        client.get(key, answers.append, r=3)
    simulation.run_until(lambda: len(answers) == len(KEYS), 20_000)
    assert {type(answer) for answer in answers} == {Absent}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_value_written_after_a_delete_is_never_removed_with_it(seed: int) -> None:
    """Each key is written, deleted and written again, over and over, while passes remove what they can."""
    simulation, random = cluster(seed, limits=NodeLimits(reap_interval_ms=100)), Random(seed)
    simulation.network.loss, simulation.network.duplication = 0.01, 0.05
    simulation.network.delay_ms = (1, 30)
    lost: list[tuple[bytes, bytes, object]] = []
    checked = running = 0

    def loop(client: Client, key: bytes, number: int) -> None:
        nonlocal running
        value = b"%d" % number

        def written(answer: ClientAnswer | None) -> None:
            if isinstance(answer, Done):
                pause(lambda: client.get(key, read))
            else:
                pause(again)

        def read(answer: ClientAnswer | None) -> None:
            nonlocal checked
            if answer is not None:
                checked += 1
                if not isinstance(answer, Found) or value not in values(answer):
                    lost.append((key, value, answer))
            client.delete(key, lambda _: pause(again))

        def again() -> None:
            loop(client, key, number + 1)

        if simulation.time_ms > 40_000:
            running -= 1
            return
        client.put(key, value, written)

    def pause(then: Callable[[], None]) -> None:
        simulation.at(simulation.time_ms + random.choice((0, 5, 50, 400, 1_500)), then)

    for number, key in enumerate(KEYS[:12]):
        running += 1
        loop(Client(simulation, NAMES, Random(seed * 100 + number)), key, 0)
    simulation.run_until(lambda: not running, 90_000)

    assert lost == []
    assert checked > 150
    assert reaped(simulation) > 100


@pytest.mark.parametrize("seed", SEEDS)
def test_an_expired_value_is_absent_at_once_and_removed_later(seed: int) -> None:
    simulation, random = cluster(seed), Random(seed)
    simulation.clock_skew_ms = {"b": 200, "c": -200}
    for key in KEYS:
        put(simulation, random.choice(NAMES), key, b"value", ttl_ms=5_000)
    expired_ms = simulation.time_ms + 5_000
    found = [get(simulation, name, KEYS[0]) for name in NAMES]

    simulation.run(expired_ms + 200 - simulation.time_ms)
    absent = [get(simulation, name, key) for name in NAMES for key in KEYS[:5]]
    held = left_over(simulation)
    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    assert [values(answer) for answer in found] == [{b"value"}] * 3
    assert {type(answer) for answer in absent} == {Absent}
    assert all(count >= len(KEYS) for count in held.values())


def test_a_node_alone_removes_what_it_deletes() -> None:
    simulation = cluster(names=("a",), limits=NodeLimits(reap_interval_ms=500, r=1, w=1))
    for key in KEYS:
        put(simulation, "a", key, b"value")
        delete(simulation, "a", key)

    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    assert isinstance(get(simulation, "a", KEYS[0]), Absent)


def test_what_only_one_owner_has_deleted_goes_everywhere() -> None:
    """A delete that reached one node: it is brought to the others, proven, and removed."""
    simulation = cluster(limits=SOON)
    put(simulation, "a", b"k", b"value", w=3)
    simulation.network.isolate("b", NAMES)
    delete(simulation, "b", b"k", r=1, w=1)
    simulation.network.heal()

    simulation.run_until(lambda: all_is_gone(simulation), 60_000)

    assert isinstance(get(simulation, "a", b"k", r=3), Absent)


@pytest.mark.parametrize("restarted", [True, False])
def test_a_delete_of_a_value_that_has_expired_only_by_a_wrong_clock_is_done_or_not_acknowledged(
    restarted: bool,
) -> None:
    simulation = cluster()
    put(simulation, "b", b"k", b"secret", ttl_ms=1_800_000)
    simulation.clock_skew_ms["a"] = 3_600_000
    if restarted:
        simulation.kill("a")
        simulation.run(300)
        simulation.start("a", "b")
    simulation.run(65_000)  # a clock that has jumped is believed by then

    told = ask(simulation, "a", Delete(request_id(), "", DEADLINE_MS, BUCKET, b"k"))
    shown = values(get(simulation, "b", b"k", pr=2))

    assert not (isinstance(told, Done) and shown)
