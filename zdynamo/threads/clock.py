"""The clocks of a node, as the core wants them."""

import time

from zdynamo.core.events import Now


def now() -> Now:
    return Now(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)
