"""Which partitions are being compared with whom, and what is known of their differences."""

from collections.abc import Iterator

from zdynamo.core.anti_entropy.comparison import Comparison
from zdynamo.core.anti_entropy.hashes import both_own
from zdynamo.core.anti_entropy.runs import Runs
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.state import State
from zdynamo.messages import Hashes, LeafKeys, NodeId, PeerMessage, RecordsSwapped

GOING_MAX = 8  # partitions compared at a time; the others wait for their turn
QUIET_MS = 10_000  # until a partition is compared again where nothing that differs could be brought together
FULL = "could not write to its disk"
DOWN = "is down"

Place = tuple[NodeId, int]  # a partition, compared with this owner


class Progress:
    """Those in progress, one of a partition with each other owner."""

    def __init__(self, state: State, runs: Runs, *, first_number: int) -> None:
        self._state = state
        self._counters = state.counters
        self._runs = runs
        self._number = first_number
        self._going: dict[Place, Comparison] = {}  # whoever has looked through keys comes last
        self._known: dict[Place, int] = {}  # where a difference is known, and since when
        self._quiet: dict[Place, int] = {}  # not compared until then

    def next_number(self) -> int:
        """Of a question."""
        self._number += 1
        return self._number

    @property
    def has_room(self) -> bool:
        return len(self._going) < GOING_MAX

    def goes_on(self, place: Place) -> bool:
        """Whether this partition is being compared with that owner."""
        return place in self._going

    def is_quiet(self, place: Place, now_ms: int) -> bool:
        """Whether a round has no use in comparing it again so soon."""
        return now_ms < self._quiet.get(place, 0)

    @property
    def next_due_ms(self) -> int | None:
        return min((comparison.due_ms for comparison in self._going.values()), default=None)

    def begin(self, place: Place, run: int, placement: Placement, now: Now) -> list[Effect]:
        """Compare a partition with an owner; `run`: the repair that waits for it, 0: none."""
        peer, partition = place
        comparison = Comparison(self._state, peer, partition, urgent=run > 0, number=self.next_number, run=run)
        self._going[place] = comparison
        if placement.is_down(peer) or not both_own(peer, partition, placement):
            comparison.give_up(DOWN)
            self._ended(comparison, placement, now)
            return []
        return [Send(peer, comparison.begin(placement, now))]

    def act(self, placement: Placement, now: Now) -> list[Effect]:
        """Go on where it is time; of those that look through this node's keys only one, or a step would take long."""
        due = [comparison for comparison in self._going.values() if comparison.due_ms <= now.monotonic_ms]
        looking = [comparison for comparison in due if comparison.step == "look"][:1]
        for comparison in looking:
            place = comparison.peer, comparison.partition
            self._going[place] = self._going.pop(place)
        effects: list[Effect] = []
        for comparison in [comparison for comparison in due if comparison.step != "look"] + looking:
            effects += self._went_on(comparison, comparison.act(placement, now), placement, now)
        return effects

    def answered(
        self, sender: NodeId, message: Hashes | LeafKeys | RecordsSwapped, placement: Placement, now: Now
    ) -> list[Effect]:
        """What another owner answers; nothing follows from what was not asked."""
        comparison = self._going.get((sender, message.partition))
        if comparison is None or comparison.asked != message.request:
            return []
        if isinstance(message, Hashes):
            return self._went_on(comparison, comparison.hashes(message, now), placement, now)
        if isinstance(message, LeafKeys):
            return self._went_on(comparison, comparison.keys(message, now), placement, now)
        return self._went_on(comparison, comparison.swapped(message, placement, now), placement, now)

    def view_changed(self, placement: Placement) -> None:
        """Who is down will not answer, and who is no owner any more need not."""
        for (peer, partition), comparison in self._going.items():
            if placement.is_down(peer) or not both_own(peer, partition, placement):
                comparison.give_up(DOWN)

    def owners_changed(self, placement: Placement) -> None:
        self._known = {place: since for place, since in self._known.items() if both_own(*place, placement)}
        self._quiet.clear()

    def discarded(self) -> None:
        """What was said or taken since the last commit is not so."""
        for comparison in self._going.values():
            comparison.give_up(FULL, here=True)

    def alike(self, place: Place) -> None:
        """The roots are the same."""
        self._known.pop(place, None)
        self._quiet.pop(place, None)

    def figures(self, now: Now) -> dict[str, int]:
        """What is known of differences; nothing before the first comparison."""
        if not self._counters.get("compare.partitions"):
            return {}
        first_ms = min(self._known.values(), default=now.monotonic_ms)
        return {"compare.known": len(self._known), "compare.known_ms": now.monotonic_ms - first_ms}

    def notices(self, placement: Placement, now: Now) -> Iterator[str]:
        if self._known:
            partitions = len({partition for _, partition in self._known})
            differ = "1 partition differs" if partitions == 1 else f"{partitions} partitions differ"
            names = placement.names(sorted({peer for peer, _ in self._known}))
            seconds = (now.monotonic_ms - min(self._known.values())) // 1000
            yield f"{differ} from {names}, known for {seconds} s: what one of them lacks is being brought to it"

    def _went_on(
        self, comparison: Comparison, message: PeerMessage | None, placement: Placement, now: Now
    ) -> list[Effect]:
        if comparison.differs:
            self._known.setdefault((comparison.peer, comparison.partition), now.monotonic_ms)
        if comparison.ended:
            self._ended(comparison, placement, now)
        return [] if message is None else [Send(comparison.peer, message)]

    def _ended(self, comparison: Comparison, placement: Placement, now: Now) -> None:
        place = comparison.peer, comparison.partition
        del self._going[place]
        why = ""
        if comparison.failed:
            node = placement.me if comparison.failed_here else comparison.peer
            why = f"{placement.name_of(node)} {comparison.failed}"
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
