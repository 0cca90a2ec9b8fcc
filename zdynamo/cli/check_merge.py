"""The verb `check-merge`: look for values with which a merge function breaks its laws."""

import os
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zdynamo.cli.options import JsonOption, parse_json
from zdynamo.cli.output import FAILED, as_usage, note, show_json, show_table
from zdynamo.errors import MergeFunctionError
from zdynamo.plain import plain

if TYPE_CHECKING:
    from zdynamo.cli.merge_laws import Report

DEFAULT_EXAMPLES = 300
HOLDS = {True: "yes", False: "no", None: "unknown"}
UNMARKED = "is not marked with @zdynamo.merge_function: clients do not call it before it is"


def check_merge(
    function: Annotated[
        str, typer.Argument(metavar="MODULE:FUNCTION", help="As in `merge:MODULE:FUNCTION`; modules here are found.")
    ],
    like: Annotated[
        list[str] | None,
        typer.Option("--like", metavar="JSON", help="A value of the kind that it merges; repeatable."),
    ] = None,
    values: Annotated[
        Path | None, typer.Option("--values", metavar="FILE", help="A JSON list of values of the kind that it merges.")
    ] = None,
    examples: Annotated[
        int, typer.Option("--examples", metavar="N", min=1, max=1_000_000, help="How many to try for each law.")
    ] = DEFAULT_EXAMPLES,
    as_json: JsonOption = False,
) -> None:
    """Look for values with which a merge function breaks its laws.

    Siblings come in any order, and more than once. So a merge function has to be commutative, associative and
    idempotent, and has to leave its arguments alone. It is tried on values like those given, or as its annotations
    say, or of every kind that it takes. Exit code 1: an example was found that breaks a law;
    2: it could not be tried.

    Example: zdynamo check-merge zdynamo.merges:union

    Example: zdynamo check-merge shop.carts:merge --like '{"milk": 1}'
    """
    samples = [parse_json(text, "--like") for text in like or ()] + (_samples_in(values) if values else [])
    with tempfile.TemporaryDirectory(prefix="zdynamo-check-") as scratch, as_usage(MergeFunctionError):
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = scratch  # it would leave a folder here
        try:
            from zdynamo.cli.merge_laws import check
        except ImportError as error:
            if error.name != "hypothesis":
                raise
            raise MergeFunctionError("check-merge needs hypothesis: pip install 'zdynamo[check]'") from None
        from zdynamo.merging import is_merge_function, load_function

        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        with redirect_stdout(sys.stderr):  # what the function or its module prints is no verdict
            loaded = load_function(function)
            report = check(loaded, function.rpartition(":")[2], samples, examples)
    marked = is_merge_function(loaded)
    if as_json:
        show_json(_document(function, report, marked))
    else:
        _show(function, report, marked)
        if not samples and not report.verdicts[0].holds:
            note("if it is not for such values: say by --like what it merges")
    if not report.holds:
        raise typer.Exit(FAILED)


def _show(function: str, report: "Report", marked: bool) -> None:
    from zdynamo.cli.merge_laws import LAWS

    print(f"{function}, tried on: {', '.join(report.values)}")
    rows = [(v.law.replace("_", " "), HOLDS[v.holds], LAWS[v.law][0]) for v in report.verdicts]
    show_table(("LAW", "HOLDS", "WHICH SAYS"), rows)
    for verdict in report.verdicts:
        if verdict.holds is False:
            print(f"not {verdict.law.replace('_', ' ')}: {verdict.broken}")
    sys.stdout.flush()
    if report.normal_form:
        note(
            f"merging a value with itself may change it: {report.normal_form}; no harm, if that is the same to readers"
        )
    if not marked:
        note(f"{function} {UNMARKED}")


def _document(function: str, report: "Report", marked: bool) -> dict[str, Any]:
    return {
        "function": function,
        "holds": report.holds,
        "marked": marked,
        "values": report.values,
        "laws": [
            {
                "law": verdict.law,
                "holds": verdict.holds,
                "broken": verdict.broken,
                "example": plain(verdict.example),
            }
            for verdict in report.verdicts
        ],
        "normal_form": report.normal_form,
    }


def _samples_in(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{path} cannot be read ({error.strerror})", param_hint="--values") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(
            f"{path} is no text: it has to hold a JSON list of values", param_hint="--values"
        ) from None
    found = parse_json(text, "--values")
    if not isinstance(found, list):
        raise typer.BadParameter(f"{path} holds no JSON list of values", param_hint="--values")
    if not found:
        raise typer.BadParameter(f"{path} holds an empty list: give at least one value", param_hint="--values")
    return found
