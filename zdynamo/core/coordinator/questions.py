"""What listings and explanations have in common: they are answered where they arrive, and never handed on."""

from zdynamo.core.coordinator.admission import RETRY_AFTER_MS, due_ms_of, refusal
from zdynamo.core.coordinator.pending import Pending
from zdynamo.core.events import Now
from zdynamo.core.owners.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import Explain, Get, ListKeys, Overloaded, Refused

LIMIT_MAX = 1000  # keys of a page
ANY_KEY = b"-"
NO_LAYOUT = "the cluster has taken no data yet, as far as this node knows: ask again"

Question = ListKeys | Explain


def admitted(
    question: Question, placement: Placement, state: State, pending: Pending, now: Now, *, deadline_ms: int
) -> int | Overloaded | Refused | None:
    """Until when to answer, monotonic; or the answer at once; None: it is too late for any."""
    limits = state.limits
    if pending.is_full(limits):
        state.counters["requests.overloaded"] += 1
        return Overloaded(question.request, RETRY_AFTER_MS)
    refused = refusal(_read_like(question), placement, limits)
    if refused is None and isinstance(question, ListKeys):
        reason = _reason(question, placement.view.constants.partitions, limits.key_bytes_max)
        refused = Refused(question.request, reason) if reason else None
    if refused is not None:
        state.counters["requests.refused"] += 1
        return refused
    return due_ms_of(deadline_ms, state, now)


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
