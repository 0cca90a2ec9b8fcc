"""The verb `start`: one node in the foreground."""

import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from zdynamo.cli.output import as_usage
from zdynamo.errors import ConfigError

if TYPE_CHECKING:
    from zdynamo.config import Config
    from zdynamo.threads.beside import Command

PARENT_GONE_GRACE_SECONDS = 10.0  # a node that has not stopped by then is ended hard

SETTINGS = {  # flags that are a setting as they stand
    "name": "node.name",
    "host": "node.host",
    "port": "node.port",
    "peer_port": "node.peer_port",
    "gossip_port": "node.gossip_port",
    "http_port": "node.http_port",
    "http": "node.http",
    "bind": "node.bind",
    "data": "node.data",
    "zone": "node.zone",
    "min_members": "cluster.min_members",
    "durability": "storage.durability",
    "log_level": "log.level",
}

OTHERS = {"node.insecure": "--insecure", "cluster.seeds": "--seed", "cluster.found": "--found"}
FLAGS = {setting: f"--{flag.replace('_', '-')}" for flag, setting in SETTINGS.items()} | OTHERS
PORT_MAX = 65535

Text = str | None
Number = int | None


def _port(flag: str, about: str) -> Any:
    return Option(flag, metavar="N", min=0, max=PORT_MAX, help=about)


Port = Annotated[Number, _port("--port", "The client port: HOST:PORT is the public address. Default: 7400.")]
PeerPort = Annotated[Number, _port("--peer-port", "For requests between nodes. Default: the client port + 1.")]
GossipPort = Annotated[Number, _port("--gossip-port", "For gossip between nodes. Default: the client port + 2.")]
HttpPort = Annotated[Number, _port("--http-port", "For HTTP. Default: the client port + 3.")]
Http = Annotated[
    Text, Option("--http", metavar="process|off", help="Serve HTTP, in a process beside the node. Default: process.")
]
ConfigFile = Annotated[Path | None, Option("--config", metavar="FILE", help="A TOML file, see configs/zdynamo.toml.")]
Name = Annotated[Text, Option("--name", metavar="TEXT", help="The name that people know the node by.")]
Host = Annotated[
    Text, Option("--host", metavar="TEXT", help="The host that others reach this node at. Default: 127.0.0.1.")
]
Bind = Annotated[Text, Option("--bind", metavar="TEXT", help="The address to listen on, if it is not the host.")]
Seeds = Annotated[
    list[str] | None, Option("--seed", metavar="HOST:PORT", help="The public address of any member; repeatable.")
]
Data = Annotated[Text, Option("--data", metavar="DIR", help="The data folder. Default: data.")]
Memory = Annotated[bool, Option("--memory", help="Keep records in memory only.")]
Found = Annotated[bool, Option("--found", help="Found a cluster at once, without listening for one.")]
Insecure = Annotated[bool, Option("--insecure", help="Allow addresses beyond loopback.")]
Durability = Annotated[
    Text, Option("--durability", metavar="always|interval|never", help="When writes are fsynced. Default: interval.")
]
Zone = Annotated[Text, Option("--zone", metavar="TEXT", help="The failure domain: rack, room, region.")]
MinMembers = Annotated[
    Number,
    Option(
        "--min-members",
        metavar="N",
        min=1,
        max=1000,
        help="A new cluster takes data once so many have joined. Default: 1.",
    ),
]
LogLevel = Annotated[
    Text, Option("--log-level", metavar="debug|info|warning|error", help="The lowest level logged. Default: info.")
]


def start(
    context: typer.Context,
    config: ConfigFile = None,
    name: Name = None,
    host: Host = None,
    port: Port = None,
    peer_port: PeerPort = None,
    gossip_port: GossipPort = None,
    http_port: HttpPort = None,
    http: Http = None,
    bind: Bind = None,
    seed: Seeds = None,
    data: Data = None,
    memory: Memory = False,
    found: Found = False,
    insecure: Insecure = False,
    durability: Durability = None,
    zone: Zone = None,
    min_members: MinMembers = None,
    log_level: LogLevel = None,
    as_json: Annotated[bool, Option("--json", help="Log JSON lines, even on a terminal.")] = False,
    stop_with_stdin: Annotated[bool, Option("--stop-with-stdin", hidden=True)] = False,
) -> None:
    """Run one node in the foreground, until Ctrl-C or SIGTERM.

    Without --seed it founds a cluster, unless its data folder says which one it belongs to. Who owns the data is
    decided once, with the first put, so --min-members says how many have to join before.

    Example: zdynamo start --data data/a --min-members 3

    Example: zdynamo start --port 7410 --data data/b --min-members 3 --seed 127.0.0.1:7400
    """
    if memory and data is not None:
        raise typer.BadParameter("--memory keeps nothing in a folder: leave out one of the two", param_hint="--data")
    from zdynamo.loading import load
    from zdynamo.tracing.setup import check_installed

    flags = {setting: context.params[flag] for flag, setting in SETTINGS.items()} | {
        "node.insecure": insecure or None,
        "cluster.seeds": seed or None,
        "cluster.found": found or None,
        "storage.engine": "memory" if memory else None,
        "log.format": "json" if as_json else None,
    }
    with as_usage(ConfigError):
        loaded = load(config, os.environ, flags, FLAGS)
        check_installed(loaded.tracing)
    if stop_with_stdin:
        threading.Thread(target=_stop_at_end_of_stdin, name="stdin", daemon=True).start()
    from zdynamo.threads.foreground import run_node

    raise typer.Exit(run_node(loaded, _http(loaded)))


def _http(config: "Config") -> "Command | None":
    """How to start the process that serves HTTP. Over ipc and inproc there is none: they have no ports."""
    if config.node.http == "off" or "://" in config.node.host:
        return None
    from zdynamo.http.settings import Serving, command
    from zdynamo.threads.settings import addresses_of

    address = addresses_of(config).client
    names = tuple(config.node.http_names)
    return lambda listening: command(Serving(listening, (address,), address, address, names, config.tracing))


def _stop_at_end_of_stdin() -> None:
    """Whoever started this node holds the other end; it closes however that process ends, kill -9 included."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(PARENT_GONE_GRACE_SECONDS)
    os._exit(1)
