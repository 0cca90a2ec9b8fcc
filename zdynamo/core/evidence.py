"""What the process thread knows of members that the router does not: whether data gets through to them.

The router judges: it suspects the member at once, pings it, and asks others about it. A full queue is no evidence: it
means that there is too much to do.
"""

from typing import Literal

from zdynamo.core.events import Effect, News
from zdynamo.core.placement import Placement
from zdynamo.messages import NodeId, PathLost


def path_lost(placement: Placement, member: NodeId, cause: Literal["lost", "timeouts"]) -> list[Effect]:
    """Tell the router. Once is enough: while the member is suspect, saying it again changes nothing."""
    if member not in placement.members or member == placement.me:
        return []
    return [News(placement.view.cluster, placement.me, PathLost(member, cause))]
