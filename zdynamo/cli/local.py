"""The verb `local`: a cluster of processes on this machine, until Ctrl-C."""

import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zdynamo.cli.options import JsonOption
from zdynamo.cli.output import as_usage, note, show_json
from zdynamo.errors import ConfigError

if TYPE_CHECKING:
    from zdynamo.cli.cluster import LocalCluster

WATCH_SECONDS = 0.2
DEFAULT_DATA = Path("zdynamo-data")


def local(
    nodes: Annotated[int, typer.Option("--nodes", metavar="N", min=1, max=26, help="How many nodes.")] = 3,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help=f"One folder a node in here. Default: {DEFAULT_DATA}.")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Keep records in memory only; a clean stop leaves nothing.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="A TOML file for all of them, such as for buckets.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=1, max=65000, help="The first node's; the next have +10.")
    ] = 7400,
    as_json: JsonOption = False,
) -> None:
    """Run a cluster on this machine, until Ctrl-C.

    What it stores survives a restart with the same folder. A node that dies is reported and not restarted.

    Example: zdynamo local --nodes 3 --data data
    """
    if memory and data is not None:
        raise typer.BadParameter("--memory keeps nothing in a folder: leave out one of the two", param_hint="--data")
    from zdynamo.cli.cluster import LocalCluster, check_folders, check_ports
    from zdynamo.loading import load

    with as_usage(ConfigError):
        http = load(config, os.environ, {}).node.http == "process"
    check_ports(nodes, port)
    folder = Path(tempfile.mkdtemp(prefix="zdynamo-")) if memory else data or DEFAULT_DATA
    if not memory:
        check_folders(nodes, folder)
    flags = (f"--config={config}",) if config else ()
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a script's background processes begin without it
        signal.signal(number, signal.default_int_handler)
    try:
        with LocalCluster(nodes=nodes, port=port, folder=folder, memory=memory, flags=flags, http=http) as cluster:
            cluster.start()
            starting = "1 node is starting; its log" if nodes == 1 else f"{nodes} nodes are starting; their logs"
            note(f"{starting}: {folder}/*.log")
            cluster.wait_ready()
            _say_ready(cluster, as_json, http)
            _watch(cluster)
    except KeyboardInterrupt:
        note("stopped")
        if memory:
            shutil.rmtree(folder, ignore_errors=True)


def _say_ready(cluster: "LocalCluster", as_json: bool, http: bool) -> None:
    if as_json:
        nodes = [
            {"name": child.name, "address": child.address, "pid": child.process.pid, "log": str(child.log)}
            | ({"http": child.http} if http else {})
            for child in cluster.children
            if child.process
        ]
        show_json({"ready": cluster.addresses, "nodes": nodes})
        return
    print(f"cluster ready: {' '.join(cluster.addresses)}", flush=True)
    if http:
        print(f"over HTTP, and in a browser: {' '.join(child.http for child in cluster.children)}", flush=True)
    if sys.stdout.isatty():
        print("in another terminal: zdynamo put greeting hello; zdynamo get greeting; Ctrl-C here stops the cluster")


def _watch(cluster: "LocalCluster") -> None:
    """Say which node has died, and go on; ends when none is left."""
    reported: set[str] = set()
    while len(reported) < len(cluster.children):
        for child, code in cluster.ended():
            if child.name not in reported:
                reported.add(child.name)
                how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
                reason = f": {child.last_words()}" if code > 0 else ""
                note(f"node {child.name} ({child.address}) {how}{reason} (log: {child.log})")
        time.sleep(WATCH_SECONDS)
    note("no node is left")
    raise typer.Exit(1)
