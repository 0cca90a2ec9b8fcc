"""One pure node in a cluster of silent others, for tests that compare effects."""

from random import Random

from msgspec.structs import replace

from zdynamo.core.events import Effect, Event, FromClient, FromPeer, Now, Reply, Send, ViewChanged
from zdynamo.core.node import Node
from zdynamo.core.owners.layout import make_layout
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    PROTOCOL_HIGHEST,
    PROTOCOL_LOWEST,
    Addresses,
    Bucket,
    ClientAnswer,
    Constants,
    Delete,
    Frame,
    Get,
    Hello,
    LayoutMember,
    MemberRecord,
    MemberState,
    MemberView,
    PeerMessage,
    Put,
    View,
)
from zdynamo.partition import HASH_VERSION, storage_key
from zdynamo.storage.memory import MemoryStore

CLUSTER = "cluster-of-tests"
PARTITIONS = 16
WALL_MS = 1_800_000_000_000


def request_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def put(
    number: int = 1,
    key: bytes = b"k",
    value: bytes = b"v",
    *,
    bucket: str = "default",
    deadline_ms: int = 1000,
    **fields: object,
) -> Put:
    return Put(request_id(number), "", deadline_ms, bucket, key, value, "", **fields)  # type: ignore[arg-type]


def get(
    number: int = 1, key: bytes = b"k", *, bucket: str = "default", deadline_ms: int = 1000, **fields: object
) -> Get:
    return Get(request_id(number), "", deadline_ms, bucket, key, **fields)  # type: ignore[arg-type]


def delete(
    number: int = 1, key: bytes = b"k", *, bucket: str = "default", deadline_ms: int = 1000, **fields: object
) -> Delete:
    return Delete(request_id(number), "", deadline_ms, bucket, key, **fields)  # type: ignore[arg-type]


def member(node: str, epoch: int = 1, version: int = 1, **fields: object) -> MemberRecord:
    addresses = Addresses(f"{node}:client", f"{node}:peer", f"{node}:gossip", "")
    told = MemberRecord(node, version, node, epoch, f"boot-{node}-{epoch}", 0, addresses, "", 1)
    return replace(told, **fields)


def view(
    me: str = "a",
    others: str = "bc",
    *,
    number: int = 1,
    n: int = 3,
    down: str = "",
    layout: str | None = "abc",
    min_members: int = 1,
    founder: str = "a",
    took_over: bool = False,
    awaited: tuple[str, ...] = (),
) -> View:
    states: dict[str, MemberState] = {node: "down" if node in down else "alive" for node in sorted(me + others)}
    decided = make_layout(1, [LayoutMember(node, "", 1) for node in layout]) if layout else None
    return View(
        number,
        CLUSTER,
        Constants(PARTITIONS, n, HASH_VERSION, min_members, founder),
        member(me),
        tuple(MemberView(member(node), state, 0.0) for node, state in states.items()),
        decided,
        0,
        took_over,
        awaited=awaited,
    )


class LoneNode:
    """A node whose peers say only what the test says for them."""

    def __init__(
        self,
        seen: View | None = None,
        *,
        limits: NodeLimits | None = None,
        store: MemoryStore | None = None,
        buckets: tuple[Bucket, ...] = (),
        compares: bool = False,
    ):
        """`compares`: it asks others for their hashes of its own accord."""
        self.store = store or MemoryStore()
        self.monotonic_ms = 1_000
        self.wall_ms = WALL_MS
        self.limits = limits or NodeLimits()
        if not compares:
            self.limits = replace(self.limits, repair_interval_ms=0)
        self.seen = seen or view()
        random = Random(self.seen.me.id)  # another node draws other numbers
        self.node = Node(store=self.store, limits=self.limits, random=random, now=self.now, buckets=buckets)
        self.store.commit()
        self.node.committed()
        self.step(ViewChanged(self.seen))
        for other in self.seen.members:
            if other.record.id != self.seen.me.id:
                self.hears(other.record.id, self.hello(other.record.id))

    @property
    def now(self) -> Now:
        return Now(self.monotonic_ms, self.wall_ms)

    def hello(self, peer: str) -> Hello:
        return Hello(PROTOCOL_LOWEST, PROTOCOL_HIGHEST, member(peer), self.seen.constants, 1, "")

    def step(self, event: Event) -> list[Effect]:
        """Step and commit."""
        effects = self.node.step(event, self.now)
        self.store.commit()
        self.node.committed()
        return effects

    def hears(self, peer: str, *messages: PeerMessage) -> list[Effect]:
        """What follows when a peer says this."""
        return self.step(FromPeer(Frame(CLUSTER, peer, 1, self.seen.me.id, 1, messages)))

    def asked(self, request: object) -> list[Effect]:
        """What follows when a client asks this."""
        return self.step(FromClient(b"client", request))  # type: ignore[arg-type]

    def key(self, name: bytes, bucket: str = "default") -> bytes:
        return storage_key(bucket.encode(), name, PARTITIONS)


def answers(effects: list[Effect]) -> list[ClientAnswer]:
    return [effect.answer for effect in effects if isinstance(effect, Reply)]


def sent(effects: list[Effect], kind: type) -> list[tuple[str, object]]:
    return [
        (effect.to, effect.message)
        for effect in effects
        if isinstance(effect, Send) and isinstance(effect.message, kind)
    ]
