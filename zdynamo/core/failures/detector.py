"""Is a member there? Silence, unanswered pings and lost connections make it suspect; a pong alone makes it alive.

Heartbeats are judged by phi accrual (`rhythm.py`); pings prove the path that data takes (paper 4.8.3). A suspect is
pinged often, others are asked about it, and `suspicion.py` says when it is given up.
"""

from typing import Literal

from zdynamo.core.failures.flaps import Flaps
from zdynamo.core.failures.rhythm import Rhythm, deviations_at
from zdynamo.core.failures.suspicion import (
    STALL_ALLOWED_MAX_MS,
    Cause,
    Inquiry,
    Others,
    Suspicion,
    least_ms,
    second_verdict,
    verdict,
)
from zdynamo.core.settings import Rhythms
from zdynamo.messages import MemberState

PINGS_UNANSWERED = 4  # ping intervals without an answer that make a member suspect though its heartbeats come
FIRST_CONTACT_MS = 2000  # that a member may take to answer its first ping: it, or this node, is just starting
WATCH_MS = 50  # between two looks at a suspect
SUSPECT_PINGS = 4  # as often as others a suspect is pinged: one lost ping must not decide
TIMEOUTS_APART_MS = 5_000  # between two suspicions because of timeouts: a member that answers pings has too much to do
ASK_AGAIN_MS = 5_000  # between two rounds of questions about a member that was given up

ASKED = ("suspect", "down", "unreachable")
Step = Literal["ping", "ask"]  # what to do about a member now


class Liveness:
    """One node's opinion of one member."""

    def __init__(self, rhythms: Rhythms, boot: str, now_ms: int) -> None:
        self._rhythms = rhythms
        self._deviations = deviations_at(rhythms.suspect_phi)
        # that a ping may be sent before it is due: a node is not woken for pings alone
        self._early_ms = min(rhythms.heartbeat_ms, rhythms.ping_ms // 2)
        self._rhythm = Rhythm(rhythms.heartbeat_ms)
        self._flaps = Flaps()
        self._sign_at_ms = now_ms  # last sign of life of any kind
        self._pong_at_ms = now_ms
        self._ping_due_ms = now_ms
        self._ask_due_ms = now_ms + FIRST_CONTACT_MS // 2
        self._timeouts_due_ms = now_ms  # before, timeouts say nothing new
        self._steady_since_ms: int | None = None  # answering pings, though not yet taken for alive
        self.boot = boot
        self.incarnation = 0  # raised by the member's process when it hears that it is suspected
        self.stalled_ms = 0  # for which it has recently stood still, as it says
        self._proof = 0  # the lowest number of a ping whose answer counts: one that was sent after the last suspicion
        self.suspicion: Suspicion | None = Suspicion("new", now_ms)  # exactly while it is suspect
        self.inquiry: Inquiry | None = None
        self.state: MemberState = "suspect"  # until it answers its first ping

    def heartbeat(self, incarnation: int, stalled_ms: int, now_ms: int) -> None:
        """A higher incarnation was raised after the suspicion: silence is explained, and it has its whole time again.

        It is not alive by that: the path that data takes is still to be proven.
        """
        self._rhythm.beat(now_ms, learn=self.state == "alive")
        self._sign_at_ms = now_ms
        self.stalled_ms = max(0, min(stalled_ms, STALL_ALLOWED_MAX_MS))
        if incarnation > self.incarnation:
            self.incarnation = incarnation
            if self.suspicion is not None and self.suspicion.cause == "silent":
                self._suspect("unanswered", self._proof, now_ms)

    def pong(self, number: int, now_ms: int) -> None:
        if number < self._proof:
            return  # sent before it was suspected: it may have died since
        if self.state in ("down", "unreachable") and not self._is_steady(now_ms):
            self._pong_at_ms = now_ms
            return
        self._pong_at_ms = self._sign_at_ms = now_ms
        self.state, self.suspicion, self.inquiry = "alive", None, None
        self._steady_since_ms = None

    def lost(self, cause: Cause, proof: int, now_ms: int) -> None:
        """Data does not get through to it. `proof`: the number of the next ping."""
        if cause == "timeouts":
            if now_ms < self._timeouts_due_ms:
                return
            self._timeouts_due_ms = now_ms + TIMEOUTS_APART_MS
        if self.state == "alive" or (cause == "lost" and self.suspicion is not None and self.suspicion.cause != "lost"):
            self._suspect(cause, proof, now_ms)

    def changed(self, boot: str, now_ms: int) -> None:
        """Its record has changed: by a new process, if the boot is another."""
        self._ping_due_ms = now_ms
        if boot == self.boot:
            return
        self.boot, self.incarnation, self.stalled_ms = boot, 0, 0
        self._rhythm = Rhythm(self._rhythms.heartbeat_ms)
        self._flaps.restarted(now_ms)
        self._sign_at_ms = self._pong_at_ms = now_ms
        self._steady_since_ms = None
        self.inquiry = None
        if self._flaps.steady_ms(now_ms):  # a crash loop
            self.state, self.suspicion = "down", None
        elif self.suspicion is not None:
            self._suspect("new", self._proof, now_ms)

    def stood_still(self, gap_ms: int) -> None:
        """This node itself stood still so long: nobody is to blame for the silence."""
        self._rhythm.shift(gap_ms)
        self._sign_at_ms += gap_ms
        self._pong_at_ms += gap_ms
        self._ask_due_ms += gap_ms
        if self.suspicion is not None:
            self.suspicion.since_ms += gap_ms
        if self.inquiry is not None:
            self.inquiry.until_ms += gap_ms

    def look(self, *, patience: float, others: Others, proof: int, heard_ms: int, now_ms: int) -> list[Step]:
        """Move on with time. `patience`: this node's own; `proof`: the number of the next ping.

        `heard_ms`: when this node's process thread was last heard. Nobody is given up before it has carried anything.
        """
        if self.state == "alive":
            cause = self._cause(patience, now_ms)
            if cause is not None:
                self._suspect(cause, proof, now_ms)
        elif self.suspicion is not None and heard_ms > self.suspicion.since_ms:
            least = self.least_ms(patience)
            self._conclude(verdict(now_ms - self.suspicion.since_ms, least, others, self.inquiry, now_ms), now_ms)
        elif self.suspicion is None and (self.inquiry is None or self.inquiry.is_over(now_ms)):
            self.state, self.inquiry = second_verdict(self.state, others, self.inquiry), None
        return self._steps(now_ms)

    def asked(self, inquiry: Inquiry) -> None:
        """Others have been asked about it."""
        self.inquiry = inquiry

    def least_ms(self, patience: float) -> int:
        """The least time from a suspicion to a verdict."""
        cause = self.suspicion.cause if self.suspicion else "silent"
        timeout_ms = self._rhythms.probe_timeout_ms
        return least_ms(cause, timeout_ms, FIRST_CONTACT_MS, patience=patience, stalled_ms=self.stalled_ms)

    def phi(self, now_ms: int) -> float:
        return self._rhythm.phi(now_ms - self._sign_at_ms)

    @property
    def steady_ms(self) -> int | None:
        """How long it has to be steady before it is alive, if it answers pings and is not taken for alive yet."""
        return None if self._steady_since_ms is None else self._flaps.steady_ms(self._steady_since_ms)

    def next_due_ms(self, now_ms: int) -> int:
        """When to look again. What this node's patience puts off is looked at now and then."""
        if self.state == "suspect":
            return now_ms + WATCH_MS
        if self.state == "alive":
            due_ms = min(self._ping_due_ms, self._silent_at_ms(1.0), self._unanswered_at_ms(1.0))
        else:
            due_ms = min(self._ping_due_ms, self.inquiry.until_ms if self.inquiry else self._ask_due_ms)
        return due_ms if due_ms > now_ms else now_ms + WATCH_MS

    def _cause(self, patience: float, now_ms: int) -> Cause | None:
        """Why it is suspect from now on."""
        if now_ms >= self._silent_at_ms(patience):
            return "silent"
        return "unanswered" if now_ms >= self._unanswered_at_ms(patience) else None

    def _silent_at_ms(self, patience: float) -> int:
        return self._sign_at_ms + round(self._rhythm.silence_ms(self._deviations) * patience) + self.stalled_ms

    def _unanswered_at_ms(self, patience: float) -> int:
        return self._pong_at_ms + round(PINGS_UNANSWERED * self._rhythms.ping_ms * patience) + self.stalled_ms

    def _suspect(self, cause: Cause, proof: int, now_ms: int) -> None:
        self.state, self.suspicion, self.inquiry = "suspect", Suspicion(cause, now_ms), None
        self._proof = proof
        self._ping_due_ms = now_ms
        self._ask_due_ms = now_ms + (FIRST_CONTACT_MS // 2 if cause == "new" else 0)

    def _conclude(self, state: MemberState, now_ms: int) -> None:
        """Of a suspect."""
        if state == "suspect":
            return
        self._flaps.fell(now_ms)
        self._ask_due_ms = now_ms + ASK_AGAIN_MS
        self.state, self.suspicion, self.inquiry = state, None, None

    def _is_steady(self, now_ms: int) -> bool:
        """Called with each pong."""
        gap_ms = now_ms - self._pong_at_ms
        if self._steady_since_ms is None or gap_ms > PINGS_UNANSWERED * self._rhythms.ping_ms:
            self._steady_since_ms = now_ms
        return now_ms - self._steady_since_ms >= self._flaps.steady_ms(now_ms)

    def _steps(self, now_ms: int) -> list[Step]:
        steps: list[Step] = []
        if now_ms >= self._ping_due_ms - (self._early_ms if self.state == "alive" else 0):
            steps.append("ping")
            self._ping_due_ms = self._next_ping_ms(now_ms)
        if self.state in ASKED and self.inquiry is None and now_ms >= self._ask_due_ms:
            steps.append("ask")
            if self.state != "suspect":  # it is asked about when there is somebody to ask, and room
                self._ask_due_ms = now_ms + ASK_AGAIN_MS
        return steps

    def _next_ping_ms(self, now_ms: int) -> int:
        """All members are pinged at the same moments, for fewer frames and wakings; a suspect as it needs it."""
        every_ms = self._rhythms.ping_ms
        if self.state == "suspect":
            return now_ms + every_ms // SUSPECT_PINGS
        return (max(self._ping_due_ms, now_ms) // every_ms + 1) * every_ms
