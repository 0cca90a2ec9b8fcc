"""Do the members go by the same bucket table as this node? Heartbeats carry its digest; a difference is said loudly."""

from collections.abc import Iterable

from zdynamo.core.events import Noted
from zdynamo.messages import MemberRecord, NodeId

REMIND_MS = 60_000  # between two warnings about tables that still differ
REMEDY = "compare [buckets] in their configuration files, and restart the one that is wrong"


class BucketTables:
    """Who differs, as far as members have said. A digest of 0 says nothing."""

    def __init__(self, mine: int) -> None:
        self.differing: set[NodeId] = set()
        self._mine = mine
        self._remind_due_ms = 0

    def said(self, record: MemberRecord, digest: int, now_ms: int) -> Noted | None:
        """What there is to note, if this member is the first or no longer to differ."""
        differs = digest not in (0, self._mine) and self._mine != 0
        if differs == (record.id in self.differing):
            return None
        if not differs:
            self.differing.remove(record.id)
            return Noted("buckets.agree", _fields(record))
        self.differing.add(record.id)
        self._remind_due_ms = now_ms + REMIND_MS
        return Noted("buckets.differ", {**_fields(record), "remedy": REMEDY}, "warning")

    def remind(self, members: Iterable[MemberRecord], now_ms: int) -> list[Noted]:
        """The same warning again, now and then, for as long as it holds."""
        if not self.differing or now_ms < self._remind_due_ms:
            return []
        self._remind_due_ms = now_ms + REMIND_MS
        return [
            Noted("buckets.differ", {**_fields(record), "remedy": REMEDY}, "warning")
            for record in members
            if record.id in self.differing
        ]


def _fields(record: MemberRecord) -> dict[str, object]:
    return {"member": record.name, "id": record.id, "address": record.addresses.client}
