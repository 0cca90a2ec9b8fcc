"""A lone node of a cluster of five: each key has three owners and two others that may stand in."""

from msgspec.structs import replace

from support.nodes import LoneNode, sent, view
from support.records import record
from zdynamo.core.events import Effect, News, Tick, ViewChanged
from zdynamo.core.owners.placement import Placement
from zdynamo.core.replicas.hints import Held
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Bucket, HandOver, HoldReplica, PathLost, StoreReplica
from zdynamo.partition import partition_of_storage_key
from zdynamo.storage.memory import MemoryStore

LIMITS = NodeLimits(replica_timeout_ms=100)


class Five(LoneNode):
    """Node `a`, and a key that it owns or may hold for others: `name` for clients, `key` in the store."""

    def __init__(
        self,
        *,
        owning: bool = True,
        down: int = 0,
        limits: NodeLimits = LIMITS,
        store: MemoryStore | None = None,
        buckets: tuple[Bucket, ...] = (),
        took_over: bool = False,
    ) -> None:
        """`down`: so many of the other owners are, from the last one on. `took_over`: the place of a lost member."""
        super().__init__(
            view(others="bcde", layout="abcde", took_over=took_over), limits=limits, store=store, buckets=buckets
        )
        placement = Placement(self.seen)
        self.name, self.key = next(
            (name, key)
            for name, key in ((b"%d" % number, self.key_of(b"%d" % number)) for number in range(100))
            if (placement.me in placement.owners_of(key)) == owning
        )
        self.others = tuple(owner for owner in placement.owners_of(self.key) if owner != "a")
        self.fallbacks = placement.fallbacks_of(self.key)
        self.owned = [partition for partition, owners in enumerate(placement.owners) if placement.me in owners]
        self.partition = partition_of_storage_key(self.key)
        if down:
            self.sees_down(*self.others[-down:])

    def key_of(self, name: bytes) -> bytes:
        return LoneNode.key(self, name)

    def more_keys(self, count: int) -> list[bytes]:
        """Storage keys of the same partition, in order."""
        names = (self.key_of(b"more-%d" % number) for number in range(100_000))
        inside = (key for key in names if partition_of_storage_key(key) == self.partition)
        return sorted(next(inside) for _ in range(count))

    def sees_down(self, *members: str) -> list[Effect]:
        """A view in which these are down, and the others are not."""
        self.seen = view(others="bcde", layout="abcde", number=self.seen.number + 1, down="".join(members))
        return self.step(ViewChanged(self.seen))

    def after(self, ms: int) -> list[Effect]:
        """What follows when so much time has passed."""
        self.monotonic_ms += ms
        self.wall_ms += ms
        return self.step(Tick())

    @property
    def held(self) -> dict[str, Held]:
        """What is held, by target."""
        return {target: replace(held) for target, held in self.node._state.hints.held.items()}

    def holds(self, *targets: str, key: bytes | None = None, record: bytes | None = None, round: int = 0) -> None:
        """A peer has it hold a record for these."""
        key, record = key or self.key, record or RECORD
        self.hears(self.fallbacks[-1], HoldReplica(0, 1000, (), round, key, record, targets))


RECORD = record()


def to_store(effects: list[Effect]) -> list[str]:
    """Who is sent a record as an owner."""
    return [to for to, _ in sent(effects, StoreReplica)]


def to_hold(effects: list[Effect]) -> dict[str, tuple[str, ...]]:
    """Who is sent a record to hold, and for whom."""
    return {to: message.targets for to, message in sent(effects, HoldReplica)}  # type: ignore[attr-defined]


def handed_over(effects: list[Effect]) -> list[HandOver]:
    return [message for _, message in sent(effects, HandOver)]  # type: ignore[misc]


def number_of(effects: list[Effect]) -> int:
    """Of the write that is sent."""
    return (sent(effects, StoreReplica) + sent(effects, HoldReplica))[0][1].request  # type: ignore[attr-defined]


def evidence(effects: list[Effect]) -> list[PathLost]:
    """What the router is told of paths that data does not get through."""
    news = [effect.message for effect in effects if isinstance(effect, News)]
    return [message for message in news if isinstance(message, PathLost)]
