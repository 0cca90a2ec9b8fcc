"""Fixtures of tests with real node processes; none outlives its test, or its file where tests share it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from killable import wait_until
from support.processes import Nodes, Trio, is_whole


@contextmanager
def made(folder: Path) -> Iterator[Nodes]:
    nodes = Nodes(folder)
    try:
        yield nodes
    finally:
        nodes.stop()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Nodes]:
    with made(tmp_path) as each:
        yield each


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """For nodes that all tests of a file share."""
    with made(tmp_path_factory.mktemp("lasting")) as each:
        yield each


@pytest.fixture(scope="module")
def lasting_trio(lasting: Nodes) -> Trio:
    return Trio(lasting, *lasting.trio())


@pytest.fixture
def trio(lasting_trio: Trio) -> Trio:
    """Shared by the tests of a file, each of which leaves it whole: it may restart the third node."""
    wait_until(lambda: all(is_whole(node, lasting_trio.all) for node in lasting_trio.all))
    return lasting_trio
