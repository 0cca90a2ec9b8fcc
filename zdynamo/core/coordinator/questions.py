"""What listings and explanations have in common: they are answered where they arrive, and never handed on."""

from zdynamo.core.coordinator.admission import refusal
from zdynamo.core.coordinator.pending import Pending
from zdynamo.core.coordinator.writes import RETRY_AFTER_MS
from zdynamo.core.events import Now
from zdynamo.core.owners.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import Explain, Get, ListKeys, Overloaded, Refused

LIMIT_MAX = 1000  # keys of a page
ANY_KEY = b"-"
NO_LAYOUT = "the cluster has taken no data yet, as far as this node knows: ask again"

Question = ListKeys | Explain


def turned_away(
    question: Question, placement: Placement, state: State, pending: Pending
) -> Overloaded | Refused | None:
    """The answer to a question that this node does not take on; None: it does."""
    limits = state.limits
    if pending.unanswered >= limits.requests_max or pending.bytes_in_flight >= limits.in_flight_bytes_max:
        state.counters["requests.overloaded"] += 1
        return Overloaded(question.request, RETRY_AFTER_MS)
    refused = refusal(_read_like(question), placement, limits)
    if refused is None and isinstance(question, ListKeys):
        reason = _reason(question, placement.view.constants.partitions, limits.key_bytes_max)
        refused = Refused(question.request, reason) if reason else None
    if refused is not None:
        state.counters["requests.refused"] += 1
    return refused


def due_ms_of(deadline_ms: int, state: State, now: Now) -> int | None:
    """Until when to answer, monotonic; None: it is too late already."""
    if deadline_ms <= 0:
        state.counters["requests.late"] += 1
        return None
    return now.monotonic_ms + min(deadline_ms, state.limits.deadline_ms_max)


def _read_like(question: Question) -> Get:
    """A read with the same limits."""
    key = question.key if isinstance(question, Explain) else ANY_KEY
    r = question.r if isinstance(question, ListKeys) else 0
    return Get(question.request, question.cluster, question.deadline_ms, question.bucket, key, r)


def _reason(question: ListKeys, partitions: int, key_bytes_max: int) -> str:
    if not 0 <= question.partition < partitions:
        return f"partition is {question.partition}: use 0 to {partitions - 1}"
    if not 1 <= question.limit <= LIMIT_MAX:
        return f"limit is {question.limit}: use 1 to {LIMIT_MAX}"
    for name, key in (("prefix", question.prefix), ("after", question.after)):
        if len(key) > key_bytes_max:
            return f"{name} has {len(key)} bytes: use at most {key_bytes_max}"
    return ""
