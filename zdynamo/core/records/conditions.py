"""Does a conditional put find what its writer wants (optimistic: two that run at a time may both)?"""

from typing import Literal

from zdynamo.core.records.record import EMPTY, NOTHING_SEEN, Clock, Record, Sibling, covers, is_later, shown

Condition = Literal["", "absent", "unchanged"]


def holds(condition: Condition, record: Record, seen: Clock, sibling: Sibling, wall_ms: int, *, lww: bool) -> bool:
    """Whether the record that R replicas hold lets the sibling be written over it.

    *absent*: nothing is shown of it. *unchanged*: the writer has seen all that is in it; what it has seen and is gone
    without a trace has changed too. Neither, if the same client has written later: this attempt comes late.
    """
    if any(is_later(old, sibling) for old in record.siblings):
        return False
    if condition == "absent":
        return not shown(record, wall_ms, lww=lww)
    if record == EMPTY:
        return seen == NOTHING_SEEN
    return all(covers(seen, old.dot) for old in record.siblings)
