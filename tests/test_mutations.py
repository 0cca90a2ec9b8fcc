"""The list of mutations fits the code, and a broken rule is caught. `tools/mutate.py` runs all of them."""

import subprocess
import sys
from pathlib import Path

import mutate
import pytest
from msgspec.structs import replace
from mutate import Mutation, Result

ROOT = Path(__file__).parent.parent
MUTATIONS = mutate.load()
PROMISES = (ROOT / "ARCHITECTURE.md").read_text()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_fits_the_code_and_names_tests_and_a_promise_that_there_are(mutation: Mutation) -> None:
    mutated = mutation.applied(ROOT)

    assert mutated is not None, f"not exactly once in {mutation.file}: the list has to follow the code"
    compile(mutated, mutation.file, "exec")
    assert mutated != (ROOT / mutation.file).read_text()
    assert [test for test in mutation.tests if not (ROOT / test).is_file()] == []
    assert mutation.promise in PROMISES


def test_each_mutation_has_a_name_of_its_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 15


@pytest.mark.parametrize("jobs", ["0", "-1", "two", "1.5"])
def test_a_number_of_jobs_that_cannot_be_is_wrong_usage(jobs: str) -> None:
    command = [sys.executable, ROOT / "tools" / "mutate.py", "--jobs", jobs]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"{jobs} is not a number of 1 or more\n")


def test_a_broken_rule_is_caught_and_the_code_is_as_before() -> None:
    named = next(mutation for mutation in MUTATIONS if mutation.name == "duplicate-counted")
    (result,) = mutate.run_all([named], 1, lambda result: None)

    test = "tests/core/test_tally.py::test_a_repeated_answer_counts_once"
    assert result == Result("duplicate-counted", named.promise, "caught", test, result.seconds)
    assert named.applied(ROOT) is not None


@pytest.mark.parametrize(
    ("change", "outcome", "by"),
    [
        (
            {"new": "        if replica not in self.waiting:  # as before"},
            "SURVIVED",
            "passed: tests/core/test_tally.py",
        ),
        ({"old": "no such text"}, "does not apply", "not exactly once in zdynamo/core/coordinator/tally.py"),
        ({"old": "self.waiting"}, "does not apply", "not exactly once in zdynamo/core/coordinator/tally.py"),
        ({"new": "        if )"}, "could not be run", ""),
        ({"tests": ("tests/core/no_such.py",)}, "could not be run", ""),
    ],
)
def test_what_is_not_caught_says_why(change: dict[str, object], outcome: str, by: str) -> None:
    old, new = "        if replica not in self.waiting:", "        if False:"
    mutation = Mutation(
        "name", "rule", "promise", "zdynamo/core/coordinator/tally.py", old, new, ("tests/core/test_tally.py",)
    )
    mutation = replace(mutation, **change)

    (result,) = mutate.run_all([mutation], 1, lambda result: None)

    assert result.outcome == outcome
    assert by in result.by
