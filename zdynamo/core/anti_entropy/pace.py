"""How fast background work may go: as fast as the answers to clients stay about as quick as usual (paper 6.5).

Hand-over, anti-entropy and pulls say how many bytes they have moved, and are told how long to rest. The rate adapts:
the p99 of the answers of a short interval is compared with what is usual for this node while background work rests or
goes at its floor. Slower: the rate is halved; else it is raised. At the floor slow answers have another reason, and
become the usual. So all background work ends, also on a node that is always busy.
"""

RECORD_BYTES = 512  # that a record costs beside its bytes
LOOKS = 8  # at a record cost as much as moving it
FLOOR = 64  # the maximum divided by it is the rate at which background work goes whatever happens
INTERVAL_MS = 200  # of answers that are looked at together
QUIET_MS = 1_000  # after which an interval ends, however few they were
ANSWERS_MIN = 20  # in an interval; fewer in `QUIET_MS`, and fewer than `WAITING_MIN` that wait: nobody is slowed down
WAITING_MIN = 0.5  # requests at a time, on an average: then there are few answers because they are slow
SLOWER = 1.4  # than usual, as a factor: then the rate is halved
SLOWER_MS = 3  # than usual at least, to be slower at all: times are whole milliseconds
LEARN = 1 / 16  # of an interval's p99 goes into what is usual
RAISE = 1.15
TOOK_MS_MAX = 1_000  # longer answers count as this
REST_MS_MAX = 1_000  # of one rest; the rate may have been raised by then
DEBT_MS_MAX = 10_000  # of rests, for what others have wanted of this node; what is beyond is forgiven


class Pace:
    """One for all background work of a node."""

    def __init__(self, bytes_per_s_max: int) -> None:
        self._most = float(bytes_per_s_max)
        self._least = self._most / FLOOR
        self.bytes_per_s = self._most
        self._usual_ms: float | None = None  # the p99 of answers when background work rests or goes at its floor
        self._took = [0] * (TOOK_MS_MAX + 1)  # answers of this interval, by the milliseconds that they took
        self._began_ms = 0  # this interval
        self._look_at_ms = 0
        self._debt = 0.0  # bytes that were spent and are not paid for by time yet
        self._paid_at_ms = 0
        self._worked = False  # in this interval, above the floor
        self._worked_before = False  # in the one before, which answers of this one may have felt

    def answered(self, took_ms: int, now_ms: int) -> None:
        """This node has coordinated a client's request, and answered it."""
        self._took[took_ms if took_ms < TOOK_MS_MAX else TOOK_MS_MAX] += 1
        if now_ms >= self._look_at_ms:
            self._look(now_ms)

    def spend(self, size: int) -> None:
        """Background work has moved so many bytes; add `RECORD_BYTES` for each record."""
        self._debt += size
        if self.bytes_per_s > self._least:
            self._worked = True

    def pause_ms(self, now_ms: int) -> int:
        """How long background work is to rest now. 0: it may go on. Ask again after a rest."""
        if now_ms >= self._look_at_ms:
            self._look(now_ms)
        self._pay(now_ms)
        return min(int(self._debt * 1000 / self.bytes_per_s), REST_MS_MAX)

    def _pay(self, now_ms: int) -> None:
        debt = min(self._debt, self.bytes_per_s * DEBT_MS_MAX / 1000)
        self._debt = max(0.0, debt - self.bytes_per_s * (now_ms - self._paid_at_ms) / 1000)
        self._paid_at_ms = now_ms

    def _look(self, now_ms: int) -> None:
        """End the interval, if there were enough answers or it was long."""
        answers = sum(self._took)
        if answers < ANSWERS_MIN and now_ms < self._began_ms + QUIET_MS:
            self._look_at_ms = min(now_ms + INTERVAL_MS, self._began_ms + QUIET_MS)
            return
        self._pay(now_ms)
        if answers < ANSWERS_MIN and self._waiting(now_ms) < WAITING_MIN:
            self.bytes_per_s = self._most
        else:
            self._adapt(_p99(self._took, answers), felt=self._worked or self._worked_before)
        self._took = [0] * len(self._took)
        self._worked_before, self._worked = self._worked, False
        self._began_ms, self._look_at_ms = now_ms, now_ms + INTERVAL_MS

    def _waiting(self, now_ms: int) -> float:
        """How many requests were in progress at a time in this interval (Little's law)."""
        return sum(took_ms * count for took_ms, count in enumerate(self._took)) / max(1, now_ms - self._began_ms)

    def _adapt(self, p99_ms: int, *, felt: bool) -> None:
        """`felt`: background work may have slowed these answers down."""
        usual_ms = self._usual_ms
        if usual_ms is None and felt:  # nothing to compare with
            self.bytes_per_s = self._least
            return
        if usual_ms is None:
            usual_ms = self._usual_ms = float(p99_ms)
        elif not felt or p99_ms < usual_ms:
            self._usual_ms = usual_ms + (p99_ms - usual_ms) * LEARN
        if p99_ms < max(usual_ms * SLOWER, usual_ms + SLOWER_MS):
            self.bytes_per_s = min(self._most, self.bytes_per_s * RAISE)
        elif self._worked:
            self.bytes_per_s = max(self._least, self.bytes_per_s / 2)


def _p99(counts: list[int], total: int) -> int:
    """Of values that are counted in the places of a list."""
    above = total // 100  # may be greater
    for value in range(len(counts) - 1, -1, -1):
        above -= counts[value]
        if above < 0:
            return value
    return 0
