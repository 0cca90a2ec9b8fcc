"""Removing what is dead, on proof that no copy of what it covers is left anywhere (paper 4.4)."""

from collections.abc import Callable

from zdynamo.core.events import Effect, Now, Randomness
from zdynamo.core.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import BeginRound, NodeId, Reap, ReapAsk, Reaped, ReapHeld, RoundBegun

Heal = Callable[[bytes, Placement, Now], list[Effect]]  # make all owners of a storage key hold the same
Blocker = Callable[[int, Placement], str]  # what is against removing anything of a partition, in words; "": nothing


class Reaper:
    """This node's part in removing dead records, as owner and as the one who proposes it."""

    def __init__(self, state: State, *, heal: Heal, random: Randomness) -> None:
        self._state = state
        self.blockers: list[Blocker] = []

    @property
    def next_due_ms(self) -> int | None:
        return None

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        return []

    def waits(self, key: bytes, now: Now) -> str:
        """Why a dead record under this storage key has not been removed yet, in words."""
        return ""

    def asked(self, sender: NodeId, message: ReapAsk, placement: Placement, now: Now) -> list[Effect]:
        return []

    def held(self, sender: NodeId, message: ReapHeld, placement: Placement, now: Now) -> list[Effect]:
        return []

    def begin_round(self, sender: NodeId, message: BeginRound, placement: Placement, now: Now) -> list[Effect]:
        return []

    def round_begun(self, sender: NodeId, message: RoundBegun, placement: Placement, now: Now) -> list[Effect]:
        return []

    def reap(self, sender: NodeId, message: Reap, placement: Placement, now: Now) -> list[Effect]:
        return []

    def reaped(self, sender: NodeId, message: Reaped, placement: Placement, now: Now) -> list[Effect]:
        return []
