"""Explaining a key: who should have it, and what each of them holds."""

from collections.abc import Callable

from zdynamo.core.buckets import Buckets
from zdynamo.core.events import Effect, Now
from zdynamo.core.partitions import Partitions
from zdynamo.core.pending import Pending
from zdynamo.core.placement import Placement
from zdynamo.core.replica import Replica
from zdynamo.core.rounds import Rounds
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Explain, Inspect, Inspected, NodeId


class Explains:
    """The explanations that this node puts together, and its part in those of others."""

    def __init__(
        self,
        *,
        pending: Pending,
        replica: Replica,
        rounds: Rounds,
        partitions: Partitions,
        buckets: Buckets,
        waits: Callable[[bytes], str],
        limits: NodeLimits,
    ) -> None:
        pass

    def begin(
        self, client: bytes, request: Explain, placement: Placement, now: Now, *, deadline_ms: int
    ) -> list[Effect]:
        """`deadline_ms`: what is left of it here and now."""
        return []

    def inspect(self, sender: NodeId, message: Inspect, placement: Placement, now: Now) -> list[Effect]:
        return []

    def inspected(self, sender: NodeId, message: Inspected, placement: Placement, now: Now) -> list[Effect]:
        return []
