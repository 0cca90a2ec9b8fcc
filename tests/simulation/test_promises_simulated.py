"""The promises, on simulated clusters in which nodes are killed and messages lost, delayed and doubled."""

from random import Random

import pytest

from simulation.scenes import NAMES, faulty_cluster, kill_one_at_a_time
from simulation.workload import Client
from zdynamo.messages import Absent, ClientAnswer, Done, Found
from zdynamo.testing.simulator import Simulation


def read_all(simulation: Simulation, client: Client, keys: list[bytes]) -> dict[bytes, ClientAnswer | None]:
    found: dict[bytes, ClientAnswer | None] = {}
    for key in keys:
        client.get(key, lambda answer, key=key: found.__setitem__(key, answer), r=3)  # type: ignore[misc]
    simulation.run_until(lambda: len(found) == len(keys), 60_000)
    return found


@pytest.mark.parametrize("seed", range(2))
def test_no_acknowledged_write_is_lost_when_nodes_are_killed(seed: int) -> None:
    simulation, random = faulty_cluster(seed)
    client = Client(simulation, NAMES, random)
    acknowledged: dict[bytes, bytes] = {}

    def write(number: int) -> None:
        key, value = b"key-%d" % number, b"value-%d" % number

        def then(answer: ClientAnswer | None) -> None:
            if isinstance(answer, Done):
                acknowledged[key] = value
            write(number + 1000)

        if simulation.time_ms < 25_000:
            client.put(key, value, then)

    for number in range(20):
        write(number)
    kill_one_at_a_time(simulation, random, rounds=6)
    simulation.run_until(lambda: simulation.time_ms > 30_000, 60_000)
    simulation.network.heal()
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)
    found = read_all(simulation, client, list(acknowledged))

    lost = [
        key
        for key, value in acknowledged.items()
        if not isinstance(answer := found[key], Found) or value not in [sibling.value for sibling in answer.siblings]
    ]
    assert len(acknowledged) > 200
    assert lost == []


@pytest.mark.parametrize("seed", range(2))
def test_every_acknowledged_element_of_a_merged_set_is_there(seed: int) -> None:
    simulation, random = faulty_cluster(seed)
    acknowledged: set[bytes] = set()
    running = 0

    def add(client: Client, key: bytes, element: bytes, then_next: object) -> None:
        """Read, merge, write back with the context of the read."""

        def read(answer: ClientAnswer | None) -> None:
            if not isinstance(answer, Found | Absent):
                then_next()  # type: ignore[operator]
                return
            siblings = answer.siblings if isinstance(answer, Found) else ()
            merged = {part for sibling in siblings for part in sibling.value.split(b",")} | {element}
            client.put(key, b",".join(sorted(merged)), wrote, context=answer.context)

        def wrote(answer: ClientAnswer | None) -> None:
            if isinstance(answer, Done):
                acknowledged.add(element)
            then_next()  # type: ignore[operator]

        client.get(key, read)

    def loop(client: Client, name: bytes, number: int) -> None:
        nonlocal running
        if simulation.time_ms > 20_000:
            running -= 1
            return
        key = b"set-%d" % random.randrange(3)
        add(client, key, b"%s.%d@%s" % (name, number, key), lambda: loop(client, name, number + 1))

    for writer in range(6):
        running += 1
        loop(Client(simulation, NAMES, Random(seed * 100 + writer)), b"w%d" % writer, 0)
    kill_one_at_a_time(simulation, random, rounds=5)
    simulation.run_until(lambda: running == 0, 120_000)
    simulation.network.heal()
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)
    found = read_all(simulation, Client(simulation, NAMES, random), [b"set-0", b"set-1", b"set-2"])

    there = {
        part
        for answer in found.values()
        if isinstance(answer, Found)
        for sibling in answer.siblings
        for part in sibling.value.split(b",")
    }
    assert len(acknowledged) > 100
    assert acknowledged - there == set()


@pytest.mark.parametrize("seed", range(6))
def test_a_read_sees_the_last_acknowledged_write_of_its_own_client(seed: int) -> None:
    simulation, random = faulty_cluster(seed)
    client = Client(simulation, NAMES, random)
    seen: list[tuple[bytes, list[bytes]]] = []
    over = False

    def write(number: int) -> None:
        nonlocal over
        value = b"%d" % number
        if simulation.time_ms > 20_000:
            over = True
            return
        client.put(
            b"register", value, lambda answer: read(number, value) if isinstance(answer, Done) else write(number + 1)
        )

    def read(number: int, value: bytes) -> None:
        def then(answer: ClientAnswer | None) -> None:
            if isinstance(answer, Found | Absent):  # the quorum may have been down
                values = [sibling.value for sibling in answer.siblings] if isinstance(answer, Found) else []
                seen.append((value, values))
            write(number + 1)

        client.get(b"register", then)

    write(0)
    kill_one_at_a_time(simulation, random, rounds=4)
    simulation.run_until(lambda: over, 60_000)

    assert len(seen) > 50
    assert [(wrote, values) for wrote, values in seen if wrote not in values] == []


@pytest.mark.parametrize("seed", range(6))
def test_a_deleted_value_does_not_come_back_when_a_stale_replica_returns(seed: int) -> None:
    simulation, random = faulty_cluster(seed)
    simulation.network.heal()
    client = Client(simulation, NAMES, random)
    answers: list[ClientAnswer | None] = []
    client.put(b"k", b"v", answers.append)
    simulation.run_until(lambda: len(answers) == 1)

    stale = random.choice(NAMES)
    simulation.kill(stale)
    simulation.run_until(lambda: simulation.all_see([stale], "down"), 5_000)
    client.delete(b"k", answers.append)
    simulation.run_until(lambda: len(answers) == 2)
    simulation.start(stale)
    simulation.run_until(lambda: simulation.all_see(NAMES), 5_000)
    client.get(b"k", answers.append)
    client.get(b"k", answers.append, r=3)
    simulation.run_until(lambda: len(answers) == 4)

    assert [type(answer) for answer in answers] == [Done, Done, Absent, Absent]
