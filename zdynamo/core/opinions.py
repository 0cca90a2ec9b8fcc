"""What this node thinks of each other member: alive, suspect or down (paper 4.8.3)."""

from zdynamo.core.detector import Liveness
from zdynamo.core.events import Noted
from zdynamo.core.settings import Rhythms
from zdynamo.messages import MemberRecord, MemberView, NodeId

EVENTS = {"alive": "member.alive", "suspect": "member.suspected", "down": "member.down"}


class Opinions:
    """One `Liveness` for each other member that is followed."""

    def __init__(self, rhythms: Rhythms) -> None:
        self._rhythms = rhythms
        self._of: dict[NodeId, Liveness] = {}

    def __contains__(self, node: NodeId) -> bool:
        return node in self._of

    def follow(self, record: MemberRecord, now_ms: int) -> Noted:
        """A record has come or changed."""
        fields: dict[str, object] = {"member": record.name, "id": record.id, "address": record.addresses.client}
        if record.status == "removed":
            self._of.pop(record.id, None)
            return Noted("member.removed", fields)
        known = self._of.get(record.id)
        if known is not None:
            known.restarted(now_ms)
            return Noted("member.changed", {**fields, "epoch": record.epoch})
        self._of[record.id] = Liveness(self._rhythms, now_ms)
        return Noted("member.joined", fields)

    def heartbeat(self, node: NodeId, now_ms: int) -> None:
        self._of[node].heartbeat(now_ms)

    def pong(self, record: MemberRecord, now_ms: int) -> Noted | None:
        """What there is to note, if it was not alive before."""
        before = self._of[record.id].state
        self._of[record.id].pong(now_ms)
        return self._note(record, now_ms) if before != "alive" else None

    def look(self, record: MemberRecord, now_ms: int) -> tuple[bool, Noted | None]:
        """Move on with time: whether to ping it now, and what there is to note if its state has changed."""
        liveness = self._of[record.id]
        before = liveness.state
        ping = liveness.look(now_ms)
        return ping, self._note(record, now_ms) if liveness.state != before else None

    def paused(self, gap_ms: int) -> None:
        """This node stood still so long: nobody is to blame."""
        for liveness in self._of.values():
            liveness.paused(gap_ms)

    def is_alive(self, node: NodeId) -> bool:
        return self._of[node].state == "alive"

    def view(self, record: MemberRecord, now_ms: int) -> MemberView:
        """A member as it is shown; this node itself, whom nobody follows here, is alive."""
        liveness = self._of.get(record.id)
        if liveness is None:
            return MemberView(record, "alive", 0.0)
        return MemberView(record, liveness.state, round(liveness.phi(now_ms), 2))

    def _note(self, record: MemberRecord, now_ms: int) -> Noted:
        liveness = self._of[record.id]
        fields: dict[str, object] = {
            "member": record.name,
            "id": record.id,
            "address": record.addresses.client,
            "phi": round(liveness.phi(now_ms), 1),
        }
        return Noted(EVENTS[liveness.state], fields, "info" if liveness.state == "alive" else "warning")
