"""How much is free on a disk, measured at most once a second."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from zdynamo.errors import StoreFailed

MEASURED_FOR_S = 1.0


def free_bytes(folder: Path) -> int:
    """Raises: StoreFailed if the folder was taken away."""
    try:
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise StoreFailed(
            f"{folder} is not there any more ({error.strerror}): put it back and start this node again; "
            "if it is lost, start it empty at its address, and it gets its data from the other replicas"
        ) from None


class FreeSpace:
    """The last measure less what was written since."""

    def __init__(self, measure: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        self._measure = measure
        self._clock = clock
        self._left = 0
        self._due = clock()

    def left(self) -> int:
        now = self._clock()
        if now >= self._due:
            self._left = self._measure()
            self._due = now + MEASURED_FOR_S
        return self._left

    def spend(self, written_bytes: int) -> None:
        self._left -= written_bytes
