#!/usr/bin/env python3
"""Writes `configs/zdynamo.toml` and `docs/options.md` from `zdynamo/config.py`; a test compares them."""

import json
import textwrap
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from zdynamo.config import BUCKETS, BucketSettings, Config, kinds
from zdynamo.loading import ENVIRONMENT_PREFIX

ROOT = Path(__file__).parents[1]
TOML = ROOT / "configs" / "zdynamo.toml"
MARKDOWN = ROOT / "docs" / "options.md"
WIDTH = 110

TOML_HEAD = """\
# Every option of a node, with its default: zdynamo start --config FILE
# Command-line flags beat ZDYNAMO_SECTION_KEY in the environment, which beats this file.
# Made by tools/options.py from zdynamo/config.py; `make options` makes it anew.
"""
MARKDOWN_HEAD = """\
# Options

Every option of a node, with its default. Each can stand in the TOML file (`zdynamo start --config FILE`, see
[configs/zdynamo.toml](../configs/zdynamo.toml)) and, but for the buckets, in the environment; `zdynamo start --help`
lists those that are flags as well. Flags beat the environment, which beats the file, which beats the defaults.

The verbs that are clients of a cluster (`get`, `put`, `members`, ...) read one variable, `ZDYNAMO_ADDRESS`: the
address of any member, as `--node`.

This page is made by `tools/options.py` from `zdynamo/config.py`; `make options` makes it anew.
"""


TOML_BUCKETS = """\
# Rules of single buckets, where they are not the cluster's: one table [buckets.NAME] each. Every node needs the
# same tables; a node that sees others at a member says so in its log and in `zdynamo status`. Flags and environment
# do not set them. A bucket without a table goes by [quorum], keeps siblings, and its values do not expire.
#
"""
MARKDOWN_BUCKETS = """\
## [buckets.NAME]

The rules of single buckets, where they are not the cluster's: one table each, in the file alone. There are no
variables and no flags for them. A bucket without a table goes by `[quorum]`, keeps siblings, and its values do not
expire.

Every node needs the same tables. Change one node after the other; meanwhile each node goes by its own table. A node
that sees another table at a member logs `buckets.differ` and says so in `zdynamo status`, until they agree.

"""
MARKDOWN_EXAMPLE = """\

For instance:

```toml
[buckets.sessions]
expiry_ms = 3_600_000 # an hour after its last write a session is gone
conflict = "lww"

[buckets.carts]
conflict = "merge:zdynamo.merges:union" # nothing that was put in is lost

[buckets."single copies"]
r = 1
w = 1
```
"""


class Option(NamedTuple):
    """One setting, as people read of it."""

    key: str
    default: str  # as TOML
    description: str
    bounds: str
    variable: str


def toml() -> str:
    """The config file."""
    lines = [TOML_HEAD]
    for section, about in sections():
        lines.append(f"# {about}\n[{section}]")
        for option in options(section):
            explained = f"{option.description} {option.bounds}".strip()
            lines += [*textwrap.wrap(explained, WIDTH, initial_indent="# ", subsequent_indent="# ")]
            lines.append(f"{option.key} = {option.default}\n")
    return "\n".join((*lines, bucket_example()))


def bucket_example() -> str:
    """The section of buckets, as comments: in the file it would be a bucket."""
    lines = [TOML_BUCKETS + f"# [{BUCKETS}.carts]"]
    for option in options(BUCKETS):
        explained = f"{option.description} {option.bounds}".strip()
        lines += [*textwrap.wrap(explained, WIDTH, initial_indent="# # ", subsequent_indent="# # ")]
        lines.append(f"# {option.key} = {option.default}\n#")
    return "\n".join(lines).removesuffix("\n#") + "\n"


def markdown() -> str:
    """The reference page."""
    lines = [MARKDOWN_HEAD]
    for section, about in sections():
        lines.append(f"## [{section}]\n\n{about}\n")
        lines.append("| option | default | meaning | variable |\n|---|---|---|---|")
        for option in options(section):
            explained = f"{option.description} {option.bounds}".strip()
            lines.append(f"| `{option.key}` | `{option.default}` | {explained} | `{option.variable}` |")
        lines.append("")
    lines.append(MARKDOWN_BUCKETS + "| option | default | meaning |\n|---|---|---|")
    for option in options(BUCKETS):
        explained = f"{option.description} {option.bounds}".strip()
        lines.append(f"| `{option.key}` | `{option.default}` | {explained} |")
    return "\n".join(lines) + "\n" + MARKDOWN_EXAMPLE


def sections() -> Iterator[tuple[str, str]]:
    """Name, and what it is about; without the buckets."""
    for section, kind in typing.get_type_hints(Config).items():
        if section != BUCKETS:
            yield section, kind.__doc__


def options(section: str) -> Iterator[Option]:
    """Of that section, in their order."""
    defaults = BucketSettings() if section == BUCKETS else getattr(Config(), section)
    for key, hint in kinds(section).items():
        kind, about = typing.get_args(hint)
        variable = f"{ENVIRONMENT_PREFIX}{section}_{key}".upper()
        yield Option(key, literal(getattr(defaults, key)), about.description, bounds(kind, about), variable)


def literal(value: Any) -> str:
    """As TOML writes it: as JSON does, but for large numbers."""
    return f"{value:_}" if isinstance(value, int) and value >= 100_000 else json.dumps(value)


def bounds(kind: Any, about: Any) -> str:
    """What may be written."""
    if typing.get_origin(kind) is typing.Literal:
        return f"One of {', '.join(typing.get_args(kind))}."
    if about.ge is not None and about.le is not None:
        return f"From {about.ge} to {about.le}."
    return f"At least {about.ge}." if about.ge else ""


if __name__ == "__main__":
    TOML.write_text(toml(), encoding="utf-8")
    MARKDOWN.write_text(markdown(), encoding="utf-8")
