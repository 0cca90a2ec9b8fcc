"""The program without a cluster: help, usage, exit codes, and one line for every failure."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from support.programs import ENVIRONMENT, in_text, zdynamo

from zdynamo.cli import start
from zdynamo.config import kinds

VERBS = (
    "start",
    "local",
    "gateway",
    "put",
    "get",
    "delete",
    "keys",
    "explain",
    "members",
    "ring",
    "status",
    "top",
    "repair",
    "check-merge",
    "bench",
    "simulate",
)
CLIENT_VERBS = (
    ["get", "k"],
    ["put", "k", "v"],
    ["delete", "k"],
    ["keys"],
    ["explain", "k"],
    ["members"],
    ["ring"],
    ["status"],
    ["top", "--once"],
    ["repair"],
)
NOBODY = "127.0.0.1:9"  # the discard port: nothing listens there


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """In this process, unless it would become a node if it were not refused."""
    if arguments[:1] in (("start",), ("local",), ("bench",)):
        command = [sys.executable, "-m", "zdynamo", *arguments]
        return subprocess.run(
            command, env=ENVIRONMENT | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60, check=False,
        )  # fmt: skip
    return in_text(zdynamo(*arguments, **environment))


def assert_one_line(done: subprocess.CompletedProcess[str], code: int) -> None:
    assert done.returncode == code, done.stderr
    assert re.fullmatch(r"zdynamo: (?!unexpected)[^\n]+\n", done.stderr), done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_shows_an_example_and_json_in_its_help(verb: str) -> None:
    done = run(verb, "--help")

    assert done.returncode == 0
    assert f"Example: zdynamo {verb}" in done.stdout
    assert "--json" in done.stdout
    assert done.stderr == ""


def test_the_examples_of_start_wait_for_three_members_before_it_is_decided_who_owns_the_data() -> None:
    examples = [line for line in run("start", "--help").stdout.splitlines() if "Example:" in line]

    assert len(examples) == 2
    assert all("--min-members 3" in example for example in examples)


def test_the_program_alone_shows_its_verbs_and_is_a_usage_error() -> None:
    done = run()

    assert done.returncode == 2
    assert all(f"\n  {verb}" in done.stdout for verb in VERBS)


def test_the_help_of_the_program_says_where_to_begin_and_cuts_no_line_short() -> None:
    shown = run("--help").stdout

    assert "To begin: zdynamo local" in shown
    assert not [line for line in shown.splitlines()[1:] if line.endswith("...")]


@pytest.mark.parametrize("verb", ["get", "keys"])
def test_who_prints_what_may_have_newlines_says_how_to_keep_it_apart(verb: str) -> None:
    assert "have newlines" in " ".join(run(verb, "--help").stdout.replace("\n", " ").split())


@pytest.mark.parametrize("column", ["STATE", "ROUND", "RECORD"])
def test_explain_explains_its_columns(column: str) -> None:
    assert f"\n  {column}: " in run("explain", "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["get"],
        ["put", "k"],
        ["get", "k", "--nonsense"],
        ["get", "k", "--node", "nowhere"],
        ["get", "k", "--node", "127.0.0.1:0"],
        ["get", "k", "-r", "-1"],
        ["get", "k", "--timeout-ms", "0"],
        ["get", "k", "--pr", "-1"],
        ["put", "k", "v", "--context", "!"],
        ["put", "k", "{", "--as-json"],
        ["put", "k", "NaN", "--as-json"],
        ["put", "k", "[" * 100_000, "--as-json"],
        ["put", "k", str(2**64), "--as-json"],
        ["put", "k", r'"\ud800"', "--as-json"],
        ["put", "k", "v", "--if-context", "!"],
        ["put", "k", "v", "--if-absent", "--if-context", "AA"],
        ["put", "k", "v", "--if-absent", "--context", "AA"],
        ["put", "k", "v", "--ttl", "soon"],
        ["put", "k", "v", "--ttl", "30"],
        ["put", "k", "v", "--ttl", "-1s"],
        ["delete", "k", "--context", "!"],
        ["keys", "--limit", "0"],
        ["check-merge"],
        ["start", "--port", "x"],
        ["start", "--port", "-1"],
        ["start", "--port", "70000"],
        ["start", "--min-members", "0"],
        ["start", "--memory", "--data", "d"],
        ["local", "--nodes", "0"],
        ["local", "--memory", "--data", "d"],
        ["bench", "--in-flight", "x"],
        ["bench", "--in-flight", "1,0"],
        ["bench", "--storage", "tape"],
        ["bench", "--storage", "memory", "--node", NOBODY],
        ["gateway", "--seed", NOBODY, "--name", ""],
        ["simulate", "--seed", "today"],
        ["simulate", "--nodes", "2"],
        ["simulate", "--faults", "kill,rain"],
    ],
    ids=lambda arguments: " ".join(arguments)[:40],
)
def test_wrong_usage_is_one_line_and_exit_2(arguments: list[str]) -> None:
    assert_one_line(run(*arguments), 2)


@pytest.mark.parametrize(
    ("arguments", "environment", "names"),
    [
        (["start", "--config", "missing.toml"], {}, "missing.toml"),
        (["start", "--host", "10.0.0.1"], {}, "--host is 10.0.0.1"),
        (["start", "--host", "0.0.0.0"], {}, "--host is 0.0.0.0"),
        (["start", "--durability", "perhaps"], {}, "--durability is 'perhaps'"),
        (["start", "--seed", "nowhere"], {}, "--seed has 'nowhere'"),
        (["start"], {"ZDYNAMO_NODE_PORT": "x"}, "ZDYNAMO_NODE_PORT"),
        (["start"], {"ZDYNAMO_NONSENSE": "x"}, "ZDYNAMO_NONSENSE"),
        (["start"], {"ZDYNAMO_CLUSTER_SEEDS": "nowhere"}, "ZDYNAMO_CLUSTER_SEEDS has 'nowhere'"),
        (["local", "--config", "missing.toml"], {}, "missing.toml"),
        (["local"], {"ZDYNAMO_NODE_PORT": "x"}, "ZDYNAMO_NODE_PORT"),
        (["gateway", "--seed", "nowhere"], {}, "--seed has 'nowhere'"),
        (["gateway", "--seed", NOBODY, "--log-level", "loud"], {}, "--log-level is 'loud'"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_one_line_that_names_it_as_it_was_given_and_exit_2(
    arguments: list[str], environment: dict[str, str], names: str
) -> None:
    done = run(*arguments, **environment)

    assert_one_line(done, 2)
    assert names in done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["get", "k", "-r", "-1"],
            "invalid value for -r: it should be greater than or equal to 0: see zdynamo get --help",
        ),
        (["get", "k", "--bucket"], "option --bucket requires an argument"),
        (["get", "k", "--xyz"], "no such option: --xyz: see zdynamo get --help"),
        (
            ["put", "answer", "-42"],
            "no such option: -4, and what begins with a dash without being one comes after --: see zdynamo put --help",
        ),
    ],
    ids=str,
)
def test_wrong_usage_is_said_in_one_style(arguments: list[str], line: str) -> None:
    assert run(*arguments).stderr == f"zdynamo: {line}\n"


@pytest.mark.parametrize("verb", VERBS)
def test_no_help_shows_a_type_of_python(verb: str) -> None:
    assert not re.search(r"<\w+\[|<class", run(verb, "--help").stdout)


@pytest.mark.parametrize(
    ("arguments", "blamed"),
    [
        (["start", "--memory", "--host", "nope.invalid"], "node.host"),
        (["start", "--memory", "--bind", "nope.invalid"], "node.bind"),
        (["gateway", "--seed", NOBODY, "--host", "nope.invalid"], "--host"),
    ],
    ids=str,
)
def test_a_host_that_is_not_known_is_not_blamed_on_the_port(arguments: list[str], blamed: str) -> None:
    done = run(*arguments, "--insecure")

    assert_one_line(done, 1)
    assert done.stderr.startswith(f"zdynamo: {blamed}: the host nope.invalid is not known: ")


@pytest.mark.parametrize("host", ["nope.invalid", ".."], ids=["unknown", "no_name"])
@pytest.mark.parametrize("verb", [["get", "k"], ["repair"], ["bench"]], ids=lambda verb: verb[0])
def test_a_host_that_is_not_known_is_said_at_once(verb: list[str], host: str) -> None:
    done = run(*verb, "--node", f"{host}:7400")

    assert_one_line(done, 1)
    assert f"the host {host} of {host}:7400 is not known" in done.stderr


@pytest.mark.parametrize(
    ("option", "section", "key"),
    [
        (start.Port, "node", "port"),
        (start.PeerPort, "node", "peer_port"),
        (start.GossipPort, "node", "gossip_port"),
        (start.HttpPort, "node", "http_port"),
        (start.MinMembers, "cluster", "min_members"),
    ],
)
def test_the_range_of_a_flag_is_that_of_its_setting(option: Any, section: str, key: str) -> None:
    flag, setting = get_args(option)[1], get_args(kinds(section)[key])[1]

    assert (flag.min, flag.max) == (setting.ge, setting.le)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["put", "k", "v", "--context", ""], "leave --context out to write unconditionally"),
        (["delete", "k", "--context", ""], "leave --context out to delete unconditionally"),
        (["put", "k", "v", "--if-context", ""], "--if-absent is for a key without a value"),
    ],
    ids=str,
)
def test_an_empty_context_is_refused_since_it_may_be_an_empty_shell_variable(arguments: list[str], says: str) -> None:
    done = run(*arguments, "--node", NOBODY, "--timeout-ms", "200")

    assert_one_line(done, 2)
    assert says in done.stderr


def closed(stream: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, started with one of its standard streams closed."""
    command = f'exec "$0" -m zdynamo "$@" {stream}>&-'
    return subprocess.run(
        ["sh", "-c", command, sys.executable, *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["put", "k", "v"]], ids=" ".join)
def test_a_closed_standard_output_is_one_line_and_nothing_is_done(arguments: list[str]) -> None:
    done = closed(1, *arguments)

    assert_one_line(done, 1)
    assert "standard output is closed" in done.stderr


def test_a_closed_standard_input_is_no_value() -> None:
    done = closed(0, "put", "k", "-", "--node", NOBODY, "--timeout-ms", "200")

    assert_one_line(done, 2)
    assert "standard input is closed" in done.stderr


def test_with_a_closed_standard_error_no_error_is_taken_for_output() -> None:
    done = closed(2, "get", "k", "--node", NOBODY, "--timeout-ms", "200")

    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_an_output_that_takes_nothing_is_one_line() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "zdynamo", "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert done.stderr.startswith("zdynamo: ")


@pytest.mark.parametrize("arguments", CLIENT_VERBS, ids=" ".join)
def test_without_a_node_there_every_verb_fails_in_one_line(arguments: list[str]) -> None:
    assert_one_line(run(*arguments, "--node", NOBODY, "--timeout-ms", "200"), 1)


def test_the_address_of_a_node_may_stand_in_the_environment() -> None:
    done = run("get", "k", ZDYNAMO_ADDRESS="nowhere")

    assert_one_line(done, 2)
    assert "nowhere" in done.stderr


def test_a_reader_that_leaves_early_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    done = subprocess.run(
        [sys.executable, "-m", "zdynamo", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writer)

    assert done.returncode == 1
    assert done.stderr == ""


def test_an_interrupt_is_no_traceback() -> None:
    script = (
        "import sys, zdynamo.cli.main as main\n"
        "main.app.command('wait')(lambda: (_ for _ in ()).throw(KeyboardInterrupt))\n"
        "sys.argv = ['zdynamo', 'wait']\n"
        "main.run()\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (130, "")


def test_get_imports_neither_the_server_nor_rich() -> None:
    script = (
        "import sys\n"
        "from zdynamo.cli.main import main\n"
        f"main(['get', 'k', '--node', '{NOBODY}', '--timeout-ms', '1'])\n"
        "heavy = {'rich', 'rocksdict', 'structlog', 'zdynamo.config', 'zdynamo.threads', 'zdynamo.core'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.stdout == "[]\n", done.stderr


def test_the_repository_has_no_other_entry_point() -> None:
    installed = Path(sys.executable).parent / "zdynamo"

    done = subprocess.run([installed, "--version"], capture_output=True, text=True, check=False)

    assert re.fullmatch(r"zdynamo \d+\.\d+\.\d+\n", done.stdout)
