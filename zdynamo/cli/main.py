"""The `zdynamo` program: its verbs, and how every failure becomes one line and an exit code."""

import os
import re
import sys

import typer

from zdynamo.cli import (
    bench,
    check_merge,
    data,
    explain,
    gateway,
    keys,
    local,
    repair,
    simulate,
    start,
    status,
    top,
    views,
)
from zdynamo.cli.output import DONE, FAILED, INTERRUPTED, QUORUM_NOT_MET, USAGE, WrongUsage, one_line

KEYED = {"key", "value"}  # arguments that may begin with a dash

app = typer.Typer(
    epilog="Exit codes: 0 done, 1 refused or failed, 2 wrong usage or settings, 3 not found, 4 quorum not met.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for verb in (
    start.start,
    local.local,
    gateway.gateway,
    data.put,
    data.get,
    data.delete,
    keys.keys,
    explain.explain,
    views.members,
    views.ring,
    status.status,
    top.top,
    repair.repair,
    check_merge.check_merge,
    bench.bench,
    simulate.simulate,
):
    app.command()(verb)


@app.callback(invoke_without_command=True)
def program(
    context: typer.Context, version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True)
) -> None:
    """A leaderless, highly available key-value store.

    To begin: zdynamo local; then, in another terminal: zdynamo put greeting hello; zdynamo get greeting

    With an example each: zdynamo VERB --help
    """
    if version:
        from zdynamo import __version__

        print(f"zdynamo {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(USAGE)


def run() -> None:
    """The entry point of the installed program."""
    if not _has_output():
        print("zdynamo: standard output is closed: give it a file, or /dev/null", file=sys.stderr)
        sys.exit(FAILED)
    code = main(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        if code == DONE and not isinstance(error, BrokenPipeError):
            print(f"zdynamo: standard output: {error.strerror}", file=sys.stderr)
        code = _reader_left()
    sys.exit(code)


def _has_output() -> bool:
    """Whether there is a standard output. The numbers of closed streams are taken: no file or socket gets them."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    if sys.stderr is None:  # print would go to standard output instead
        sys.stderr = os.fdopen(2, "w", closefd=False)
    return sys.stdout is not None


def main(arguments: list[str]) -> int:
    """Run one command line; returns the exit code."""
    try:
        return int(app(arguments, prog_name="zdynamo", standalone_mode=False) or 0)
    except BrokenPipeError:
        return _reader_left()
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except Exception as error:
        line, code = _explain(error)
        if line:
            print(f"zdynamo: {line}", file=sys.stderr)
        return code


def _explain(error: Exception) -> tuple[str, int]:
    """One line that says what to do, and the exit code."""
    from zdynamo.errors import QuorumNotMet, ZdynamoError

    if hasattr(error, "format_message"):  # typer's own usage errors, whichever version made them
        return _usage(error), int(getattr(error, "exit_code", FAILED))
    if isinstance(error, QuorumNotMet):
        return one_line(error), QUORUM_NOT_MET
    if isinstance(error, ZdynamoError):
        return one_line(error), USAGE if isinstance(error, WrongUsage) else FAILED
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or one_line(error)}", FAILED
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    place = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}" if traceback else "unknown place"
    return f"unexpected {type(error).__name__} at {place}: {one_line(error)}; please report this", FAILED


def _usage(error: Exception) -> str:
    """In our words: an option without quotes, a sentence that begins in lower case."""
    message = one_line(error.format_message()).rstrip(".")  # type: ignore[attr-defined]
    message = re.sub(r"'(-[\w-]+)'", r"\1", message.replace("Input should be", "it should be"))
    context = getattr(error, "ctx", None)
    see = f": see {context.command_path} --help" if message and context else ""
    if (
        re.match("No such option: -[^-]", message)
        and context
        and KEYED & {param.name for param in context.command.params}
    ):
        see = ", and what begins with a dash without being one comes after --" + see
    return f"{message[:1].lower()}{message[1:]}{see}"


def _reader_left() -> int:
    """Nobody reads our output any more; Python must not try to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED
