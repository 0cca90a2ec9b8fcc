"""The plugin as pytest runs it: markers, seeds, and what a failure says. Each test writes tests of its own."""

import shlex

import pytest

import zdynamo.fixtures.cluster
import zdynamo.fixtures.simulated  # noqa: F401 - pytester forgets what is first imported in a run of its own

pytest_plugins = ["pytester"]


def outcome(pytester: pytest.Pytester, tests: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(f"import pytest\nfrom zdynamo import Client\n\n{tests}")
    return pytester.runpytest_inprocess(*arguments)


def test_markers_of_class_and_test_go_together_and_the_closer_wins(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.zdynamo(nodes=2, w=2)
class TestShape:
    @pytest.mark.zdynamo(nodes=4)
    def test_a_cluster(self, zdynamo_cluster):
        assert (len(zdynamo_cluster.names), zdynamo_cluster.shape.w) == (4, 2)

    def test_a_simulation(self, zdynamo_simulation):
        assert (len(zdynamo_simulation.names), zdynamo_simulation.simulation.limits.w) == (2, 2)
"""

    outcome(pytester, tests, "--strict-markers").assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("marker", "problem"),
    [
        ("nodez=3", "zdynamo: got an unexpected keyword argument 'nodez'; zdynamo(nodes=3,*"),
        ("nodes=27", "zdynamo: nodes is 27: use 1 to 26"),
        ("w=4", "zdynamo: quorum.w is 4, more than cluster.n = 3: lower it to at most 3"),
        ("buckets={'b': {'conflct': 'lww'}}", "zdynamo: buckets.b.conflct is no setting: *"),
        ("nodes=True", "zdynamo: nodes is True: use 1 to 26"),
        ("n=2.5", "zdynamo: n is 2.5: use a whole number, or 0 for the default"),
        ("r=-1", "zdynamo: r is -1: use a whole number, or 0 for the default"),
        ("buckets=['x']", "zdynamo: buckets is *: use a dict, *"),
        ("limits={'value_bytes_max': -5}", "zdynamo: limits.value_bytes_max: expected `int` >= 1, *"),
        ("limits={'value_bytes_max': '5'}", "zdynamo: limits.value_bytes_max: expected `int`, got `str`, *"),
        ("3", "@pytest.mark.zdynamo takes settings by name: *"),
    ],
)
def test_a_shape_that_cannot_be_is_an_error_of_one_line(pytester: pytest.Pytester, marker: str, problem: str) -> None:
    result = outcome(pytester, f"@pytest.mark.zdynamo({marker})\ndef test_it(zdynamo_simulation): pass")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ERROR at setup of test_it*", problem, "*short test summary*"], consecutive=True)


@pytest.mark.parametrize("count", ["'10'", "0", "-3", "True"])
def test_a_number_of_seeds_that_cannot_be_is_an_error_of_one_line(pytester: pytest.Pytester, count: str) -> None:
    result = outcome(pytester, f"@pytest.mark.zdynamo_seeds({count})\ndef test_it(zdynamo_simulation): pass")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*zdynamo_seeds takes a number of 1 or more, not {count}*"])


@pytest.mark.parametrize("count", ["0", "-3", "x"])
def test_the_option_takes_a_number_of_one_or_more(pytester: pytest.Pytester, count: str) -> None:
    result = outcome(pytester, "def test_it(zdynamo_simulation): pass", f"--zdynamo-seeds={count}")

    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_test_runs_once_for_each_seed_and_the_same_seed_is_the_same_run(pytester: pytest.Pytester) -> None:
    tests = """
seen = {}

@pytest.mark.parametrize("again", [False, True])
@pytest.mark.zdynamo_seeds(3)
def test_it(zdynamo_simulation, again):
    sim = zdynamo_simulation
    sim.disturb(loss=0.2, duplication=0.1, delay_ms=(1, 50))
    puts = [sim.client().submit_put("k", "v") for _ in range(5)]
    sim.run(100)
    sim.kill("c")
    outcomes = [str(put.exception() or put.result()) for put in puts]
    run = (sim.time_ms, sim.story(), outcomes)
    assert seen.setdefault(sim.seed, run) == run

def test_they_differ():
    assert sorted(seen) == [0, 1, 2]
    assert len({repr(run) for run in seen.values()}) == 3
"""

    outcome(pytester, tests).assert_outcomes(passed=7)


def test_a_failure_says_its_seed_how_to_repeat_it_and_what_happened(pytester: pytest.Pytester) -> None:
    tests = """
@pytest.mark.zdynamo_seeds(3)
def test_it(zdynamo_simulation):
    zdynamo_simulation.isolate("c")
    zdynamo_simulation.wait_until_down("c")
    assert zdynamo_simulation.seed != 2
"""

    result = outcome(pytester, tests)
    again = pytester.runpytest_inprocess("--zdynamo-seed", "2")

    result.assert_outcomes(passed=2, failed=1)
    again.assert_outcomes(failed=1)
    name = "*::test_it[[]seed2]"
    for run in (result, again):
        run.stdout.fnmatch_lines(
            [
                f"seed 2, to repeat it: pytest '{name}' --zdynamo-seed 2",
                "* ms  isolate c",
                "* ms  a: member.down member=c*",
            ]
        )


def test_seeds_of_the_command_line_are_for_every_simulation(pytester: pytest.Pytester) -> None:
    tests = """
def test_it(zdynamo_simulation): pass

def test_of_something_else(): pass

@pytest.mark.parametrize("zdynamo_seed", [7, 8])
def test_that_names_its_seeds(zdynamo_simulation): assert zdynamo_simulation.seed in (7, 8)
"""

    outcome(pytester, tests, "--zdynamo-seeds", "5").assert_outcomes(passed=5 + 1 + 2)


def test_the_command_that_repeats_a_failure_finds_the_test_whatever_gave_it_its_seed(
    pytester: pytest.Pytester,
) -> None:
    tests = "def test_it(zdynamo_simulation): assert zdynamo_simulation.seed not in (0, 2)"

    for given, failed in (("--zdynamo-seeds", "3"), 2), (("--zdynamo-seed", "2"), 1), ((), 1):
        result = outcome(pytester, tests, *given)
        told = [line for line in result.outlines if "to repeat it: pytest" in line]
        _, *command = shlex.split(told[-1].partition("to repeat it: ")[2])
        again = pytester.runpytest_inprocess(*command)

        assert result.parseoutcomes()["failed"] == len(told) == failed
        again.assert_outcomes(failed=1)


def test_without_marker_and_option_a_test_runs_once_with_one_seed(pytester: pytest.Pytester) -> None:
    tests = "def test_it(zdynamo_simulation, zdynamo_seed): assert zdynamo_simulation.seed == zdynamo_seed == {}"

    outcome(pytester, tests.format(0)).assert_outcomes(passed=1)
    outcome(pytester, tests.format(9), "--zdynamo-seed", "9").assert_outcomes(passed=1)


def test_a_client_left_open_fails_the_test_and_says_what_to_do(pytester: pytest.Pytester) -> None:
    tests = """
left = []

def test_it(zdynamo_cluster):
    left.append(Client(*zdynamo_cluster.addresses, context=zdynamo_cluster.context))
    left.append(zdynamo_cluster.context)
    left[0].put("k", "v")

def test_the_next_is_not_touched(zdynamo_cluster):
    zdynamo_cluster.client().put("k", "v")
    left[0].close()
    left[1].term()
"""

    result = outcome(pytester, tests)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*sockets are still open*close every client that you made*"])


def test_of_a_failure_on_a_cluster_the_log_of_its_nodes_is_shown(pytester: pytest.Pytester) -> None:
    result = outcome(pytester, "def test_it(zdynamo_cluster): assert 0", "--log-level=INFO")

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*Captured log setup*", "INFO*zdynamo:*a: cluster.founded cluster=*"])
