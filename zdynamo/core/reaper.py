"""Removing what is dead, on proof that no copy of what it covers is left anywhere (paper 4.4).

An owner leads a pass over the dead records of one partition: (1) every owner says that it holds exactly these, and its
round; (2) all begin the rounds up to two above those, one at a time, each on its disk before anybody goes on; (3) all
remove what they still hold so, the leader last. What was read or minted before an owner said so carries a round that is
refused after (2), so nothing that the dead records cover can be stored any more. What an owner does not hold is brought
to all of them and proven by a later pass.
"""

from collections.abc import Callable
from itertools import islice
from typing import Literal

import xxhash
from msgspec import Struct

from zdynamo.core.events import Effect, Now, Randomness, Send
from zdynamo.core.placement import Placement
from zdynamo.core.record import decode_record
from zdynamo.core.state import State
from zdynamo.core.tombstones import is_dead
from zdynamo.core.turns import Turn, Turns
from zdynamo.core.witness import KEYS_MAX, Item, Witness, leads, remove, safe_wall_ms
from zdynamo.messages import BeginRound, NodeId, Reap, ReapAsk, Reaped, ReapHeld, RoundBegun
from zdynamo.partition import PREFIX_BYTES, partition_of_storage_key

Heal = Callable[[bytes, Placement, Now], list[Effect]]  # make all owners of a storage key hold the same
HeardRound = Callable[[NodeId, bytes, int, Placement], list[Effect]]  # an owner has told its round of a key's partition
Blocker = Callable[[int, Placement], str]  # what keeps this node from removing anything of a partition; "": nothing

PACE_MS = 250  # between two passes, or looks through the index, of one node: a pass costs each owner two fsyncs
ANSWER_MS = 5_000  # that the owners have for each step of a pass
FRESH_MS = 1_000  # between two looks at which partitions have new entries
ENTRIES_MAX = 1_024  # of the index, looked at in one step
BYTES_MAX = 2**20  # of records, looked at in one step; one may be larger


class Pass(Struct, kw_only=True):
    """A pass that this node leads."""

    number: int
    partition: int
    owners: tuple[NodeId, ...]
    items: tuple[Item, ...]
    rounds: dict[NodeId, int]  # of each owner, as far as it has said
    due_ms: int
    waiting: set[NodeId]  # who has not answered this step yet
    step: Literal["ask", "begin", "reap"] = "ask"
    places: set[int] = set()  # in `items`: what an owner does not hold, or has kept
    target: int = 0  # the round in which what is dead goes
    begin: int = 0  # the round that is being begun


class Reaper:
    """The passes that this node leads, one at a time, and its part in those of others."""

    def __init__(self, state: State, *, heal: Heal, heard_round: HeardRound, random: Randomness) -> None:
        self._state = state
        self._heal = heal
        self._heard_round = heard_round
        self._random = random
        self._turns = Turns()
        self._pass: Pass | None = None
        self._number = random.getrandbits(48)
        self._free_at_ms = 0  # the next pass or look may begin
        self._fresh_at_ms = 0  # partitions with new entries are looked for again
        self.blockers: list[Blocker] = [self._unsettled]  # each says it as a predicate: "is unsettled"
        self._witness = Witness(state, blocked=self._blocked)

    @property
    def next_due_ms(self) -> int | None:
        if self._pass is not None:
            due_ms: int | None = self._pass.due_ms
        else:
            due_ms = self._turns.next_due_ms
            if due_ms is not None:
                due_ms = max(due_ms, self._free_at_ms)
        if self._state.tombstones.fresh:
            due_ms = self._fresh_at_ms if due_ms is None else min(due_ms, self._fresh_at_ms)
        return due_ms

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        if self._state.tombstones.fresh and now.monotonic_ms >= self._fresh_at_ms:
            self._take_fresh(placement, now)
        if self._pass is not None:
            if now.monotonic_ms >= self._pass.due_ms:
                self._fail(self._pass, f"{_names(self._pass.waiting, placement)} did not answer", placement, now)
            return []
        while now.monotonic_ms >= self._free_at_ms:
            partition = self._turns.due(now.monotonic_ms)
            if partition is None:
                break
            effects = self._look(partition, placement, now)
            if effects:
                return effects
        return []

    def waits(self, key: bytes, now: Now) -> str:
        """Why a dead record under this storage key has not been removed yet, in words."""
        partition = partition_of_storage_key(key)
        if self._pass is not None and self._pass.partition == partition:
            return "being proven"
        turn = self._turns.of(partition)
        if turn is None:
            return "not looked at yet"
        seconds = max(0, max(turn.due_ms, self._free_at_ms) - now.monotonic_ms + 999) // 1000
        return f"{turn.reason}{'; ' if turn.reason else ''}next pass in {seconds} s"

    def abandoned(self) -> None:
        """What was staged is gone: nothing that was said in the steps of that commit may be built on."""
        self._pass = None
        self._witness.forget()

    def asked(self, sender: NodeId, message: ReapAsk, placement: Placement, now: Now) -> list[Effect]:
        heard = self._heard(sender, message.partition, message.round, placement)
        answer = self._witness.asked(sender, message, placement, now)
        if answer and self._turns.of(message.partition) is not None:
            rest_ms = self._rest_ms(message.partition, placement)
            turn = self._turns.set(message.partition, now.monotonic_ms + rest_ms)
            turn.reason = f"{placement.name_of(sender)} has asked the owners for proof"
        return heard + answer

    def begin_round(self, sender: NodeId, message: BeginRound, placement: Placement, now: Now) -> list[Effect]:
        return self._witness.begin_round(sender, message, placement, now)

    def reap(self, sender: NodeId, message: Reap, placement: Placement, now: Now) -> list[Effect]:
        return self._witness.reap(sender, message, placement, now)

    def held(self, sender: NodeId, message: ReapHeld, placement: Placement, now: Now) -> list[Effect]:
        heard = self._heard(sender, message.partition, message.round, placement)
        led = self._answered("ask", sender, message, placement, now)
        if led is None:
            return heard
        if message.blocked:
            return self._fail(led, f"{placement.name_of(sender)} {message.blocked}", placement, now)
        led.waiting.remove(sender)
        led.rounds[sender] = message.round
        led.places |= {place for place in message.differs if 0 <= place < len(led.items)}
        return [] if led.waiting else self._all_told(led, placement, now)

    def round_begun(self, sender: NodeId, message: RoundBegun, placement: Placement, now: Now) -> list[Effect]:
        led = self._answered("begin", sender, message, placement, now)
        if led is None:
            return []
        if message.blocked:
            return self._fail(led, f"{placement.name_of(sender)} {message.blocked}", placement, now)
        if message.round < led.begin:  # an answer to the step before, once more
            return []
        led.waiting.remove(sender)
        led.rounds[sender] = message.round
        return [] if led.waiting else self._next_round(led, placement, now)

    def reaped(self, sender: NodeId, message: Reaped, placement: Placement, now: Now) -> list[Effect]:
        led = self._answered("reap", sender, message, placement, now)
        if led is None:
            return []
        led.waiting.remove(sender)
        led.places |= {place for place in message.kept if 0 <= place < len(led.items)}
        return [] if led.waiting else self._all_reaped(led, placement, now)

    # Leading a pass

    def _look(self, partition: int, placement: Placement, now: Now) -> list[Effect]:
        """Begin a pass over the next dead records of a partition, if nothing is against it and there are any."""
        obstacle = self._obstacle(partition, placement)
        turn = self._turns.set(partition, now.monotonic_ms + self._rest_ms(partition, placement))
        if obstacle:
            turn.reason = obstacle
            self._state.counters["reap.blocked"] += 1
            return []
        self._free_at_ms = now.monotonic_ms + PACE_MS
        turn.reason = ""
        items = self._gather(partition, turn, now)
        if not items:
            self._rest(partition, turn, placement, now)
            return []
        self._number += 1
        owners, me = placement.owners[partition], placement.me
        led = self._pass = Pass(
            number=self._number,
            partition=partition,
            owners=owners,
            items=items,
            rounds={me: self._state.rounds.of(partition)},
            due_ms=now.monotonic_ms + ANSWER_MS,
            waiting={owner for owner in owners if owner != me},
        )
        self._state.counters["reap.passes"] += 1
        if not led.waiting:
            return self._all_told(led, placement, now)
        ask = ReapAsk(led.number, partition, led.rounds[me], items)
        return [Send(owner, ask) for owner in owners if owner != me]

    def _gather(self, partition: int, turn: Turn, now: Now) -> tuple[Item, ...]:
        """The next dead records; entries that are out of date are mended on the way."""
        state, wall_ms = self._state, safe_wall_ms(self._state, now)
        items: list[Item] = []
        looked, size = 0, 0
        if not turn.after:
            turn.begin_sweep()
        for key, ends_ms in islice(state.tombstones.entries(partition, turn.after), ENTRIES_MAX):
            looked += 1
            turn.after, turn.seen = key, True
            if ends_ms > wall_ms:
                turn.will_end(ends_ms)
                continue
            encoded = state.replica.fetch(key)
            size += len(key) + len(encoded)
            if not encoded:
                state.tombstones.forget(key)
            elif is_dead(record := decode_record(encoded), wall_ms):
                items.append((key, xxhash.xxh3_64_intdigest(encoded)))
                turn.again = True
            else:
                state.tombstones.renew(key, record)
            if len(items) == KEYS_MAX or size >= BYTES_MAX:
                return tuple(items)
        if looked < ENTRIES_MAX:
            turn.after = b""
        return tuple(items)

    def _all_told(self, led: Pass, placement: Placement, now: Now) -> list[Effect]:
        """Bring what some owner does not hold to all of them, and go on with the rest."""
        effects: list[Effect] = []
        for place in sorted(led.places):
            effects += self._heal(led.items[place][0], placement, now)
        differ = len(led.places)
        led.items = tuple(item for place, item in enumerate(led.items) if place not in led.places)
        led.places = set()
        low, high = min(led.rounds.values()), max(led.rounds.values())
        if not led.items:
            return effects + self._end(led, f"{differ} records are being brought to all owners", placement, now)
        if low + 1 < high:
            behind = {owner for owner, round in led.rounds.items() if round == low}
            return effects + self._fail(led, f"{_names(behind, placement)} is behind the others", placement, now)
        led.target = high + 2
        return effects + self._next_round(led, placement, now)

    def _next_round(self, led: Pass, placement: Placement, now: Now) -> list[Effect]:
        """Begin a round where it is not begun, if all have begun the one before; at the target, remove."""
        rounds, me = self._state.rounds, placement.me
        while not led.waiting:
            led.rounds[me] = rounds.of(led.partition)
            low = min(led.rounds.values())
            if low >= led.target:
                return self._remove(led, placement, now)
            led.begin = low + 1
            rounds.raise_to(led.partition, led.begin)
            led.waiting = {owner for owner, round in led.rounds.items() if round < led.begin and owner != me}
        led.step, led.due_ms = "begin", now.monotonic_ms + ANSWER_MS
        begin = BeginRound(led.number, led.partition, led.begin)
        return [Send(owner, begin) for owner in led.owners if owner in led.waiting]

    def _remove(self, led: Pass, placement: Placement, now: Now) -> list[Effect]:
        led.waiting = {owner for owner in led.owners if owner != placement.me}
        if not led.waiting:
            return self._all_reaped(led, placement, now)
        led.step, led.due_ms = "reap", now.monotonic_ms + ANSWER_MS
        reap = Reap(led.number, led.partition, led.target, led.items)
        return [Send(owner, reap) for owner in led.owners if owner in led.waiting]

    def _all_reaped(self, led: Pass, placement: Placement, now: Now) -> list[Effect]:
        """The others have removed it: so does the leader, but for what somebody has kept."""
        gone = tuple(item for place, item in enumerate(led.items) if place not in led.places)
        remove(self._state, led.partition, gone, now)
        reason = f"{len(led.places)} records have changed meanwhile" if led.places else ""
        return self._end(led, reason, placement, now)

    def _answered(
        self, step: str, sender: NodeId, message: ReapHeld | RoundBegun | Reaped, placement: Placement, now: Now
    ) -> Pass | None:
        """The pass that an answer belongs to, if it counts and the pass can go on."""
        led = self._pass
        if led is None or led.number != message.request or led.step != step or sender not in led.waiting:
            return None
        obstacle = self._obstacle(led.partition, placement)
        if obstacle or placement.owners[led.partition] != led.owners:
            self._fail(led, obstacle or "the owners have changed", placement, now)
            return None
        return led

    def _fail(self, led: Pass, reason: str, placement: Placement, now: Now) -> list[Effect]:
        self._state.counters["reap.blocked"] += 1
        turn = self._turns.of(led.partition)
        if turn is not None:
            turn.after = b""
        return self._end(led, reason, placement, now)

    def _end(self, led: Pass, reason: str, placement: Placement, now: Now) -> list[Effect]:
        self._pass = None
        self._free_at_ms = now.monotonic_ms + PACE_MS
        turn = self._turns.of(led.partition)
        if turn is not None:
            turn.reason = reason
            self._rest(led.partition, turn, placement, now)
        return []

    def _heard(self, sender: NodeId, partition: int, round: int, placement: Placement) -> list[Effect]:
        """Whoever hears a round far above its own holds an old copy, and finds out here if nothing else is said."""
        if not leads(sender, partition, placement):
            return []
        return self._heard_round(sender, partition.to_bytes(PREFIX_BYTES, "big"), round, placement)

    # Whose turn it is

    def _take_fresh(self, placement: Placement, now: Now) -> None:
        """Partitions with new entries get a turn."""
        self._fresh_at_ms = now.monotonic_ms + FRESH_MS
        fresh = self._state.tombstones.fresh
        for partition in fresh:
            due_ms = now.monotonic_ms + self._rest_ms(partition, placement)
            turn = self._turns.of(partition)
            turn = self._turns.set(partition, due_ms if turn is None else min(turn.due_ms, due_ms))
            turn.fresh = True
        fresh.clear()

    def _rest(self, partition: int, turn: Turn, placement: Placement, now: Now) -> None:
        """After a look: on with the sweep soon, or the next one after a rest; none if there are no entries."""
        now_ms = now.monotonic_ms
        if turn.after:
            self._turns.set(partition, now_ms)
        elif turn.seen or turn.again:
            usual_ms = self._rest_ms(partition, placement)
            self._turns.set(partition, now_ms + turn.rest_ms(usual_ms, safe_wall_ms(self._state, now)))
        else:
            self._turns.drop(partition)

    def _rest_ms(self, partition: int, placement: Placement) -> int:
        """The first owner in the preference list comes first; the others, if it does not hold all that is dead."""
        interval_ms = self._state.limits.reap_interval_ms
        owners = placement.owners[partition] if partition < len(placement.owners) else ()
        rank = owners.index(placement.me) if placement.me in owners else len(owners)
        return interval_ms * (1 + rank) + self._random.getrandbits(10) * interval_ms // 4096

    # What is against it

    def _blocked(self, partition: int, placement: Placement) -> str:
        return next((reason for blocker in self.blockers if (reason := blocker(partition, placement))), "")

    def _unsettled(self, partition: int, placement: Placement) -> str:
        return "" if self._state.partitions.is_settled(partition) else "is unsettled"

    def _obstacle(self, partition: int, placement: Placement) -> str:
        """Why this node cannot lead a pass of the partition now."""
        owners = placement.owners[partition] if partition < len(placement.owners) else ()
        if placement.me not in owners:
            return "this node does not own it"
        down = placement.names(owner for owner in owners if placement.is_down(owner))
        if down:
            return f"{down} is down" if "," not in down else f"{down} are down"
        blocked = self._blocked(partition, placement)
        return f"{placement.name_of(placement.me)} {blocked}" if blocked else ""


def _names(nodes: set[NodeId], placement: Placement) -> str:
    return placement.names(sorted(nodes))
