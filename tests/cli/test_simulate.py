"""The verb `simulate`: which seeds, what is shown, and what a failure tells."""

import json
from datetime import date

import pytest

from zdynamo.cli.main import main
from zdynamo.cli.seeds import first_seed
from zdynamo.cli.simulate import _command
from zdynamo.testing.runs import Plan


def test_the_first_seed_is_a_number_or_another_one_each_week() -> None:
    monday, sunday, next_monday = date(2026, 11, 23), date(2026, 11, 29), date(2026, 11, 30)

    assert first_seed("17", monday) == 17
    assert first_seed("from-date", monday) == first_seed("from-date", sunday) == 202648000000
    assert first_seed("from-date", next_monday) == 202649000000


def test_what_was_done_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["simulate", "--seeds", "2", "--nodes", "3", "--seconds", "3", "--jobs", "2"])

    shown = capsys.readouterr()
    assert code == 0
    assert "2 runs" in shown.out and "times real time" in shown.out
    assert shown.out.splitlines()[-1] == "no promise was broken"
    assert shown.err == "zdynamo: seeds 1 to 2\n"


def test_scripts_get_a_document(capsys: pytest.CaptureFixture[str]) -> None:
    code = main(
        ["simulate", "--seed", "7", "--seeds", "1", "--nodes", "3", "--seconds", "3", "--faults", "kill", "--json"]
    )

    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (document["first_seed"], document["seeds"], document["failed"]) == (7, 1, [])
    assert document["virtual_s"] > 3
    assert set(document["faults"]) <= {"kill"}


def test_the_command_that_is_told_runs_exactly_that_seed() -> None:
    plan = Plan(seed=7, nodes=5, faults=("kill", "pause"), seconds=20.0)

    assert _command(plan, ["kill,pause"]) == (
        "zdynamo simulate --seed 7 --seeds 1 --seconds 20 --nodes 5 --faults kill,pause"
    )
    assert _command(Plan(seed=7), None) == "zdynamo simulate --seed 7 --seeds 1 --seconds 20"
