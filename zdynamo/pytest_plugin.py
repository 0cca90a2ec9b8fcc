"""Fixtures for the tests of users: `zdynamo_cluster`, a real cluster in the process, and `zdynamo_simulation`.

pytest imports this module wherever zdynamo is installed, so it imports nothing of zdynamo before a fixture is used.
"""

from argparse import ArgumentTypeError
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from zdynamo.fixtures.cluster import InProcessCluster
    from zdynamo.fixtures.shape import Shape
    from zdynamo.fixtures.simulated import SimulatedCluster

SHAPE = "zdynamo(nodes=3, n=3, r=2, w=2, buckets={}, limits={}): what the clusters of the fixtures look like."
SEEDS = "zdynamo_seeds(count): run the test with the seeds 0 to count - 1, each a simulation of its own."
SEED = "zdynamo_seed"  # the fixture that a simulation gets its seed from
DEFAULT_SEED = 0

simulations = pytest.StashKey[list["SimulatedCluster"]]()  # of a test, for the report if it fails


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("zdynamo", "clusters of zdynamo")
    group.addoption("--zdynamo-seed", type=int, metavar="N", help="the one seed that simulations are run with")
    group.addoption("--zdynamo-seeds", type=_positive, metavar="COUNT", help="run each simulation with so many seeds")


def pytest_configure(config: pytest.Config) -> None:
    for marker in (SHAPE, SEEDS):
        config.addinivalue_line("markers", marker)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if SEED not in metafunc.fixturenames:
        return
    marker = metafunc.definition.get_closest_marker("zdynamo_seeds")
    count = metafunc.config.getoption("zdynamo_seeds") or (_count(*marker.args, **marker.kwargs) if marker else 0)
    chosen = metafunc.config.getoption("zdynamo_seed")
    seeds = range(count) if chosen is None else [chosen]
    if seeds and not _by_hand(metafunc):
        metafunc.parametrize(SEED, seeds, ids=[f"seed{seed}" for seed in seeds], indirect=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure says which seed it is of, how to repeat it, and what happened in the simulation."""
    report = yield
    if report.failed and report.when != "teardown":
        for simulation in item.stash.get(simulations, []):
            command = f"pytest '{item.nodeid}' --zdynamo-seed {simulation.seed}"
            lines = [f"seed {simulation.seed}, to repeat it: {command}", *simulation.story()]
            report.sections.append(("zdynamo simulation", "\n".join(lines)))
    return report


@pytest.fixture(scope="session")
def zdynamo_cluster_factory() -> "Iterator[Callable[..., InProcessCluster]]":
    """Starts clusters, for `with zdynamo_cluster_factory(nodes=5) as cluster:`. Parameters as of the marker."""
    from zdynamo.fixtures.cluster import InProcessCluster

    with ExitStack() as stack:

        def factory(**shape: Any) -> InProcessCluster:
            cluster = InProcessCluster(_shape(shape))
            stack.callback(cluster.close)  # of one that is not used with `with`
            try:
                cluster.wait_until_ready()
            except BaseException:
                cluster.close()
                raise
            return cluster

        yield factory


@pytest.fixture
def zdynamo_cluster(
    request: pytest.FixtureRequest, zdynamo_cluster_factory: "Callable[..., InProcessCluster]"
) -> "Iterator[InProcessCluster]":
    """A cluster of three real nodes, or as `@pytest.mark.zdynamo(...)` says; ready, and nothing of it is left."""
    with zdynamo_cluster_factory(**_marked(request.node)) as cluster:
        yield cluster


@pytest.fixture
def zdynamo_seed(request: pytest.FixtureRequest) -> int:
    """What decides all that is left to chance in this test's simulations."""
    chosen = request.config.getoption("zdynamo_seed")
    seed: int = getattr(request, "param", DEFAULT_SEED if chosen is None else chosen)
    return seed


@pytest.fixture
def zdynamo_simulation_factory(
    request: pytest.FixtureRequest, zdynamo_seed: int
) -> "Iterator[Callable[..., SimulatedCluster]]":
    """Makes simulated clusters, all of the seed of this test. Parameters as of the marker."""
    from zdynamo.fixtures.simulated import SimulatedCluster

    made = request.node.stash.setdefault(simulations, [])

    def factory(**shape: Any) -> SimulatedCluster:
        simulation = SimulatedCluster(zdynamo_seed, _shape(shape))
        made.append(simulation)
        return simulation

    yield factory
    for simulation in made:
        simulation.close()


@pytest.fixture
def zdynamo_simulation(
    request: pytest.FixtureRequest, zdynamo_simulation_factory: "Callable[..., SimulatedCluster]"
) -> "SimulatedCluster":
    """A simulated cluster of three nodes, or as `@pytest.mark.zdynamo(...)` says, in virtual time; formed."""
    simulation: SimulatedCluster = zdynamo_simulation_factory(**_marked(request.node))
    return simulation


def _marked(item: pytest.Item) -> dict[str, Any]:
    """What the markers of a test say together; the closer one wins."""
    settings: dict[str, Any] = {}
    for marker in item.iter_markers("zdynamo"):
        if marker.args:
            pytest.fail(f"@pytest.mark.zdynamo takes settings by name: {SHAPE}", pytrace=False)
        settings = {**marker.kwargs, **settings}
    return settings


def _shape(settings: dict[str, Any]) -> "Shape":
    from zdynamo.errors import ConfigError
    from zdynamo.fixtures.shape import Shape

    try:
        return Shape(**settings)
    except ConfigError as error:
        problem = str(error)
    except TypeError as error:
        problem = f"{str(error).removeprefix('Shape.__init__() ')}; {SHAPE}"
    pytest.fail(f"zdynamo: {problem}", pytrace=False)  # outside of the handler: the error says nothing more


def _count(count: int) -> int:
    """Of the marker, whose arguments it checks."""
    if type(count) is not int or count < 1:
        pytest.fail(f"@pytest.mark.zdynamo_seeds takes a number of 1 or more, not {count!r}", pytrace=False)
    return count


def _positive(text: str) -> int:
    """Raises: ArgumentTypeError."""
    if not text.isdecimal() or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a number of 1 or more")
    return int(text)


def _by_hand(metafunc: pytest.Metafunc) -> bool:
    """Whether the test names its seeds itself."""
    marks = metafunc.definition.iter_markers("parametrize")
    return any(SEED in (mark.args[0] if mark.args else mark.kwargs["argnames"]) for mark in marks)
