"""Bringing what is held for a member to it when it is back (paper 4.6, hinted handoff).

A window of records is on its way to each target at a time, in the order of their storage keys. A hint ends when the
target has what is held here now, on its disk. The copy of a fallback goes with its last hint.
"""

from collections.abc import Callable

import xxhash
from msgspec import Struct

from zdynamo.core.anti_entropy.pace import RECORD_BYTES
from zdynamo.core.coordinator.pending import Handler, Pending
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.events import Effect, Noted, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import HandOver, HintsHeld, NodeId

WINDOW = 64  # records on their way to one target
WINDOW_BYTES = 2**20  # of those; the last may be larger
ANSWER_MS = 5_000  # that a target has for one
LOOKED_MAX = 400  # hints in a step for which there is nothing to send
LOOKED_REST_MS = 10  # after so many
AGAIN_MS = 1_000  # after a refusal, a silence, or a sweep that left something


class Sweep(Struct):
    """How far the hints for one target have been sent."""

    after: bytes = b""  # the storage key sent last; b"": a sweep begins
    on_way: int = 0
    bytes_on_way: int = 0
    rest_until_ms: int = 0


class Handover:
    """A record on its way to its owner."""

    __slots__ = (
        "answered", "began_ms", "digest", "due_ms", "handler", "key", "number", "size", "sweep", "tally", "target",
    )  # fmt: skip

    def __init__(
        self, number: int, target: NodeId, key: bytes, digest: int, size: int, due_ms: int, sweep: Sweep
    ) -> None:
        self.handler: Handler
        self.number = number
        self.target = target
        self.key = key
        self.digest = digest  # of the record as it was sent
        self.size = size
        self.due_ms = due_ms
        self.sweep = sweep  # that it is on its way in, which may not be the target's present one
        self.began_ms = 0
        self.answered = False
        self.tally = Tally(0, (target,))


class Handoff:
    """What this node hands over."""

    def __init__(self, state: State, pending: Pending, *, linked: Callable[[NodeId], bool]) -> None:
        """`linked`: whether the present process of a peer has said Hello; before, it would not hear a record."""
        self._state = state
        self._hints = state.hints
        self._pending = pending
        self._linked = linked
        self._sweeps: dict[NodeId, Sweep] = {}
        self._held_since_ms: dict[NodeId, int] = {}  # without a break, as often as that is looked at
        self._due_ms = 0

    @property
    def next_due_ms(self) -> int | None:
        return self._due_ms if self._hints.held else None

    def view_changed(self) -> None:
        """Somebody may be back."""
        self._due_ms = 0

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        """Send what may be sent."""
        if not self._hints.held or now.monotonic_ms < self._due_ms:
            return []
        self._look_for_how_long(now)
        pause_ms = self._state.pace.pause_ms(now.monotonic_ms)
        self._due_ms = now.monotonic_ms + (pause_ms or AGAIN_MS)
        if pause_ms:
            return []
        effects: list[Effect] = []
        for target in list(self._hints.held):
            if placement.is_down(target) or target in self._state.patience.lost or not self._linked(target):
                continue
            sweep = self._sweeps.setdefault(target, Sweep())
            if now.monotonic_ms >= sweep.rest_until_ms:
                effects += self._fill(target, sweep, placement, now)
            elif sweep.rest_until_ms < self._due_ms:
                self._due_ms = sweep.rest_until_ms
        return effects

    def stored(self, operation: Handover, placement: Placement, now: Now) -> list[Effect]:
        """The target has it on its disk."""
        self._over(operation)
        key, target, replica = operation.key, operation.target, self._state.replica
        if _digest(replica.fetch(key)) == operation.digest:  # else it has been written over: once more
            self._state.counters["hints.handed_over"] += self._hints.remove(target, key)
            if placement.me not in placement.owners_of(key) and not self._hints.targets_of(key):
                replica.drop(key)
        self._due_ms = min(self._due_ms, now.monotonic_ms)
        if target in self._hints.held:
            return []
        self._sweeps.pop(target, None)
        return [Noted("hints.handed_over", {"member": placement.name_of(target)})]

    def missed(
        self, replica: NodeId, operation: Handover, placement: Placement, now: Now, *, gone: bool = False
    ) -> list[Effect]:
        """The target will not take it now."""
        if replica != operation.target:
            return []
        self._over(operation)
        operation.sweep.rest_until_ms = now.monotonic_ms + AGAIN_MS
        return []

    def expired(self, operation: Handover, placement: Placement, now: Now) -> list[Effect]:
        """The target is silent."""
        return self.missed(operation.target, operation, placement, now)

    def abandon(self, effects: list[Effect]) -> list[Effect]:
        """The commit failed: what was to be sent may not have been kept."""
        kept: list[Effect] = []
        for effect in effects:
            if isinstance(effect, Send) and isinstance(effect.message, HandOver):
                operation = self._pending.get(effect.message.request)
                if isinstance(operation, Handover):
                    self._over(operation)
            else:
                kept.append(effect)
        for sweep in self._sweeps.values():
            sweep.after = b""
        return kept

    def describe(self, now: Now) -> tuple[HintsHeld, ...]:
        """What is held, for people and scripts."""
        self._look_for_how_long(now)
        return tuple(
            HintsHeld(target, held.count, held.bytes, now.monotonic_ms - self._held_since_ms[target])
            for target, held in sorted(self._hints.held.items())
        )

    def _look_for_how_long(self, now: Now) -> None:
        since_ms = self._held_since_ms
        self._held_since_ms = {target: since_ms.get(target, now.monotonic_ms) for target in self._hints.held}

    def _fill(self, target: NodeId, sweep: Sweep, placement: Placement, now: Now) -> list[Effect]:
        """As much as the window has room for; at the end of a sweep that left something, a rest."""
        effects: list[Effect] = []
        for looked, key in enumerate(self._hints.keys(target, sweep.after)):
            if sweep.on_way >= WINDOW or sweep.bytes_on_way >= WINDOW_BYTES:
                return effects
            if looked == LOOKED_MAX:
                self._due_ms = min(self._due_ms, now.monotonic_ms + LOOKED_REST_MS)
                return effects
            sweep.after = key
            record = self._state.replica.fetch(key)
            if record:
                effects.append(self._send(target, key, record, sweep, placement, now))
            elif self._state.partitions.settled(key):  # else it may be aside, and come back
                self._hints.remove(target, key)
        if not sweep.on_way:
            sweep.after = b""
            sweep.rest_until_ms = now.monotonic_ms + AGAIN_MS
        return effects

    def _send(self, target: NodeId, key: bytes, record: bytes, sweep: Sweep, placement: Placement, now: Now) -> Effect:
        due_ms = now.monotonic_ms + ANSWER_MS
        number = self._pending.next_number()
        operation = Handover(number, target, key, _digest(record), len(record), due_ms, sweep)
        operation.handler = self
        self._pending.add(operation)
        self._pending.mark_answered(operation)  # no client waits for it
        self._state.pace.spend(RECORD_BYTES + len(record))
        sweep.on_way += 1
        sweep.bytes_on_way += operation.size
        round = self._state.rounds.of_key(key)
        return Send(target, HandOver(number, ANSWER_MS, placement.layouts, round, key, record))

    def _over(self, operation: Handover) -> None:
        self._pending.drop(operation)
        operation.sweep.on_way -= 1
        operation.sweep.bytes_on_way -= operation.size


def _digest(record: bytes) -> int:
    return xxhash.xxh3_64_intdigest(record)
