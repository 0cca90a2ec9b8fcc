"""The verbs on one key: put, get, delete."""

import os
import re
import shlex
import sys
from typing import Annotated

import typer

from zdynamo.cli.options import DEFAULT_NODE, BucketOption, JsonOption, NodeOption, TimeoutOption, connect, parse_json
from zdynamo.cli.output import FAILED, NOT_FOUND, note, show_json, show_value
from zdynamo.plain import decode_context, encode_context, plain

DEFAULT_BUCKET = "default"
DEFAULT_TIMEOUT_MS = 5000
DIGITS_MAX = 20  # of the number in a span; more is beyond every limit
UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", show_default=False, help="Any text or bytes.")]
PutContext = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="C", help="The context of a `get --json`: replaces what that get saw, and only that."
    ),
]
DeleteContext = Annotated[
    str | None,
    typer.Option(
        "--context", metavar="C", help="The context of a `get --json`: deletes what that get saw, and only that."
    ),
]
R = Annotated[int, typer.Option("-r", min=0, metavar="N", help="Replicas that a read waits for; 0: the default.")]
W = Annotated[int, typer.Option("-w", min=0, metavar="N", help="Replicas that a write waits for; 0: the default.")]
PR = Annotated[int, typer.Option("--pr", min=0, metavar="N", help="How many of those have to be owners of the key.")]
PW = Annotated[int, typer.Option("--pw", min=0, metavar="N", help="How many of those have to be owners of the key.")]


def put(
    key: KeyArgument,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="Text, or - to read bytes from standard input.")],
    value_is_json: Annotated[
        bool, typer.Option("--as-json", help="The value is JSON and is stored as the data that it stands for.")
    ] = False,
    node: NodeOption = DEFAULT_NODE,
    bucket: BucketOption = DEFAULT_BUCKET,
    context: PutContext = None,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Only if there is no value.")] = False,
    if_context: Annotated[
        str | None,
        typer.Option("--if-context", metavar="C", help="Only if nothing was written since the get of this context."),
    ] = None,
    ttl: Annotated[
        str, typer.Option("--ttl", metavar="SPAN", help="Expires so long after: 500ms, 30s, 5m, 2h, 7d; 0: never.")
    ] = "",
    w: W = 0,
    pw: PW = 0,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Store a value under a key.

    With --if-absent or --if-context it is written only if that holds; else the exit code is 1 and nothing is written.

    Example: zdynamo put greeting 'hello world'

    Example: zdynamo put session/17 anna --ttl 30m --if-absent

    Example: zdynamo put cart '{"milk": 1}' --as-json

    A value that begins with a dash comes after --: zdynamo put answer -- -42
    """
    if if_absent + (if_context is not None) + (context is not None) > 1:
        raise typer.BadParameter(
            "they rule each other out: give one", param_hint="--context, --if-absent, --if-context"
        )
    ttl_ms = span_ms(ttl, "--ttl") if ttl else None
    seen = _context(context, "--context", "leave --context out to write unconditionally")
    expected = _context(if_context, "--if-context", "--if-absent is for a key without a value")
    stored = _value(value, value_is_json)
    from zdynamo.errors import ConditionFailed

    try:
        with connect(node, timeout_ms) as client:
            written = client.put(
                os.fsencode(key), stored, bucket=bucket, context=seen, w=w, pw=pw, ttl_ms=ttl_ms,
                if_absent=if_absent, if_context=expected,
            )  # fmt: skip
    except ConditionFailed as failed:
        if as_json:
            show_json({"key": _named(key), "written": False, "context": encode_context(failed.context)})
        what = "has a value already" if if_absent else "has been written since the get of this context"
        note(f"{key} {what}, so nothing was written: look at `{_look(key, bucket)}` and decide anew")
        raise typer.Exit(FAILED) from None
    if as_json:
        show_json({"key": _named(key), "written": True, "context": encode_context(written)})
    else:
        print("OK")


def get(
    key: KeyArgument,
    node: NodeOption = DEFAULT_NODE,
    bucket: BucketOption = DEFAULT_BUCKET,
    r: R = 0,
    pr: PR = 0,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Print the value of a key.

    Raw, or with --json together with its context. Siblings, from concurrent writes, are numbered; where they may have
    newlines, --json keeps them apart, as "siblings" in place of "value". To settle them: zdynamo put KEY VALUE
    --context C, with the context that --json shows. Exit code 3: R replicas agree that there is none; the context then
    covers the delete, if there was one.

    Example: zdynamo get greeting

    Example: zdynamo get greeting --json
    """
    with connect(node, timeout_ms) as client:
        found = client.get(os.fsencode(key), bucket=bucket, r=r, pr=pr)
    if not found.exists:
        if as_json:
            show_json({"key": _named(key), "found": False, "context": encode_context(found.context)})
        else:
            note(f"{key} is not in bucket {bucket}")
        raise typer.Exit(NOT_FOUND)
    siblings = found.siblings
    if as_json:
        held = {"value": plain(siblings[0])} if len(siblings) == 1 else {"siblings": plain(siblings)}
        show_json({"key": _named(key), "found": True, **held, "context": encode_context(found.context)})
        return
    if len(siblings) == 1:
        show_value(siblings[0])
        return
    note(
        f"{key} has {len(siblings)} siblings, from concurrent writes; to settle them: `{_look(key, bucket)}` shows "
        "their context C, and one put with --context C takes their place (with --as-json for plain data)"
    )
    for number, sibling in enumerate(siblings, 1):
        print(f"{number}: ", end="", flush=True)
        show_value(sibling + b"\n" if isinstance(sibling, bytes) and not sys.stdout.isatty() else sibling)


def delete(
    key: KeyArgument,
    node: NodeOption = DEFAULT_NODE,
    bucket: BucketOption = DEFAULT_BUCKET,
    context: DeleteContext = None,
    r: R = 0,
    w: W = 0,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """Delete a key.

    Without a context it deletes what R replicas hold now. Deleting what is not there is no failure; --json says
    whether it was there.

    Example: zdynamo delete greeting
    """
    seen = _context(context, "--context", "leave --context out to delete unconditionally")
    with connect(node, timeout_ms) as client:
        deleted = client.delete(os.fsencode(key), bucket=bucket, context=seen, r=r, w=w)
    if as_json:
        show_json({"key": _named(key), "deleted": deleted})
    else:
        print("OK" if deleted else "OK, there was nothing")


def span_ms(text: str, option: str) -> int:
    """`30s` in milliseconds. Raises: typer.BadParameter."""
    from zdynamo.messages import TTL_MS_MAX

    if text == "0":
        return 0
    spelled = re.fullmatch(r"([0-9]+)(ms|s|m|h|d)", text)
    if not spelled:
        raise typer.BadParameter(f"{text!r} is no span: write it as 500ms, 30s, 5m, 2h or 7d", param_hint=option)
    number = spelled[1].lstrip("0") or "0"
    if len(number) > DIGITS_MAX or (span := int(number) * UNIT_MS[spelled[2]]) > TTL_MS_MAX:
        years = TTL_MS_MAX // (365 * UNIT_MS["d"])
        raise typer.BadParameter(f"use at most {years} years, or 0 for never", param_hint=option)
    return span


def _value(argument: str, is_json: bool) -> object:
    """What is stored. Raises: typer.BadParameter."""
    if argument != "-":
        given = _text_or_bytes(argument)
    elif sys.stdin is None:
        raise typer.BadParameter("standard input is closed", param_hint="VALUE")
    else:
        given = sys.stdin.buffer.read()
    if not is_json:
        return given
    from zdynamo.client.values import encode_value

    parsed = parse_json(given, "VALUE")
    try:
        encode_value(parsed)
    except TypeError as error:
        raise typer.BadParameter(str(error), param_hint="VALUE") from None
    return parsed


def _text_or_bytes(argument: str) -> str | bytes:
    """Text if the shell gave text, else the bytes that it gave."""
    raw = os.fsencode(argument)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _look(key: str, bucket: str) -> str:
    """The command that shows the key with its context."""
    return shlex.join(["zdynamo", "get", key, "--json", *(["--bucket", bucket] if bucket != DEFAULT_BUCKET else [])])


def _named(key: str) -> object:
    return plain(os.fsencode(key))


def _context(text: str | None, option: str, if_empty: str) -> bytes | None:
    """Raises: typer.BadParameter; an empty one too, as it may be a shell variable that was never set."""
    if text is None:
        return None
    if not text:
        raise typer.BadParameter(f"it is empty: {if_empty}", param_hint=option)
    try:
        return decode_context(text)
    except ValueError:
        raise typer.BadParameter("no context: take it from `zdynamo get KEY --json`", param_hint=option) from None
