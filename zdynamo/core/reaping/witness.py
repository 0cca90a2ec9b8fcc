"""A node's part in the passes that owners lead: it says what it holds, begins rounds, and removes.

A fallback owns nothing of the partition, but may hold for an owner what a dead record covers. It says so, or that it
holds nothing, and begins the rounds like an owner, so that it takes nothing older afterwards.

What it has said holds for the process that said it, up to a round that it has on its disk: if the process ends before
that, the pass ends too.
"""

from typing import NamedTuple

import xxhash

from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.tombstones import is_dead
from zdynamo.core.records.record import decode_record
from zdynamo.core.state import State
from zdynamo.messages import BeginRound, NodeId, Reap, ReapAsk, Reaped, ReapHeld, RoundBegun
from zdynamo.partition import partition_of_storage_key

KEYS_MAX = 256  # of one pass
PASSES_MAX = 256  # of one leader that are remembered; it leads far fewer at a time
OLD_COPY = "holds an old copy"  # each said as a predicate
UNSETTLED = "is unsettled"
RESTARTED = "has lost the thread of this pass"

Item = tuple[bytes, int]  # storage key, digest of the record


class Part(NamedTuple):
    """What this node takes part in."""

    request: int
    held: int  # `Hints.added` when it spoke: what it holds since then, it has not spoken of


class Witness:
    """What this node knows of the passes of others: in which one of each leader it takes part, in each partition."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._passes: dict[NodeId, dict[int, Part]] = {}  # leader -> partition, the latest last

    def asked(self, sender: NodeId, message: ReapAsk, placement: Placement, now: Now) -> list[Effect]:
        partition, items = message.partition, message.items
        if not leads(sender, partition, placement) or len(items) > KEYS_MAX:
            return []
        round = self._state.rounds.of(partition)
        blocked = OLD_COPY if round + 1 < message.round else self._unsettled(partition)
        differs: tuple[int, ...] = ()
        passes = self._passes.setdefault(sender, {})
        passes.pop(partition, None)
        if not blocked:
            passes[partition] = Part(message.request, self._state.hints.added(partition))
            if len(passes) > PASSES_MAX:
                del passes[next(iter(passes))]
            owning = placement.me in placement.owners[partition]
            differs = tuple(
                place
                for place, item in enumerate(items)
                if not (holds(self._state, partition, item, now) if owning else self._holds_nothing(partition, item))
            )
        return [Send(sender, ReapHeld(message.request, partition, round, blocked, differs))]

    def begin_round(self, sender: NodeId, message: BeginRound, placement: Placement, now: Now) -> list[Effect]:
        partition, rounds = message.partition, self._state.rounds
        if not leads(sender, partition, placement):
            return []
        blocked = self._against(sender, message.request, partition)
        if not blocked and rounds.of(partition) + 1 < message.round:
            blocked = OLD_COPY
        if not blocked:
            rounds.raise_to(partition, message.round)
        return [Send(sender, RoundBegun(message.request, partition, rounds.of(partition), blocked))]

    def reap(self, sender: NodeId, message: Reap, placement: Placement, now: Now) -> list[Effect]:
        partition, items = message.partition, message.items
        if not leads(sender, partition, placement) or len(items) > KEYS_MAX:
            return []
        kept = tuple(range(len(items)))
        begun = self._state.rounds.of(partition) >= message.round
        if begun and not self._against(sender, message.request, partition):
            kept = remove(self._state, partition, items, now)
        return [Send(sender, Reaped(message.request, partition, kept))]

    def forget(self) -> None:
        """What was said may not be so."""
        self._passes.clear()

    def _against(self, sender: NodeId, request: int, partition: int) -> str:
        passes = self._passes.get(sender, {})
        blocked = self._unsettled(partition)
        if blocked:
            passes.pop(partition, None)
        elif passes.get(partition) != Part(request, self._state.hints.added(partition)):
            blocked = RESTARTED
        return blocked

    def _unsettled(self, partition: int) -> str:
        return "" if self._state.partitions.is_settled(partition) else UNSETTLED

    def _holds_nothing(self, partition: int, item: Item) -> bool:
        """What a fallback holds for an owner may be what the dead record covers."""
        return partition_of_storage_key(item[0]) == partition and not self._state.replica.fetch(item[0])


def leads(sender: NodeId, partition: int, placement: Placement) -> bool:
    """Whether that node may lead a pass of the partition in which this node takes part."""
    if not 0 <= partition < len(placement.owners) or sender == placement.me:
        return False
    return sender in placement.owners[partition] and placement.me in placement.sharers


def remove(state: State, partition: int, items: tuple[Item, ...], now: Now) -> tuple[int, ...]:
    """Stage the removal of what is held like that and dead. Returns the places of what is still there."""
    kept = []
    for place, item in enumerate(items):
        if holds(state, partition, item, now):
            state.replica.drop(item[0])
            state.counters["tombstones.reaped"] += 1
        elif partition_of_storage_key(item[0]) != partition or state.replica.fetch(item[0]):
            kept.append(place)
    return tuple(kept)


def holds(state: State, partition: int, item: Item, now: Now) -> bool:
    """Whether this node holds exactly that record, and it is dead by this node's clock."""
    key, digest = item
    if partition_of_storage_key(key) != partition:
        return False
    encoded = state.replica.fetch(key)
    if not encoded or xxhash.xxh3_64_intdigest(encoded) != digest:
        return False
    return is_dead(decode_record(encoded), safe_wall_ms(state, now), lww=state.buckets.is_lww(key))


def safe_wall_ms(state: State, now: Now) -> int:
    """What has expired by that time is expired by everybody's clock."""
    return state.clock.wall_ms(now) - state.limits.clock_skew_ms
