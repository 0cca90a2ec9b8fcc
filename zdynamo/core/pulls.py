"""Pulling partitions from peers, a page at a time: how an owner that may have lost something gets it back."""

from zdynamo.core.events import Effect, Now
from zdynamo.core.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import NodeId, Page, PullPage


class Pulls:
    """What this node pulls, and what it gives to others who pull."""

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def next_due_ms(self) -> int | None:
        return None

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        return []

    def page_wanted(self, sender: NodeId, message: PullPage, placement: Placement, now: Now) -> list[Effect]:
        return []

    def page(self, sender: NodeId, message: Page, placement: Placement, now: Now) -> list[Effect]:
        return []
