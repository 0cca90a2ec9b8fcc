"""Which seeds are simulated, and by how many processes."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import date

from zdynamo.testing.runs import Plan, Result, run

FROM_DATE = "from-date"
OF_A_WEEK = 1_000_000  # seeds
CHUNK = 4  # seeds that a process is given at a time


def first_seed(text: str, today: date) -> int:
    """`from-date`: the first of the seeds of this week. Raises: ValueError."""
    if text == FROM_DATE:
        year, week, _ = today.isocalendar()
        return (year * 100 + week) * OF_A_WEEK
    return int(text)


def results(plans: list[Plan], jobs: int) -> Iterator[tuple[Result, float]]:
    """In the order of the plans, each with the seconds of processor time that it took."""
    jobs = min(jobs, len(plans))
    if jobs == 1:
        yield from map(timed, plans)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(timed, plans, chunksize=min(CHUNK, len(plans) // jobs))


def timed(plan: Plan) -> tuple[Result, float]:
    began = time.process_time()
    result = run(plan)
    return result, time.process_time() - began
