"""Is a suspect down, cut off from us only, or is it too early to say? (SWIM, Das et al. 2002; Lifeguard 2018.)

Others are asked to ping the suspect. Each that could not reach it, and has not itself stood still, confirms the
suspicion and shortens the wait. If nobody answers at all, it may be this node that is cut off: it waits longest. If
somebody reached it, it is not dead, but our path to it is.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from zdynamo.messages import MemberState, NodeId

WITNESSES_MAX = 3  # others asked about one member
DOUBT = 3  # times the least wait, while nobody has confirmed a suspicion
REACHED = 2  # times the least wait for a member that others reach: it is alive, so there is no hurry
STALL_ALLOWED_MAX_MS = 1_000  # of patience with a member for having told of a stall of its own

# Why a member is suspect, the weakest first:
# new         it has not answered its first ping yet
# silent      no sign of life at all, for longer than its rhythm allows
# unanswered  heartbeats come, but no answers to pings
# timeouts    requests to it time out
# lost        its connection is closed, as by the death of its process: no stall explains that
Cause = Literal["new", "silent", "unanswered", "timeouts", "lost"]
Word = Literal["reached", "missed", "stalled"]  # of a witness; stalled: it missed it, but has itself stood still


@dataclass(slots=True)
class Inquiry:
    """One round of questions to others about a member."""

    number: int  # of its probes
    asked: frozenset[NodeId]
    until_ms: int  # answers are waited for
    words: dict[NodeId, Word] = field(default_factory=dict)

    def hear(self, witness: NodeId, number: int, word: Word) -> None:
        if number == self.number and witness in self.asked:
            self.words.setdefault(witness, word)

    def is_over(self, now_ms: int) -> bool:
        return len(self.words) == len(self.asked) or now_ms >= self.until_ms

    @property
    def reached(self) -> bool:
        return "reached" in self.words.values()

    @property
    def confirmed(self) -> int:
        return sum(word == "missed" for word in self.words.values())


@dataclass(slots=True)
class Suspicion:
    """Of one member, until it answers a ping or is given up."""

    cause: Cause
    since_ms: int


def least_ms(cause: Cause, probe_timeout_ms: int, first_contact_ms: int, *, patience: float, stalled_ms: int) -> int:
    """The least time from a suspicion to a verdict. `stalled_ms`: for which the suspect said that it stood still."""
    if cause == "lost":
        return round(probe_timeout_ms / 2 * patience)
    base = max(first_contact_ms, probe_timeout_ms) if cause == "new" else probe_timeout_ms
    return round(base * patience) + min(stalled_ms, STALL_ALLOWED_MAX_MS)


def wait_ms(least: int, asked: int, confirmed: int) -> int:
    """From `DOUBT` times the least, if no witness has confirmed, to the least, if all have or there are none."""
    if asked == 0:
        return least
    most = DOUBT * least
    return max(least, round(most - (most - least) * math.log(confirmed + 1) / math.log(asked + 1)))


class Others(NamedTuple):
    """Who could know better than this node about one member."""

    alive: int  # can be asked
    possible: int  # the suspects too: if there are only those, it may be this node that is cut off


def verdict(waited_ms: int, least: int, others: Others, inquiry: Inquiry | None, now_ms: int) -> MemberState:
    """What a suspect is after a time. While there is somebody to ask who has not been asked, it is a suspect."""
    if inquiry is None:
        silent = waited_ms >= wait_ms(least, min(WITNESSES_MAX, others.possible), 0)
        return "down" if silent and not others.alive else "suspect"
    if inquiry.reached:
        return "unreachable" if waited_ms >= REACHED * least else "suspect"
    if not inquiry.is_over(now_ms):
        return "suspect"
    return "down" if waited_ms >= wait_ms(least, len(inquiry.asked), inquiry.confirmed) else "suspect"


def second_verdict(state: MemberState, others: Others, inquiry: Inquiry | None) -> MemberState:
    """What a member that was given up is after others were asked again."""
    if inquiry is None:
        return state if others.possible else "down"
    if inquiry.reached:
        return "unreachable"
    return "down" if inquiry.confirmed else state
