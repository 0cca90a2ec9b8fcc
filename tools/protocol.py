#!/usr/bin/env python3
"""Writes `docs/vectors.json` and the tables of `docs/protocol.md` from `zdynamo/messages.py`; a test compares them."""

import ast
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from zdynamo import codec, messages
from zdynamo.core.records.context import encode_context
from zdynamo.core.records.record import NOTHING_SEEN, Clock
from zdynamo.messages import (
    Absent,
    Addresses,
    Bucket,
    ClientAnswer,
    ClientLimits,
    ClientRequest,
    ConditionFailed,
    Constants,
    Delete,
    DescribeCluster,
    DescribeNode,
    Done,
    Explain,
    Explained,
    Found,
    Get,
    KeysListed,
    Layout,
    LayoutMember,
    ListKeys,
    MemberRecord,
    MemberView,
    NodeDescription,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
    Repair,
    RepairProgress,
    ReplicaState,
    SiblingState,
    SiblingValue,
    Topology,
)
from zdynamo.partition import partition_of, storage_key

ROOT = Path(__file__).parents[1]
VECTORS = ROOT / "docs" / "vectors.json"
PAGE = ROOT / "docs" / "protocol.md"
CLIENT = ROOT / "docs" / "examples" / "minimal_client.py"
SOURCE = ROOT / "zdynamo" / "messages.py"

ID = bytes(range(16))
A, B = "0123456789abcdef", "fedcba9876543210"
PLACE = storage_key(b"default", b"key", 256)
CONTEXT = encode_context(Clock(((1, 2, 300),), ((7, 8, 9),)), PLACE)
KEYS = [
    ("default", b"key"),
    ("default", b"cart:7"),
    ("carts", b"cart:7"),
    ("dépôt", "clé".encode()),
    ("b", b"\x00\xff"),
]
PARTITIONS = (1, 256, 32768)

REQUESTS: list[tuple[str, ClientRequest]] = [
    ("a get, as little as it takes", Get(ID, "", 5000, "default", b"key")),
    ("a get that waits for two owners", Get(ID, "c1", 5000, "default", b"key", 2, 2)),
    ("a put of text that overwrites", Put(ID, "", 5000, "default", b"key", b"hello", "text/plain")),
    ("a put of bytes with a context", Put(ID, "c1", 5000, "default", b"key", b"\x00\xff", "", 1, CONTEXT)),
    ("its second attempt", Put(ID, "c1", 4100, "default", b"key", b"\x00\xff", "", 2, CONTEXT)),
    (
        "a put of data that expires, if there is no value",
        Put(
            ID, "c1", 5000, "default", b"key", msgspec.msgpack.encode({"milk": 1}), "application/msgpack",
            ttl_ms=60_000, condition="absent",
        ),
    ),
    ("a put if nothing has changed", Put(ID, "", 5000, "default", b"key", b"v", "", 1, CONTEXT, 2, 2, -1, "unchanged")),
    ("a delete of what is there", Delete(ID, "", 5000, "default", b"key")),
    ("a delete of what was seen", Delete(ID, "", 5000, "default", b"key", 1, CONTEXT, 2, 2)),
    ("for the topology", DescribeCluster(ID, "")),
    ("for the figures of a node", DescribeNode(ID, "")),
    ("for a page of keys", ListKeys(ID, "", 5000, "default", 17, b"cart:", b"cart:7", 1000, 0)),
    ("for all about a key", Explain(ID, "", 5000, "default", b"key")),
    ("for a repair", Repair(ID, "", -1, 0)),
]  # fmt: skip
MEMBER = MemberRecord(
    A, 7, "a", 3, B, 1_800_000_000_000, Addresses("h:7400", "h:7401", "h:7402", "h:7403"), "rack-1", 1
)
ANSWERS: list[tuple[str, ClientAnswer]] = [
    ("one value", Found(ID, CONTEXT, (SiblingValue("text/plain", b"hello", 1_800_000_000_000),))),
    ("two siblings", Found(ID, CONTEXT, (SiblingValue("", b"\x00", 1), SiblingValue("", b"\xff", 2)))),
    ("nothing, and never was", Absent(ID, encode_context(NOTHING_SEEN, PLACE))),
    ("a write is done", Done(ID, CONTEXT)),
    ("a delete found nothing", Done(ID, b"", False)),
    ("too few replicas", QuorumNotMet(ID, 2, 1, "down: b")),
    ("nobody knows whether it is written", OutcomeUnknown(ID, 2, 1)),
    ("come again", Overloaded(ID, 50)),
    ("not like this", Refused(ID, "the key has 0 bytes: use 1 to 4096")),
    ("not now", Refused(ID, "this node is stopping: ask another", True)),
    ("the condition does not hold", ConditionFailed(ID, CONTEXT)),
    (
        "the topology",
        Topology(
            ID, "c1", A, Constants(2, 3, 1, 1, A), (MemberView(MEMBER, "alive", 0.5),),
            Layout(1, 2**64 - 1, (LayoutMember(A, "rack-1", 1),)), ((A,), (A,)), 9, 12,
            (Bucket("carts", conflict="lww"),), ClientLimits(4096, 8388608),
        ),
    ),
    ("a node of its own figures", NodeDescription(ID, A, "a", "c1", {"puts": 1}, ("down: b",), "memory", "never", 12)),
    ("a page of keys", KeysListed(ID, (b"cart:7", b"cart:8"), b"cart:8", True)),
    (
        "all about a key",
        Explained(
            ID, 17, (A,), (B,), Bucket("default"),
            (ReplicaState(A, True, True, 0, 5, ((1, 2, 3),), (), (SiblingState((1, 2, 3), 4, 0, False, "", 5, ID),)),),
        ),
    ),
    ("how far a repair has come", RepairProgress(ID, 3, True, 512, 512, 1, 1, 0, (("c is down", 1),))),
]  # fmt: skip


class Field(NamedTuple):
    """One of a message, as the page tells of it."""

    name: str
    kind: str
    default: str
    meaning: str


def vectors() -> str:
    """All of it as JSON, one on a line: bytes as `{"hex": ...}`."""
    named = {
        "requests": [vector(name, message) for name, message in REQUESTS],
        "answers": [vector(name, message) for name, message in ANSWERS],
        "frames": [
            {"name": "two requests", "hex": codec.encode([REQUESTS[0][1], REQUESTS[9][1]]).hex()},
            {"name": "two answers", "hex": codec.encode([ANSWERS[0][1], ANSWERS[3][1]]).hex()},
        ],
        "partitions": [
            {"bucket": bucket, "key": {"hex": key.hex()}, "of": of, "partition": partition_of(bucket.encode(), key, of)}
            for bucket, key in KEYS
            for of in PARTITIONS
        ],
    }
    lists = [
        f'"{name}": [\n' + ",\n".join(json.dumps(item, ensure_ascii=False) for item in items) + "\n]"
        for name, items in named.items()
    ]
    return "{\n" + ",\n".join(lists) + "\n}\n"


def vector(name: str, message: ClientRequest | ClientAnswer) -> dict[str, Any]:
    encoded = codec.encode(message)
    return {
        "name": name,
        "message": type(message).__name__,
        "array": shown(msgspec.msgpack.decode(encoded)),
        "hex": encoded.hex(),
    }


def shown(part: Any) -> Any:
    """As JSON can hold it."""
    if isinstance(part, bytes):
        return {"hex": part.hex()}
    if isinstance(part, list):
        return [shown(item) for item in part]
    if isinstance(part, dict):
        return {key: shown(item) for key, item in part.items()}
    return part


def blocks() -> dict[str, str]:
    """What stands on the page between its marks, by name."""
    return {
        "requests": "\n".join(section(kind) for kind in typing.get_args(ClientRequest)),
        "answers": "\n".join(section(kind) for kind in typing.get_args(ClientAnswer)),
        "parts": "\n".join(section(kind) for kind in parts()),
        "client": f"```python\n{CLIENT.read_text()}```\n",
    }


def section(kind: type) -> str:
    tag = kind.__struct_config__.tag  # type: ignore[attr-defined]
    title = f"### {kind.__name__}" + (f": {tag}" if tag is not None else "")
    lines = [title, "", kind.__doc__ or "", "", "| | field | type | default | |", "|---|---|---|---|---|"]
    first = 0 if tag is None else 1
    for place, field in enumerate(fields(kind), first):
        lines.append(f"| {place} | `{field.name}` | {field.kind} | {field.default} | {field.meaning} |")
    return "\n".join(lines) + "\n"


def fields(kind: type) -> Iterator[Field]:
    comments = comments_of(kind.__name__)
    for field in msgspec.structs.fields(kind):
        default = "" if field.required else f"`{json_of(field.default)}`"
        yield Field(field.name, kind_of(field.type), default, comments.get(field.name, ""))


def json_of(default: Any) -> str:
    return '""' if default == b"" else json.dumps(default)


def kind_of(hint: Any) -> str:
    """A type, in the words of MessagePack."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return "bin, 16 bytes" if inner[0] is bytes else kind_of(inner[0])
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(choice)}`" for choice in inner)
    if origin is tuple:
        if inner[-1] is Ellipsis:
            return f"array of {kind_of(inner[0])}"
        return f"[{', '.join(kind_of(item) for item in inner)}]"
    if origin is dict:
        return f"map of {kind_of(inner[0])} to {kind_of(inner[1])}"
    if type(None) in inner:
        return f"{kind_of(next(item for item in inner if item is not type(None)))} or nil"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    return {bytes: "bin", str: "str", int: "int", bool: "bool", float: "float"}[hint]


def parts() -> list[type]:
    """What messages are made of, each once, in the order of the source."""
    found: dict[str, type] = {}
    waiting = [*typing.get_args(ClientRequest), *typing.get_args(ClientAnswer)]
    while waiting:
        for hint in typing.get_type_hints(waiting.pop(), include_extras=True).values():
            for name in re.findall(r"zdynamo\.messages\.(\w+)", str(hint)):
                if name not in found:
                    found[name] = getattr(messages, name)
                    waiting.append(found[name])
    return sorted(found.values(), key=lambda kind: list(vars(messages)).index(kind.__name__))


def comments_of(name: str) -> dict[str, str]:
    """What the source says behind each field of a message."""
    lines = SOURCE.read_text().splitlines()
    for node in ast.parse("\n".join(lines)).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            return {
                ast.unparse(field.target): lines[field.lineno - 1].partition("  # ")[2].replace("|", "\\|")
                for field in node.body
                if isinstance(field, ast.AnnAssign)
            }
    return {}


def page(before: str) -> str:
    """The page with its blocks made anew."""
    for name, text in blocks().items():
        begin, end = f"<!-- {name}: made by tools/protocol.py -->\n", f"<!-- end of {name} -->\n"
        head, found, rest = before.partition(begin)
        assert found and end in rest, f"docs/protocol.md has no place for {name}"
        before = f"{head}{begin}\n{text}\n{end}{rest.partition(end)[2]}"
    return before


if __name__ == "__main__":
    VECTORS.write_text(vectors(), encoding="utf-8")
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
