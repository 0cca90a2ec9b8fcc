"""Lists of keys on simulated clusters in which nodes are killed and messages lost, delayed and doubled."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from simulation.scenes import NAMES, faulty_cluster, kill_one_at_a_time, put
from simulation.workload import Client
from zdynamo.messages import (
    Absent,
    ClientAnswer,
    Done,
    KeysListed,
    ListKeys,
    Overloaded,
    QuorumNotMet,
    Refused,
)
from zdynamo.testing.simulator import Simulation

RETRY_MS = 300


@dataclass
class Lister:
    """Lists a bucket partition by partition and page by page, each page from another node until one answers."""

    simulation: Simulation
    random: Random
    limit: int = 7
    prefix: bytes = b""
    r: int = 0
    keys: list[bytes] = field(default_factory=list)
    over: bool = False

    def start(self) -> None:
        self._page(0, b"")

    def _page(self, partition: int, after: bytes) -> None:
        if partition == self.simulation.partitions:
            self.over = True
            return
        turned = False

        def answered(answer: ClientAnswer) -> None:
            nonlocal turned
            if isinstance(answer, KeysListed) and not turned:
                turned = True
                self.keys += answer.keys
                assert len(answer.keys) <= self.limit
                assert not answer.more or answer.last > after
                self._page(*((partition, answer.last) if answer.more else (partition + 1, b"")))
            else:
                assert isinstance(answer, KeysListed | Refused | QuorumNotMet | Overloaded)

        def ask() -> None:
            if not turned:
                request = self.random.getrandbits(128).to_bytes(16, "big")
                wanted = ListKeys(request, "", 250, "default", partition, self.prefix, after, self.limit, self.r)
                self.simulation.request(self.random.choice(NAMES), wanted, answered)
                self.simulation.at(self.simulation.time_ms + RETRY_MS, ask)

        ask()


def do_all(
    simulation: Simulation, actions: list[Callable[[Callable[[ClientAnswer | None], None]], None]]
) -> list[bool]:
    """Carry the actions out side by side. Returns: for each whether it was acknowledged."""
    done: dict[int, bool] = {}
    for place, action in enumerate(actions):
        action(lambda answer, place=place: done.__setitem__(place, isinstance(answer, Done | Absent)))  # type: ignore[misc]
    simulation.run_until(lambda: len(done) == len(actions), 60_000)
    return [done[place] for place in range(len(actions))]


def put_all(simulation: Simulation, client: Client, keys: list[bytes]) -> set[bytes]:
    """Returns: the keys whose put was acknowledged."""
    done = do_all(simulation, [lambda then, key=key: client.put(key, b"v-" + key, then) for key in keys])  # type: ignore[misc]
    return {key for key, well in zip(keys, done, strict=True) if well}


def delete_all(simulation: Simulation, client: Client, keys: list[bytes]) -> set[bytes]:
    """Returns: the keys whose delete was acknowledged."""
    done = do_all(simulation, [lambda then, key=key: client.delete(key, then) for key in keys])  # type: ignore[misc]
    return {key for key, well in zip(keys, done, strict=True) if well}


@pytest.mark.parametrize("seed", range(8))
def test_every_key_written_before_a_list_began_is_listed_once_though_nodes_are_killed(seed: int) -> None:
    simulation, random = faulty_cluster(seed)
    client = Client(simulation, NAMES, random)
    keys = [b"key-%03d" % number for number in range(300)]
    down = random.choice(NAMES)
    written = put_all(simulation, client, keys[:100])
    simulation.kill(down)
    written |= put_all(simulation, client, keys[100:200])
    simulation.run(2_000)  # late duplicates of those puts are over
    touched = set(random.sample(keys[:200], 60))
    deleted = delete_all(simulation, client, sorted(touched))
    simulation.start(down)
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)
    written |= put_all(simulation, client, keys[200:])

    lister = Lister(simulation, random)
    lister.start()
    overwritten = sorted(random.sample(sorted(written - touched), 50))
    for place, key in enumerate(overwritten):
        simulation.at(
            simulation.time_ms + 40 * place,
            lambda key=key: client.put(key, b"again", lambda answer: None),  # type: ignore[misc]
        )
    while not lister.over:
        kill_one_at_a_time(simulation, random, rounds=1)

    assert len(written) > 200
    assert len(deleted) > 20
    assert len(lister.keys) == len(set(lister.keys))
    assert written - touched - set(lister.keys) == set()
    assert deleted & set(lister.keys) == set()


@pytest.mark.parametrize("seed", range(6))
def test_a_stale_replica_does_not_bring_deleted_keys_into_the_list(seed: int) -> None:
    simulation, random = faulty_cluster(seed)
    simulation.network.heal()
    client = Client(simulation, NAMES, random)
    keys = [b"key-%03d" % number for number in range(100)]
    assert put_all(simulation, client, keys) == set(keys)

    stale = random.choice(NAMES)
    simulation.kill(stale)
    simulation.run_until(lambda: simulation.all_see([stale], "down"), 5_000)
    gone = set(random.sample(keys, 40))
    assert delete_all(simulation, client, sorted(gone)) == gone
    simulation.start(stale)
    simulation.run_until(lambda: simulation.all_see(NAMES), 5_000)
    lister = Lister(simulation, random)
    lister.start()
    simulation.run_until(lambda: lister.over)

    assert sorted(lister.keys) == sorted(set(keys) - gone)


@pytest.mark.parametrize("seed", range(4))
def test_expired_keys_are_not_listed_though_a_replica_holds_what_was_there_before(seed: int) -> None:
    simulation, random = faulty_cluster(seed)
    simulation.network.heal()
    client = Client(simulation, NAMES, random)
    keys = [b"key-%03d" % number for number in range(60)]
    assert put_all(simulation, client, keys) == set(keys)
    stale = random.choice(NAMES)
    simulation.kill(stale)
    simulation.run_until(lambda: simulation.all_see([stale], "down"), 5_000)
    others = [name for name in NAMES if name != stale]

    short, long = keys[:20], keys[20:40]
    for key in short + long:
        put(simulation, random.choice(others), key, b"briefly", ttl_ms=1_000 if key in short else 600_000)
    simulation.start(stale)
    simulation.run_until(lambda: simulation.all_see(NAMES), 5_000)
    simulation.run(1_000)
    lister = Lister(simulation, random)
    lister.start()
    simulation.run_until(lambda: lister.over)

    assert sorted(lister.keys) == keys[20:]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("r", [1, 2])
def test_a_lost_disk_hides_no_key_from_the_list(seed: int, r: int) -> None:
    simulation, random = faulty_cluster(seed)
    simulation.network.heal()
    client = Client(simulation, NAMES, random)
    keys = [b"key-%03d" % number for number in range(100)]
    lost = random.choice(NAMES)
    assert put_all(simulation, client, keys) == set(keys)
    simulation.kill(lost)
    simulation.run_until(lambda: simulation.all_see([lost], "down"), 5_000)
    gone = set(random.sample(keys, 40))
    assert delete_all(simulation, client, sorted(gone)) == gone

    simulation.lose_disk(lost)
    simulation.start(lost, *(name for name in NAMES if name != lost))
    lister = Lister(simulation, random, r=r)
    lister.start()
    simulation.run_until(lambda: lister.over)

    assert sorted(lister.keys) == sorted(set(keys) - gone)


@pytest.mark.parametrize("seed", range(3))
def test_a_list_with_a_prefix_has_all_keys_that_begin_with_it(seed: int) -> None:
    simulation, random = faulty_cluster(seed)
    client = Client(simulation, NAMES, random)
    keys = [name + b"%02d" % number for name in (b"user:", b"user;", b"use", b"user:\xff") for number in range(30)]
    written = put_all(simulation, client, keys)

    lister = Lister(simulation, random, limit=3, prefix=b"user:")
    lister.start()
    simulation.run_until(lambda: lister.over)

    wanted = {key for key in written if key.startswith(b"user:")}
    assert wanted
    assert wanted - set(lister.keys) == set()
    assert all(key.startswith(b"user:") for key in lister.keys)
    assert len(lister.keys) == len(set(lister.keys))
