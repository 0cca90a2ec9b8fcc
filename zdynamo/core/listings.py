"""Listing the keys of a bucket, a partition at a time, as R owners agree on them."""

from zdynamo.core.events import Effect, Now
from zdynamo.core.pending import Pending
from zdynamo.core.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import ListKeys, ListReplica, NodeId, ReplicaListed


class Listings:
    """The listings that this node coordinates, and its part in those of others."""

    def __init__(self, state: State, pending: Pending) -> None:
        self._state = state

    def begin(
        self, client: bytes, request: ListKeys, placement: Placement, now: Now, *, deadline_ms: int
    ) -> list[Effect]:
        """`deadline_ms`: what is left of it here and now."""
        return []

    def list_replica(self, sender: NodeId, message: ListReplica, placement: Placement, now: Now) -> list[Effect]:
        return []

    def replica_listed(self, sender: NodeId, message: ReplicaListed, placement: Placement, now: Now) -> list[Effect]:
        return []
