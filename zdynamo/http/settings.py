"""What a process that serves HTTP is told, as the one argument of `python -m zdynamo.http`."""

import sys

import msgspec
from msgspec import Struct, field

from zdynamo.config import TracingSettings


class Serving(Struct, frozen=True):
    """Standard input is the other end of a pipe that the parent holds: when it ends, so does the process."""

    listen: int  # the descriptor of a listening socket, inherited
    members: tuple[str, ...]  # public addresses to begin with
    served_by: str  # what answers name
    node: str = ""  # the public address of the node that this process belongs to
    names: tuple[str, ...] = ()  # by which this process is reached, beside the host in `served_by`
    tracing: TracingSettings = field(default_factory=TracingSettings)


def command(serving: Serving) -> list[str]:
    """That starts the process."""
    return [sys.executable, "-m", "zdynamo.http", msgspec.json.encode(serving).decode()]


def parse(argument: str) -> Serving:
    return msgspec.json.decode(argument, type=Serving)
