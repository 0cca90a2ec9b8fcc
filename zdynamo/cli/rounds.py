"""The rounds of a benchmark: ours alone, or ours and bare pyzmq in turn, of which the medians are compared."""

import json
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from zdynamo.cli.cluster import ClusterFailed, free_ports
from zdynamo.cli.load import Load, Measured

OPERATIONS = ("put", "get")
ROUNDS_BESIDE_CEILING = 3  # ours, ceiling, ours, ceiling, ...: machines are noisy
CEILING = Path("tools") / "ceiling.py"  # of a clone; it is not installed
CLONES = (Path(__file__).parents[2], Path())  # where this package is, or the current folder


class Plan(Struct, frozen=True, kw_only=True):
    """What is measured, and how long."""

    levels: list[int]  # requests in flight
    keys: int
    value_bytes: int
    seconds: float
    requests: int  # 0: by seconds
    ceiling: bool

    @property
    def length(self) -> dict[str, Any]:
        """Of one measurement."""
        return {"requests": self.requests} if self.requests else {"seconds": self.seconds}

    @property
    def steps(self) -> int:
        """How many measurements it takes."""
        return len(OPERATIONS) * len(self.levels) * (2 * ROUNDS_BESIDE_CEILING if self.ceiling else 1)


def ceiling_program(clones: Sequence[Path] = CLONES) -> Path | None:
    """Of the first of these that is one."""
    return next((folder / CEILING for folder in clones if (folder / CEILING).exists()), None)


def rows(load: Load, plan: Plan, advance: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """One line of the result for each operation and number in flight."""
    for op in OPERATIONS:
        for level in plan.levels:
            ours: list[Measured] = []
            ceilings: list[float] = []
            for _ in range(ROUNDS_BESIDE_CEILING if plan.ceiling else 1):
                ours.append(load.measure(op, level, **plan.length))
                advance()
                if plan.ceiling:
                    ceilings.append(_run_ceiling(op, level, plan))
                    advance()
            yield _row(ours, ceilings)


def _row(ours: list[Measured], ceilings: list[float]) -> dict[str, Any]:
    middle = sorted(ours, key=lambda measured: measured.ops_s)[len(ours) // 2]
    errors: Counter[str] = Counter()
    for measured in ours:
        errors.update(measured.errors)
    row: dict[str, Any] = {
        "op": middle.op,
        "in_flight": middle.in_flight,
        "ops_s": round(middle.ops_s, 1),
        "p50_ms": round(middle.p50_ms, 3),
        "p99_ms": round(middle.p99_ms, 3),
        "requests": sum(measured.requests for measured in ours),
        "errors": errors,
    }
    if ceilings:
        bare = statistics.median(ceilings)
        row |= {"ceiling_ops_s": round(bare, 1), "ratio": round(middle.ops_s / bare, 4)}
    return row


def _run_ceiling(op: str, level: int, plan: Plan) -> float:
    """Operations a second. Raises: ClusterFailed if the program ends badly."""
    numbers = {
        "in-flight": level,
        "keys": plan.keys,
        "value-bytes": plan.value_bytes,
        "port": free_ports(1),
        **plan.length,
    }
    flags = [f"--{name}={number}" for name, number in numbers.items()]
    command = [sys.executable, str(ceiling_program()), "--shape=threads", f"--op={op}", *flags, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ClusterFailed(f"{CEILING.name} ended with {done.returncode}: {done.stderr[-200:]}")
    return float(json.loads(done.stdout)["ops_s"])
