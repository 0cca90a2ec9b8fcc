"""Do the members see the same table and layout as this node? They differ for moments all the time; what lasts is told.

What differs is exchanged at once. Where that does not bring two members together, they do not reach each other with
data, or one of them is at fault.
"""

from zdynamo.core.events import Noted
from zdynamo.messages import MemberRecord, NodeId

LASTING_MS = 10_000  # twice the slow exchange: by then two that reach each other are alike
REMEDY = "check the links between the two; if they are sound, start the one anew that differs from all others"


class Views:
    """Who differs, as far as members have said."""

    def __init__(self) -> None:
        self.differing: set[NodeId] = set()  # for so long
        self._since_ms: dict[NodeId, int] = {}

    def said(self, record: MemberRecord, *, differs: bool, now_ms: int) -> Noted | None:
        """What there is to note, if this member has come to differ for long, or does no longer."""
        fields: dict[str, object] = {"member": record.name, "id": record.id, "address": record.addresses.client}
        if not differs:
            self._since_ms.pop(record.id, None)
            if record.id not in self.differing:
                return None
            self.differing.remove(record.id)
            return Noted("views.agree", fields)
        since_ms = self._since_ms.setdefault(record.id, now_ms)
        if record.id in self.differing or now_ms - since_ms < LASTING_MS:
            return None
        self.differing.add(record.id)
        return Noted("views.differ", {**fields, "for_ms": now_ms - since_ms, "remedy": REMEDY}, "warning")
