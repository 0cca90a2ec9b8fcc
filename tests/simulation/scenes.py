"""Small scenes on a simulated cluster: ask one node, look at what each disk holds."""

from itertools import count
from random import Random

from zdynamo.core.records.record import Record, decode_record
from zdynamo.core.replicas.replica import BIRTH_BYTES
from zdynamo.messages import ClientAnswer, ClientRequest, Delete, Done, Found, Get, Put
from zdynamo.partition import storage_key
from zdynamo.testing.simulator import Simulation

NAMES = ("a", "b", "c")
BUCKET = "default"
DEADLINE_MS = 2_000

_requests = count(1)


def cluster(seed: int = 1, names: tuple[str, ...] = NAMES, **options: object) -> Simulation:
    """Started, seeing itself, with its layout decided."""
    simulation = Simulation(seed, min_members=len(names), **options)  # type: ignore[arg-type]
    for name in names:
        simulation.start(name, *names[:1] if name != names[0] else ())
    simulation.run_until(lambda: simulation.all_see(names), 10_000)
    return simulation


def faulty_cluster(seed: int) -> tuple[Simulation, Random]:
    """Whose network loses, delays and doubles messages; and chance for what else is to go wrong."""
    simulation = Simulation(seed, min_members=3)
    simulation.start("a")
    simulation.start("b", "a")
    simulation.start("c", "b")
    simulation.run_until(lambda: simulation.all_see(NAMES), 5_000)
    simulation.network.loss = 0.02
    simulation.network.duplication = 0.05
    simulation.network.delay_ms = (1, 40)
    return simulation, Random(seed * 7 + 1)


def kill_one_at_a_time(simulation: Simulation, random: Random, rounds: int) -> None:
    """Kill a node, let time pass, start it again, wait until all see all; then the next."""
    for _ in range(rounds):
        victim = random.choice(NAMES)
        simulation.kill(victim)
        simulation.run(random.randrange(200, 4_000))
        simulation.start(victim)
        simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)
        simulation.run(random.randrange(100, 1_000))


def request_id() -> bytes:
    return b"client.." + next(_requests).to_bytes(8, "big")


def ask(simulation: Simulation, node: str, request: ClientRequest) -> ClientAnswer:
    """The answer of that node."""
    answers: list[ClientAnswer] = []
    simulation.request(node, request, answers.append)
    simulation.run_until(lambda: bool(answers), 20_000)
    return answers[0]


def put(simulation: Simulation, node: str, key: bytes, value: bytes, context: bytes = b"", **fields: object) -> Done:
    """A put that has to succeed."""
    request = fields.pop("request", None) or request_id()
    message = Put(request, "", DEADLINE_MS, BUCKET, key, value, "", context=context, **fields)  # type: ignore[arg-type]
    done = ask(simulation, node, message)
    assert isinstance(done, Done), done
    return done


def delete(simulation: Simulation, node: str, key: bytes, **fields: object) -> Done:
    """A delete that has to succeed."""
    done = ask(simulation, node, Delete(request_id(), "", DEADLINE_MS, BUCKET, key, **fields))  # type: ignore[arg-type]
    assert isinstance(done, Done), done
    return done


def get(simulation: Simulation, node: str, key: bytes, **fields: object) -> ClientAnswer:
    return ask(simulation, node, Get(request_id(), "", DEADLINE_MS, BUCKET, key, **fields))  # type: ignore[arg-type]


def values(answer: ClientAnswer) -> set[bytes]:
    """What a get showed."""
    return {sibling.value for sibling in answer.siblings} if isinstance(answer, Found) else set()


def held(simulation: Simulation, name: str, key: bytes) -> Record | None:
    """What the disk of that node holds."""
    stored = simulation.disks[name].store.get(storage_key(BUCKET.encode(), key, simulation.partitions))
    return None if stored is None else decode_record(stored[BIRTH_BYTES:])


def held_values(simulation: Simulation, name: str, key: bytes) -> set[bytes]:
    record = held(simulation, name, key)
    return {sibling.value for sibling in record.siblings if not sibling.tombstone} if record else set()
