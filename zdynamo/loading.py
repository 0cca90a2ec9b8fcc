"""Where settings come from and which wins: flags, environment, TOML file, defaults. One line when one is wrong."""

import ipaddress
import json
import tomllib
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar

import msgspec

from zdynamo.config import (
    BUCKET_NAME_BYTES_MAX,
    BUCKETS,
    BUCKETS_MAX,
    CLIENT_PORT,
    BucketSettings,
    Config,
    LimitSettings,
    NodeSettings,
    kinds,
)
from zdynamo.errors import ConfigError, MergeFunctionError
from zdynamo.merging import FORM, parse_reference

ENVIRONMENT_PREFIX = "ZDYNAMO_"
CLIENT_ENVIRONMENT = frozenset({"ZDYNAMO_ADDRESS"})  # read by the verbs that are clients
UNKNOWN = "Object contains unknown field "  # as msgspec says it
LOOPBACK_HOSTS = ("localhost", "ip6-localhost")
NAME_SHOWN = 40  # characters of a bucket's name in an error

T = TypeVar("T")


class Given(NamedTuple):
    """A value of the environment or the command line. `name`: what it is called there."""

    name: str
    section: str
    key: str
    value: Any


def load(
    path: Path | None,
    environment: Mapping[str, str],
    flags: Mapping[str, Any],
    names: Mapping[str, str] = MappingProxyType({}),
) -> Config:
    """Defaults, then the file, then `ZDYNAMO_SECTION_KEY`, then flags (`section.key` to value; None is left out).

    `names`: of settings on the command line. Raises: ConfigError, one line that names the key and what to do.
    """
    settings, buckets = _from_file(path) if path else ({}, {})
    from_file = _converted(settings, Config)
    from_file.buckets = buckets
    sources: dict[str, str] = {}
    for name, section, key, value in (*_from_environment(environment), *_from_flags(flags, names)):
        settings.setdefault(section, {})[key] = value
        sources[f"{section}.{key}"] = name
    config = _converted(settings, Config)
    config.buckets = buckets
    if problem := _problem(config):
        if path and problem == _problem(from_file):
            raise ConfigError(f"{path}: {problem}")
        key, space, rest = problem.partition(" ")
        raise ConfigError(sources.get(key, key) + space + rest)
    return config


def _problem(config: Config) -> str:
    try:
        check(config)
    except ConfigError as error:
        return str(error)
    return ""


def check(config: Config) -> None:
    """What holds between settings. Raises: ConfigError."""
    cluster, quorum, node = config.cluster, config.quorum, config.node
    if cluster.partitions & (cluster.partitions - 1):
        raise ConfigError(f"cluster.partitions is {cluster.partitions}: use a power of two, such as 256")
    _check_quorum("quorum.r", quorum.r, cluster.n)
    _check_quorum("quorum.w", quorum.w, cluster.n)
    for address in cluster.seeds:
        check_address("cluster.seeds", address)
    if not node.host:
        raise ConfigError("node.host is empty: set it to the host that others reach this node at, such as 127.0.0.1")
    for key, host in (("node.host", node.host), ("node.bind", node.bind)):
        if host and "://" not in host and not is_loopback(host) and not node.insecure:
            raise ConfigError(
                f"{key} is {host}, beyond loopback, and links are not encrypted yet: "
                "set node.insecure = true (--insecure) if the network is trusted"
            )
    _check_ports(node)
    _check_url("tracing.endpoint", config.tracing.endpoint)
    if len(config.buckets) > BUCKETS_MAX:
        raise ConfigError(f"[buckets] has {len(config.buckets)} tables: there may be {BUCKETS_MAX}")
    for name, rules in config.buckets.items():
        _check_bucket(name, rules, cluster.n)


def check_address(key: str, address: str) -> None:
    """Raises: ConfigError unless it is HOST:PORT or an endpoint with a scheme."""
    host, _, port = address.rpartition(":")
    if "://" not in address and not (host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"{key} has {address!r}: write it as HOST:PORT, such as 127.0.0.1:{CLIENT_PORT}")


def is_loopback(host: str) -> bool:
    """Whether the host surely names this machine only."""
    if host in LOOPBACK_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_quorum(key: str, answers: int, n: int) -> None:
    if answers > n:
        raise ConfigError(f"{key} is {answers}, more than cluster.n = {n}: lower it to at most {n}")


def _check_url(key: str, url: str) -> None:
    if url and not (url.startswith(("http://", "https://")) and url.partition("://")[2].strip("/")):
        raise ConfigError(f"{key} is {url!r}: write it as a URL, such as http://127.0.0.1:4318")


def _check_ports(node: NodeSettings) -> None:
    if not node.port:
        return
    taken: dict[int, str] = {}
    for step, key in enumerate(("port", "peer_port", "gossip_port", "http_port")):
        port = getattr(node, key) or node.port + step
        if port > 65535:
            raise ConfigError(f"node.{key} would be {port} (node.port + {step}): set it, or lower node.port")
        if port in taken:
            raise ConfigError(f"node.{key} is {port}, and so is node.{taken[port]}: give each its own port")
        taken[port] = key


def _check_bucket(name: str, rules: BucketSettings, n: int) -> None:
    table = _table(name)
    if not 0 < len(name.encode()) <= BUCKET_NAME_BYTES_MAX:
        raise ConfigError(f"[{table}]: the name of a bucket has 1 to {BUCKET_NAME_BYTES_MAX} bytes")
    for key in ("r", "w", "pr", "pw"):
        _check_quorum(f"{table}.{key}", getattr(rules, key), n)
    way, _, function = rules.conflict.partition(":")
    if way == "merge":
        try:
            parse_reference(function)
        except MergeFunctionError:
            raise ConfigError(f"{table}.conflict is {rules.conflict!r}: write it as merge:{FORM}") from None
    elif rules.conflict not in ("siblings", "lww"):
        raise ConfigError(f"{table}.conflict is {rules.conflict!r}: use siblings, lww, or merge:{FORM}")


def _from_file(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, BucketSettings]]:
    """The sections, and the buckets."""
    try:
        loaded = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}): give --config a file that can") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None
    for section, keys in loaded.items():
        if not isinstance(keys, dict):
            raise ConfigError(f"{path}: {section} stands outside a section: put it under one of {_sections()}")
    tables = loaded.pop(BUCKETS, {})
    _converted(loaded, Config, source=f"{path}: ")
    return loaded, {name: rules_of(name, table, f"{path}: ") for name, table in tables.items()}


def limits_of(table: Mapping[str, object]) -> LimitSettings:
    """What stands under [limits]. Raises: ConfigError."""
    return _converted({"limits": dict(table)}, Config).limits


def rules_of(name: str, table: object, source: str = "") -> BucketSettings:
    """The rules of a bucket. Raises: ConfigError."""
    if not isinstance(table, dict):
        raise ConfigError(f"{source}{_table(name)} is no table: the rules of a bucket stand under [buckets.NAME]")
    return _converted(table, BucketSettings, table=_table(name), source=source)


def _from_flags(flags: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[Given]:
    for dotted, value in flags.items():
        if value is not None:
            section, _, key = dotted.partition(".")
            name = names.get(dotted, dotted)
            yield Given(name, section, key, _given(name, section, key, value, strict=True))


def _from_environment(environment: Mapping[str, str]) -> Iterator[Given]:
    for name, text in sorted(environment.items()):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in CLIENT_ENVIRONMENT:
            continue
        section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        if section == BUCKETS:
            raise ConfigError(f"{name}: buckets are set in the file alone, in a table [buckets.NAME] each")
        kind = kinds(section).get(key)
        if kind is None:
            raise ConfigError(
                f"{name} names no setting: the form is {ENVIRONMENT_PREFIX}SECTION_KEY, see docs/options.md"
            )
        value: Any = text.split(",") if typing.get_args(kind)[0] == list[str] else text
        yield Given(name, section, key, _given(name, section, key, value, strict=False))


def _given(name: str, section: str, key: str, value: Any, *, strict: bool) -> Any:
    """As the setting has it. Raises: ConfigError."""
    try:
        return msgspec.convert(value, kinds(section)[key], strict=strict)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name} is {value!r}: {_lowered(error)}, {_example(section, key, toml=False)}") from None


def _converted(settings: Mapping[str, Any], kind: type[T], *, table: str = "", source: str = "") -> T:
    try:
        return msgspec.convert(settings, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(source + _teach(str(error), table)) from None


def _teach(problem: str, table: str) -> str:
    """`Expected `int`, got `str` - at `$.node.port`` as a line that names the key first. `table`: of a bucket."""
    what, _, where = problem.partition(" - at ")
    place = where.strip("`").removeprefix("$").removeprefix(".").partition("[")[0]
    section, _, key = (BUCKETS, "", place) if table else place.partition(".")
    named = table or section
    if what.startswith(UNKNOWN):
        unknown = what.removeprefix(UNKNOWN).strip("`")
        if not section:
            return f"[{unknown}] is no section: there are {_sections()}"
        return f"{named}.{unknown} is no setting: [{named}] knows {', '.join(kinds(section))}"
    if not key:
        return f"{named or 'the file'}: {_lowered(what)}"
    return f"{named}.{key}: {_lowered(what)}, {_example(section, key)}"


def _example(section: str, key: str, *, toml: bool = True) -> str:
    """What to write instead, in the file or elsewhere."""
    kind, about = typing.get_args(kinds(section)[key])
    if typing.get_origin(kind) is Literal:
        return f"use one of {', '.join(typing.get_args(kind))}"
    defaults = BucketSettings() if section == BUCKETS else getattr(Config(), section)
    example = about.examples[0] if about.examples else getattr(defaults, key)
    if typing.get_origin(kind) is list:
        example = [f"127.0.0.1:{CLIENT_PORT}"]
    written = f"{key} = {json.dumps(example)}" if toml else json.dumps(example).strip('[]"')
    return f"write it as {written}" + " (milliseconds)" * key.endswith("_ms")


def _table(bucket: str) -> str:
    """The name of a bucket's table as TOML writes it, cut to what a line can show."""
    bare = bucket.replace("-", "").replace("_", "")
    shown = bucket if len(bucket) <= NAME_SHOWN else f"{bucket[:NAME_SHOWN]}..."
    return f"{BUCKETS}.{shown if bare.isascii() and bare.isalnum() else json.dumps(shown, ensure_ascii=False)}"


def _sections() -> str:
    names = (f"{name}.NAME" if name == BUCKETS else name for name in Config.__struct_fields__)
    return ", ".join(f"[{name}]" for name in names)


def _lowered(text: object) -> str:
    return str(text)[:1].lower() + str(text)[1:]
