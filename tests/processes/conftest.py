"""Fixtures of tests with real node processes; none outlives its test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes import Nodes


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path)
    try:
        yield made
    finally:
        made.stop()
