"""What the process thread knows of members that the router does not: whether data gets through to them.

The router judges: it suspects the member at once, pings it, and asks others about it. A full queue is no evidence: it
means that there is too much to do.
"""

from collections.abc import Iterable
from typing import Literal

from zdynamo.core.events import Effect, News, Now
from zdynamo.core.failures.patience import Patience
from zdynamo.core.owners.placement import Placement
from zdynamo.messages import NodeId, PathLost


def path_lost(placement: Placement, member: NodeId, cause: Literal["lost", "timeouts"]) -> list[Effect]:
    """Tell the router. Once is enough: while the member is suspect, saying it again changes nothing."""
    if member not in placement.members or member == placement.me:
        return []
    return [News(placement.view.cluster, placement.me, PathLost(member, cause))]


def timed_out(
    peers: Iterable[NodeId], began_ms: int, patience: Patience, placement: Placement, now: Now
) -> list[Effect]:
    """A request has waited for these since then, in vain: the router is told of whom that has happened too often."""
    silent = [peer for peer in peers if patience.timed_out(peer, began_ms, now.monotonic_ms)]
    return [effect for peer in silent for effect in path_lost(placement, peer, "timeouts")]
