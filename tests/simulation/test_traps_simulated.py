"""The traps in which stores with version vectors lose writes or grow siblings, each by its name (paper 4.4, 6.3)."""

from random import Random

import pytest

from simulation.scenes import (
    BUCKET,
    DEADLINE_MS,
    NAMES,
    ask,
    cluster,
    delete,
    get,
    held,
    held_values,
    put,
    request_id,
    values,
)
from zdynamo.messages import Absent, Delete, Done, Found, Put
from zdynamo.testing.simulator import Simulation

KEY = b"cart"
SEEDS = range(4)


def isolated(simulation: Simulation, name: str) -> None:
    """Cut off one node, and wait until the others call it down."""
    simulation.network.isolate(name, NAMES)
    others = [other for other in NAMES if other != name]
    simulation.run_until(lambda: all(_sees_down(simulation, other, name) for other in others), 10_000)


def healed(simulation: Simulation) -> None:
    simulation.network.heal()
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)


def _sees_down(simulation: Simulation, observer: str, name: str) -> bool:
    seen = simulation.nodes[observer].view
    return seen is not None and any(member.state == "down" and member.record.name == name for member in seen.members)


def restarted(simulation: Simulation, name: str) -> None:
    simulation.start(name, *(other for other in NAMES if other != name))
    simulation.run_until(lambda: simulation.all_see(NAMES), 20_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_sibling_explosion_with_interleaved_clients_and_no_faults(seed: int) -> None:
    """Each client reads, and writes with what it read, again and again: never more siblings than clients."""
    simulation, random = cluster(seed), Random(seed)
    clients = 4
    contexts: list[bytes] = [b""] * clients
    most = 0

    for step in range(120):
        client, node = random.randrange(clients), random.choice(NAMES)
        if random.random() < 0.5:
            answer = get(simulation, node, KEY)
            most = max(most, len(values(answer)))
            contexts[client] = answer.context if isinstance(answer, Found | Absent) else b""
        else:
            written = put(simulation, node, KEY, b"%d by %d" % (step, client), contexts[client])
            contexts[client] = written.context

    assert 1 < most <= clients
    assert len(values(get(simulation, "a", KEY, r=3))) <= clients


@pytest.mark.parametrize("seed", SEEDS)
def test_puts_without_a_context_by_one_client_leave_one_value_through_lagging_coordinators(seed: int) -> None:
    simulation, random = cluster(seed), Random(seed)
    for number in range(30):
        lagging = random.choice(NAMES)
        simulation.network.isolate(lagging, NAMES)
        put(simulation, random.choice([name for name in NAMES if name != lagging]), KEY, b"%d" % number)
        simulation.network.heal()

        put(simulation, lagging, KEY, b"then %d" % number)

        assert values(get(simulation, random.choice(NAMES), KEY)) == {b"then %d" % number}


@pytest.mark.parametrize("seed", SEEDS)
def test_actor_reuse_a_node_that_loses_its_disk_and_then_writes_eats_nothing(seed: int) -> None:
    simulation = cluster(seed)
    put(simulation, "a", KEY, b"before")
    simulation.kill("a")
    simulation.lose_disk("a")
    restarted(simulation, "a")

    put(simulation, "a", KEY, b"after", attempt=2)  # covers nothing that it was not told of
    there = [held_values(simulation, name, KEY) for name in ("b", "c")]
    simulation.run(10_000)  # it gets back what it lost

    assert there == [{b"before", b"after"}] * 2
    for name in NAMES:
        assert held_values(simulation, name, KEY) == {b"before", b"after"}


@pytest.mark.parametrize("seed", SEEDS)
def test_actor_reuse_a_node_that_re_creates_a_deleted_key_eats_nothing(seed: int) -> None:
    simulation = cluster(seed)
    put(simulation, "a", KEY, b"before")
    delete(simulation, "a", KEY)
    simulation.run_until(lambda: all(held(simulation, name, KEY) is None for name in NAMES), 120_000)

    put(simulation, "a", KEY, b"again")
    put(simulation, "b", KEY, b"beside", attempt=2)
    put(simulation, "a", KEY, b"third", attempt=2)

    for name in NAMES:
        assert held_values(simulation, name, KEY) == {b"again", b"beside", b"third"}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quick_delete_and_re_create_never_eats_the_new_value(seed: int) -> None:
    simulation, random = cluster(seed), Random(seed)
    for number in range(20):
        away = random.choice(NAMES)
        simulation.network.isolate(away, NAMES)
        node = random.choice([name for name in NAMES if name != away])
        put(simulation, node, KEY, b"%d" % number)
        delete(simulation, node, KEY)
        simulation.network.heal()

        put(simulation, away, KEY, b"again %d" % number)
        simulation.run(random.randrange(2_000))

        assert values(get(simulation, random.choice(NAMES), KEY)) == {b"again %d" % number}


@pytest.mark.parametrize("away", NAMES)
def test_delete_at_w_2_while_the_third_is_away_then_it_returns(away: str) -> None:
    simulation = cluster()
    put(simulation, "a", KEY, b"value", w=3)
    simulation.kill(away)
    simulation.run_until(lambda: all(_sees_down(simulation, name, away) for name in NAMES if name != away), 10_000)

    delete(simulation, next(name for name in NAMES if name != away), KEY)
    simulation.run(60_000)  # long enough for anybody who goes by age
    restarted(simulation, away)

    for node in NAMES:
        assert isinstance(get(simulation, node, KEY), Absent)
    simulation.run_until(lambda: all(held(simulation, name, KEY) is None for name in NAMES), 120_000)
    for node in NAMES:
        assert isinstance(get(simulation, node, KEY, r=3), Absent)


@pytest.mark.parametrize("stale", NAMES)
def test_expiry_against_a_stale_replica(stale: str) -> None:
    """The replica that holds an older value without an expiry must not bring it back."""
    simulation = cluster()
    put(simulation, "a", KEY, b"old", w=3)
    isolated(simulation, stale)
    put(simulation, next(name for name in NAMES if name != stale), KEY, b"new", ttl_ms=30_000)
    simulation.run(31_000)
    healed(simulation)

    for node in NAMES:
        assert isinstance(get(simulation, node, KEY, r=3), Absent)
    simulation.run_until(lambda: all(held(simulation, name, KEY) is None for name in NAMES), 120_000)
    for node in NAMES:
        assert isinstance(get(simulation, node, KEY, r=3), Absent)


@pytest.mark.parametrize("skew_ms", [-400, 0, 400])
def test_a_value_expires_at_all_nodes_whatever_their_clocks_say_by_up_to_the_skew(skew_ms: int) -> None:
    simulation = cluster()
    simulation.clock_skew_ms = {"b": skew_ms, "c": -skew_ms}
    put(simulation, "a", KEY, b"value", w=3, ttl_ms=10_000)

    simulation.run(9_000)
    early = [values(get(simulation, node, KEY)) for node in NAMES]
    simulation.run(2_000)
    late = [get(simulation, node, KEY) for node in NAMES]

    assert early == [{b"value"}] * 3
    assert [type(answer) for answer in late] == [Absent] * 3


@pytest.mark.parametrize("second", NAMES)
def test_a_retried_put_after_a_lost_answer_makes_no_second_sibling(second: str) -> None:
    simulation = cluster()
    request = request_id()
    put(simulation, "a", KEY, b"value", request=request)

    again = put(simulation, second, KEY, b"value", request=request, attempt=2)

    assert [sibling.value for sibling in get(simulation, "b", KEY, r=3).siblings] == [b"value"]  # type: ignore[union-attr]
    put(simulation, "c", KEY, b"next", again.context)
    assert values(get(simulation, "b", KEY, r=3)) == {b"next"}


def test_a_retried_put_through_a_coordinator_that_had_not_heard_of_it_is_one_value() -> None:
    simulation = cluster()
    request = request_id()
    isolated(simulation, "c")
    put(simulation, "a", KEY, b"value", request=request)
    simulation.network.heal()
    assert held(simulation, "c", KEY) is None

    message = Put(request, "", 2_000, "default", KEY, b"value", "", attempt=2)
    simulation.request("c", message, lambda answer: None)  # before it is handed what was held for it
    simulation.run(1_000)
    healed(simulation)

    for node in NAMES:
        found = get(simulation, node, KEY, r=3)
        assert isinstance(found, Found)
        assert [sibling.value for sibling in found.siblings] == [b"value"]


@pytest.mark.parametrize("condition", ["", "absent"])
def test_a_late_retry_of_what_another_has_written_over_gives_no_context_that_covers_the_other(condition: str) -> None:
    simulation = cluster()
    request = request_id()
    put(simulation, "a", KEY, b"mine", request=request, attempt=2, condition=condition)
    seen = get(simulation, "b", KEY)
    assert isinstance(seen, Found)
    put(simulation, "b", KEY, b"theirs", seen.context)

    retried = put(simulation, "c", KEY, b"mine", request=request, attempt=3, condition=condition)
    put(simulation, "c", KEY, b"next", retried.context)

    assert values(get(simulation, "a", KEY, pr=2)) == {b"theirs", b"next"}


def test_a_late_retry_of_a_delete_gives_no_context_that_covers_what_was_written_since() -> None:
    simulation = cluster()
    put(simulation, "a", KEY, b"old")
    request = request_id()
    ask(simulation, "a", Delete(request, "", DEADLINE_MS, BUCKET, KEY, 1))
    seen = get(simulation, "b", KEY)
    assert isinstance(seen, Absent)
    put(simulation, "b", KEY, b"theirs", seen.context)

    retried = ask(simulation, "c", Delete(request, "", DEADLINE_MS, BUCKET, KEY, 2))
    assert isinstance(retried, Done)
    put(simulation, "c", KEY, b"next", retried.context)

    assert values(get(simulation, "a", KEY, pr=2)) == {b"theirs", b"next"}
