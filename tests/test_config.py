"""Settings: where they come from, which wins, and one line that names the key when one is wrong."""

from pathlib import Path

import pytest

from zdynamo.config import BucketSettings, Config
from zdynamo.errors import ConfigError
from zdynamo.loading import load


def written(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text)
    return path


def test_without_anything_the_defaults_hold() -> None:
    assert load(None, {}, {}) == Config()


def test_the_file_beats_the_defaults(tmp_path: Path) -> None:
    path = written(tmp_path, "[node]\nport = 7500\n")

    assert load(path, {}, {}).node.port == 7500


def test_the_environment_beats_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[node]\nport = 7500\nzone = 'x'\n")

    node = load(path, {"ZDYNAMO_NODE_PORT": "7600"}, {}).node

    assert (node.port, node.zone) == (7600, "x")


def test_flags_beat_the_environment_and_none_is_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "[node]\nport = 7500\n")

    node = load(path, {"ZDYNAMO_NODE_PORT": "7600"}, {"node.port": 7700, "node.zone": None}).node

    assert (node.port, node.zone) == (7700, "")


@pytest.mark.parametrize(
    ("name", "text", "section", "key", "value"),
    [
        ("ZDYNAMO_CLUSTER_SEEDS", "a:1,b:2", "cluster", "seeds", ["a:1", "b:2"]),
        ("ZDYNAMO_NODE_INSECURE", "true", "node", "insecure", True),
        ("ZDYNAMO_MEMBERSHIP_SUSPECT_PHI", "9.5", "membership", "suspect_phi", 9.5),
        ("ZDYNAMO_STORAGE_ENGINE", "memory", "storage", "engine", "memory"),
        ("ZDYNAMO_LIMITS_KEY_BYTES_MAX", "100", "limits", "key_bytes_max", 100),
    ],
)
def test_the_environment_holds_every_kind_of_value(name: str, text: str, section: str, key: str, value: object) -> None:
    assert getattr(getattr(load(None, {name: text}, {}), section), key) == value


def test_what_is_not_for_a_node_in_the_environment_is_left_alone() -> None:
    assert load(None, {"ZDYNAMO_ADDRESS": "127.0.0.1:7400", "HOME": "/root"}, {}) == Config()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[node]\nport = 'x'", "{path}: node.port: expected `int`, got `str`, write it as port = 7400"),
        ("[node]\nport = 70000", "{path}: node.port: expected `int` <= 65535, write it as port = 7400"),
        ("[node]\nport = true", "{path}: node.port: expected `int`, got `bool`, write it as port = 7400"),
        (
            "[storage]\nengine = 'tape'",
            "{path}: storage.engine: invalid enum value 'tape', use one of rocksdb, memory",
        ),
        (
            "[cluster]\nseeds = 'a:1'",
            '{path}: cluster.seeds: expected `array`, got `str`, write it as seeds = ["127.0.0.1:7400"]',
        ),
        (
            "[cluster]\nseeds = [1]",
            '{path}: cluster.seeds: expected `str`, got `int`, write it as seeds = ["127.0.0.1:7400"]',
        ),
        ("[quorum]\nq = 1", "{path}: quorum.q is no setting: [quorum] knows r, w, replica_timeout_ms"),
        (
            "[nodes]\nport = 1",
            "{path}: [nodes] is no section: there are "
            "[node], [cluster], [quorum], [storage], [repair], [membership], [limits], [log], [tracing], "
            "[buckets.NAME]",
        ),
        (
            "port = 1",
            "{path}: port stands outside a section: put it under one of "
            "[node], [cluster], [quorum], [storage], [repair], [membership], [limits], [log], [tracing], "
            "[buckets.NAME]",
        ),
        ("[node", "{path} is not valid TOML: Expected ']' at the end of a table declaration (at end of document)"),
        ("[cluster]\npartitions = 100", "{path}: cluster.partitions is 100: use a power of two, such as 256"),
        ("[quorum]\nr = 4", "{path}: quorum.r is 4, more than cluster.n = 3: lower it to at most 3"),
        ("[quorum]\nw = 4", "{path}: quorum.w is 4, more than cluster.n = 3: lower it to at most 3"),
        ("[cluster]\nseeds = ['a']", "{path}: cluster.seeds has 'a': write it as HOST:PORT, such as 127.0.0.1:7400"),
        (
            "[cluster]\nseeds = ['a:0']",
            "{path}: cluster.seeds has 'a:0': write it as HOST:PORT, such as 127.0.0.1:7400",
        ),
        (
            "[node]\nhost = ''",
            "{path}: node.host is empty: set it to the host that others reach this node at, such as 127.0.0.1",
        ),
        ("[node]\npeer_port = 7400", "{path}: node.peer_port is 7400, and so is node.port: give each its own port"),
        ("[node]\nport = 65534", "{path}: node.gossip_port would be 65536 (node.port + 2): set it, or lower node.port"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_the_key(tmp_path: Path, text: str, line: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        load(path, {}, {})

    assert str(caught.value) == line.format(path=path)


def test_buckets_have_rules_of_their_own(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[buckets.carts]\nr = 1\nconflict = 'merge:shop.carts:union'\n"
        "[buckets.'a b']\nexpiry_ms = 1000\nconflict = 'lww'\n[buckets.default]\nw = 3\npw = 2\npr = 1\n",
    )

    assert load(path, {"ZDYNAMO_QUORUM_R": "3"}, {}).buckets == {
        "carts": BucketSettings(r=1, conflict="merge:shop.carts:union"),
        "a b": BucketSettings(expiry_ms=1000, conflict="lww"),
        "default": BucketSettings(w=3, pw=2, pr=1),
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[buckets.c]\nr = '2'", "{path}: buckets.c.r: expected `int`, got `str`, write it as r = 2"),
        ("[buckets.c]\nr = true", "{path}: buckets.c.r: expected `int`, got `bool`, write it as r = 2"),
        ("[buckets.c]\nr = -1", "{path}: buckets.c.r: expected `int` >= 0, write it as r = 2"),
        (
            "[buckets.c]\nexpiry_ms = 1.5",
            "{path}: buckets.c.expiry_ms: expected `int`, got `float`, write it as expiry_ms = 3600000 (milliseconds)",
        ),
        (
            "[buckets.c]\nexpiry_ms = '1h'",
            "{path}: buckets.c.expiry_ms: expected `int`, got `str`, write it as expiry_ms = 3600000 (milliseconds)",
        ),
        (
            "[buckets.c]\nconflict = 1",
            '{path}: buckets.c.conflict: expected `str`, got `int`, write it as conflict = "siblings"',
        ),
        ("[buckets.c]\nrr = 1", "{path}: buckets.c.rr is no setting: [buckets.c] knows {rules}"),
        ("[buckets.c.d]\nr = 1", "{path}: buckets.c.d is no setting: [buckets.c] knows {rules}"),
        ("[buckets]\nr = 1", "{path}: buckets.r is no table: the rules of a bucket stand under [buckets.NAME]"),
        ("[[buckets]]\nr = 1", "{path}: buckets stands outside a section: put it under one of {sections}"),
        ("[buckets.c]\nr = 4", "{path}: buckets.c.r is 4, more than cluster.n = 3: lower it to at most 3"),
        (
            "[cluster]\nn = 2\n[buckets.c]\npw = 3",
            "{path}: buckets.c.pw is 3, more than cluster.n = 2: lower it to at most 2",
        ),
        ("[buckets.c]\nconflict = 'last'", "{path}: buckets.c.conflict is 'last': use siblings, lww, or merge:{form}"),
        (
            "[buckets.c]\nconflict = 'lww:x'",
            "{path}: buckets.c.conflict is 'lww:x': use siblings, lww, or merge:{form}",
        ),
        (
            "[buckets.c]\nconflict = 'merge:union'",
            "{path}: buckets.c.conflict is 'merge:union': write it as merge:{form}",
        ),
        ("[buckets.c]\nconflict = 'merge'", "{path}: buckets.c.conflict is 'merge': write it as merge:{form}"),
        ('[buckets.""]\nr = 1', '{path}: [buckets.""]: the name of a bucket has 1 to 255 bytes'),
        (
            '[buckets."' + "ü" * 128 + '"]\nr = 1',
            '{path}: [buckets."' + "ü" * 40 + '..."]: the name of a bucket has 1 to 255 bytes',
        ),
        ('[buckets."a.b"]\nr = 4', '{path}: buckets."a.b".r is 4, more than cluster.n = 3: lower it to at most 3'),
    ],
)
def test_a_wrong_bucket_is_one_line_that_names_it(tmp_path: Path, text: str, line: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        load(path, {}, {})

    assert str(caught.value) == line.format(
        path=path,
        form="MODULE:FUNCTION, such as zdynamo.merges:union",
        rules="r, w, pr, pw, expiry_ms, conflict",
        sections="[node], [cluster], [quorum], [storage], [repair], [membership], [limits], [log], [tracing], "
        "[buckets.NAME]",
    )


def test_there_are_only_so_many_buckets(tmp_path: Path) -> None:
    path = written(tmp_path, "".join(f"[buckets.b{number}]\nr = 1\n" for number in range(1001)))

    with pytest.raises(ConfigError, match=r"\[buckets\] has 1001 tables: there may be 1000"):
        load(path, {}, {})


@pytest.mark.parametrize("key", ["host", "bind"])
@pytest.mark.parametrize("host", ["10.0.0.1", "0.0.0.0", "example.org", "::"])
def test_beyond_loopback_needs_insecure(key: str, host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {}, {f"node.{key}": host})

    assert str(caught.value) == (
        f"node.{key} is {host}, beyond loopback, and links are not encrypted yet: "
        "set node.insecure = true (--insecure) if the network is trusted"
    )
    assert load(None, {}, {f"node.{key}": host, "node.insecure": True})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]", "inproc://a"])
def test_loopback_needs_no_permission(host: str) -> None:
    assert load(None, {}, {"node.host": host}).node.host == host


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        (
            "ZDYNAMO_BUCKETS_CARTS_R",
            "1",
            "ZDYNAMO_BUCKETS_CARTS_R: buckets are set in the file alone, in a table [buckets.NAME] each",
        ),
        ("ZDYNAMO_NODE_PORT", "x", "ZDYNAMO_NODE_PORT is 'x': expected `int`, got `str`, write it as 7400"),
        ("ZDYNAMO_NODE_PORT", "-1", "ZDYNAMO_NODE_PORT is '-1': expected `int` >= 0, write it as 7400"),
        (
            "ZDYNAMO_CLUSTER_SEEDS",
            "bad",
            "ZDYNAMO_CLUSTER_SEEDS has 'bad': write it as HOST:PORT, such as 127.0.0.1:7400",
        ),
        (
            "ZDYNAMO_LOG_LEVEL",
            "loud",
            "ZDYNAMO_LOG_LEVEL is 'loud': invalid enum value 'loud', use one of debug, info, warning, error",
        ),
        (
            "ZDYNAMO_NODE_PROT",
            "1",
            "ZDYNAMO_NODE_PROT names no setting: the form is ZDYNAMO_SECTION_KEY, see docs/options.md",
        ),
        (
            "ZDYNAMO_DATA",
            "x",
            "ZDYNAMO_DATA names no setting: the form is ZDYNAMO_SECTION_KEY, see docs/options.md",
        ),
    ],
)
def test_a_wrong_variable_is_one_line_that_names_it(name: str, text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, {name: text}, {})

    assert str(caught.value) == line


def test_a_wrong_flag_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "[node]\nport = 7500\n")

    with pytest.raises(ConfigError) as caught:
        load(path, {}, {"node.port": 70_000}, {"node.port": "--port"})

    assert str(caught.value) == "--port is 70000: expected `int` <= 65535, write it as 7400"


def test_what_a_flag_does_not_go_with_is_said_of_the_flag(tmp_path: Path) -> None:
    path = written(tmp_path, "[node]\nname = 'a'\n")

    with pytest.raises(ConfigError, match=r"^--host is 10\.0\.0\.1, beyond loopback"):
        load(path, {}, {"node.host": "10.0.0.1"}, {"node.host": "--host"})


def test_what_does_not_go_with_the_file_is_not_blamed_on_it(tmp_path: Path) -> None:
    path = written(tmp_path, "[quorum]\nr = 3\n")

    with pytest.raises(ConfigError, match=r"^quorum\.r is 3, more than cluster\.n = 2: lower it to at most 2$"):
        load(path, {"ZDYNAMO_CLUSTER_N": "2"}, {})


def test_what_is_wrong_in_the_file_does_no_harm_if_a_flag_sets_it_right(tmp_path: Path) -> None:
    path = written(tmp_path, "[node]\nhost = '10.0.0.1'\n")

    assert load(path, {}, {"node.insecure": True}).node.host == "10.0.0.1"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, folder = tmp_path / "missing.toml", tmp_path

    for path, reason in ((missing, "No such file or directory"), (folder, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            load(path, {}, {})
        assert str(caught.value) == f"{path} cannot be read ({reason}): give --config a file that can"
