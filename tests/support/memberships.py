"""The membership of one node alone, for tests that compare effects."""

from random import Random

from zdynamo import codec
from zdynamo.core.events import Noted, Now
from zdynamo.core.members.events import (
    Gossiped,
    Kept,
    MembershipEffect,
    MembershipEvent,
    NewView,
    Profile,
    Ticked,
)
from zdynamo.core.members.membership import Membership
from zdynamo.core.settings import Rhythms
from zdynamo.messages import Addresses, Constants, Heartbeat, MemberRecord, Rumor, View
from zdynamo.partition import HASH_VERSION

MINE = 1  # digest of the own bucket table


class Started:
    """Node `a`, which has just been started. `effects`: all that has come of it."""

    wall_ms = 0  # at its start

    def __init__(self, kept: Kept, *, min_members: int = 1, mine: int = 0) -> None:
        """`mine`: the digest of its bucket table."""
        self.ms = 1_000
        profile = Profile(
            name="a", addresses=Addresses("a:1", "a:2", "a:3", ""), zone="", weight=1, seeds=(), found=True,
            buckets_digest=mine, constants=Constants(16, 3, HASH_VERSION, min_members, ""),
        )  # fmt: skip
        self.membership = Membership(kept=kept, profile=profile, rhythms=Rhythms(), random=Random(1), now=self.now)
        self.effects = self.membership.start(self.now)

    @property
    def now(self) -> Now:
        return Now(self.ms, self.wall_ms + self.ms)

    @property
    def view(self) -> View:
        return self.membership.view(self.now)

    def step(self, event: MembershipEvent) -> list[MembershipEffect]:
        """Step; whatever comes out can be encoded."""
        effects = self.membership.step(event, self.now)
        codec.encode([effect for effect in effects if not isinstance(effect, Noted)])
        self.effects += effects
        return effects


class LoneMembership(Started):
    """Node `a`, which has founded a cluster that `b` has joined."""

    def __init__(self, mine: int = MINE) -> None:
        super().__init__(Kept(), mine=mine)
        self.step(Ticked())
        self.cluster = self.view.cluster
        self.joins(1)

    def joins(self, epoch: int, status: str = "member") -> None:
        """Node `b` starts, for the so-many-eth time."""
        b = MemberRecord("b", epoch, "b", epoch, f"boot-{epoch}", 0, Addresses("b:1", "b:2", "b:3", ""), "", 1, status)  # type: ignore[arg-type]
        self.step(Gossiped(Rumor(self.cluster, "b", (b,), None)))

    def beat(self, digest: int = MINE, epoch: int = 1, *, table: int | None = None) -> list[MembershipEffect]:
        """What follows from a heartbeat of `b`, but for exchanges of tables. `table`: its digest, if it is another."""
        table = self.view.table_digest if table is None else table
        heartbeat = Heartbeat(self.cluster, "b", epoch, f"boot-{epoch}", 1, table, 0, digest)
        return [e for e in self.step(Gossiped(heartbeat)) if isinstance(e, Noted | NewView)]
