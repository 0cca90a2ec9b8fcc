"""The verb `bench`: throughput and latency of a cluster, alone or beside the bare pyzmq ceiling in the same run."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from zdynamo.cli.options import JsonOption, check_node
from zdynamo.cli.output import FAILED, counted, note, show_json, show_table

if TYPE_CHECKING:
    from zdynamo.messages import Topology

IN_FLIGHT = "1,16,64,256"
NODES = 3
START_SECONDS = 30.0
LAYOUT_SECONDS = 10.0

Nodes = Annotated[
    list[str] | None, Option("--node", metavar="HOST:PORT", help="A running cluster. Default: three nodes of its own.")
]
InFlight = Annotated[list[str] | None, Option("--in-flight", metavar="N[,N...]", help=f"Default: {IN_FLIGHT}.")]
Storage = Annotated[
    str | None, Option("--storage", metavar="memory|rocksdb", help="Of nodes of its own. Default: memory.")
]


def bench(
    node: Nodes = None,
    in_flight: InFlight = None,
    seconds: Annotated[float, Option("--seconds", metavar="N", min=0.1, help="The length of each measurement.")] = 3.0,
    requests: Annotated[int, Option("--requests", metavar="N", min=0, help="So many requests each, not seconds.")] = 0,
    value_bytes: Annotated[int, Option("--value-bytes", metavar="N", min=0, help="Bytes of each value.")] = 100,
    keys: Annotated[int, Option("--keys", metavar="N", min=1, help="How many different keys.")] = 10_000,
    storage: Storage = None,
    ceiling: Annotated[
        bool, Option("--ceiling", help="Also run bare pyzmq in turn, and print the ratio; in a clone.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure puts and gets.

    On a running cluster (--node) it writes to the bucket `bench`.

    Example: zdynamo bench --node 127.0.0.1:7400 --in-flight 64,256
    """
    levels = _levels(in_flight)
    _check(node, storage)
    from zdynamo.cli.load import Load
    from zdynamo.cli.rounds import Plan, ceiling_program, rows

    if ceiling and ceiling_program() is None:
        raise typer.BadParameter("needs tools/ceiling.py: run it in a clone of zdynamo", param_hint="--ceiling")
    plan = Plan(levels=levels, keys=keys, value_bytes=value_bytes, seconds=seconds, requests=requests, ceiling=ceiling)
    with (
        _nodes(node, storage or "memory") as addresses,
        Load(_topology(addresses, value_bytes), keys=keys, value_bytes=value_bytes) as load,
        _progress(load.fill_steps + plan.steps) as advance,
    ):
        warm_up_errors = load.fill(advance)
        results = list(rows(load, plan, advance))
    _show(results, as_json, nodes=addresses, value_bytes=value_bytes, keys=keys, warm_up_errors=warm_up_errors)
    if not all(row["ops_s"] for row in results):
        raise typer.Exit(FAILED)


def _levels(texts: list[str] | None) -> list[int]:
    parts = [part.strip() for text in texts or [IN_FLIGHT] for part in text.split(",")]
    if not all(part.isdigit() and int(part) > 0 for part in parts):
        raise typer.BadParameter("write numbers from 1 on, such as 1,16,64", param_hint="--in-flight")
    return [int(part) for part in parts]


def _check(nodes: list[str] | None, storage: str | None) -> None:
    for address in nodes or []:
        check_node(address)
    if storage not in (None, "memory", "rocksdb"):
        raise typer.BadParameter(f"{storage!r} is neither memory nor rocksdb", param_hint="--storage")
    if storage and nodes:
        raise typer.BadParameter("the nodes of a running cluster have their own", param_hint="--storage")


@contextmanager
def _nodes(given: list[str] | None, storage: str) -> Iterator[list[str]]:
    """The addresses of the cluster to measure; starts one if none is given."""
    if given:
        yield given
        return
    from zdynamo.cli.cluster import LocalCluster, free_ports

    memory, port = storage == "memory", free_ports(NODES)
    with (
        tempfile.TemporaryDirectory(prefix="zdynamo-bench-") as folder,
        LocalCluster(nodes=NODES, port=port, folder=Path(folder), memory=memory) as cluster,
    ):
        cluster.start()
        cluster.wait_ready(START_SECONDS)
        yield cluster.addresses


def _topology(addresses: list[str], value_bytes: int) -> "Topology":
    """Of the first node that answers, once the first layout is decided.

    Raises: Unreachable, typer.BadParameter for values that it does not take.
    """
    from zdynamo.cli.ask import topology_of
    from zdynamo.errors import Unreachable

    give_up = time.monotonic() + LAYOUT_SECONDS
    reason = f"none of {', '.join(addresses)} answers: is a cluster running there?"
    while time.monotonic() < give_up:
        for address in addresses:
            try:
                topology = topology_of(address, deadline_ms=1000)
            except Unreachable:
                continue
            _check_value(topology, value_bytes)
            if topology.owners:
                return topology
            wanted = topology.constants.min_members
            reason = f"{address} has no layout yet: {len(topology.members)} of {wanted} members have joined"
            _put_once(address)
        time.sleep(0.05)
    raise Unreachable(reason)


def _check_value(topology: "Topology", value_bytes: int) -> None:
    """Before thousands of such puts are refused."""
    if topology.limits is not None and value_bytes > (most := topology.limits.value_bytes_max):
        raise typer.BadParameter(f"the cluster takes at most {most} bytes", param_hint="--value-bytes")


def _put_once(address: str) -> None:
    """The first put of a cluster fixes who owns the data."""
    from zdynamo.cli.ask import ask
    from zdynamo.cli.load import BUCKET
    from zdynamo.errors import RequestError
    from zdynamo.messages import Done, Put

    with suppress(RequestError):
        ask(address, lambda request: Put(request, "", 1000, BUCKET, b"first", b"", ""), Done, deadline_ms=1000)


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=steps)
        yield lambda: progress.advance(task)


def _show(results: list[dict[str, Any]], as_json: bool, **run: Any) -> None:
    if as_json:
        show_json({**run, "results": results})
    else:
        with_ceiling = any("ratio" in row for row in results)
        columns = ["OP", "IN FLIGHT", "OPS/S", "P50 MS", "P99 MS", "ERRORS"] + ["CEILING", "RATIO"] * with_ceiling
        show_table(columns, [_cells(row) for row in results], right=columns[1:])
    for row in results:
        for kind, count in row["errors"].items():
            note(f"{row['op']} at {row['in_flight']} in flight: {counted(count, 'error')} ({kind})")
    for kind, count in run["warm_up_errors"].items():
        note(f"warm-up: {counted(count, 'error')} ({kind})")


def _cells(row: dict[str, Any]) -> list[str]:
    cells = [row["op"], str(row["in_flight"]), f"{row['ops_s']:,.0f}", f"{row['p50_ms']:.2f}", f"{row['p99_ms']:.2f}"]
    cells.append(str(sum(row["errors"].values())))
    if "ratio" in row:
        cells += [f"{row['ceiling_ops_s']:,.0f}", f"{row['ratio']:.1%}"]
    return cells
