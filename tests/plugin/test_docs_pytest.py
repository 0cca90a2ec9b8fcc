"""The examples in docs/pytest.md are files of tests, and they pass."""

import re
from pathlib import Path

import pytest

import zdynamo.fixtures.cluster
import zdynamo.fixtures.simulated  # noqa: F401 - pytester forgets what is first imported in a run of its own

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parent.parent.parent / "docs" / "pytest.md"
FILE = re.compile(r"```python\n# (\w+)\.py\n(.*?)```", re.DOTALL)


def test_the_examples_pass(pytester: pytest.Pytester) -> None:
    files = dict(FILE.findall(PAGE.read_text()))
    pytester.makepyfile(**files)
    tests = sum(text.count("def test_") for text in files.values())
    seeds = 10 - 1  # of one of them

    result = pytester.runpytest_inprocess()

    result.assert_outcomes(passed=tests + seeds)
    assert PAGE.read_text().count("```python") == len(files)
