#!/usr/bin/env python3
"""Break rules on purpose, one at a time, and see which test catches each: proof that the tests hold the promises.

Each mutation in mutations.toml is applied to a copy of the tree, and the tests that it names are run there until one
fails. A mutation that all of them pass has SURVIVED: a test is missing. One whose text is not in the code any more does
not apply: the list is out of date.

    tools/mutate.py                      all of them, two at a time
    tools/mutate.py hint pw              those with one of these words in their name
    tools/mutate.py --list               name, promise and rule of each
    tools/mutate.py --jobs 4 --json

Exit 0 if every one was caught, 1 if one survived, 2 if one does not apply or could not be run.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from zdynamo.cli.output import note, show_json, show_table

ROOT = Path(__file__).parent.parent
LIST = Path(__file__).parent / "mutations.toml"
COPIED = ("zdynamo", "tests", "tools", "docs", "configs", "pyproject.toml", "README.md", "ARCHITECTURE.md")
TEST_S = 60  # that one test has: a rule that is broken may make it wait for ever
RUN_S = 600  # that all tests of a mutation have; beyond, nothing is known
JOBS = 2
SHOWN = 100  # characters of a test's name in the table; the JSON has all of it
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+?)(?: - (.*))?$", re.MULTILINE)
SUITE = "tests without a mutation"

Outcome = Literal["caught", "SURVIVED", "does not apply", "could not be run"]


class Mutation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule, and how it is broken."""

    name: str
    rule: str  # one sentence
    promise: str  # that rests on it
    file: str
    old: str
    new: str
    tests: tuple[str, ...]  # arguments for pytest

    def applied(self, root: Path) -> str | None:
        """The text of the file with the rule broken; None unless the old text is in it exactly once."""
        path = root / self.file
        text = path.read_text() if path.is_file() else ""
        return text.replace(self.old, self.new) if text.count(self.old) == 1 else None


class Result(msgspec.Struct):
    """What became of a mutation."""

    name: str
    promise: str
    outcome: Outcome
    by: str = ""  # the test that caught it, or what is wrong
    seconds: float = 0.0


def load() -> list[Mutation]:
    """All mutations."""
    listed = tomllib.loads(LIST.read_text())["mutation"]
    return msgspec.convert(listed, list[Mutation])


def check(mutation: Mutation, tree: Path) -> Result:
    """Break the rule in that tree, run the tests, mend it."""
    result = Result(mutation.name, mutation.promise, "does not apply", f"not exactly once in {mutation.file}")
    mutated = mutation.applied(tree)
    if mutated is None:
        return result
    path, began = tree / mutation.file, time.monotonic()
    original = path.read_text()
    path.write_text(mutated)
    try:
        result.outcome, result.by = run(mutation.tests, tree)
    finally:
        path.write_text(original)
    result.seconds = time.monotonic() - began
    return result


def run(tests: Iterable[str], tree: Path) -> tuple[Outcome, str]:
    """Until one fails."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", f"--timeout={TEST_S}"]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "1000"}
    try:
        done = subprocess.run(
            [*command, *tests], cwd=tree, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "could not be run", f"not done in {RUN_S} s"
    if done.returncode == 0:
        return "SURVIVED", f"passed: {', '.join(tests)}"
    failed = FAILED.search(done.stdout)
    if done.returncode != 1 or failed is None or "::" not in failed[1]:
        said = (done.stdout + done.stderr).strip().splitlines() or [f"pytest ended with {done.returncode}"]
        return "could not be run", said[-1]
    return "caught", failed[1]


@contextmanager
def copies(count: int) -> Iterator[list[Path]]:
    """So many copies of the tree."""
    with tempfile.TemporaryDirectory(prefix="zdynamo-mutate-") as folder:
        trees = [Path(folder) / str(number) for number in range(count)]
        for tree in trees:
            tree.mkdir()
            for name in COPIED:
                source = ROOT / name
                if source.is_dir():
                    shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
                else:
                    shutil.copy(source, tree / name)
        yield trees


def run_all(mutations: list[Mutation], jobs: int, seen: Callable[[Result], None]) -> list[Result]:
    """The results in the order of the mutations; `seen` is told each when it is there."""
    with copies(jobs) as trees, ThreadPoolExecutor(jobs) as pool:
        free = list(trees)

        def one(mutation: Mutation) -> Result:
            tree = free.pop()  # as many as there are threads
            try:
                return check(mutation, tree)
            finally:
                free.append(tree)

        started = {pool.submit(one, mutation): mutation.name for mutation in mutations}
        results: dict[str, Result] = {}
        for done in as_completed(started):
            results[started[done]] = done.result()
            seen(done.result())
    return [results[mutation.name] for mutation in mutations]


def sound(mutations: list[Mutation]) -> Result:
    """Whether the tests pass when nothing is broken; else nothing that fails says anything."""
    tests = sorted({test for mutation in mutations for test in mutation.tests})
    with copies(1) as (tree,):
        began = time.monotonic()
        outcome, by = run(tests, tree)
        result = Result(SUITE, "", "caught", seconds=time.monotonic() - began)
        if outcome != "SURVIVED":
            result.outcome, result.by = "could not be run", by
        return result


def chosen(words: list[str]) -> list[Mutation]:
    return [each for each in load() if not words or any(word in each.name for word in words)]


def judge(given: argparse.Namespace, mutations: list[Mutation]) -> list[Result]:
    """With a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), disable=given.json or not sys.stderr.isatty()) as bar:
        task = bar.add_task("the tests as they are", total=len(mutations) + 1)
        if not given.no_check:
            whole = sound(mutations)
            if whole.outcome != "caught":
                return [whole]
        bar.update(task, advance=1, description="mutations")

        def seen(result: Result) -> None:
            bar.update(task, advance=1, description=result.name)
            if result.outcome != "caught":
                note(f"{result.name}: {result.outcome}: {result.by}")

        return run_all(mutations, given.jobs, seen)


def short(by: str) -> str:
    """The name of a test without its file and parameters; all else as it is."""
    return by.rpartition("::")[2].partition("[")[0][:SHOWN]


def positive(text: str) -> int:
    """Raises: ArgumentTypeError."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a number of 1 or more")
    return int(text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only mutations with one of these in their name")
    parser.add_argument("--jobs", type=positive, default=JOBS, metavar="N", help="at a time (default %(default)s)")
    parser.add_argument("--no-check", action="store_true", help="do not run the tests without a mutation first")
    parser.add_argument("--list", action="store_true", help="show the rules and run nothing")
    parser.add_argument("--json", action="store_true", help="the results as one JSON document")
    return parser.parse_args()


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the copies of the code are removed
    given = arguments()
    mutations = chosen(given.words)
    if not mutations:
        note(f"no mutation is named like that: there are {', '.join(each.name for each in load())}")
        return 2
    if given.list:
        show_table(["MUTATION", "PROMISE", "RULE"], [(each.name, each.promise, each.rule) for each in mutations])
        return 0
    results = judge(given, mutations)
    if given.json:
        show_json(msgspec.to_builtins(results))
    else:
        rows = [(each.name, each.promise, each.outcome, f"{each.seconds:.1f}", short(each.by)) for each in results]
        show_table(["MUTATION", "PROMISE", "OUTCOME", "SECONDS", "BY"], rows, right=["SECONDS"])
    outcomes = {each.outcome for each in results}
    return 2 if outcomes & {"does not apply", "could not be run"} else 1 if "SURVIVED" in outcomes else 0


if __name__ == "__main__":
    sys.exit(main())
