"""What clients asked of this node, how that ended, and how long it took; filled by the driver, which knows finer time.

A request counts at the node that a client has sent it to, whoever coordinates it there. Its time is from when it may
have arrived until its answer leaves, the commit that it waits for included.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable

from zdynamo.messages import (
    Absent,
    ClientAnswer,
    ClientRequest,
    ConditionFailed,
    Delete,
    Done,
    Found,
    Get,
    KeysListed,
    ListKeys,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
    RequestsOf,
    Spread,
)

KINDS: dict[type, str] = {Get: "get", Put: "put", Delete: "delete", ListKeys: "list"}
OUTCOMES: dict[type, str] = {
    Found: "found",
    Absent: "absent",
    Done: "done",
    KeysListed: "listed",
    ConditionFailed: "condition_failed",
    QuorumNotMet: "quorum_not_met",
    OutcomeUnknown: "outcome_unknown",
    Overloaded: "overloaded",
    Refused: "refused",
}
UNTIMED = ("overloaded", "refused")  # answered at once: they would make a node that does nothing look fast
WAITING_MAX = 10_000  # requests without an answer yet; beyond, the oldest is not counted: it may have been dropped

BOUNDS_US = (
    250, 500, 1_000, 1_500, 2_000, 3_000, 4_000, 6_000, 8_000, 12_000, 16_000, 24_000, 32_000, 64_000, 125_000, 250_000,
    500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000,
)  # fmt: skip  # a histogram's buckets, each up to and with its bound; what takes longer is in one more


class Histogram:
    """How often something took how long."""

    __slots__ = ("counts", "sum_us")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS_US) + 1)
        self.sum_us = 0

    def add(self, took_us: int) -> None:
        self.counts[bisect_left(BOUNDS_US, took_us)] += 1
        self.sum_us += took_us

    def spread(self) -> Spread:
        return Spread(self.sum_us, tuple(self.counts))


class Kind:
    """The requests of one kind."""

    __slots__ = ("outcomes", "took")

    def __init__(self) -> None:
        self.outcomes: defaultdict[str, int] = defaultdict(int)
        self.took = Histogram()


class Served:
    """The requests of this node's clients, since it was started."""

    def __init__(self) -> None:
        self.siblings = 0  # reads that showed more than one
        self._kinds = {kind: Kind() for kind in KINDS}
        self._waiting: dict[bytes, tuple[Kind, int]] = {}  # by the id of the request; the oldest comes first

    def taken(self, requests: Iterable[ClientRequest], began_us: int) -> None:
        """They have arrived, at that time or later."""
        kinds, waiting = self._kinds, self._waiting
        for request in requests:
            kind = kinds.get(type(request))
            if kind is not None:
                waiting[request.request] = kind, began_us
        while len(waiting) > WAITING_MAX:
            del waiting[next(iter(waiting))]

    def answered(self, answers: Iterable[ClientAnswer], now_us: int) -> None:
        """Their answers leave."""
        for answer in answers:
            found = self._waiting.pop(answer.request, None)
            outcome = OUTCOMES.get(type(answer))
            if found is None or outcome is None:  # also where somebody asks for different things under one id
                continue
            kind, began_us = found
            kind.outcomes[outcome] += 1
            if outcome not in UNTIMED:
                kind.took.add(now_us - began_us)
            if isinstance(answer, Found) and len(answer.siblings) > 1:
                self.siblings += 1

    def requests(self) -> tuple[RequestsOf, ...]:
        """All kinds, also those that nobody has asked for."""
        return tuple(
            RequestsOf(KINDS[kind], dict(counted.outcomes), counted.took.spread())
            for kind, counted in self._kinds.items()
        )
