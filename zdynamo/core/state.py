"""What all parts of a node share: what it keeps of its data, and what it goes by."""

from collections import defaultdict
from collections.abc import Iterable

from zdynamo.core.buckets import Buckets
from zdynamo.core.dots import COUNTER_KEY, Dots, HybridClock
from zdynamo.core.events import Randomness
from zdynamo.core.partitions import Partitions
from zdynamo.core.replica import Replica
from zdynamo.core.rounds import Rounds
from zdynamo.core.settings import NodeLimits
from zdynamo.core.store import Store
from zdynamo.core.tombstones import Tombstones
from zdynamo.messages import Bucket


class State:
    """Made once, when the node starts. What is staged by that has to be committed before the first step."""

    def __init__(
        self, *, store: Store, limits: NodeLimits, random: Randomness, buckets: Iterable[Bucket], had_data: bool
    ) -> None:
        """`had_data`: this node has been a member; an empty store is a lost disk then."""
        lost_disk = had_data and store.get(COUNTER_KEY) is None
        self.store = store
        self.limits = limits
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.dots = Dots(store, random.getrandbits(64))
        self.clock = HybridClock()
        self.rounds = Rounds(store)
        self.tombstones = Tombstones(store)
        self.partitions = Partitions(store, lost_disk=lost_disk)
        self.replica = Replica(store, self.clock, self.rounds, self.tombstones, clock_skew_ms=limits.clock_skew_ms)
        self.buckets = Buckets(buckets, limits)
