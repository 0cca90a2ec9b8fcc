"""The examples of docs/http.md: each command is run by a shell, and what it prints is compared; `...` is anything."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.served import served

from zdynamo.fixtures.cluster import InProcessCluster

PAGE = Path(__file__).parent.parent.parent / "docs" / "http.md"
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
HEADER_BY_NAME = (7, 84)  # the curl that knows %header{...}


def curl_version() -> tuple[int, ...]:
    if not shutil.which("curl"):
        return (0,)
    said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(map(int, said.split()[1].split(".")[:2]))


@pytest.mark.skipif(curl_version() < HEADER_BY_NAME, reason="needs curl 7.84")
def test_the_examples_do_what_they_say(cluster: InProcessCluster) -> None:
    commands, expected = [], ""
    for line in "".join(BLOCK.findall(PAGE.read_text())).splitlines(keepends=True):
        if line.startswith("$ "):
            commands.append(line.removeprefix("$ "))
        else:
            expected += line
    with served(cluster, served_by="127.0.0.1:7400") as place:
        script = "".join(commands).replace("localhost:7403", f"127.0.0.1:{place.port}")
        done = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert done.stderr == ""
    assert re.fullmatch(
        re.escape(without_line_ends(expected)).replace(r"\.\.\.", r"[\w-]*"), without_line_ends(done.stdout)
    )


def without_line_ends(text: str) -> str:
    """Without line ends: most answers have none at their end."""
    return text.replace("\n", "")
