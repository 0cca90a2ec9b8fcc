"""The config files and the option reference say what the code says."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from zdynamo.config import BucketSettings, Config
from zdynamo.loading import load

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def generator() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / "options.py"))


def test_the_commented_file_is_what_the_code_makes_it(generator: dict[str, Any]) -> None:
    assert (ROOT / "configs" / "zdynamo.toml").read_text() == generator["toml"](), "run `make options`"


def test_the_reference_is_what_the_code_makes_it(generator: dict[str, Any]) -> None:
    assert (ROOT / "docs" / "options.md").read_text() == generator["markdown"](), "run `make options`"


def test_the_commented_file_holds_exactly_the_defaults() -> None:
    assert load(ROOT / "configs" / "zdynamo.toml", {}, {}) == Config()


def test_the_commented_bucket_is_one_with_the_defaults(tmp_path: Path) -> None:
    commented = (ROOT / "configs" / "zdynamo.toml").read_text().partition("# [buckets.")
    path = tmp_path / "node.toml"
    path.write_text(re.sub("^# ?", "", commented[1] + commented[2], flags=re.MULTILINE))

    assert load(path, {}, {}).buckets == {"carts": BucketSettings()}


def test_the_buckets_that_the_reference_shows_are_taken(tmp_path: Path) -> None:
    example = re.search("```toml\n(.*?)```", (ROOT / "docs" / "options.md").read_text(), re.DOTALL)
    path = tmp_path / "node.toml"
    path.write_text(example[1] if example else "")

    assert sorted(load(path, {}, {}).buckets) == ["carts", "sessions", "single copies"]


def test_the_three_files_make_one_cluster_of_three() -> None:
    nodes = [load(ROOT / "configs" / "three" / f"{name}.toml", {}, {}) for name in "abc"]

    addresses = {f"{config.node.host}:{config.node.port}" for config in nodes}
    assert len(addresses) == 3
    assert [config.cluster.min_members for config in nodes] == [3, 3, 3]
    assert [bool(config.cluster.seeds) for config in nodes] == [False, True, True]
    assert all(set(config.cluster.seeds) <= addresses for config in nodes)
