"""When may the first layout be decided? By the founder alone, once, and when nobody can know of another.

A process that has founded its cluster knows that there is none. One that goes on from a data folder does not, nor one
in the place of a founder that was lost: the folder may be a backup from before the layout, and data may have been taken
since. So it listens as long as a node that founds, lest it takes itself to be alone, and waits until every other member
that it knows of has told its table, and no layout. Until then nobody may say that there is no data.
"""

from collections.abc import Sequence

from zdynamo.core.owners.layout import make_layout
from zdynamo.messages import Constants, Layout, LayoutMember, MemberRecord, NodeId


class FirstLayout:
    """What the founder has to know before it decides."""

    def __init__(self, listens_until_ms: int) -> None:
        self._listens_until_ms = listens_until_ms
        self._founder: NodeId = ""  # this node, if this process has founded the cluster
        self._wanted = False  # there is data to take
        self._told: set[NodeId] = set()  # who has told its table since this process began

    def founded_by(self, me: NodeId) -> None:
        self._founder = me

    def wanted(self) -> None:
        self._wanted = True

    def told(self, member: NodeId) -> None:
        self._told.add(member)

    def awaited(
        self, me: NodeId, constants: Constants | None, members: Sequence[MemberRecord], now_ms: int
    ) -> tuple[NodeId, ...]:
        """Who may know of a layout. The founder itself: it still listens for members that it does not know."""
        if constants is None or constants.founder != me or self._founder == me:
            return ()
        silent = tuple(record.id for record in members if record.id != me and record.id not in self._told)
        return silent or ((me,) if now_ms < self._listens_until_ms else ())

    def decide(
        self, me: NodeId, constants: Constants | None, members: Sequence[MemberRecord], now_ms: int
    ) -> Layout | None:
        """Whoever is a member by now owns the data."""
        if constants is None or constants.founder != me or len(members) < constants.min_members:
            return None
        wanted = self._wanted or constants.min_members > 1  # else there is nothing to wait for but data
        if not wanted or self.awaited(me, constants, members, now_ms):
            return None
        return make_layout(1, [LayoutMember(record.id, record.zone, record.weight) for record in members])
