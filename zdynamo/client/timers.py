"""Which call is due next: a heap; entries that no longer hold are skipped, and swept out before they pile up."""

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zdynamo.client.calls import Call
    from zdynamo.client.queues import Queue

STALE_MAX = 1024  # entries beyond two for each call in flight; then the heap is swept


class Timers:
    """An entry holds as long as its call still wants to be woken at that time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Call | Queue]] = []  # due, call number, call
        self._swept_length = 0

    def __len__(self) -> int:
        return len(self._heap)

    def wake(self, call: "Call | Queue", at_ms: int) -> None:
        """Replaces the time set before."""
        call.wake_at_ms = at_ms
        heappush(self._heap, (at_ms, call.number, call))
        if len(self._heap) > 2 * self._swept_length + STALE_MAX:
            self._sweep()

    def due(self, now_ms: int) -> "list[Call | Queue]":
        """Take out the calls whose time has come."""
        found = []
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, _, call = heappop(self._heap)
            if call.wake_at_ms == at_ms:
                call.wake_at_ms = -1
                found.append(call)
        return found

    @property
    def next_due_ms(self) -> int | None:
        while self._heap and self._heap[0][2].wake_at_ms != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _sweep(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].wake_at_ms == entry[0]]
        heapify(self._heap)
        self._swept_length = len(self._heap)
