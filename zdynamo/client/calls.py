"""One call of a user: its attempts, what they may have left behind, and how it ends when no answer settles it."""

from msgspec import Struct
from msgspec.structs import replace

from zdynamo.client.events import DeadlinePassed, NoNodeReached, Outcome
from zdynamo.client.routes import Link, Routes
from zdynamo.messages import (
    ClientRequest,
    ConditionFailed,
    Delete,
    DescribeCluster,
    DescribeNode,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
)

MARGIN_MS = 50  # the node is given a tenth less than what is left, at most this, so that its answer comes in time
NODE_DEADLINE_MS_MAX = 60_000  # a node takes no longer deadline; the rest of a longer one stays with the client
PATIENCE_MS = 250  # of silence, or a tenth of the node's deadline if that is more; then another node is asked as well
PATIENCE_SHARE = 10

Denial = QuorumNotMet | OutcomeUnknown | Overloaded | Refused | ConditionFailed
WORDS: dict[object, str] = {
    Overloaded: "overloaded",
    QuorumNotMet: "quorum not met",
    OutcomeUnknown: "outcome unknown",
    ConditionFailed: "condition failed",
}


class Call(Struct, eq=False):
    """Invariant: `attempts_open` counts the attempts that may have left something behind."""

    number: int
    id: bytes  # of the request, the same for every attempt
    request: ClientRequest
    submitted_at_ms: int
    due_ms: int
    patience_ms: int
    only_at: Link | None = None
    link: Link | None = None  # where the latest attempt is; None while the call waits for a node or a later try
    tried: list[Link] = []  # where earlier attempts went, each node once, the latest last
    attempts: int = 0
    attempts_open: int = 0
    sent_at_ms: int = 0
    wake_at_ms: int = -1  # -1: not waiting for a time
    pauses: int = 0
    held: bool = False  # larger than the limits known so far: not sent before the cluster has told its own
    tried_again: bool = False  # the one immediate retry after a missed quorum is spent
    last: Denial | None = None

    @property
    def is_write(self) -> bool:
        return type(self.request) is Put or type(self.request) is Delete

    def leave(self) -> None:
        """The node that has it is no longer the one that decides."""
        if self.link:
            if self.link in self.tried:
                self.tried.remove(self.link)
            self.tried.append(self.link)
            self.link = None

    def message(self, cluster: str, now_ms: int) -> ClientRequest:
        """The request as it goes out now."""
        request = self.request
        if type(request) is DescribeCluster or type(request) is DescribeNode:
            return replace(request, request=self.id, cluster=cluster)
        left_ms = self.due_ms - now_ms
        left_ms = min(NODE_DEADLINE_MS_MAX, max(1, left_ms - min(MARGIN_MS, left_ms // 10)))
        if self.is_write:
            return replace(request, request=self.id, cluster=cluster, deadline_ms=left_ms, attempt=self.attempts_open)
        return replace(request, request=self.id, cluster=cluster, deadline_ms=left_ms)

    def verdict(self, routes: Routes) -> Outcome:
        """How the call ends without a final answer: never *nothing was done* for a write that may have been kept."""
        last = self.last
        if not self.attempts and routes.all_failed:
            return NoNodeReached(routes.addresses)
        if last is None:
            return self.passed
        if not self.is_write or not self.attempts_open:
            return last
        if isinstance(last, QuorumNotMet | OutcomeUnknown):
            return OutcomeUnknown(self.id, last.needed, last.got)
        if isinstance(last, ConditionFailed):
            return OutcomeUnknown(self.id, 1, 0)
        return self.passed

    @property
    def passed(self) -> DeadlinePassed:
        last = self.last.reason if isinstance(self.last, Refused) else WORDS.get(type(self.last), "")
        return DeadlinePassed(self.due_ms - self.submitted_at_ms, self.attempts, last)


def patience_ms(deadline_ms: int) -> int:
    return max(PATIENCE_MS, min(deadline_ms, NODE_DEADLINE_MS_MAX) // PATIENCE_SHARE)
