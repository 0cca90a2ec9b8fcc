#!/usr/bin/env python3
"""How many HTTP requests a second one node of three serves, and where the processor time of each goes.

So many keep-alive connections to the HTTP port of one node send the next request when the last is answered, from a raw
asyncio protocol, so that the generator costs little. Starts three nodes with the memory store of its own. `idle` tells
what a node and its HTTP process cost while nobody asks.

    tools/http_bench.py
    tools/http_bench.py --connections 64 --seconds 5 --rounds 3 --value-bytes 100 --json
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import psutil
from msgspec import Struct, to_builtins

from zdynamo.cli.cluster import HOST, LocalCluster, free_ports
from zdynamo.cli.output import show_json, show_table
from zdynamo.client import Client

NODES = 3
START_SECONDS = 30.0
IDLE_SECONDS = 10.0
KEYS = 10_000
WARM_SECONDS = 0.5  # before counting
LENGTH = b"content-length: "


class Row(Struct):
    """One kind of request; microseconds of processor time are for each request."""

    request: str
    ops_s: float
    p50_ms: float
    p99_ms: float
    http_us: float  # of the HTTP process
    nodes_us: float  # of the three nodes
    generator_us: float
    errors: int


class Idle(Struct):
    """A node and the HTTP process beside it, while nobody asks."""

    cpu_percent: float  # of one core
    node_mib: float
    http_mib: float


class Connection(asyncio.Protocol):
    """Sends the next request when an answer is complete."""

    def __init__(self, bench: "Bench", request: Callable[[int], bytes]) -> None:
        self._bench = bench
        self._request = request
        self._received = b""
        self._sent_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        head = received.find(b"\r\n\r\n")
        if head < 0:
            return
        at = received.find(LENGTH) + len(LENGTH)
        if len(received) < head + 4 + int(received[at : received.find(b"\r\n", at)]):
            return
        self._received = b""
        self._bench.took(time.perf_counter() - self._sent_s, received.startswith(b"HTTP/1.1 2"))
        self._send()

    def _send(self) -> None:
        self._sent_s = time.perf_counter()
        self._transport.write(self._request(next(self._bench.numbers)))  # type: ignore[attr-defined]


class Bench:
    """One run against one node."""

    def __init__(self, port: int, connections: int, seconds: float) -> None:
        self.numbers = count()
        self._port = port
        self._connections = connections
        self._seconds = seconds
        self._took_s: list[float] = []
        self._errors = 0

    def took(self, seconds: float, fine: bool) -> None:
        self._took_s.append(seconds)
        self._errors += not fine

    async def run(self, name: str, request: Callable[[int], bytes], cpu: Callable[[], tuple[float, float]]) -> Row:
        loop = asyncio.get_running_loop()
        transports = [
            (await loop.create_connection(lambda: Connection(self, request), HOST, self._port))[0]
            for _ in range(self._connections)
        ]
        await asyncio.sleep(WARM_SECONDS)
        self._took_s.clear()
        self._errors, before, mine, began = 0, cpu(), time.process_time(), time.monotonic()
        await asyncio.sleep(self._seconds)
        lasted, after, spent = time.monotonic() - began, cpu(), time.process_time() - mine
        took, errors = sorted(self._took_s), self._errors
        for transport in transports:
            transport.abort()
        asked = max(1, len(took))
        used = (1e6 * (now - then) / asked for then, now in zip(before, after, strict=True))
        centiles = (1e3 * took[int(share * (asked - 1))] for share in (0.5, 0.99))
        numbers = [asked / lasted, *centiles, *used, 1e6 * spent / asked]
        return Row(name, *(round(number, 2) for number in numbers), errors)


def requests(value_bytes: int) -> dict[str, Callable[[int], bytes]]:
    """By name, the request of each number."""
    body = b'{"Key":"key-%07d","Value":"' + b"x" * value_bytes + b'"}'
    head = b"POST /kvstore HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    post = head % len(body % 0) + body
    return {
        "GET /ping": lambda number: b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /kvstore": lambda number: post % (number % KEYS),
        "GET /kvstore/K": lambda number: b"GET /kvstore/key-%07d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (number % KEYS),
        "GET /v1/.../K": lambda number: (
            b"GET /v1/buckets/default/keys/key-%07d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (number % KEYS)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts")
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="zdynamo-http-bench-") as folder,
        LocalCluster(nodes=NODES, port=free_ports(NODES), folder=Path(folder), memory=True, http=True) as cluster,
    ):
        cluster.start()
        cluster.wait_ready(START_SECONDS)
        with Client(*cluster.addresses, deadline_ms=int(START_SECONDS * 1000)) as client:
            client.put_many({f"key-{number:07d}": "x" * options.value_bytes for number in range(KEYS)})
        rows, idle = measured(cluster, options)
    show(rows, idle, options.json)


def measured(cluster: LocalCluster, options: argparse.Namespace) -> tuple[list[Row], Idle]:
    nodes = [psutil.Process(child.process.pid) for child in cluster.children if child.process]
    time.sleep(1)
    (http,) = nodes[0].children()

    def cpu() -> tuple[float, float]:
        return used(http), sum(map(used, nodes))

    before = used(http) + used(nodes[0])
    time.sleep(IDLE_SECONDS)
    percent = 100 * (used(http) + used(nodes[0]) - before) / IDLE_SECONDS
    found: dict[str, list[Row]] = {}
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        for _ in range(options.rounds):
            for name, request in requests(options.value_bytes).items():
                bench = Bench(cluster.children[0].port + 3, options.connections, options.seconds)
                found.setdefault(name, []).append(runner.run(bench.run(name, request, cpu)))
    rows = [sorted(rounds, key=lambda row: row.ops_s)[len(rounds) // 2] for rounds in found.values()]
    node_mib, http_mib = (process.memory_info().rss / 2**20 for process in (nodes[0], http))
    return rows, Idle(round(percent, 2), round(node_mib, 1), round(http_mib, 1))


def used(process: psutil.Process) -> float:
    """Seconds of processor time."""
    times = process.cpu_times()
    return float(times.user + times.system)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def show(rows: list[Row], idle: Idle, as_json: bool) -> None:
    if as_json:
        show_json({"rows": to_builtins(rows), "idle": to_builtins(idle)})
        return
    columns = ["request", "ops/s", "p50 ms", "p99 ms", "HTTP us", "nodes us", "generator us", "errors"]
    show_table(columns, [list(to_builtins(row).values()) for row in rows], right=columns[1:])
    print(f"idle: {idle.cpu_percent} % of a core; node {idle.node_mib} MiB, HTTP process {idle.http_mib} MiB")


if __name__ == "__main__":
    main()
