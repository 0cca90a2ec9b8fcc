"""Anti-entropy: all owners of a partition come to hold the same, also of what nobody reads (paper 4.7).

Of each two owners one asks, in intervals, for the roots of all that both own; mostly one digest says that they are
alike. Where they differ, the partitions are compared one after the other, a few at a time. Partitions that are
unsettled are left to the pulls, those without a finished tree to a later round.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec import Struct

from zdynamo.core.compared import Compared, HeardRound
from zdynamo.core.comparison import ANSWER_MS, GARBLED, NOT_BUILT, SILENT, UNSETTLED, Comparison
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.hashes import ALL, both_own, decode_roots, digest_of, root_of, roots_of, shared
from zdynamo.core.placement import Placement
from zdynamo.core.repair_runs import Run, Runs
from zdynamo.core.state import State
from zdynamo.core.trees import BUILDING, UNKNOWN
from zdynamo.messages import CompareHashes, Hashes, LeafKeys, NodeId, PeerMessage, RecordsSwapped, Repair

GOING_MAX = 8  # partitions compared at a time; the others wait for their turn
QUIET_MS = 10_000  # until a partition is compared again where nothing that differs could be brought together
BUILD_REST_MS = 1  # between two slices of building trees, at least
FULL = "could not write to its disk"
DOWN = "is down"

Place = tuple[NodeId, int]  # a partition, compared with this owner


class Pair(Struct):
    """This node and another owner."""

    shared: tuple[int, ...]  # the partitions that both own
    due_ms: int  # the next round begins
    queue: deque[int]  # partitions that differed in this round, and are still to be compared
    leads: bool  # this node begins the rounds


class Asked(NamedTuple):
    """A question for roots that is on its way."""

    peer: NodeId
    run: Run | None
    due_ms: int


class Compare:
    """What this node compares with the other owners."""

    def __init__(
        self, state: State, *, linked: Callable[[NodeId], bool], heard_round: HeardRound, first_number: int
    ) -> None:
        """`linked`: whether the present process of a peer has said Hello; before, it would not hear a question."""
        self._state = state
        self._linked = linked
        self._counters = state.counters
        self._interval_ms = state.limits.repair_interval_ms
        self.others = Compared(state, heard_round=heard_round)
        self._runs = Runs(first_number)
        self._number = first_number
        self._owners: tuple[tuple[NodeId, ...], ...] = ()  # by which the pairs were found
        self._pairs: dict[NodeId, Pair] = {}
        self._asked: dict[int, Asked] = {}
        self._going: dict[Place, Comparison] = {}  # whoever has looked through keys comes last
        self._known: dict[Place, int] = {}  # where a difference is known, and since when
        self._quiet: dict[Place, int] = {}  # not compared until then
        self._build_due_ms = 0
        self._next_due_ms = 0  # the next partition may begin
        self.next_due_ms: int | None = None  # when `tick` has something to do

    def view_changed(self, placement: Placement, now: Now) -> None:
        """Who owns what together with this node follows from the view."""
        if placement.owners and placement.owners is not self._owners:
            self._owners = placement.owners
            me = placement.me
            owned = [at for at, owners in enumerate(placement.owners) if me in owners]
            peers = {owner for at in owned for owner in placement.owners[at]} - {me}
            due_ms = now.monotonic_ms + self._interval_ms
            self._state.trees.own(owned, placement.partitions)
            self._pairs = {
                peer: Pair(shared(placement, peer), due_ms, deque(), self._interval_ms > 0 and me < peer)
                for peer in sorted(peers)
            }
            self._known = {place: since for place, since in self._known.items() if both_own(*place, placement)}
            self._quiet.clear()
        for (peer, partition), comparison in list(self._going.items()):
            if placement.is_down(peer) or not both_own(peer, partition, placement):
                comparison.give_up(DOWN)
        self._plan(now)

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        """A little work, if it is time for that."""
        now_ms = now.monotonic_ms
        if self.next_due_ms is None or now_ms < self.next_due_ms:
            return []
        if self._state.trees.wants_building and now_ms >= self._build_due_ms:
            self._state.pace.spend(self._state.trees.build())
            self._build_due_ms = now_ms + max(BUILD_REST_MS, self._state.pace.pause_ms(now_ms))
        for request, asked in list(self._asked.items()):
            if now_ms >= asked.due_ms:
                del self._asked[request]
                self._missed(asked, SILENT, placement)
        effects: list[Effect] = []
        for comparison in self._due(now_ms):
            effects += self._went_on(comparison, comparison.act(placement, now), placement, now)
        effects += self._begin_runs(placement, now) + self._begin_rounds(placement, now) + self._next(placement, now)
        self._plan(now)
        return effects

    def hashes(self, sender: NodeId, message: Hashes, placement: Placement, now: Now) -> list[Effect]:
        effects = self.others.heard(sender, message, placement)
        asked = self._asked.get(message.request)
        if message.partition == ALL and asked is not None and asked.peer == sender:
            del self._asked[message.request]
            self._roots(asked, message, placement, now)
            effects += self._next(placement, now)
        comparison = self._answered(sender, message)
        if comparison is not None:
            effects += self._went_on(comparison, comparison.hashes(message, now), placement, now)
        self._plan(now)
        return effects

    def keys(self, sender: NodeId, message: LeafKeys, placement: Placement, now: Now) -> list[Effect]:
        effects = self.others.heard(sender, message, placement)
        comparison = self._answered(sender, message)
        if comparison is not None:
            effects += self._went_on(comparison, comparison.keys(message, now), placement, now)
        self._plan(now)
        return effects

    def swapped(self, sender: NodeId, message: RecordsSwapped, placement: Placement, now: Now) -> list[Effect]:
        effects = self.others.heard(sender, message, placement)
        comparison = self._answered(sender, message)
        if comparison is not None:
            effects += self._went_on(comparison, comparison.swapped(message, placement, now), placement, now)
        self._plan(now)
        return effects

    def repair(self, client: bytes, request: Repair, placement: Placement, now: Now) -> list[Effect]:
        """Somebody wants a repair, or wants to know how far it is."""
        begun = self._runs.asked(client, request, placement, self._trees_notice())
        self._plan(now)
        return [begun]

    def abandoned(self) -> None:
        """The commit failed: what was said or taken in these steps is not so."""
        for comparison in self._going.values():
            comparison.give_up(FULL, here=True)
        self.next_due_ms = 0

    def figures(self, now: Now) -> dict[str, int]:
        """How things are, beside what is counted."""
        trees = self._state.trees
        figures = {"trees.built": trees.built, "trees.owned": trees.owned}
        if self._counters.get("compare.partitions"):
            first_ms = min(self._known.values(), default=now.monotonic_ms)
            figures |= {"compare.known": len(self._known), "compare.known_ms": now.monotonic_ms - first_ms}
        return figures

    def notices(self, placement: Placement, now: Now) -> Iterator[str]:
        """What an operator should know."""
        if self._state.trees.wants_building:
            yield self._trees_notice()
        if self._known:
            partitions = len({partition for _, partition in self._known})
            names = placement.names(sorted({peer for peer, _ in self._known}))
            seconds = (now.monotonic_ms - min(self._known.values())) // 1000
            yield f"{partitions} partitions differ from {names}, the first for {seconds} s: they are being repaired"

    def _trees_notice(self) -> str:
        trees = self._state.trees
        return f"the hash trees are being built: {trees.built} of {trees.owned} partitions"

    # Rounds and runs

    def _begin_rounds(self, placement: Placement, now: Now) -> list[Effect]:
        """Ask for the roots of every owner whose last round is through."""
        effects: list[Effect] = []
        for peer, pair in self._pairs.items():
            if not pair.leads or now.monotonic_ms < pair.due_ms:
                continue
            pair.due_ms = now.monotonic_ms + self._interval_ms
            busy = pair.queue or any(asked.peer == peer for asked in self._asked.values())
            if not busy and self._state.trees.built and self._reaches(peer, placement):
                effects.append(self._ask_roots(peer, pair, None, placement, now))
        return effects

    def _begin_runs(self, placement: Placement, now: Now) -> list[Effect]:
        """Ask all other owners for their roots, once there are trees to compare with theirs."""
        effects: list[Effect] = []
        for run in [] if self._state.trees.wants_building else self._runs.in_progress:
            if run.begun:
                continue
            run.begun = True
            for peer, pair in self._pairs.items():
                if not any(map(run.wants, pair.shared)):
                    continue
                run.asked.add(peer)
                run.total += sum(map(run.wants, pair.shared))
                if self._reaches(peer, placement):
                    effects.append(self._ask_roots(peer, pair, run, placement, now))
                else:
                    down = placement.is_down(peer)
                    self._missed(Asked(peer, run, 0), DOWN if down else SILENT, placement)
        return effects

    def _reaches(self, peer: NodeId, placement: Placement) -> bool:
        return not placement.is_down(peer) and self._linked(peer)

    def _ask_roots(self, peer: NodeId, pair: Pair, run: Run | None, placement: Placement, now: Now) -> Effect:
        request = self._next_number()
        self._asked[request] = Asked(peer, run, now.monotonic_ms + ANSWER_MS)
        digest = digest_of(roots_of(self._state, pair.shared))
        return Send(peer, CompareHashes(request, placement.layouts[0], ALL, digest))

    def _missed(self, asked: Asked, why: str, placement: Placement) -> None:
        """There are no roots to be had from an owner."""
        self._counters["compare.failed"] += 1
        if asked.run is not None:
            pair = self._pairs.get(asked.peer)
            asked.run.asked.discard(asked.peer)
            asked.run.failed[f"{placement.name_of(asked.peer)} {why}"] += (
                sum(map(asked.run.wants, pair.shared)) if pair else 0
            )

    def _roots(self, asked: Asked, message: Hashes, placement: Placement, now: Now) -> None:
        """Find out which partitions differ."""
        peer, run, pair = asked.peer, asked.run, self._pairs.get(asked.peer)
        if pair is None:
            return self._missed(asked, "is no owner any more", placement)
        mine = [root_of(self._state, partition) for partition in pair.shared]
        theirs = mine if message.same else decode_roots(message.hashes)
        if len(theirs) != len(mine):
            return self._missed(asked, GARBLED, placement)
        if run is not None:
            run.asked.discard(peer)
        for partition, here, there in zip(pair.shared, mine, theirs, strict=True):
            sure = here > BUILDING and there > BUILDING
            if sure and here == there:
                self._known.pop((peer, partition), None)
                self._quiet.pop((peer, partition), None)
            if run is None:
                if sure and here != there and now.monotonic_ms >= self._quiet.get((peer, partition), 0):
                    pair.queue.append(partition)
            elif not run.wants(partition):
                continue
            elif not sure:
                run.failed[_lacks(here, there, peer, placement)] += 1
            elif here == there:
                run.compared += 1
            else:
                run.queue.append((peer, partition))
        return None

    # Partitions

    def _next(self, placement: Placement, now: Now) -> list[Effect]:
        """Begin to compare partitions that differ, as many as may be compared at a time."""
        effects: list[Effect] = []
        while len(self._going) < GOING_MAX:
            pause_ms = self._state.pace.pause_ms(now.monotonic_ms)
            self._next_due_ms = now.monotonic_ms + pause_ms
            found = None if pause_ms else self._pick()
            if found is None:
                break
            (peer, partition), run = found
            comparison = Comparison(self._state, peer, partition, urgent=run > 0, number=self._next_number, run=run)
            self._going[peer, partition] = comparison
            if placement.is_down(peer) or not both_own(peer, partition, placement):
                comparison.give_up(DOWN)
                self._ended(comparison, placement, now)
            else:
                effects.append(Send(peer, comparison.begin(placement, now)))
        return effects

    def _pick(self) -> tuple[Place, int] | None:
        """Whose turn it is, and for which run: what somebody waits for, else one of each pair in turn."""
        for run in self._runs.in_progress:
            for _ in range(len(run.queue)):
                place = run.queue.popleft()
                if place not in self._going:
                    run.going += 1
                    return place, run.number
                run.queue.append(place)
        for peer, pair in list(self._pairs.items()):
            while pair.queue:
                place = peer, pair.queue.popleft()
                if place not in self._going:
                    self._pairs[peer] = self._pairs.pop(peer)
                    return place, 0
        return None

    def _answered(self, sender: NodeId, message: Hashes | LeafKeys | RecordsSwapped) -> Comparison | None:
        comparison = self._going.get((sender, message.partition))
        return comparison if comparison is not None and comparison.asked == message.request else None

    def _due(self, now_ms: int) -> list[Comparison]:
        """Whose time has come; of those that look through this node's keys only one, or a step would take long."""
        due = [comparison for comparison in self._going.values() if comparison.due_ms <= now_ms]
        looking = [comparison for comparison in due if comparison.step == "look"][:1]
        for comparison in looking:
            place = comparison.peer, comparison.partition
            self._going[place] = self._going.pop(place)
        return [comparison for comparison in due if comparison.step != "look"] + looking

    def _went_on(
        self, comparison: Comparison, message: PeerMessage | None, placement: Placement, now: Now
    ) -> list[Effect]:
        if comparison.differs:
            self._known.setdefault((comparison.peer, comparison.partition), now.monotonic_ms)
        if message is not None:
            return [Send(comparison.peer, message)]
        if not comparison.ended:
            return []
        self._ended(comparison, placement, now)
        return self._next(placement, now)

    def _ended(self, comparison: Comparison, placement: Placement, now: Now) -> None:
        place = comparison.peer, comparison.partition
        del self._going[place]
        why = ""
        if comparison.failed:
            why = (
                f"{placement.name_of(placement.me if comparison.failed_here else comparison.peer)} {comparison.failed}"
            )
        elif comparison.differs and not comparison.stored:
            self._quiet[place] = now.monotonic_ms + QUIET_MS
        if not (why or comparison.refused):
            self._known.pop(place, None)
        counters = self._counters
        counters["compare.failed" if why else "compare.partitions"] += 1
        counters["compare.differing"] += comparison.differs
        counters["compare.stored_here"] += comparison.stored_here
        counters["compare.stored_there"] += comparison.stored_there
        counters["compare.refused"] += comparison.refused
        run = self._runs.get(comparison.run)
        if run is not None:
            run.ended(comparison, why)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _plan(self, now: Now) -> None:
        """When there is something to do."""
        dues = [comparison.due_ms for comparison in self._going.values()]
        dues += [asked.due_ms for asked in self._asked.values()]
        dues += [pair.due_ms for pair in self._pairs.values() if pair.leads]
        in_progress = self._runs.in_progress
        if self._state.trees.wants_building:
            dues.append(self._build_due_ms)
        elif any(not run.begun for run in in_progress):
            dues.append(now.monotonic_ms)
        waiting = any(run.queue for run in in_progress) or any(pair.queue for pair in self._pairs.values())
        if waiting and len(self._going) < GOING_MAX:
            dues.append(self._next_due_ms)
        self.next_due_ms = min(dues, default=None)


def _lacks(here: int, there: int, peer: NodeId, placement: Placement) -> str:
    """Which of two owners cannot be compared, and why."""
    root, node = (here, placement.me) if here in (UNKNOWN, BUILDING) else (there, peer)
    return f"{placement.name_of(node)} {UNSETTLED if root == UNKNOWN else NOT_BUILT}"
