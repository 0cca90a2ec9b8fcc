"""How a node without a cluster comes to one: by its seeds, by being known, or by founding."""

from collections.abc import Sequence

from msgspec import Struct

from zdynamo.core.events import Noted
from zdynamo.core.members.events import AskSeed, Fail, MembershipEffect, Profile
from zdynamo.core.settings import Rhythms
from zdynamo.messages import Constants, MemberRecord, Topology
from zdynamo.partition import HASH_VERSION

RETRY_FIRST_MS = 100
SAY_AFTER_MS = 1000  # of seeds that do not answer
STARTING_MS = 10_000  # after its start a node that was started wrongly still fails
OCCUPIED_MS = 10_000  # how long a member that lives at our address may take to be called down


class Joined(Struct, frozen=True):
    """The cluster takes this node in, in the place of a member whose address it has, if any."""

    replaced: MemberRecord | None


class Joining:
    """Asks seeds for ever, with back-off; founds only where that is right."""

    def __init__(self, profile: Profile, rhythms: Rhythms, now_ms: int, *, member_of: str = "") -> None:
        """`member_of`: the cluster that the data folder is of."""
        mine = profile.addresses.client
        self.seeds = tuple(seed for seed in profile.seeds if seed != mine)
        self._profile = profile
        self._rhythms = rhythms
        self._member_of = member_of
        self._founds = not self.seeds or profile.seeds[0] == mine
        self._since_ms = now_ms
        self._retry_ms = RETRY_FIRST_MS
        self._ask_due_ms = now_ms
        self._say_due_ms = now_ms + SAY_AFTER_MS
        self._occupied_since_ms: int | None = None
        self._active = True

    def over(self) -> None:
        self._active = False

    def resumed(self, theirs: Constants | None) -> list[MembershipEffect]:
        """The node has been a member of such a cluster before."""
        self.over()
        problem = self.unlike(theirs) if theirs else ""
        return [Fail(problem)] if problem else []

    def again(self) -> None:
        """The cluster that this node founded is given up for one that knows it."""
        self._active, self._founds = True, False

    def may_found(self, now_ms: int) -> bool:
        """Nobody has been heard for long enough (or the operator says so), and this node is one that founds."""
        if not self._active or not self._founds or self._occupied_since_ms is not None:
            return False
        return self._profile.found or now_ms - self._since_ms >= self._rhythms.listen_ms

    def ask(self, now_ms: int) -> list[MembershipEffect]:
        """Ask every seed again when it is time."""
        if now_ms < self._ask_due_ms:
            return []
        self._ask_due_ms = now_ms + self._retry_ms
        self._retry_ms = min(self._retry_ms * 2, self._rhythms.seed_retry_max_ms)
        effects: list[MembershipEffect] = [AskSeed(seed) for seed in self.seeds]
        if self.seeds and now_ms >= self._say_due_ms:
            self._say_due_ms = now_ms + self._rhythms.seed_retry_max_ms
            fields: dict[str, object] = {"seeds": list(self.seeds), "for_ms": now_ms - self._since_ms}
            effects.append(Noted("seeds.unanswered", fields, "warning"))
        return effects

    def of_another_cluster(self, seed: str, reason: str, now_ms: int) -> Fail | Noted:
        """Whoever is started like that should know at once; one let in, or long running, goes on."""
        if self._member_of and now_ms - self._since_ms < STARTING_MS:
            folder = f"node.data: {self._profile.data} holds data of cluster {self._member_of}"
            return Fail(f"{folder}, which the seed {seed} refuses ({reason}): use another folder or other seeds")
        return Noted("cluster.refused", {"seed": seed, "reason": reason}, "warning")

    def unlike(self, theirs: Constants) -> str:
        """In what this node is configured otherwise than the cluster was founded; "": it goes with it."""
        mine = self._profile.constants
        if mine.hash_version != theirs.hash_version:
            versions = f"by hash version {mine.hash_version}, the cluster by {theirs.hash_version}"
            return f"this zdynamo places keys {versions}: run the version of zdynamo that it runs"
        for name in ("partitions", "n"):
            if getattr(mine, name) != getattr(theirs, name):
                value = getattr(theirs, name)
                return f"cluster.{name} is {getattr(mine, name)} here and {value} in the cluster: set it to {value}"
        return ""

    def decide(self, topology: Topology, now_ms: int) -> Joined | list[MembershipEffect]:
        """Join it, or what to do instead."""
        if problem := self.unlike(topology.constants):
            return [Fail(problem)]
        address = self._profile.addresses.client
        occupant = next((member for member in topology.members if member.record.addresses.client == address), None)
        if occupant is None:
            return Joined(None)
        if occupant.state == "down":
            return Joined(occupant.record)
        if self._occupied_since_ms is None:
            self._occupied_since_ms = now_ms
        if now_ms - self._occupied_since_ms < OCCUPIED_MS:
            self._retry_ms = RETRY_FIRST_MS
            self._ask_due_ms = min(self._ask_due_ms, now_ms + RETRY_FIRST_MS)
            return []
        name = occupant.record.name
        return [Fail(f"{address} is the address of member {name}, which answers: give this node another address")]


def constants_for(*, partitions: int, n: int, min_members: int, seeds: Sequence[str]) -> Constants:
    """Of a cluster that a node founds with these settings: who has seeds does not want to be alone."""
    return Constants(partitions, n, HASH_VERSION, max(min_members, 2 if seeds else 1), founder="")
