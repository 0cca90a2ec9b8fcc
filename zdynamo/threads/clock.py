"""The clocks of a node, as the core wants them.

So that wrong clocks can be tried on real processes, the environment variable `TEST_ZDYNAMO_CLOCK` may name a file of 8
bytes: milliseconds (signed, little-endian) by which the wall clock is wrong, as they stand there at that moment.
"""

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from struct import Struct

from zdynamo.core.events import Now

TEST_CLOCK = "TEST_ZDYNAMO_CLOCK"
SHIFT = Struct("<q")  # what the file holds


def true_now() -> Now:
    return Now(time.monotonic_ns() // 1_000_000, time.time_ns() // 1_000_000)


def monotonic_us() -> int:
    """For how long something takes."""
    return time.monotonic_ns() // 1_000


def shifted_by(file: Path) -> Callable[[], Now]:
    """A clock that is wrong by what the file says. Raises: OSError, ValueError if there are no 8 bytes to read."""
    with file.open("rb") as opened:
        shift = mmap.mmap(opened.fileno(), SHIFT.size, access=mmap.ACCESS_READ)

    def now() -> Now:
        moment = true_now()
        return Now(moment.monotonic_ms, moment.wall_ms + SHIFT.unpack_from(shift)[0])

    return now


now = shifted_by(Path(os.environ[TEST_CLOCK])) if TEST_CLOCK in os.environ else true_now
