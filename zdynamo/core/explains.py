"""Explaining a key: who should have it, and what each of them holds."""

from collections.abc import Callable

from zdynamo.core.events import Effect, Now
from zdynamo.core.pending import Pending
from zdynamo.core.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import Explain, Inspect, Inspected, NodeId


class Explains:
    """The explanations that this node puts together, and its part in those of others."""

    def __init__(self, state: State, pending: Pending, *, waits: Callable[[bytes, Now], str]) -> None:
        self._state = state

    def begin(
        self, client: bytes, request: Explain, placement: Placement, now: Now, *, deadline_ms: int
    ) -> list[Effect]:
        """`deadline_ms`: what is left of it here and now."""
        return []

    def inspect(self, sender: NodeId, message: Inspect, placement: Placement, now: Now) -> list[Effect]:
        return []

    def inspected(self, sender: NodeId, message: Inspected, placement: Placement, now: Now) -> list[Effect]:
        return []
