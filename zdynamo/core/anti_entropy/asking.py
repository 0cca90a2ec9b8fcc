"""Anti-entropy: all owners of a partition come to hold the same, also of what nobody reads (paper 4.7).

Of each two owners one asks, in intervals, for the roots of all that both own; mostly one digest says that they are
alike. Where they differ, the partitions are compared one after the other, a few at a time. Partitions that are
unsettled are left to the pulls, those without a finished tree to a later round.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec import Struct

from zdynamo.core.anti_entropy.answering import Answering
from zdynamo.core.anti_entropy.comparison import ANSWER_MS, GARBLED, NOT_BUILT, SILENT, UNSETTLED
from zdynamo.core.anti_entropy.hashes import ALL, decode_roots, digest_of, root_of, roots_of, shared
from zdynamo.core.anti_entropy.pace import LOOKS
from zdynamo.core.anti_entropy.progress import DOWN, Place, Progress
from zdynamo.core.anti_entropy.runs import Run, Runs
from zdynamo.core.anti_entropy.trees import BUILDING, UNKNOWN
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.rounds import HeardRound
from zdynamo.core.state import State
from zdynamo.messages import CompareHashes, Hashes, LeafKeys, NodeId, RecordsSwapped, Repair

BUILD_REST_MS = 1  # between two slices of building trees, at least


class Pair(Struct):
    """This node and another owner."""

    shared: tuple[int, ...]  # the partitions that both own
    leads: bool  # this node begins the rounds
    due_ms: int  # the next round begins
    queue: deque[int]  # partitions that differed in this round, and are still to be compared
    alike_ms: int = -1  # when the last round began that has found everything alike; -1: none has


class Asked(NamedTuple):
    """A question for roots that is on its way."""

    peer: NodeId
    run: Run | None
    due_ms: int


class AntiEntropy:
    """What this node compares with the other owners."""

    def __init__(
        self, state: State, *, linked: Callable[[NodeId], bool], heard_round: HeardRound, first_number: int
    ) -> None:
        """`linked`: whether the present process of a peer has said Hello; before, it would not hear a question."""
        self._state = state
        self._trees = state.trees
        self._pace = state.pace
        self._linked = linked
        self._interval_ms = state.limits.repair_interval_ms
        self.answering = Answering(state, heard_round=heard_round)
        self._runs = Runs(first_number)
        self._progress = Progress(state, self._runs, first_number=first_number)
        self._owners: tuple[tuple[NodeId, ...], ...] = ()  # by which the pairs were found
        self._pairs: dict[NodeId, Pair] = {}  # whoever was served comes last
        self._asked: dict[int, Asked] = {}
        self._build_due_ms = 0
        self._begin_due_ms: int | None = None  # a partition waits for the pace until then
        self.next_due_ms: int | None = None  # when `tick` has something to do

    def view_changed(self, placement: Placement, now: Now) -> None:
        """Who owns what together with this node follows from the view."""
        if placement.owners and placement.owners is not self._owners:
            self._owners = placement.owners
            me, due_ms = placement.me, now.monotonic_ms + self._interval_ms
            owned = [at for at, owners in enumerate(placement.owners) if me in owners]
            peers = sorted({owner for at in owned for owner in placement.owners[at]} - {me})
            self._trees.own(owned, placement.partitions)
            self._pairs = {
                peer: Pair(shared(placement, peer), self._interval_ms > 0 and me < peer, due_ms, deque())
                for peer in peers
            }
            self._progress.owners_changed(placement)
        self._progress.view_changed(placement)
        self._plan(now)

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        """A little work, if it is time for that."""
        now_ms = now.monotonic_ms
        if self.next_due_ms is None or now_ms < self.next_due_ms:
            return []
        if self._trees.wants_building and now_ms >= self._build_due_ms:
            self._pace.spend(self._trees.build() // LOOKS)
            self._build_due_ms = now_ms + max(BUILD_REST_MS, self._pace.pause_ms(now_ms))
        for request, asked in list(self._asked.items()):
            if now_ms >= asked.due_ms:
                del self._asked[request]
                self._missed(asked, SILENT, placement)
        effects = self._progress.act(placement, now)
        effects += self._begin_runs(placement, now) + self._begin_rounds(placement, now)
        return self._go_on(effects, placement, now)

    def hashes(self, sender: NodeId, message: Hashes, placement: Placement, now: Now) -> list[Effect]:
        if message.partition != ALL:
            return self.answered(sender, message, placement, now)
        asked = self._asked.get(message.request)
        if asked is None or asked.peer != sender:
            return []
        del self._asked[message.request]
        self._roots(asked, message, placement, now)
        return self._go_on([], placement, now)

    def answered(
        self, sender: NodeId, message: Hashes | LeafKeys | RecordsSwapped, placement: Placement, now: Now
    ) -> list[Effect]:
        """What another owner says of a partition."""
        effects = self.answering.heard(sender, message, placement)
        effects += self._progress.answered(sender, message, placement, now)
        return self._go_on(effects, placement, now)

    def repair(self, client: bytes, request: Repair, placement: Placement, now: Now) -> list[Effect]:
        """Somebody wants a repair, or wants to know how far it is."""
        told = self._runs.asked(client, request, placement, self._trees_notice())
        self._plan(now)
        return [told]

    def discarded(self) -> None:
        """The commit failed."""
        self._progress.discarded()
        self.next_due_ms = 0

    def figures(self, now: Now) -> dict[str, int]:
        """How things are, beside what is counted."""
        trees = {"trees.built": self._trees.built, "trees.owned": self._trees.owned}
        alike = [pair.alike_ms for pair in self._pairs.values() if pair.leads]
        if alike:
            trees["compare.alike_ms"] = now.monotonic_ms - min(alike) if min(alike) >= 0 else -1
        return trees | self._progress.figures(now)

    def notices(self, placement: Placement, now: Now) -> Iterator[str]:
        """What an operator should know."""
        if self._trees.wants_building:
            yield self._trees_notice()
        yield from self._progress.notices(placement, now)

    def _trees_notice(self) -> str:
        return f"the hash trees are being built: {self._trees.built} of {self._trees.owned} partitions"

    def _begin_rounds(self, placement: Placement, now: Now) -> list[Effect]:
        """Ask for the roots of every owner whose last round is through."""
        effects: list[Effect] = []
        for peer, pair in self._pairs.items():
            if not pair.leads or now.monotonic_ms < pair.due_ms:
                continue
            pair.due_ms = now.monotonic_ms + self._interval_ms
            busy = pair.queue or any(asked.peer == peer for asked in self._asked.values())
            if not busy and self._trees.built and self._reaches(peer, placement):
                effects.append(self._ask_roots(peer, None, placement, now))
        return effects

    def _begin_runs(self, placement: Placement, now: Now) -> list[Effect]:
        """Ask all other owners for their roots, once there are trees to compare with theirs."""
        effects: list[Effect] = []
        for run in [] if self._trees.wants_building else self._runs.in_progress:
            if run.begun:
                continue
            run.begun = True
            for peer, pair in self._pairs.items():
                wanted = run.wanted(pair.shared)
                run.total += wanted
                if not wanted:
                    continue
                run.asked.add(peer)
                if self._reaches(peer, placement):
                    effects.append(self._ask_roots(peer, run, placement, now))
                else:
                    self._missed(Asked(peer, run, 0), DOWN if placement.is_down(peer) else SILENT, placement)
        return effects

    def _reaches(self, peer: NodeId, placement: Placement) -> bool:
        return not placement.is_down(peer) and self._linked(peer)

    def _ask_roots(self, peer: NodeId, run: Run | None, placement: Placement, now: Now) -> Effect:
        request = self._progress.next_number()
        self._asked[request] = Asked(peer, run, now.monotonic_ms + ANSWER_MS)
        digest = digest_of(roots_of(self._state, self._pairs[peer].shared))
        return Send(peer, CompareHashes(request, placement.layouts[0], ALL, digest))

    def _missed(self, asked: Asked, why: str, placement: Placement) -> None:
        """There are no roots to be had from an owner."""
        self._state.counters["compare.failed"] += 1
        pair = self._pairs.get(asked.peer)
        if asked.run is not None:
            asked.run.missed(asked.peer, pair.shared if pair else (), f"{placement.name_of(asked.peer)} {why}")

    def _roots(self, asked: Asked, message: Hashes, placement: Placement, now: Now) -> None:
        """Find out which partitions differ."""
        peer, run, pair = asked.peer, asked.run, self._pairs.get(asked.peer)
        mine = [root_of(self._state, partition) for partition in pair.shared] if pair else []
        theirs = mine if message.same else decode_roots(message.hashes)
        if pair is None or len(theirs) != len(mine):
            self._missed(asked, GARBLED, placement)
            return
        if run is not None:
            run.asked.discard(peer)
        all_alike = True
        for partition, here, there in zip(pair.shared, mine, theirs, strict=True):
            place, lacking = (peer, partition), _lacking(here, there, peer, placement)
            alike = here == there and not lacking
            all_alike &= alike
            if alike:
                self._progress.alike(place)
            if run is not None and run.wants(partition):
                run.looked(place, alike=alike, why=lacking)
            elif run is None and not alike and not lacking and not self._progress.is_quiet(place, now.monotonic_ms):
                pair.queue.append(partition)
        if all_alike:
            pair.alike_ms = asked.due_ms - ANSWER_MS

    def _go_on(self, effects: list[Effect], placement: Placement, now: Now) -> list[Effect]:
        """Begin to compare partitions that differ, as many as may be compared at a time."""
        self._begin_due_ms = None
        while self._progress.has_room and self._waiting:
            pause_ms = self._pace.pause_ms(now.monotonic_ms)
            if pause_ms:
                self._begin_due_ms = now.monotonic_ms + pause_ms
                break
            found = self._pick()
            if found is None:  # they are all being compared already
                break
            effects += self._progress.begin(*found, placement, now)
        self._plan(now)
        return effects

    @property
    def _waiting(self) -> bool:
        """Whether there are partitions to compare."""
        return any(pair.queue for pair in self._pairs.values()) or any(run.queue for run in self._runs.in_progress)

    def _pick(self) -> tuple[Place, int] | None:
        """Whose turn it is, and for which repair: what somebody waits for, else one of each pair in turn."""
        for run in self._runs.in_progress:
            for _ in range(len(run.queue)):
                place = run.queue.popleft()
                if not self._progress.goes_on(place):
                    run.going += 1
                    return place, run.number
                run.queue.append(place)
        for peer, pair in list(self._pairs.items()):
            while pair.queue:
                place = peer, pair.queue.popleft()
                if not self._progress.goes_on(place):
                    self._pairs[peer] = self._pairs.pop(peer)
                    return place, 0
        return None

    def _plan(self, now: Now) -> None:
        """When there is something to do."""
        dues = [asked.due_ms for asked in self._asked.values()]
        dues += [pair.due_ms for pair in self._pairs.values() if pair.leads]
        comparison_due_ms, in_progress = self._progress.next_due_ms, self._runs.in_progress
        if comparison_due_ms is not None:
            dues.append(comparison_due_ms)
        if self._trees.wants_building:
            dues.append(self._build_due_ms)
        elif any(not run.begun for run in in_progress):
            dues.append(now.monotonic_ms)
        if self._begin_due_ms is not None:
            dues.append(self._begin_due_ms)
        self.next_due_ms = min(dues, default=None)


def _lacking(here: int, there: int, peer: NodeId, placement: Placement) -> str:
    """Which of two owners cannot be compared, and why; "": both can."""
    root, node = (here, placement.me) if here in (UNKNOWN, BUILDING) else (there, peer)
    if root not in (UNKNOWN, BUILDING):
        return ""
    return f"{placement.name_of(node)} {UNSETTLED if root == UNKNOWN else NOT_BUILT}"
