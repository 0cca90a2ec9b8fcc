"""How long must a member that falls and comes back again and again be steady before it is alive again?

Each return of a member that does not last costs: requests wait for it, data is brought to it. The first fall within a
minute, and the first three restarts within 20 seconds, cost nothing: that is an ordinary failure, or an operator at
work. Then the time doubles with each.
"""

from collections import deque

STEADY_FIRST_MS = 1_000
STEADY_MAX_MS = 8_000  # however often it falls
FALLS_FREE = 1
FORGIVEN_MS = 60_000  # after which a fall no longer counts
RESTARTS_FREE = 3
CRASHES_MS = 20_000  # within which restarts are a crash loop if there are more
REMEMBERED_MAX = 16  # falls and restarts each; the oldest is forgotten


def steady_ms(beyond_free: int) -> int:
    """The time for that many falls or restarts above those that cost nothing."""
    if beyond_free <= 0:
        return 0
    return min(STEADY_MAX_MS, STEADY_FIRST_MS << min(beyond_free - 1, REMEMBERED_MAX))


class Flaps:
    """The falls of one member's process, and its restarts."""

    def __init__(self) -> None:
        self._falls: deque[int] = deque(maxlen=REMEMBERED_MAX)
        self._restarts: deque[int] = deque(maxlen=REMEMBERED_MAX)

    def fell(self, now_ms: int) -> None:
        self._falls.append(now_ms)

    def restarted(self, now_ms: int) -> None:
        """Another process: what the one before it did is forgiven."""
        self._falls.clear()
        self._restarts.append(now_ms)

    def steady_ms(self, now_ms: int) -> int:
        falls = sum(now_ms - at_ms < FORGIVEN_MS for at_ms in self._falls)
        restarts = sum(now_ms - at_ms < CRASHES_MS for at_ms in self._restarts)
        return max(steady_ms(falls - FALLS_FREE), steady_ms(restarts - RESTARTS_FREE))
