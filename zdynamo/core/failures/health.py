"""Does this node itself run as it should? It measures how late it is woken (Lifeguard, Dadgar et al. 2018).

A node that stood still has not heard what was said meanwhile. It blames nobody for that time, is more patient with
everybody for a while, and says so in its heartbeats and to those who ask it about others.
"""

from collections import deque

STALL_MS = 100  # that this node may be woken late; later, it stood still for that time
RECENT_MS = 1_000  # for which a stall counts as recent
LEVEL_MAX = 4  # of impatience withdrawn; further stalls only keep it there
CALM_MS = 2_000  # without a stall, after which the level falls by one
STALLS_MAX = 32  # remembered as recent; the oldest is forgotten


class Health:
    """One node's opinion of itself."""

    def __init__(self) -> None:
        self._level = 0
        self._level_at_ms = 0  # when it was last raised, or fell
        self._stalls: deque[tuple[int, int]] = deque(maxlen=STALLS_MAX)  # when it ended, how long it was

    def woken(self, late_ms: int, now_ms: int) -> int:
        """For how long this node stood still before it was woken so late; 0 if that is nothing unusual."""
        if late_ms <= STALL_MS:
            return 0
        self._fall(now_ms)
        self._level = min(LEVEL_MAX, self._level + 1)
        self._level_at_ms = now_ms
        self._stalls.append((now_ms, late_ms))
        return late_ms

    def patience(self, now_ms: int) -> float:
        """By how much this node is to be more patient with others than usual: 1 to 3."""
        self._fall(now_ms)
        return 1.0 + self._level / 2

    def stalled_ms(self, now_ms: int) -> int:
        """For how long this node has recently stood still, all together."""
        while self._stalls and now_ms - self._stalls[0][0] > RECENT_MS:
            self._stalls.popleft()
        return sum(stall_ms for _, stall_ms in self._stalls)

    def _fall(self, now_ms: int) -> None:
        steps = min(self._level, (now_ms - self._level_at_ms) // CALM_MS)
        if steps > 0:
            self._level -= steps
            self._level_at_ms += steps * CALM_MS
