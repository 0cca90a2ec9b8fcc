"""Taking records that peers send: as an owner, as a fallback that holds them, or back from one (paper 4.6)."""

from zdynamo.core.events import Effect, Noted, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.rounds import HeardRound
from zdynamo.core.records.discards import merge_here
from zdynamo.core.state import State
from zdynamo.messages import HandOver, HoldReplica, NodeId, ReplicaRefused, ReplicaStored, StoreReplica
from zdynamo.partition import is_storage_key, partition_of_storage_key


class Storing:
    """This node's part in the writes, repairs and hand-overs of others."""

    def __init__(self, state: State, *, heard_round: HeardRound) -> None:
        self._state = state
        self._heard_round = heard_round

    def store(self, sender: NodeId, message: StoreReplica, placement: Placement, now: Now) -> list[Effect]:
        if self._is_elsewhere(message.key, placement):
            return [Send(sender, ReplicaRefused(message.request, "stale layout"))]
        return self._take(sender, message, placement, now)

    def hand_over(self, sender: NodeId, message: HandOver, placement: Placement, now: Now) -> list[Effect]:
        """Who hands it over forgets it then: so it has to be on disk, also what was here already."""
        if self._is_elsewhere(message.key, placement):
            return [Send(sender, ReplicaRefused(message.request, "stale layout"))]
        self._state.store.want_sync()
        return self._take(sender, message, placement, now)

    def hold(self, sender: NodeId, message: HoldReplica, placement: Placement, now: Now) -> list[Effect]:
        """Nothing is acknowledged that is held for nobody: it would never come to an owner."""
        if not placement.owners:
            return [Send(sender, ReplicaRefused(message.request, "stale layout"))]
        if not is_storage_key(message.key, placement.partitions):
            return [Send(sender, ReplicaRefused(message.request, "malformed"))]
        owners, hints = placement.owners_of(message.key), self._state.hints
        known = self._state.partitions.may_stand_in(partition_of_storage_key(message.key))
        others = [node for node in message.targets if node in owners and node != placement.me]
        targets = [node for node in others if hints.has_room(node, message.key)]
        if placement.me not in owners and not (targets and known):
            self._state.counters["hints.refused"] += 1
            return [Send(sender, ReplicaRefused(message.request, "limit" if known else "unsettled"))]
        effects = self._take(sender, message, placement, now)
        if isinstance(effects[-1], Send) and isinstance(effects[-1].message, ReplicaStored):
            for target in targets:
                hints.add(target, message.key, len(message.record))
        return effects

    def _is_elsewhere(self, key: bytes, placement: Placement) -> bool:
        """Whether this node is no owner: then it takes nothing without a hint, or nobody would ever take it away."""
        owners, partition = placement.owners, partition_of_storage_key(key)
        return partition < len(owners) and placement.me not in owners[partition]

    def _take(
        self, sender: NodeId, message: StoreReplica | HoldReplica | HandOver, placement: Placement, now: Now
    ) -> list[Effect]:
        """The answer comes last."""
        number, state = message.request, self._state
        if not is_storage_key(message.key, placement.partitions):
            return [Send(sender, ReplicaRefused(number, "malformed"))]
        noted: list[Effect] = []
        if message.round > state.rounds.of_key(message.key) + 1:
            noted = self._heard_round(sender, message.key, message.round, placement)
        merged = merge_here(state, number, message.key, message.record, message.round, placement, now)
        if merged.refused is not None:
            state.counters["replica.refused"] += 1
            fields: dict[str, object] = {"peer": placement.name_of(sender), "reason": merged.refused.reason}
            return [Noted("record.refused", fields, "warning"), *noted, Send(sender, merged.refused)]
        return [*noted, Send(sender, ReplicaStored(number, merged.beyond))]
