"""Is this request one that the cluster can serve? If not, the answer that says why and what to do."""

from zdynamo.core.events import Now
from zdynamo.core.owners.placement import Placement
from zdynamo.core.settings import NodeLimits
from zdynamo.core.state import State
from zdynamo.messages import CONTEXT_BYTES_MAX, TTL_MS_MAX, Delete, Get, Put, Refused
from zdynamo.partition import BUCKET_BYTES_MAX

SURELY_FITS = BUCKET_BYTES_MAX // 4  # characters of a bucket's name, whatever they are
RETRY_AFTER_MS = 50  # told to clients whose request would not fit; about the time to work off a full budget
DISK_FULL = "the disk is full: ask again, or another node"
ATTEMPTS_MAX = 1_000_000  # forwarding raises it, and it has to stay a number that can be sent


def due_ms_of(deadline_ms: int, state: State, now: Now) -> int | None:
    """Until when to answer, monotonic; `deadline_ms`: what is left of it. None: it is too late already."""
    if deadline_ms <= 0:
        state.counters["requests.late"] += 1
        return None
    return now.monotonic_ms + min(deadline_ms, state.limits.deadline_ms_max)


def refusal(message: Get | Put | Delete, placement: Placement, limits: NodeLimits) -> Refused | None:
    """None: take it."""
    reason = _reason(message, placement, limits)
    return Refused(message.request, reason) if reason else None


def foreign(cluster: str, placement: Placement) -> str:
    """Why a client that knows another cluster is refused."""
    return f"this node is of cluster {placement.view.cluster}, the client knows {cluster}: check the address"


def _reason(message: Get | Put | Delete, placement: Placement, limits: NodeLimits) -> str:
    view = placement.view
    if message.cluster and message.cluster != view.cluster:
        return foreign(message.cluster, placement)
    if not 0 < len(message.bucket) <= SURELY_FITS and not 0 < len(message.bucket.encode()) <= BUCKET_BYTES_MAX:
        return f"the bucket's name has {len(message.bucket.encode())} bytes: use 1 to {BUCKET_BYTES_MAX}"
    if not 0 < len(message.key) <= limits.key_bytes_max:
        return f"the key has {len(message.key)} bytes: use 1 to {limits.key_bytes_max}"
    if not 0 < message.deadline_ms <= limits.deadline_ms_max:
        return f"the deadline is {message.deadline_ms} ms: use 1 to {limits.deadline_ms_max}"
    n = view.constants.n
    if isinstance(message, Put):
        if not (0 <= message.w <= n and 0 <= message.pw <= n):
            return _count_reason(message, n)
        if len(message.value) > limits.value_bytes_max:
            return f"the value has {len(message.value)} bytes: use at most {limits.value_bytes_max}"
        if (message.ttl_ms != -1 or message.condition) and (reason := _put_reason(message)):
            return reason
    elif reason := _count_reason(message, n):
        return reason
    if not isinstance(message, Get) and len(message.context) > CONTEXT_BYTES_MAX:
        return f"the context has {len(message.context)} bytes: pass on what a get or put gave"
    if not isinstance(message, Get) and not 1 <= message.attempt <= ATTEMPTS_MAX:
        return f"attempt is {message.attempt}: count from 1 to {ATTEMPTS_MAX}"
    return ""


def _count_reason(message: Get | Put | Delete, n: int) -> str:
    for name in ("r", "w", "pr", "pw"):
        value = getattr(message, name, 0)
        if not 0 <= value <= n:
            return f"{name} is {value}: use 1 to {n}, the number of copies, or 0 for the default"
    return ""


def _put_reason(message: Put) -> str:
    if not -1 <= message.ttl_ms <= TTL_MS_MAX:
        return f"ttl_ms is {message.ttl_ms}: use 1 to {TTL_MS_MAX}, 0 for never, or -1 for the bucket's expiry"
    if message.condition == "absent" and message.context:
        return "a put that wants the key to be absent has a context: leave it out, or want *unchanged* instead"
    if message.condition == "unchanged" and not message.context:
        return "a put that wants nothing to have changed needs the context of a read"
    return ""
