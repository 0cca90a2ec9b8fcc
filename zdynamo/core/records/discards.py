"""What buckets with `conflict = "lww"` discard: writes that nobody will be shown and no later writer has seen.

They are counted in `lww.discarded`, in two places. At its coordinator, a write with a context counts the siblings
that it covers and its context had not seen. At the first owner of the partition, when its copy comes to hold several
siblings, each counts once it stands behind another. Attempts of one request are one write. So what is discarded while
the first owner is up is counted at least once, and twice if it stood beside another for a while before somebody who
had not seen it wrote over both. A write without a context has asked to overwrite what is there: that counts nothing.
"""

from zdynamo.core.events import Now
from zdynamo.core.owners.placement import Placement
from zdynamo.core.records.record import Clock, Record, Sibling, covers, is_later, last_written
from zdynamo.core.replicas.replica import Merged
from zdynamo.core.state import State

COUNTER = "lww.discarded"


def merge_here(
    state: State, request: int, key: bytes, encoded: bytes, round: int, placement: Placement, now: Now
) -> Merged:
    """Stage the merge of a record, read or minted under that round, with the copy of this node."""
    merged = state.replica.merge(request, key, encoded, round, state.clock.latest_ms(now))
    if merged.after.siblings and state.buckets.is_lww(key):
        count_beside(state, key, merged.before, merged.after, placement)
    return merged


def count_beside(state: State, key: bytes, before: Record, after: Record, placement: Placement) -> None:
    """Count what has come to stand behind another in the copy of the first owner."""
    if placement.owners and placement.owners_of(key)[0] == placement.me:
        state.counters[COUNTER] += len(_behind(after) - _behind(before))


def count_covered(state: State, held: Record, seen: Clock, sibling: Sibling) -> None:
    """Count what a write with this context covers of what its coordinator held, unseen."""
    unseen = {old.request for old in held.siblings if not covers(seen, old.dot) and not is_later(old, sibling)}
    state.counters[COUNTER] += len(unseen - {sibling.request})


def _behind(record: Record) -> set[bytes]:
    """The requests whose siblings are not the last written."""
    if len(record.siblings) < 2:
        return set()
    requests = {sibling.request for sibling in record.siblings}
    requests.discard(last_written(record).request)
    return requests
