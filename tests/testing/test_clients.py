"""Simulated clients: what they do that a client of zdynamo does not, and what is made of what they are told."""

from random import Random

import pytest
from simulation.scenes import cluster

from testing.histories import get, put
from zdynamo.client.events import DeadlinePassed, NoNodeReached, Outcome
from zdynamo.client.requests import make_get, make_put
from zdynamo.messages import (
    Absent,
    ClientRequest,
    ConditionFailed,
    Done,
    Found,
    OutcomeUnknown,
    Overloaded,
    QuorumNotMet,
    Refused,
)
from zdynamo.testing.clients import SimulatedClient, outcome_of
from zdynamo.testing.history import Operation
from zdynamo.testing.simulator import Simulation

KEY = b"k"
NAMES = ("a", "b", "c", "d", "e")
PUTS = 300
ID = bytes(16)


def call(client: SimulatedClient, operation: Operation, request: ClientRequest) -> None:
    """Until it has ended."""
    operation.request, operation.answers, operation.begin_ms = client.next_request, 0, client.simulation.time_ms
    client.call(operation, request, lambda operation, told: None)
    client.simulation.run_until(lambda: operation.answers > 0)


def client_of(simulation: Simulation) -> SimulatedClient:
    return SimulatedClient(simulation, "c0", NAMES[:1], Random(1))


def puts(simulation: Simulation, client: SimulatedClient) -> list[Operation]:
    """All owners hold what is put, each under a key of its own."""
    operations = [put(f"v{number}", 0, -1, outcome="") for number in range(PUTS)]
    for number, operation in enumerate(operations):
        call(client, operation, make_put(b"key-%d" % number, ("", operation.value), "default", w=3))
    return operations


def test_requests_go_to_all_owners_of_a_key_and_to_nodes_that_are_none() -> None:
    simulation = cluster(names=NAMES)
    client = client_of(simulation)

    for number in range(100):
        call(client, put(f"v{number}", 0, -1), make_put(KEY, ("", b"v%d" % number), "default"))

    counters = [node.node.counters for node in simulation.nodes.values()]
    assert sum(counted["puts"] > 10 for counted in counters) == simulation.n
    assert sum(counted["requests.forwarded"] > 2 for counted in counters) == len(NAMES) - simulation.n


def test_connections_break_now_and_then_and_what_is_tried_again_for_that_is_one_write() -> None:
    simulation = cluster(names=NAMES)
    client = client_of(simulation)

    written = puts(simulation, client)
    read = [get("", 0, -1) for _ in written]
    for number, operation in enumerate(read):
        call(client, operation, make_get(b"key-%d" % number, "default", r=3))

    assert {operation.outcome for operation in written} == {"ok"}
    assert 0 < sum(operation.doubled for operation in written) < PUTS // 10
    assert [operation.siblings for operation in read] == [(operation.value,) for operation in written]


@pytest.mark.parametrize(
    ("told", "write", "read"),
    [
        (Done(ID, b""), "ok", "ok"),
        (Found(ID, (), b""), "ok", "ok"),
        (Absent(ID, b""), "ok", "ok"),
        (OutcomeUnknown(ID, 2, 1), "unknown", "nothing"),
        (DeadlinePassed(500, attempts=1, last=""), "unknown", "nothing"),
        (DeadlinePassed(500, attempts=0, last=""), "nothing", "nothing"),
        (NoNodeReached(("a",)), "nothing", "nothing"),
        (QuorumNotMet(ID, 2, 1), "nothing", "nothing"),
        (ConditionFailed(ID, b""), "nothing", "nothing"),
        (Overloaded(ID, 50), "nothing", "nothing"),
        (Refused(ID, "no"), "nothing", "nothing"),
    ],
)
def test_a_user_may_conclude_from_an_error_what_the_docs_say(told: Outcome, write: str, read: str) -> None:
    assert (outcome_of(put("a", 0, 5), told), outcome_of(get("", 0, 5), told)) == (write, read)
