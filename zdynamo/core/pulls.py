"""Pulling partitions from peers, a page at a time: how an owner that may have lost something gets it back."""

from zdynamo.core.buckets import Buckets
from zdynamo.core.events import Effect, Now
from zdynamo.core.partitions import Partitions
from zdynamo.core.placement import Placement
from zdynamo.core.replica import Replica
from zdynamo.core.rounds import Rounds
from zdynamo.core.settings import NodeLimits
from zdynamo.core.store import Store
from zdynamo.messages import NodeId, Page, PullPage


class Pulls:
    """What this node pulls, and what it gives to others who pull."""

    def __init__(
        self,
        *,
        store: Store,
        replica: Replica,
        rounds: Rounds,
        partitions: Partitions,
        buckets: Buckets,
        limits: NodeLimits,
        counters: dict[str, int],
    ) -> None:
        pass

    @property
    def next_due_ms(self) -> int | None:
        return None

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        return []

    def page_wanted(self, sender: NodeId, message: PullPage, placement: Placement, now: Now) -> list[Effect]:
        return []

    def page(self, sender: NodeId, message: Page, placement: Placement, now: Now) -> list[Effect]:
        return []
