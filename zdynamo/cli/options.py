"""The options that several verbs share, and how verbs reach the cluster."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from zdynamo.client import Client

DEFAULT_NODE = "127.0.0.1:7400"

NodeOption = Annotated[
    str,
    typer.Option("--node", envvar="ZDYNAMO_ADDRESS", metavar="HOST:PORT", help="The public address of any member."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
TimeoutOption = Annotated[
    int, typer.Option("--timeout-ms", min=1, metavar="MS", help="Milliseconds until the request is given up.")
]
BucketOption = Annotated[str, typer.Option("--bucket", metavar="NAME", help="The bucket that the key is in.")]


def connect(node: str, timeout_ms: int) -> "Client":
    """A client that knows one member."""
    check_node(node)
    from zdynamo.client import Client

    return Client(node, deadline_ms=timeout_ms)


def check_node(node: str) -> None:
    """Raises: typer.BadParameter unless it is an address."""
    host, _, port = node.rpartition(":")
    if "://" not in node and not (host and port.isdigit() and 0 < int(port) < 65536):
        raise typer.BadParameter(f"{node!r} is no address, write it as HOST:PORT", param_hint="--node")
