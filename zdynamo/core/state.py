"""What all parts of a node share: what it keeps of its data, and what it goes by."""

from collections import defaultdict
from collections.abc import Iterable

from zdynamo.core.anti_entropy.pace import Pace
from zdynamo.core.anti_entropy.trees import Trees
from zdynamo.core.events import Randomness
from zdynamo.core.failures.patience import Patience
from zdynamo.core.reaping.rounds import Rounds
from zdynamo.core.reaping.tombstones import Tombstones
from zdynamo.core.records.buckets import Buckets
from zdynamo.core.records.dots import Dots
from zdynamo.core.records.hybrid_clock import HybridClock
from zdynamo.core.recovery.partitions import Partitions
from zdynamo.core.recovery.session import Session
from zdynamo.core.replicas.aside import Aside
from zdynamo.core.replicas.hints import Hints
from zdynamo.core.replicas.replica import Replica
from zdynamo.core.settings import NodeLimits
from zdynamo.core.store import Store
from zdynamo.messages import Bucket


class State:
    """Made once, when the node starts. What is staged by that has to be committed before the first step."""

    def __init__(
        self,
        *,
        store: Store,
        limits: NodeLimits,
        random: Randomness,
        buckets: Iterable[Bucket],
        had_data: bool,
        epoch: int,
        machine_boot: str,
        place: str,
    ) -> None:
        """`had_data`: this node has been a member; an empty store is a lost disk then. The others: see `Session`."""
        self.session = Session(store, epoch=epoch, machine=machine_boot, place=place, had_data=had_data)
        self.store = store
        self.limits = limits
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.pace = Pace(limits.background_bytes_per_s)
        self.dots = Dots(store, random.getrandbits(64))
        self.clock = HybridClock(limits.clock_skew_ms)
        self.rounds = Rounds(store)
        self.buckets = Buckets(buckets, limits)
        self.tombstones = Tombstones(store, self.buckets)
        self.partitions = Partitions(store, doubt=self.session.doubt)
        self.trees = Trees(store, self.tombstones.found)
        self.aside = Aside(store, self.dots, self.tombstones, self.trees)
        self.aside.reload(self.partitions.moving)
        self.replica = Replica(
            store, self.clock, self.rounds, self.tombstones, self.aside, self.trees, clock_skew_ms=limits.clock_skew_ms
        )
        self.hints = Hints(store, count_max=limits.hint_count_max, bytes_max=limits.hint_bytes_max)
        self.patience = Patience(limits.replica_timeout_ms, self.counters)

    def committed(self) -> None:
        """What was staged is kept."""
        self.dots.committed()
        self.rounds.committed()
        self.partitions.committed()
        self.hints.committed()
        self.trees.committed()
        self.tombstones.committed()

    def discarded(self) -> None:
        """What was staged since the last commit is gone."""
        self.dots.discarded()
        self.rounds.discarded()
        self.session.discarded()
        self.hints.discarded()
        self.trees.discarded()
        self.tombstones.discarded()
        self.partitions.reload()
        self.aside.reload(self.partitions.moving)
