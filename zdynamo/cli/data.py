"""The verbs on keys: put, get, delete."""

import os
import sys
from typing import Annotated

import typer

from zdynamo.cli.options import DEFAULT_NODE, BucketOption, JsonOption, NodeOption, TimeoutOption, connect
from zdynamo.cli.output import NOT_FOUND, decode_context, encode_context, note, plain, show_json, show_value

DEFAULT_BUCKET = "default"
DEFAULT_TIMEOUT_MS = 5000

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", show_default=False)]
ContextOption = Annotated[
    str,
    typer.Option(
        "--context", metavar="C", help="The context of a `get --json`: replaces what that get saw, and only that."
    ),
]


def put(
    key: KeyArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Text, or - to read bytes from standard input.")],
    node: NodeOption = DEFAULT_NODE,
    bucket: BucketOption = DEFAULT_BUCKET,
    context: ContextOption = "",
    w: Annotated[int, typer.Option("-w", min=0, metavar="N", help="Replicas to wait for; 0: the node's default.")] = 0,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Store a value under a key.

    Example: zdynamo put greeting 'hello world'

    A value that begins with a dash comes after --: zdynamo put answer -- -42
    """
    stored = sys.stdin.buffer.read() if value == "-" else _text_or_bytes(value)
    seen = _context(context)
    with connect(node, timeout_ms) as client:
        written = client.put(os.fsencode(key), stored, bucket=bucket, context=seen, w=w)
    if as_json:
        show_json({"key": _named(key), "context": encode_context(written)})
    else:
        print("OK")


def get(
    key: KeyArgument,
    node: NodeOption = DEFAULT_NODE,
    bucket: BucketOption = DEFAULT_BUCKET,
    r: Annotated[int, typer.Option("-r", min=0, metavar="N", help="Replicas to wait for; 0: the node's default.")] = 0,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Print the value of a key.

    Raw, or with --json together with its context. Exit code 3: R replicas agree that there is none.

    Example: zdynamo get greeting
    """
    with connect(node, timeout_ms) as client:
        found = client.get(os.fsencode(key), bucket=bucket, r=r)
    if found is None:
        if as_json:
            show_json({"key": _named(key), "found": False, "context": ""})
        else:
            note(f"{key} is not in bucket {bucket}")
        raise typer.Exit(NOT_FOUND)
    siblings = list(found.siblings)
    if as_json:
        held = {"value": plain(siblings[0])} if len(siblings) == 1 else {"siblings": plain(siblings)}
        show_json({"key": _named(key), "found": True, **held, "context": encode_context(found.context)})
        return
    if len(siblings) == 1:
        show_value(siblings[0])
        return
    note(f"{key} has {len(siblings)} siblings, from concurrent writes: put one value with --context to settle it")
    for sibling in siblings:
        show_value(sibling + b"\n" if isinstance(sibling, bytes) and not sys.stdout.isatty() else sibling)


def delete(
    key: KeyArgument,
    node: NodeOption = DEFAULT_NODE,
    bucket: BucketOption = DEFAULT_BUCKET,
    context: ContextOption = "",
    w: Annotated[int, typer.Option("-w", min=0, metavar="N", help="Replicas to wait for; 0: the node's default.")] = 0,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Delete a key.

    Deleting what is not there is no failure; --json says whether it was there.

    Example: zdynamo delete greeting
    """
    seen = _context(context)
    with connect(node, timeout_ms) as client:
        deleted = client.delete(os.fsencode(key), bucket=bucket, context=seen, w=w)
    if as_json:
        show_json({"key": _named(key), "deleted": deleted})
    else:
        print("OK" if deleted else "OK, there was nothing")


def _text_or_bytes(argument: str) -> str | bytes:
    """Text if the shell gave text, else the bytes that it gave."""
    raw = os.fsencode(argument)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _named(key: str) -> object:
    return plain(os.fsencode(key))


def _context(text: str) -> bytes | None:
    if not text:
        return None
    try:
        return decode_context(text)
    except ValueError:
        raise typer.BadParameter("no context: take it from `zdynamo get KEY --json`", param_hint="--context") from None
