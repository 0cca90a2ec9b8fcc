"""Clusters of 3 to 9 nodes with all faults, two at a time; every promise is checked. `.ci/run` runs 500 other seeds."""

import os

import pytest

from zdynamo.testing.runs import Plan, run

SEEDS = int(os.environ.get("ZDYNAMO_SEEDS", "12"))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_promise_holds_whatever_goes_wrong(seed: int) -> None:
    assert run(Plan(seed=seed)).broken == []
