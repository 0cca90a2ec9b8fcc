"""The verb `keys`: list the keys of a bucket, as a stream."""

import json
import os
import sys
from typing import Annotated

import typer

from zdynamo.cli.data import DEFAULT_BUCKET, DEFAULT_TIMEOUT_MS, R
from zdynamo.cli.options import DEFAULT_NODE, JsonOption, NodeOption, TimeoutOption, connect
from zdynamo.cli.output import counted, note
from zdynamo.plain import plain


def keys(
    node: NodeOption = DEFAULT_NODE,
    bucket: Annotated[str, typer.Option("--bucket", metavar="NAME", help="The bucket to list.")] = DEFAULT_BUCKET,
    prefix: Annotated[str, typer.Option("--prefix", metavar="P", help="Only keys that begin with this.")] = "",
    after: Annotated[
        str, typer.Option("--after", metavar="CURSOR", help="Go on where an earlier listing of the same has stopped.")
    ] = "",
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, metavar="N", help="Stop after so many keys, and say how to go on.")
    ] = None,
    r: R = 0,
    timeout_ms: TimeoutOption = DEFAULT_TIMEOUT_MS,
    as_json: JsonOption = False,
) -> None:
    """List the keys that have a value.

    One on a line, partition by partition, in order within each. Keys may have newlines: --json keeps them apart. With
    it each line is an object with one key, and the last one holds the cursor: null if all have been listed, else what
    --after takes.

    Example: zdynamo keys --prefix session/ --limit 100
    """
    from zdynamo.errors import ZdynamoError

    out = sys.stdout.buffer
    told = 0
    with connect(node, timeout_ms) as client:
        listing = client.keys(bucket, prefix=os.fsencode(prefix), after=after or None, r=r)
        try:
            while limit is None or told < limit:
                key = next(listing, None)
                if key is None:
                    _stopped(None, told, as_json)
                    return
                out.write(json.dumps({"key": plain(key)}).encode() + b"\n" if as_json else key + b"\n")
                told += 1
        except ZdynamoError:
            if told:
                _stopped(listing.cursor, told, as_json)
            raise
        _stopped(listing.cursor, told, as_json)


def _stopped(cursor: str | None, told: int, as_json: bool) -> None:
    """How to go on, if there may be more."""
    if as_json:
        sys.stdout.buffer.write(json.dumps({"cursor": cursor}).encode() + b"\n")
    sys.stdout.buffer.flush()
    if cursor is not None and not as_json:
        note(f"{counted(told, 'key')} so far; go on with --after {cursor}")
