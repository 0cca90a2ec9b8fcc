"""The options that several verbs share, and how verbs reach the cluster."""

import json
import socket
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zdynamo.errors import Unreachable

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
    """Raises: typer.BadParameter unless it is an address, Unreachable if its host is not known."""
    from zdynamo.client.base import check_address

    try:
        check_address(node)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--node") from None
    if "://" not in node:
        host, _, port = node.rpartition(":")
        try:
            socket.getaddrinfo(host.strip("[]"), int(port))
        except (OSError, UnicodeError):  # the latter for what can be no name of a host
            raise Unreachable(f"the host {host} of {node} is not known: use a name or an address of a member") from None


def parse_json(text: str | bytes, option: str) -> Any:
    """Raises: typer.BadParameter."""
    try:
        return json.loads(text, parse_constant=_no_number)
    except RecursionError:
        raise typer.BadParameter("no JSON that can be read: it is nested too deeply", param_hint=option) from None
    except ValueError as error:
        raise typer.BadParameter(f"no JSON: {error}", param_hint=option) from None


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")
