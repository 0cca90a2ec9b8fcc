"""The verb `simulate`: which seeds, what is shown, and what a failure tells."""

import json
import re
from datetime import date
from pathlib import Path

import pytest

from zdynamo.cli.main import main
from zdynamo.cli.seeds import first_seed
from zdynamo.cli.simulate import FAULTS, _command, _document, _tell
from zdynamo.testing.fault_kinds import KINDS
from zdynamo.testing.promises import Broken
from zdynamo.testing.runs import Plan, run


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


def test_a_failure_is_told_with_seed_promise_story_and_command(capsys: pytest.CaptureFixture[str]) -> None:
    result = run(Plan(seed=7, nodes=3, faults=(), seconds=2.0))
    result.broken = [Broken("no-lost-write", "it is gone", ("default", b"register-0"))]

    _tell([result], given=["none"])

    first, heading, *story, again, verdict = capsys.readouterr().out.splitlines()
    assert first == "seed 7 breaks no-lost-write: it is gone"
    assert heading == "the story of register-0 in bucket default, in milliseconds:"
    assert any("begins to put" in line for line in story) and any("stores" in line for line in story)
    assert again == "again: zdynamo simulate --seed 7 --seeds 1 --seconds 2 --nodes 3 --faults none"
    assert verdict == "1 seed broke a promise"
    assert _document([result], [result], 1.0, given=["none"])["failed"] == [
        {
            "seed": 7,
            "broken": [{"promise": "no-lost-write", "what": "it is gone", "key": ["default", "register-0"]}],
            "again": again.removeprefix("again: "),
        }
    ]


def test_the_help_names_every_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--help"]) == 0

    shown = "".join(capsys.readouterr().out.split())  # lines are broken behind hyphens too
    assert FAULTS.split(", ") == list(KINDS)
    assert [kind for kind in KINDS if kind not in shown] == []


def test_the_documentation_says_what_each_fault_does() -> None:
    text = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    cells = re.findall(r"^\| ((?:`[a-z-]+` ?)+)\| [^|]+ \|$", text, re.MULTILINE)

    assert sorted(re.findall(r"`([a-z-]+)`", " ".join(cells))) == sorted(KINDS)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--faults", "kil"], "'kil' is none of kill, pause, restart"),
        (["--faults", "none,kill"], "'none' is none of kill, pause, restart"),
        (["--seconds", "inf"], "less than or equal to 86400"),
        (["--seconds", "1e30"], "less than or equal to 86400"),
        (["--nodes", "2"], "use 3 to 9, or 0"),
        (["--seed", "x"], "write a whole number, or from-date"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    code = main(["simulate", *arguments])

    told = capsys.readouterr().err
    assert (code, told.count("\n")) == (2, 1)
    assert complaint in told


def test_the_command_that_is_told_runs_exactly_that_seed() -> None:
    plan = Plan(seed=7, nodes=5, faults=("kill", "pause"), seconds=20.0)

    assert _command(plan, ["kill,pause"]) == (
        "zdynamo simulate --seed 7 --seeds 1 --seconds 20 --nodes 5 --faults kill,pause"
    )
    assert _command(Plan(seed=7), None) == "zdynamo simulate --seed 7 --seeds 1 --seconds 20"
