"""Is a folder the one that it was at the last start?"""

import os
import shutil
from pathlib import Path

import pytest

from zdynamo.threads.machine import place_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "store"
    made.mkdir()
    (made / "file").write_text("1")
    return made


def test_a_folder_stays_the_same_whatever_is_done_in_it_or_to_its_owner(folder: Path) -> None:
    place = place_of(folder)

    (folder / "file").unlink()
    (folder / "other").write_text("2")
    folder.chmod(0o700)
    os.chown(folder, os.getuid(), os.getgid())

    assert place
    assert place_of(folder) == place


def test_a_copy_is_another_folder(folder: Path, tmp_path: Path) -> None:
    place = place_of(folder)
    shutil.copytree(folder, tmp_path / "backup")
    folder.rename(tmp_path / "broken")
    (tmp_path / "backup").rename(folder)

    assert place_of(folder) != place


def test_nothing_is_known_of_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert place_of(tmp_path / "none") == ""
