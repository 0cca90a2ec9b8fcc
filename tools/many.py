#!/usr/bin/env python3
"""What many keys a call bring: keys a second of get_many and put_many beside those of single calls.

So many threads of one client keep one call each in flight, first with one key a call, then with many; in turns, so that
both see the same machine, and the median of the rounds counts. Starts three nodes with the memory store of its own.

    tools/many.py
    tools/many.py --in-flight 4,16 --keys 100 --seconds 2 --json
"""

import argparse
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from msgspec import Struct, to_builtins

from zdynamo.cli.cluster import LocalCluster, free_ports
from zdynamo.cli.output import note, show_json, show_table
from zdynamo.client import Client
from zdynamo.errors import RequestError, ZdynamoError

NODES = 3
START_SECONDS = 30.0
BUCKET = "many"
NAMES = 10_000  # different keys
FAR = 7_919  # coprime to it: threads do not walk over the keys together


class Row(Struct):
    """One operation at one number of calls in flight."""

    op: str
    in_flight: int
    single_keys_s: float
    many_keys_s: float
    ratio: float
    errors: int


class Bench:
    """One client, and what its threads do."""

    def __init__(self, client: Client, keys: int, value_bytes: int) -> None:
        self.errors = 0
        self._client = client
        self._keys = keys
        self._value = os.urandom(value_bytes)
        self._names = [f"key-{number:07d}" for number in range(NAMES)]

    def fill(self) -> None:
        for start in range(0, NAMES, 1_000):
            self._client.put_many(dict.fromkeys(self._names[start : start + 1_000], self._value), bucket=BUCKET)

    def keys_a_second(self, op: str, in_flight: int, seconds: float, many: bool) -> float:
        call: Callable[[list[str]], None] = getattr(self, f"_{op}_many" if many else f"_{op}")
        keys = self._keys if many else 1
        end = time.perf_counter() + seconds
        done = [0] * in_flight

        def work(thread: int) -> None:
            for turn in count(thread * FAR):
                at = turn * keys % (NAMES - keys + 1)
                call(self._names[at : at + keys])
                if time.perf_counter() >= end:
                    return
                done[thread] += keys

        threads = [threading.Thread(target=work, args=[thread]) for thread in range(in_flight)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(done) / seconds

    def _get(self, keys: list[str]) -> None:
        try:
            self._client.get(keys[0], bucket=BUCKET)
        except RequestError:
            self.errors += 1

    def _put(self, keys: list[str]) -> None:
        try:
            self._client.put(keys[0], self._value, bucket=BUCKET)
        except RequestError:
            self.errors += 1

    def _get_many(self, keys: list[str]) -> None:
        self._count(self._client.get_many(keys, bucket=BUCKET))

    def _put_many(self, keys: list[str]) -> None:
        self._count(self._client.put_many(dict.fromkeys(keys, self._value), bucket=BUCKET))

    def _count(self, answers: dict[str, object]) -> None:
        self.errors += sum(isinstance(answer, ZdynamoError) for answer in answers.values())


def measure(bench: Bench, op: str, in_flight: int, seconds: float, rounds: int) -> Row:
    bench.errors = 0
    single, many = [], []
    for _ in range(rounds):
        single.append(bench.keys_a_second(op, in_flight, seconds, many=False))
        many.append(bench.keys_a_second(op, in_flight, seconds, many=True))
    one, all_at_once = statistics.median(single), statistics.median(many)
    return Row(op, in_flight, round(one), round(all_at_once), round(all_at_once / one, 1), bench.errors)


@contextmanager
def cluster() -> Iterator[list[str]]:
    with (
        tempfile.TemporaryDirectory(prefix="zdynamo-many-") as folder,
        LocalCluster(nodes=NODES, port=free_ports(NODES), folder=Path(folder), memory=True) as nodes,
    ):
        nodes.start()
        nodes.wait_ready(START_SECONDS)
        yield nodes.addresses


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--in-flight", default="1,4,16", metavar="N[,N...]", help="calls in flight; default %(default)s"
    )
    parser.add_argument("--keys", type=int, default=100, metavar="N", help="keys of a call; default %(default)s")
    parser.add_argument("--seconds", type=float, default=1.0, metavar="N", help="of a measurement; default %(default)s")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of which the median counts")
    parser.add_argument("--value-bytes", type=int, default=100, metavar="N", help="of each value; default %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser.parse_args()


def main() -> int:
    given = arguments()
    levels = [int(level) for level in given.in_flight.split(",")]
    try:
        with cluster() as addresses, Client(*addresses) as client:
            bench = Bench(client, given.keys, given.value_bytes)
            bench.fill()
            rows = [
                measure(bench, op, in_flight, given.seconds, given.rounds)
                for op in ("get", "put")
                for in_flight in levels
            ]
    except ZdynamoError as error:
        note(f"no figures: {error}")
        return 1
    if given.json:
        show_json({"keys_a_call": given.keys, "value_bytes": given.value_bytes, "results": to_builtins(rows)})
    else:
        columns = ["OP", "CALLS IN FLIGHT", "KEYS/S, 1 A CALL", f"KEYS/S, {given.keys} A CALL", "RATIO", "ERRORS"]
        cells = [
            (
                row.op,
                row.in_flight,
                f"{row.single_keys_s:,.0f}",
                f"{row.many_keys_s:,.0f}",
                f"{row.ratio:.1f}",
                row.errors,
            )
            for row in rows
        ]
        show_table(columns, cells, right=columns[1:])
    return 0


if __name__ == "__main__":
    sys.exit(main())
