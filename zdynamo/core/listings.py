"""Listing the keys of a bucket, a partition at a time, as R owners agree on them."""

from zdynamo.core.buckets import Buckets
from zdynamo.core.events import Effect, Now
from zdynamo.core.partitions import Partitions
from zdynamo.core.pending import Pending
from zdynamo.core.placement import Placement
from zdynamo.core.replica import Replica
from zdynamo.core.rounds import Rounds
from zdynamo.core.settings import NodeLimits
from zdynamo.core.store import Store
from zdynamo.messages import ListKeys, ListReplica, NodeId, ReplicaListed


class Listings:
    """The listings that this node coordinates, and its part in those of others."""

    def __init__(
        self,
        *,
        store: Store,
        pending: Pending,
        replica: Replica,
        rounds: Rounds,
        partitions: Partitions,
        buckets: Buckets,
        limits: NodeLimits,
        counters: dict[str, int],
    ) -> None:
        pass

    def begin(
        self, client: bytes, request: ListKeys, placement: Placement, now: Now, *, deadline_ms: int
    ) -> list[Effect]:
        """`deadline_ms`: what is left of it here and now."""
        return []

    def list_replica(self, sender: NodeId, message: ListReplica, placement: Placement, now: Now) -> list[Effect]:
        return []

    def replica_listed(self, sender: NodeId, message: ReplicaListed, placement: Placement, now: Now) -> list[Effect]:
        return []
