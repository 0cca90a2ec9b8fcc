"""An owner's part in what other owners compare: it gives hashes and keys, and takes and gives records."""

from zdynamo.core.anti_entropy.hashes import both_own, hashes_for
from zdynamo.core.anti_entropy.swaps import keys_for, swapped
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.rounds import HeardRound
from zdynamo.core.state import State
from zdynamo.messages import CompareHashes, CompareKeys, Hashes, LeafKeys, NodeId, RecordsSwapped, SwapRecords
from zdynamo.partition import stretch

OfPartition = CompareHashes | Hashes | CompareKeys | LeafKeys | SwapRecords | RecordsSwapped


class Answering:
    """Nothing is remembered of them. Where this node is unsettled, it gives no keys and takes no records."""

    def __init__(self, state: State, *, heard_round: HeardRound) -> None:
        self._state = state
        self._heard_round = heard_round

    def heard(self, sender: NodeId, message: OfPartition, placement: Placement) -> list[Effect]:
        """Whoever hears a round far above its own holds an old copy."""
        if not both_own(sender, message.partition, placement):
            return []
        return self._heard_round(sender, stretch(message.partition)[0], message.round, placement)

    def hashes_wanted(self, sender: NodeId, message: CompareHashes, placement: Placement, now: Now) -> list[Effect]:
        effects = self.heard(sender, message, placement)
        hashes = hashes_for(sender, message, placement, self._state)
        return effects if hashes is None else [*effects, Send(sender, hashes)]

    def keys_wanted(self, sender: NodeId, message: CompareKeys, placement: Placement, now: Now) -> list[Effect]:
        effects = self.heard(sender, message, placement)
        keys = keys_for(message, self._state) if self._takes_part(sender, message, placement) else None
        return effects if keys is None else [*effects, Send(sender, keys)]

    def swap_wanted(self, sender: NodeId, message: SwapRecords, placement: Placement, now: Now) -> list[Effect]:
        effects = self.heard(sender, message, placement)
        if not message.records or not self._takes_part(sender, message, placement):
            return effects
        return [*effects, Send(sender, swapped(message, placement, self._state, now))]

    def _takes_part(self, sender: NodeId, message: CompareKeys | SwapRecords, placement: Placement) -> bool:
        owned = both_own(sender, message.partition, placement)
        return owned and self._state.partitions.is_settled(message.partition)
