"""How long may a member be silent? By the rhythm of its signs of life actually seen (Hayashibara et al. 2004).

phi = -log10(chance that a sign of life comes even later than now), by a logistic approximation of the normal
distribution's tail. Its inverse is worked out once: a silence is then judged by one comparison.
"""

import math
from collections import deque

WINDOW = 100  # heartbeats remembered; the oldest is forgotten
DEVIATION_MIN_MS = 100.0  # a machine that is busy for a moment is not dead
PHI_MAX = 300.0
LINEAR, CUBIC = 1.5976, 0.070566  # of the approximation


def phi(silence_ms: float, mean_ms: float, deviation_ms: float) -> float:
    """Suspicion after a silence."""
    y = (silence_ms - mean_ms) / deviation_ms
    exponent = y * (LINEAR + CUBIC * y * y)
    if exponent > PHI_MAX * math.log(10):
        return PHI_MAX
    late = math.exp(-exponent)
    return -math.log10(late / (1.0 + late)) if silence_ms > mean_ms else -math.log10(1.0 - 1.0 / (1.0 + late))


def deviations_at(suspicion: float) -> float:
    """How many deviations beyond the mean a silence is at which phi is that: the one real root of the cubic."""
    wanted = min(suspicion, PHI_MAX) * math.log(10)
    exponent = wanted if wanted > 40 else math.log(math.expm1(wanted))
    half, third = exponent / CUBIC / 2, LINEAR / CUBIC / 3
    root = math.sqrt(half * half + third**3)
    return math.cbrt(half + root) + math.cbrt(half - root)


class Rhythm:
    """The heartbeats of one member."""

    def __init__(self, expected_ms: int) -> None:
        self._expected_ms = expected_ms  # until there are some
        self._intervals: deque[int] = deque()
        self._sum = self._squares = 0
        self._beat_at_ms: int | None = None

    def beat(self, now_ms: int, *, learn: bool) -> None:
        """`learn`: it was there all the time since the last one, so the time between them is its rhythm."""
        if learn and self._beat_at_ms is not None and now_ms > self._beat_at_ms:
            self._remember(now_ms - self._beat_at_ms)
        self._beat_at_ms = now_ms

    def shift(self, gap_ms: int) -> None:
        """This node stood still so long."""
        if self._beat_at_ms is not None:
            self._beat_at_ms += gap_ms

    @property
    def mean_ms(self) -> float:
        return self._sum / len(self._intervals) if self._intervals else float(self._expected_ms)

    @property
    def deviation_ms(self) -> float:
        count, mean_ms = max(1, len(self._intervals)), self.mean_ms
        spread = math.sqrt(max(0.0, self._squares / count - mean_ms * mean_ms)) if self._intervals else 0.0
        return max(spread, DEVIATION_MIN_MS, mean_ms / 4)

    def silence_ms(self, deviations: float) -> int:
        """The longest silence that is so few deviations beyond the mean."""
        return math.ceil(self.mean_ms + deviations * self.deviation_ms)

    def phi(self, silence_ms: int) -> float:
        return phi(silence_ms, self.mean_ms, self.deviation_ms)

    def _remember(self, interval_ms: int) -> None:
        if len(self._intervals) >= WINDOW:
            oldest = self._intervals.popleft()
            self._sum -= oldest
            self._squares -= oldest * oldest
        self._intervals.append(interval_ms)
        self._sum += interval_ms
        self._squares += interval_ms * interval_ms
