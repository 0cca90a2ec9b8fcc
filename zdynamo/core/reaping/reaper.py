"""Removing what is dead, on proof that no copy of what it covers is left anywhere (paper 4.4).

An owner leads a pass over the dead records of one partition: (1) every owner says that it holds exactly these, every
other member of the layout that it holds nothing under their keys for anybody, and each its round; (2) all begin the
rounds up to two above those, one at a time, each on its disk before anybody goes on; (3) the owners remove what they
still hold so, the leader last. What was read or minted before somebody said so carries a round that is refused after
(2), so nothing that the dead records cover can be stored any more. What an owner does not hold is brought to all of
them and proven by a later pass.

A node leads passes over several partitions at a time. Those that begin in one step go on in step, so that their
messages share frames and their rounds share the fsync of a commit.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from zdynamo.core.events import Effect, Now, Randomness, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.looks import Work, gather
from zdynamo.core.reaping.rounds import HeardRound
from zdynamo.core.reaping.turns import Turn, Turns
from zdynamo.core.reaping.witness import KEYS_MAX, UNSETTLED, Item, Witness, leads, remove, safe_wall_ms
from zdynamo.core.state import State
from zdynamo.messages import BeginRound, NodeId, Reap, ReapAsk, Reaped, ReapHeld, RoundBegun
from zdynamo.partition import PREFIX_BYTES, partition_of_storage_key

Heal = Callable[[bytes, Placement, Now], list[Effect]]  # make all owners of a storage key hold the same
Step = Literal["ask", "begin", "reap"]

PASSES_MAX = 32  # in progress at a time
KEYS_IN_PROGRESS_MAX = 2_048  # of all of them
LOOKS_MAX = 32  # partitions looked at in one step
SOON_MS = 5  # between two steps with looks; and a rest by what they have found:
KEYS_PER_MS = 10  # which is so much work for all owners
ENTRIES_PER_MS = 50
SLOW_MS = 1_000  # the longest rest after a pass; it is twice what the pass took, which is up to the owners' disks
TAKEN_MAX = 256  # partitions with new entries that get a turn in one step
FRESH_MS = 1_000  # between two looks at which partitions have new entries
ANSWER_MS = 5_000  # that the owners have for each step of a pass


class Pass(Struct, kw_only=True):
    """A pass that this node leads."""

    number: int
    partition: int
    owners: tuple[NodeId, ...]
    items: tuple[Item, ...]
    keys: int  # of the items that it began with
    rounds: dict[NodeId, int]  # of each owner, as far as it has said
    began_ms: int
    due_ms: int
    waiting: set[NodeId]  # who has not answered this step yet
    step: Step = "ask"
    places: set[int] = set()  # in `items`: what an owner does not hold, or has kept
    target: int = 0  # the round in which what is dead goes
    begin: int = 0  # the round that is being begun


class Reaper:
    """The passes that this node leads, one of a partition at a time, and its part in those of others."""

    def __init__(self, state: State, *, heal: Heal, heard_round: HeardRound, random: Randomness) -> None:
        self._state = state
        self._heal = heal
        self._heard_round = heard_round
        self._random = random
        self._turns = Turns()
        self._passes: dict[int, Pass] = {}  # by partition; the first to be due comes first
        self._keys = 0  # of all of them
        self._number = random.getrandbits(48)
        self._free_at_ms = 0  # the next looks may begin
        self._fresh_at_ms = 0  # partitions with new entries are looked for again
        self._witness = Witness(state)

    @property
    def next_due_ms(self) -> int | None:
        due_ms = self._turns.next_due_ms
        if due_ms is not None:
            due_ms = None if self._full else max(due_ms, self._free_at_ms)
        if self._passes:
            first = next(iter(self._passes.values()))
            due_ms = first.due_ms if due_ms is None else min(due_ms, first.due_ms)
        if self._state.tombstones.fresh:
            due_ms = self._fresh_at_ms if due_ms is None else min(due_ms, self._fresh_at_ms)
        return due_ms

    @property
    def waiting(self) -> int:
        """Tombstones, and what expires or has, in the copies of this node; about so many."""
        return self._turns.waiting

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        now_ms = now.monotonic_ms
        if self._state.tombstones.fresh and now_ms >= self._fresh_at_ms:
            self._take_fresh(placement, now)
        while self._passes and now_ms >= (first := next(iter(self._passes.values()))).due_ms:
            self._fail(first, f"{_names(first.waiting, placement)} did not answer", placement, now)
        if now_ms < self._free_at_ms:
            return []
        effects: list[Effect] = []
        work, looks = Work(), 0
        while looks < LOOKS_MAX and not work.enough and not self._full:
            partition = self._turns.due(now_ms)
            if partition is None:
                break
            effects += self._look(partition, work, placement, now)
            looks += 1
        if looks:
            rest_ms = SOON_MS + work.keys // KEYS_PER_MS + work.entries // ENTRIES_PER_MS
            self._free_at_ms = max(self._free_at_ms, now_ms + rest_ms)
        return effects

    def waits(self, key: bytes, now: Now) -> str:
        """Why a dead record under this storage key has not been removed yet, in words."""
        partition = partition_of_storage_key(key)
        if partition in self._passes:
            return "being proven"
        turn = self._turns.of(partition)
        if turn is None:
            return "not looked at yet"
        seconds = max(0, max(turn.due_ms, self._free_at_ms) - now.monotonic_ms + 999) // 1000
        return f"{turn.reason}{'; ' if turn.reason else ''}next pass in {seconds} s"

    def discarded(self) -> None:
        """What was staged is gone: nothing that was said in the steps of that commit may be built on."""
        self._passes.clear()
        self._keys = 0
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

    @property
    def _full(self) -> bool:
        return len(self._passes) >= PASSES_MAX or self._keys > KEYS_IN_PROGRESS_MAX - KEYS_MAX

    def _look(self, partition: int, work: Work, placement: Placement, now: Now) -> list[Effect]:
        """Begin a pass over the next dead records of a partition, if nothing is against it and there are any."""
        turn = self._turns.set(partition, now.monotonic_ms + self._rest_ms(partition, placement))
        if partition in self._passes:
            return []
        obstacle = self._obstacle(partition, placement)
        if obstacle:
            turn.reason = obstacle
            self._state.counters["reap.blocked"] += 1
            return []
        turn.reason = ""
        items = gather(self._state, partition, turn, work, now)
        if not items:
            self._rest(partition, turn, placement, now)
            return []
        self._number += 1
        owners, me = placement.owners[partition], placement.me
        others = tuple(node for node in placement.sharers if node != me)
        led = Pass(
            number=self._number,
            partition=partition,
            owners=owners,
            items=items,
            keys=len(items),
            rounds={me: self._state.rounds.of(partition)},
            began_ms=now.monotonic_ms,
            due_ms=now.monotonic_ms + ANSWER_MS,
            waiting=set(others),
        )
        self._passes[partition] = led
        self._keys += led.keys
        self._state.counters["reap.passes"] += 1
        if not led.waiting:
            return self._all_told(led, placement, now)
        ask = ReapAsk(led.number, partition, led.rounds[me], items)
        return [Send(node, ask) for node in others]

    def _all_told(self, led: Pass, placement: Placement, now: Now) -> list[Effect]:
        """Bring what some owner does not hold to all of them, and go on with the rest."""
        turn = self._turns.of(led.partition)
        if turn is not None:
            turn.failed = False
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
        self._wait("begin", led, now)
        begin = BeginRound(led.number, led.partition, led.begin)
        return [Send(node, begin) for node in sorted(led.waiting)]

    def _remove(self, led: Pass, placement: Placement, now: Now) -> list[Effect]:
        led.waiting = {owner for owner in led.owners if owner != placement.me}
        if not led.waiting:
            return self._all_reaped(led, placement, now)
        self._wait("reap", led, now)
        reap = Reap(led.number, led.partition, led.target, led.items)
        return [Send(owner, reap) for owner in led.owners if owner in led.waiting]

    def _all_reaped(self, led: Pass, placement: Placement, now: Now) -> list[Effect]:
        """The others have removed it: so does the leader, but for what somebody has kept."""
        gone = tuple(item for place, item in enumerate(led.items) if place not in led.places)
        remove(self._state, led.partition, gone, now)
        reason = f"{len(led.places)} records have changed meanwhile" if led.places else ""
        return self._end(led, reason, placement, now)

    def _wait(self, step: Step, led: Pass, now: Now) -> None:
        """For the answers of the next step."""
        led.step, led.due_ms = step, now.monotonic_ms + ANSWER_MS
        self._passes[led.partition] = self._passes.pop(led.partition)

    def _answered(
        self, step: Step, sender: NodeId, message: ReapHeld | RoundBegun | Reaped, placement: Placement, now: Now
    ) -> Pass | None:
        """The pass that an answer belongs to, if it counts and the pass can go on."""
        led = self._passes.get(message.partition)
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
            turn.after, turn.failed = b"", True
        return self._end(led, reason, placement, now)

    def _end(self, led: Pass, reason: str, placement: Placement, now: Now) -> list[Effect]:
        now_ms = now.monotonic_ms
        del self._passes[led.partition]
        self._keys -= led.keys
        self._free_at_ms = max(self._free_at_ms, now_ms + min(SLOW_MS, 2 * (now_ms - led.began_ms)))
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
        fresh = self._state.tombstones.fresh
        for _ in range(min(len(fresh), TAKEN_MAX)):
            partition = fresh.pop()
            if placement.me not in placement.owners[partition]:  # it is held for others, who lead
                continue
            due_ms = now.monotonic_ms + self._rest_ms(partition, placement)
            turn = self._turns.of(partition)
            turn = self._turns.set(partition, due_ms if turn is None else min(turn.due_ms, due_ms))
            turn.fresh = True
        self._fresh_at_ms = now.monotonic_ms + (SOON_MS if fresh else FRESH_MS)

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

    def _obstacle(self, partition: int, placement: Placement) -> str:
        """Why this node cannot lead a pass of the partition now."""
        owners = placement.owners[partition] if partition < len(placement.owners) else ()
        if placement.me not in owners:
            return "this node does not own it"
        down = placement.names(node for node in placement.sharers if placement.is_down(node))
        if down:
            return f"{down} is down" if "," not in down else f"{down} are down"
        return "" if self._state.partitions.is_settled(partition) else f"{placement.name_of(placement.me)} {UNSETTLED}"


def _names(nodes: set[NodeId], placement: Placement) -> str:
    return placement.names(sorted(nodes))
