"""Whether this node may stand in for the owners of a partition: it has to know their reaping round (paper 4.6).

A node that has lost its disk, or runs on an old copy, or has taken over another's place, would take writes under a
round that is long over, and every owner would refuse them as stragglers. So it asks. One owner that is sure of the
partition is enough: live owners are never more than one round apart, and none begins another without this node.
"""

from collections.abc import Callable, Iterator

from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.rounds import ROUND_MAX, HeardRound
from zdynamo.core.state import State
from zdynamo.messages import NodeId, RoundsTold, RoundsWanted
from zdynamo.partition import stretch

AGAIN_MS = 1_000  # after which peers that have not told all are asked again
LINK_MS = 100  # after which it is looked again whether a peer has said Hello
NOT_SURE = -1  # no round: this node is no owner, or unsettled


class Standing:
    """What this node asks about the partitions of others, and what it tells of its own."""

    def __init__(self, state: State, *, linked: Callable[[NodeId], bool], heard_round: HeardRound) -> None:
        self._state = state
        self._partitions = state.partitions
        self._linked = linked
        self._heard_round = heard_round
        self._asked_ms: dict[NodeId, int] = {}  # when each peer was asked last
        self._due_ms = 0
        self._failed = False  # a commit has: what it lost is asked for again, but not at once

    @property
    def next_due_ms(self) -> int | None:
        """When `tick` has something to do."""
        return self._due_ms if self._partitions.rounds_lost else None

    def view_changed(self, now: Now) -> None:
        """There may be others to ask."""
        self._due_ms = now.monotonic_ms

    def discarded(self) -> None:
        """What was staged is gone, so that more has to be asked."""
        self._failed = True

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        """Ask those that may tell what is not known."""
        if not self._partitions.rounds_lost or now.monotonic_ms < self._due_ms:
            return []
        if self._failed:
            self._failed, self._due_ms = False, now.monotonic_ms + AGAIN_MS
            return []
        unknown = self._unknown(placement)
        if not unknown:
            self._partitions.find_rounds()
            return []
        due_ms, effects = now.monotonic_ms + AGAIN_MS, list[Effect]()
        for peer in sorted({owner for partition in unknown for owner in placement.owners[partition]}):
            if placement.is_down(peer):
                continue
            again_ms = self._asked_ms.get(peer, -AGAIN_MS) + AGAIN_MS
            if not self._linked(peer):
                due_ms = min(due_ms, now.monotonic_ms + LINK_MS)
            elif now.monotonic_ms < again_ms:
                due_ms = min(due_ms, again_ms)
            else:
                self._asked_ms[peer] = now.monotonic_ms
                effects.append(Send(peer, RoundsWanted()))
        self._due_ms = due_ms
        return effects

    def wanted(self, sender: NodeId, message: RoundsWanted, placement: Placement, now: Now) -> list[Effect]:
        """Tell the rounds of what this node owns, where it is sure of them."""
        rounds = tuple(
            self._state.rounds.of(partition)
            if placement.me in owners and self._partitions.knows_round(partition)
            else NOT_SURE
            for partition, owners in enumerate(placement.owners)
        )
        return [Send(sender, RoundsTold(rounds))]

    def told(self, sender: NodeId, message: RoundsTold, placement: Placement, now: Now) -> list[Effect]:
        """Begin the rounds that an owner is in, also if another has told less; what is here from two before goes."""
        if len(message.rounds) != len(placement.owners) or not self._partitions.rounds_lost:
            return []
        effects: list[Effect] = []
        for partition, (owners, round) in enumerate(zip(placement.owners, message.rounds, strict=True)):
            if sender in owners and placement.me not in owners and NOT_SURE < round <= ROUND_MAX:
                effects += self._heard_round(sender, stretch(partition)[0], round, placement)
                self._state.rounds.raise_to(partition, round)
                self._partitions.round_told(partition)
        self._due_ms = 0
        return effects

    def notices(self, placement: Placement) -> Iterator[str]:
        """What an operator should know."""
        unknown = self._unknown(placement)
        if not unknown:
            return
        owners = {owner for partition in unknown for owner in placement.owners[partition]}
        waits = placement.names(sorted(owner for owner in owners if placement.is_down(owner)))
        yield (
            f"may not stand in for others in {len(unknown)} partitions, since it may have lost in which reaping round "
            f"they are{f'; waiting for {waits}' if waits else ''}"
        )

    def _unknown(self, placement: Placement) -> list[int]:
        """Partitions of others whose round nobody has told."""
        if not self._partitions.rounds_lost:
            return []
        return [
            partition
            for partition, owners in enumerate(placement.owners)
            if placement.me not in owners and not self._partitions.may_stand_in(partition)
        ]
