"""What is logged, how often, and in which form."""

import json
import subprocess
import sys
from typing import Any

import pytest
from support.screens import terminal_of

from zdynamo.threads.log import CHANGES_MAX, Log


class Said(Log):
    """A log that remembers, under a clock that a test sets."""

    def __init__(self) -> None:
        super().__init__("a", clock=lambda: self.now)
        self.now = 100.0
        self.lines: list[tuple[str, str, dict[str, object]]] = []

    def note(self, level: str, name: str, fields: dict[str, object]) -> None:
        self.lines.append((level, name, fields))


def test_what_strangers_cause_is_said_once_a_second_with_how_often_it_was_left_out() -> None:
    log = Said()

    for size in range(5):
        log.seldom("warning", "frame.malformed", {"bytes": size})
    log.now += 1
    log.seldom("warning", "frame.malformed", {"bytes": 9})

    assert log.lines == [
        ("warning", "frame.malformed", {"bytes": 0}),
        ("warning", "frame.malformed", {"bytes": 9, "repeated": 4}),
    ]


def test_one_name_does_not_keep_another_from_being_said() -> None:
    log = Said()

    log.seldom("warning", "frame.malformed", {})
    log.seldom("warning", "request.malformed", {})

    assert [name for _, name, _ in log.lines] == ["frame.malformed", "request.malformed"]


def test_what_was_left_out_last_is_said_later_if_nothing_follows() -> None:
    log = Said()
    for size in range(3):
        log.seldom("warning", "frame.malformed", {"bytes": size})
    log.catch_up()
    too_early = len(log.lines)

    log.now += 1
    log.catch_up()
    log.now += 10
    log.catch_up()

    assert too_early == 1
    assert log.lines[1:] == [("warning", "frame.malformed", {"bytes": 2, "repeated": 1})]


def test_changes_are_all_said_when_a_large_cluster_starts() -> None:
    log = Said()

    for number in range(CHANGES_MAX):
        log.change("info", "member.joined", {"member": number})

    assert [fields["member"] for _, _, fields in log.lines] == list(range(CHANGES_MAX))


@pytest.mark.parametrize("seconds", [0, 1, 3])
def test_a_flood_of_changes_is_cut_to_one_a_second(seconds: int) -> None:
    log = Said()
    for number in range(CHANGES_MAX * 2):
        log.change("info", "member.joined", {"member": number})

    for _ in range(seconds):
        log.now += 1
        for number in range(100):
            log.change("info", "member.joined", {"member": number})

    assert len(log.lines) == CHANGES_MAX + seconds


def said_by_a_process(**how: Any) -> list[str]:
    script = (
        "from zdynamo.config import LogSettings\n"
        "from zdynamo.threads.log import Log, configure\n"
        "configure(LogSettings())\n"
        "Log('a').note('warning', 'member.down', {'member': 'b', 'phi': 9.5})\n"
        "Log('a').note('debug', 'not.shown', {})\n"
    )
    if how.get("on_a_terminal"):
        return terminal_of([sys.executable, "-c", script]).splitlines()
    return said_by_the_script(script)


def said_by_the_script(script: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_lines_that_nobody_reads_are_counted_in_the_next_that_is_written() -> None:
    script = (
        "import os\n"
        "from zdynamo.config import LogSettings\n"
        "from zdynamo.threads.log import Log, configure\n"
        "configure(LogSettings())\n"
        "log, heard = Log('a'), os.dup(2)\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "os.dup2(writer, 2)\n"
        "for number in range(3): log.note('info', 'not.heard', {'number': number})\n"
        "os.dup2(heard, 2)\n"
        "for number in range(2): log.note('info', 'heard', {'number': number})\n"
    )
    lines = said_by_the_script(script)

    said = [json.loads(line) for line in lines if "not.heard" not in line]
    assert [(each["number"], each.get("lost")) for each in said] == [(0, 3), (1, None)]


def test_off_a_terminal_each_line_is_json_with_the_node_and_the_time_in_utc() -> None:
    (line,) = said_by_a_process()

    said = json.loads(line)
    assert said.pop("timestamp").endswith("Z")
    assert said == {"event": "member.down", "level": "warning", "node": "a", "member": "b", "phi": 9.5}


def test_on_a_terminal_lines_are_for_people() -> None:
    (line,) = said_by_a_process(on_a_terminal=True)

    assert "member.down" in line
    assert not line.startswith("{")
