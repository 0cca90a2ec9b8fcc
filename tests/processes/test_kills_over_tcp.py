"""Real nodes are killed and stopped under load: service goes on, and what was acknowledged is there."""

from collections.abc import Iterator
from contextlib import contextmanager

import chaos_plan
from chaos_clients import Placed
from chaos_converge import converge
from chaos_history import Loaded, Recorder, written_keys
from chaos_load import workers_of, working
from chaos_verdict import Verdict, judge
from killable import kill, states_at, wait_until
from support.processes import Nodes, is_whole, terminate

from zdynamo.cli.cluster import Child
from zdynamo.client import Client

STOPPED_WITHIN_SECONDS = 2.0
WITHOUT_SERVICE_SECONDS_MAX = 1.0
ENOUGH = 100  # writes, to mean something


class Load:
    """Four writers that record what they are told."""

    def __init__(self, trio: list[Child]) -> None:
        self._placed = Placed("client", [node.address for node in trio], 2000)
        self.recorder = Recorder()
        load = chaos_plan.Load(workers=4, rate=2_000, deadline_ms=2000, strict=0)
        self._workers = workers_of(load, [self._placed], self.recorder, 1)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """It runs for the length of the block, and has written enough before and in it."""
        from_ms = int(self.recorder.now_ms())
        with working(self._workers):
            self.wait_more()
            yield
        self.recorder.add(Loaded(from_ms, int(self.recorder.now_ms())))

    def wait_more(self) -> None:
        had = self.recorder.ok("put")
        wait_until(lambda: self.recorder.ok("put") >= had + ENOUGH)

    def verdict(self) -> Verdict:
        """Every key is read from all its replicas."""
        converge(
            self._placed.client,
            written_keys(self.recorder.lines),
            3,
            self.recorder,
            0.0,
            lambda: 0,
            lambda: None,
            lambda what: None,
        )
        self._placed.close()
        return judge(self.recorder.lines)


def test_puts_and_gets_go_on_through_every_remaining_node_when_one_is_killed(nodes: Nodes) -> None:
    trio = nodes.trio()
    with Client(trio[0].address) as client:
        client.put("before", "kept")

    kill(trio[2])

    for node in trio[:2]:  # at once: nobody has noticed yet
        with Client(node.address, deadline_ms=2000) as client:
            for number in range(20):
                client.put(f"{node.name}-{number}", number)
                assert client.get(f"{node.name}-{number}").value == number
            assert client.get("before").value == "kept"


def test_a_killed_node_stops_service_for_less_than_a_second(nodes: Nodes) -> None:
    trio = nodes.trio()
    load = Load(trio)

    with load.going_on():
        kill(trio[1])
        wait_until(lambda: states_at(trio[0]).get("b") == "down")
        load.wait_more()
        trio[1] = nodes.again(trio[1])
        wait_until(lambda: all(is_whole(node, trio) for node in trio))

    verdict = load.verdict()
    assert verdict.breaches == [] and verdict.found > ENOUGH
    assert verdict.longest_without_service_of_one_worker_s < WITHOUT_SERVICE_SECONDS_MAX


def test_a_killed_node_has_its_data_when_it_is_back(nodes: Nodes) -> None:
    trio = nodes.trio()
    with Client(trio[0].address) as client:
        for number in range(ENOUGH):
            client.put(f"key-{number}", number, w=3)
    kill(trio[2])

    trio[2] = nodes.again(trio[2])
    wait_until(lambda: all(is_whole(node, trio) for node in trio))
    kill(trio[0])
    kill(trio[1])

    with Client(trio[2].address) as client:  # its own copies: nobody else is there
        assert [client.get(f"key-{number}", r=1).value for number in range(ENOUGH)] == list(range(ENOUGH))


def test_sigterm_under_load_ends_a_node_in_time_and_loses_nothing(nodes: Nodes) -> None:
    trio = nodes.trio()
    load = Load(trio)

    with load.going_on():
        alone = terminate(trio[0])
        load.wait_more()
        others = [terminate(node) for node in trio[1:]]

    for code, seconds in (alone, *others):
        assert code == 0
        assert seconds < STOPPED_WITHIN_SECONDS
    assert all("node.stopped" in node.log.read_text().splitlines()[-1] for node in trio)
    trio = [nodes.again(node) for node in trio]
    wait_until(lambda: all(is_whole(node, trio) for node in trio))
    verdict = load.verdict()
    assert verdict.breaches == [] and verdict.found > ENOUGH


def test_kill_of_all_three_under_load_loses_nothing(nodes: Nodes) -> None:
    trio = nodes.trio()
    load = Load(trio)

    with load.going_on():
        for node in trio:
            kill(node)

    trio = [nodes.again(node) for node in trio]
    wait_until(lambda: all(is_whole(node, trio) for node in trio))
    verdict = load.verdict()
    assert verdict.breaches == [] and verdict.found > ENOUGH
