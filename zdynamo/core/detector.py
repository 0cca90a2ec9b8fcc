"""Is a member there? Phi accrual on its heartbeats, and pings that prove the path data takes (paper 4.8.3).

phi = -log10(chance that a sign of life comes even later than now), by the rhythm of heartbeats actually seen
(Hayashibara et al. 2004). A member that phi, or unanswered pings, make suspect is pinged at once; it is down if that
goes unanswered too. Only an answered ping makes it alive again.
"""

import math
from collections import deque

from zdynamo.core.settings import Rhythms
from zdynamo.messages import MemberState

WINDOW = 100  # heartbeats remembered
DEVIATION_MIN_MS = 100.0  # a machine that is busy for a moment is not dead
PINGS_UNANSWERED = 4  # ping intervals without an answer that make a member suspect though its heartbeats come
FIRST_CONTACT_MS = 2000  # that a member may take to answer its first ping: it, or this node, is just starting
PHI_MAX = 300.0


def phi(silence_ms: float, mean_ms: float, deviation_ms: float) -> float:
    """Suspicion after a silence; a logistic approximation of the normal distribution's tail."""
    y = (silence_ms - mean_ms) / deviation_ms
    exponent = y * (1.5976 + 0.070566 * y * y)
    if exponent > PHI_MAX * math.log(10):
        return PHI_MAX
    late = math.exp(-exponent)
    return -math.log10(late / (1.0 + late)) if silence_ms > mean_ms else -math.log10(1.0 - 1.0 / (1.0 + late))


class Liveness:
    """One node's opinion of one member."""

    def __init__(self, rhythms: Rhythms, now_ms: int) -> None:
        self._rhythms = rhythms
        self._intervals: deque[int] = deque(maxlen=WINDOW)
        self._heartbeat_at_ms: int | None = None
        self._sign_at_ms = now_ms  # last sign of life of any kind
        self._pong_at_ms = now_ms
        self._suspect_at_ms = now_ms
        self._patience_ms = max(FIRST_CONTACT_MS, rhythms.probe_timeout_ms)  # with a suspect
        self._pinged_at_ms: int | None = None
        self.state: MemberState = "suspect"  # until it answers its first ping

    def heartbeat(self, now_ms: int) -> None:
        if self._heartbeat_at_ms is not None and now_ms > self._heartbeat_at_ms:
            self._intervals.append(now_ms - self._heartbeat_at_ms)
        self._heartbeat_at_ms = self._sign_at_ms = now_ms

    def pong(self, now_ms: int) -> None:
        self._pong_at_ms = self._sign_at_ms = now_ms
        self.state = "alive"

    def restarted(self, now_ms: int) -> None:
        """A new process of the member: its rhythm starts afresh."""
        self._intervals.clear()
        self._heartbeat_at_ms = None
        self._pinged_at_ms = None  # ping it at once
        self._sign_at_ms = now_ms

    def paused(self, gap_ms: int) -> None:
        """This node itself stood still so long: nobody is to blame for the silence."""
        self._sign_at_ms += gap_ms
        self._pong_at_ms += gap_ms
        self._suspect_at_ms += gap_ms
        if self._heartbeat_at_ms is not None:
            self._heartbeat_at_ms += gap_ms

    def phi(self, now_ms: int) -> float:
        mean = sum(self._intervals) / len(self._intervals) if self._intervals else float(self._rhythms.heartbeat_ms)
        spread = math.sqrt(sum((each - mean) ** 2 for each in self._intervals) / max(1, len(self._intervals)))
        return phi(now_ms - self._sign_at_ms, mean, max(spread, DEVIATION_MIN_MS, mean / 4))

    def look(self, now_ms: int) -> bool:
        """Move on with time. Returns whether the member is to be pinged now."""
        if self.state == "alive":
            silent = self.phi(now_ms) >= self._rhythms.suspect_phi
            unanswered = now_ms - self._pong_at_ms >= PINGS_UNANSWERED * self._rhythms.ping_ms
            if silent or unanswered:
                self.state, self._suspect_at_ms = "suspect", now_ms
                self._patience_ms = self._rhythms.probe_timeout_ms
                self._pinged_at_ms = now_ms
                return True
        elif self.state == "suspect" and now_ms - self._suspect_at_ms >= self._patience_ms:
            self.state = "down"
        if self._pinged_at_ms is None or now_ms - self._pinged_at_ms >= self._rhythms.ping_ms:
            self._pinged_at_ms = now_ms
            return True
        return False
