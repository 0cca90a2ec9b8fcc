"""The tool that measures many keys a call, in a small size: it runs, and no key fails."""

import many

from zdynamo.client import Client


def test_many_keys_a_call_are_measured_beside_single_ones() -> None:
    with many.cluster() as addresses, Client(*addresses) as client:
        bench = many.Bench(client, keys=100, value_bytes=10)
        bench.fill()

        rows = [many.measure(bench, op, in_flight=2, seconds=0.2, rounds=1) for op in ("get", "put")]

    assert [(row.op, row.in_flight, row.errors) for row in rows] == [("get", 2, 0), ("put", 2, 0)]
    assert all(row.single_keys_s > 0 and row.many_keys_s > 0 for row in rows)
