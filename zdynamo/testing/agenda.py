"""Virtual time: what is due, in order."""

import heapq
from collections.abc import Callable
from typing import Any


class Agenda:
    """Actions by the time at which they are due; of one time, in the order in which they were entered."""

    def __init__(self) -> None:
        self.time_ms = 0
        self._entries: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._entered = 0

    def at(self, time_ms: int, action: Callable[..., None], *arguments: Any) -> None:
        self._entered += 1
        heapq.heappush(self._entries, (time_ms, self._entered, action, arguments))

    def run_to(self, end_ms: int) -> None:
        """Do all that is due by then, and what that makes due."""
        entries, pop = self._entries, heapq.heappop
        while entries and entries[0][0] <= end_ms:
            self.time_ms, _, action, arguments = pop(entries)
            action(*arguments)
        self.time_ms = end_ms
