"""Pulling partitions from peers, a page at a time: how an owner that may have lost something gets it back (paper 4.7).

A partition that is unsettled here is pulled from its other owners, one after the other, and merged with what is here.
It is settled again when N-W+1 of them that were settled themselves have given all: every write that W replicas have
acknowledged is among that. Where there are not so many it is settled when all have given, and the node says so.

An owner whose reaping round is more than one behind a peer's was given an old copy of the partition: what it holds goes
out of sight first (`aside`), and away or, where too few others are sure of theirs, back in the end. How many are enough
depends on the bucket's W, so that some of it may go away and some back.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from zdynamo.core.anti_entropy.pace import RECORD_BYTES
from zdynamo.core.events import Effect, Noted, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.rounds import ROUND_MAX
from zdynamo.core.recovery.pages import page_for
from zdynamo.core.recovery.partitions import Doubt, Given
from zdynamo.core.recovery.session import OLD_FOLDER
from zdynamo.core.recovery.taking import Taking
from zdynamo.core.state import State
from zdynamo.messages import NodeId, Page, PullPage
from zdynamo.partition import partition_of_storage_key, stretch

PAGE_BYTES = 256 * 2**10
ANSWER_MS = 5_000  # that a peer has for a page
LINK_MS = 100  # after which it is looked again whether a peer has said Hello
AGAIN_MS = 1_000  # after which a peer that did not give one is asked again
OLD_PARTITION = "an old copy of it was restored"


class _Asked(NamedTuple):
    """The one page that is on its way."""

    request: int
    peer: NodeId
    partition: int
    due_ms: int


class Pulls:
    """What this node pulls. One page is on its way at a time."""

    def __init__(self, state: State, *, linked: Callable[[NodeId], bool]) -> None:
        """`linked`: whether the present process of a peer has said Hello; before, it would not hear a question."""
        self._state = state
        self._linked = linked
        self._partitions = state.partitions
        self._counters = state.counters
        self._owners: tuple[tuple[NodeId, ...], ...] = ()  # by which the partitions below were found
        self._owned: list[int] = []
        self._queue: deque[int] = deque()  # unsettled; the first is being worked at
        self._fresh: set[int] = set()  # old copies found, or moved, since the last commit: scans miss what is staged
        self._asked: _Asked | None = None
        self._quiet: dict[NodeId, int] = {}  # peers that are not asked until then
        self._request = 0
        self._pace = state.pace
        self._taking = Taking(state)
        self._settled = 0  # since the last time that there was no doubt
        self._unproven = 0  # settled without proof, by this process
        self._told = 0  # of those
        self._lacking: set[str] = set()  # buckets without proof in any of them; "": all that have no rules of their own
        self._stale = True  # the queue may not be what the partitions' state says
        self._failed = False  # a commit has: what it lost is asked for again, but not at once
        self.next_due_ms: int | None = None  # when `tick` has something to do

    def view_changed(self, placement: Placement, now: Now) -> list[Effect]:
        """Whose turn it is follows from the view, and whether something may have been lost."""
        view, session = placement.view, self._state.session
        session.epoch_seen(view.me.epoch)
        if not placement.owners:
            return []
        if placement.owners is not self._owners:
            self._owners = placement.owners
            self._owned = [at for at, owners in enumerate(placement.owners) if placement.me in owners]
        why = self._partitions.layout_known(self._owned, took_over=view.took_over)
        if session.old_copy_seen(view.old_copy):
            why = OLD_FOLDER
            self._partitions.lose(self._owned, why)
            self._partitions.lose_rounds()
        self._stale = False
        if self._asked is not None and placement.is_down(self._asked.peer):
            self._asked = None
        self._look(now.monotonic_ms)
        if not why:
            return []
        return [Noted("partitions.unsettled", {"count": len(self._owned), "reason": why}, "warning")]

    def committed(self) -> None:
        """What was staged is kept."""
        if self._fresh:
            self._fresh.clear()

    def discarded(self) -> None:
        """What was staged is gone: go on from what the store has, in a while."""
        self._stale = self._failed = True
        self._asked = None
        self._fresh.clear()
        self.next_due_ms = 0

    def tick(self, placement: Placement, now: Now) -> list[Effect]:
        """A little work, if it is time for that."""
        if self.next_due_ms is None or now.monotonic_ms < self.next_due_ms:
            return []
        if self._failed:
            self._failed, self.next_due_ms = False, now.monotonic_ms + AGAIN_MS
            return []
        return self.view_changed(placement, now) if self._stale else self._go_on(placement, now)

    def heard_round(self, sender: NodeId, key: bytes, round: int, placement: Placement) -> list[Effect]:
        """A peer has told its round of a storage key's partition: if it is two ahead, an old copy is held here."""
        partition, rounds = partition_of_storage_key(key), self._state.rounds
        if round <= rounds.of(partition) + 1 or round > ROUND_MAX or partition >= len(placement.owners):
            return []
        if placement.me not in placement.sharers or sender not in placement.sharers:
            return []
        rounds.raise_to(partition, round)
        if placement.me not in placement.owners[partition] and not self._holds_any(partition):
            return []
        known = not self._partitions.is_settled(partition)
        self._partitions.set_aside(partition, round, OLD_PARTITION)
        self._fresh.add(partition)
        if self._asked is not None and self._asked.partition == partition:
            self._asked = None  # whatever comes, it will be asked again
        self._look(0)
        self._counters["partitions.set_aside"] += 1
        if known:
            return []
        fields: dict[str, object] = {"partition": partition, "peer": placement.name_of(sender), "round": round}
        return [Noted("partition.set_aside", fields, "warning")]

    def page_wanted(self, sender: NodeId, message: PullPage, placement: Placement, now: Now) -> list[Effect]:
        """Give a page."""
        if not 0 <= message.partition < len(placement.owners):
            return []
        effects = self.heard_round(sender, stretch(message.partition)[0], message.round, placement)
        page = page_for(message, placement, self._state)
        return effects if page is None else [*effects, Send(sender, page)]

    def page(self, sender: NodeId, message: Page, placement: Placement, now: Now) -> list[Effect]:
        """Merge what a peer has given, and go on."""
        asked, partition = self._asked, message.partition
        if asked is None or (asked.peer, asked.request, asked.partition) != (sender, message.request, partition):
            return []
        if message.round > ROUND_MAX:
            return []  # it will be asked again, as if nothing had come
        self._asked = None
        if self._stale:
            return []
        effects = self.heard_round(sender, stretch(partition)[0], message.round, placement)
        doubt = self._partitions.doubts.get(partition)
        if doubt is not None and doubt.aside in ("", "moved"):
            self._state.rounds.raise_to(partition, message.round)
            again, said = self._taking.take(sender, message, doubt, placement, now)
            effects += said
            if again:
                self._hush(sender, now)
        return effects + self._go_on(placement, now)

    def notices(self, placement: Placement) -> Iterator[str]:
        """What an operator should know."""
        if self._queue:
            doubts = [(at, doubt) for at in self._queue if (doubt := self._partitions.doubts.get(at))]
            reasons = ", ".join(sorted({doubt.why for _, doubt in doubts}))
            waits = sorted({owner for at, doubt in doubts for owner in _missing(at, doubt, placement)})
            waiting = f"; waiting for {placement.names(waits)}" if waits else ""
            count = f"{len(self._queue)} of {len(self._owned)} partitions"
            yield f"{count} are being compared with other owners ({reasons}){waiting}"
        if self._unproven:
            yield (
                f"{self._unproven} partitions were settled on the word of too few owners that were sure of theirs: "
                f"acknowledged writes may be missing, or removed ones be back (buckets: {self._lacking_names()})"
            )

    def _look(self, due_ms: int) -> None:
        """Find out what there is to do, from then on."""
        doubts = self._partitions.doubts
        self._queue = deque(sorted(doubts))
        self._state.aside.reload(self._partitions.moving)
        self._count()
        self.next_due_ms = due_ms if self._queue else None

    def _go_on(self, placement: Placement, now: Now) -> list[Effect]:
        """Settle what may be settled, until there is something to wait for."""
        self.next_due_ms = None
        if self._asked is not None:
            if now.monotonic_ms < self._asked.due_ms:
                self.next_due_ms = self._asked.due_ms
                return []
            self._hush(self._asked.peer, now)
            self._asked = None
        pause_ms = self._pace.pause_ms(now.monotonic_ms) if self._queue else 0
        if pause_ms:
            self.next_due_ms = now.monotonic_ms + pause_ms
            return []
        effects: list[Effect] = []
        for _ in range(len(self._queue)):
            partition = self._queue[0]
            doubt = self._partitions.doubts[partition]
            proven = self._proven(partition, doubt, placement)
            if doubt.aside == "moved" and proven is not None:
                w = self._state.buckets.w_min
                held = proven or self._is_enough(partition, doubt, placement, w, taken=False)
                doubt.aside = "dropping" if held else "returning"
            if doubt.aside not in ("", "moved"):
                self._move(partition, doubt, placement)
                self.next_due_ms = now.monotonic_ms + self._pace.pause_ms(now.monotonic_ms)
                return effects
            if proven is not None:
                effects += self._settle(partition, doubt, placement)
                continue
            peer = self._source(partition, doubt, placement, now)
            if peer is not None:
                return [*effects, self._ask(peer, partition, doubt, now)]
            self._queue.rotate(-1)
        later = [due_ms for due_ms in self._quiet.values() if due_ms > now.monotonic_ms]
        if self._queue:  # all that is left waits for peers that are down, or that have just not answered
            self.next_due_ms = min(later, default=None)
        return effects

    def _source(self, partition: int, doubt: Doubt, placement: Placement, now: Now) -> NodeId | None:
        """Who is to be asked next: one that has begun, then one that has not been found in doubt itself."""
        candidates = []
        for peer in placement.owners[partition]:
            given = doubt.given.get(peer) or Given()
            if given.whole or peer == placement.me or placement.is_down(peer):
                continue
            if self._quiet.get(peer, 0) > now.monotonic_ms:
                continue
            if not self._linked(peer):
                self._quiet[peer] = now.monotonic_ms + LINK_MS
                continue
            candidates.append((not given.after, not given.sure, peer))
        return min(candidates)[2] if candidates else None

    def _ask(self, peer: NodeId, partition: int, doubt: Doubt, now: Now) -> Effect:
        self._request += 1
        given = doubt.given.get(peer) or Given()
        self._asked = _Asked(self._request, peer, partition, now.monotonic_ms + ANSWER_MS)
        self.next_due_ms = self._asked.due_ms
        return Send(peer, PullPage(self._request, partition, given.after, PAGE_BYTES, self._state.rounds.of(partition)))

    def _proven(self, partition: int, doubt: Doubt, placement: Placement) -> bool | None:
        """Whether enough owners that were sure have given all, for every bucket; None: others may still.

        An old copy of what a fallback held for others needs no proof: it goes, as with a disk that is lost.
        """
        if placement.me not in placement.owners[partition]:
            return True
        if self._is_enough(partition, doubt, placement, self._state.buckets.w_min):
            return True
        return False if all(given.whole for given in _others(partition, doubt, placement)) else None

    def _is_enough(self, partition: int, doubt: Doubt, placement: Placement, w: int, *, taken: bool = True) -> bool:
        """Whether all that so many replicas have acknowledged is among what owners that were sure have given.

        Not `taken`: it is enough that they hold it, though something was left out here.
        """
        owners = len(placement.owners[partition])
        others = _others(partition, doubt, placement)
        sure = sum(given.whole and given.sure and (given.taken or not taken) for given in others)
        return sure > owners - min(w, owners)

    def _settle(self, partition: int, doubt: Doubt, placement: Placement) -> list[Effect]:
        """All has been given, and nothing is aside any more."""
        rules = self._state.buckets.rules
        owning = placement.me in placement.owners[partition]
        lacking = {each.name for each in rules if owning and not self._is_enough(partition, doubt, placement, each.w)}
        self._queue.remove(partition)
        self._partitions.settle(partition)
        self._settled += 1
        self._unproven += bool(lacking)
        self._lacking |= lacking
        self._count()
        if self._queue:
            return []
        self._taking.over()
        effects: list[Effect] = [Noted("partitions.settled", {"count": self._settled})]
        if self._unproven > self._told:
            reason = "too few other owners were sure of what they gave: acknowledged writes may be missing"
            count, buckets = self._unproven - self._told, self._lacking_names()
            fields: dict[str, object] = {"count": count, "buckets": buckets, "reason": reason}
            effects.append(Noted("partitions.settled_unproven", fields, "warning"))
        self._settled, self._told = 0, self._unproven
        return effects

    def _lacking_names(self) -> str:
        if "" not in self._lacking:
            return ", ".join(sorted(self._lacking))
        others = sorted({rules.name for rules in self._state.buckets.rules} - self._lacking)
        return f"all but {', '.join(others)}" if others else "all"

    def _move(self, partition: int, doubt: Doubt, placement: Placement) -> None:
        """A slice of what is to go out of sight, or away; back goes only what is in buckets without proof."""
        if partition in self._fresh:
            return
        aside = self._state.aside
        if doubt.aside == "moving":
            if aside.move(partition):
                doubt.aside, doubt.moved = "moved", b""
                self._fresh.add(partition)
            else:
                doubt.moved = aside.moving[partition].after
        else:
            taken = aside.take(partition)
            for key, stored in taken:
                self._pace.spend(RECORD_BYTES + len(stored))
                if stored and doubt.aside == "returning":
                    w = self._state.buckets.of_key(key).w
                    if not self._is_enough(partition, doubt, placement, w, taken=False):
                        self._state.replica.take_back(key, stored)
            if not taken:
                doubt.aside = ""
        self._partitions.keep(partition)

    def _holds_any(self, partition: int) -> bool:
        """Also what is only staged, which is among what this process has begun to hold."""
        return (
            self._state.hints.added(partition) > 0
            or next(self._state.store.scan(*stretch(partition)), None) is not None
        )

    def _hush(self, peer: NodeId, now: Now) -> None:
        self._quiet[peer] = now.monotonic_ms + AGAIN_MS

    def _count(self) -> None:
        if self._queue or "partitions.unsettled" in self._counters:
            self._counters["partitions.unsettled"] = len(self._queue)


def _others(partition: int, doubt: Doubt, placement: Placement) -> list[Given]:
    """What the other owners have given."""
    owners = placement.owners[partition]
    return [doubt.given.get(owner) or Given() for owner in owners if owner != placement.me]


def _missing(partition: int, doubt: Doubt, placement: Placement) -> list[NodeId]:
    """Owners that are down and have not given all."""
    return [
        owner
        for owner in placement.owners[partition]
        if placement.is_down(owner) and not (doubt.given.get(owner) or Given()).whole
    ]
