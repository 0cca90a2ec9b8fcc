"""Requests while the cluster has no layout yet: the founder alone decides on the first, when there is data to take."""

from collections.abc import Callable
from typing import NamedTuple

from zdynamo.core.coordinator.admission import RETRY_AFTER_MS
from zdynamo.core.coordinator.pending import Origin, answer
from zdynamo.core.events import Effect, News, Now
from zdynamo.core.owners.placement import Placement
from zdynamo.core.records.context import encode_context
from zdynamo.core.records.record import NOTHING_SEEN
from zdynamo.messages import Absent, Delete, Get, LayoutWanted, NodeId, Overloaded, Put, Refused
from zdynamo.partition import storage_key

HELD_MAX = 1000  # requests that wait for the first layout; beyond, overloaded

DataRequest = Get | Put | Delete


class Held(NamedTuple):
    """A request that waits."""

    origin: Origin
    message: DataRequest
    hops: int
    due_ms: int


HandOn = Callable[[Held, tuple[NodeId, ...], Placement, Now], list[Effect]]  # to one of these nodes


class Forming:
    """What waits for the first layout, and whether that has been asked for."""

    def __init__(self, counters: dict[str, int], *, hand_on: HandOn) -> None:
        self._counters = counters
        self._hand_on = hand_on
        self._held: list[Held] = []
        self._layout_wanted = False

    def take(self, held: Held, placement: Placement, now: Now) -> list[Effect]:
        """Refuse it, hand it to the founder, or keep it until there is a layout."""
        constants, message = placement.view.constants, held.message
        founding = constants.founder == placement.me
        reason = _reason(placement)
        if reason:
            return [answer(held.origin, Refused(message.request, reason, retry=True))]
        if not founding and not held.hops:
            return self._hand_on(held, (constants.founder,), placement, now)
        if founding and isinstance(message, Get) and constants.min_members == 1 and not self._layout_wanted:
            key = storage_key(message.bucket.encode(), message.key, placement.partitions)
            return [answer(held.origin, Absent(message.request, encode_context(NOTHING_SEEN, key)))]
        if len(self._held) >= HELD_MAX:
            self._counters["requests.overloaded"] += 1
            return [answer(held.origin, Overloaded(message.request, RETRY_AFTER_MS))]
        self._held.append(held)
        if not founding or self._layout_wanted:
            return []
        self._layout_wanted = True
        return [News(placement.view.cluster, placement.me, LayoutWanted())]

    def layout_known(self) -> list[Held]:
        """What has waited for it."""
        held, self._held = self._held, []
        return held

    def expire(self, now: Now) -> list[Effect]:
        """Refuse what has waited until its deadline."""
        effects: list[Effect] = []
        for held in [held for held in self._held if held.due_ms <= now.monotonic_ms]:
            self._held.remove(held)
            self._layout_wanted = False  # whoever comes next asks again
            reason = "the cluster is still deciding who owns the data"
            effects.append(answer(held.origin, Refused(held.message.request, reason, retry=True)))
        return effects

    def unready(self, placement: Placement) -> str:
        """Why nothing of the data can be told yet; "": it can, or the layout is all that is wanting."""
        return "" if placement.owners else _reason(placement)

    def surely_empty(self, placement: Placement) -> bool:
        """Whether no node has taken any data: the one who decides on the first layout has not been asked to yet."""
        view = placement.view
        founding = view.layout is None and view.constants.founder == placement.me
        return founding and not view.awaited and not self._layout_wanted

    @property
    def next_due_ms(self) -> int | None:
        return min((held.due_ms for held in self._held), default=None)

    @property
    def idle(self) -> bool:
        return not self._held


def _reason(placement: Placement) -> str:
    """Why no data can be taken now; "": it can."""
    constants, joined, awaited = placement.view.constants, len(placement.members), placement.view.awaited
    if joined < constants.min_members:
        return f"the cluster is forming: {joined} of {constants.min_members} members have joined, start the others"
    if placement.is_down(constants.founder):
        founder = placement.name_of(constants.founder)
        return f"the cluster has taken no data yet and its founder {founder} is down: start it"
    if awaited:
        others = placement.names(node for node in awaited if node != placement.me) or "its members"
        return f"the cluster is forming: its founder was started again and asks {others} first whether there is data"
    return ""
