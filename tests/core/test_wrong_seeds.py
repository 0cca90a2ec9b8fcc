"""A seed of another cluster stops a start, and never a node that is where it belongs."""

from random import Random

from support.nodes import member

from zdynamo.core.events import Noted, Now
from zdynamo.core.members.events import Fail, Kept, Profile, SeedAnswered
from zdynamo.core.members.membership import Membership
from zdynamo.core.settings import Rhythms
from zdynamo.messages import Constants, MemberView, Refused, Topology
from zdynamo.partition import HASH_VERSION

REQUEST = bytes(16)
CONSTANTS = Constants(16, 3, HASH_VERSION, 1, "seed")
FOREIGN = SeedAnswered("seed:client", Refused(REQUEST, "this node is of cluster theirs"))


def started(kept: Kept) -> Membership:
    profile = Profile(
        name="me",
        addresses=member("me").addresses,
        zone="",
        weight=1,
        seeds=("seed:client",),
        found=False,
        constants=CONSTANTS,
    )
    membership = Membership(kept=kept, profile=profile, rhythms=Rhythms(), random=Random(1), now=Now(0, 0))
    membership.start(Now(0, 0))
    return membership


def test_a_node_that_its_seed_has_let_in_outlives_that_another_cluster_takes_the_address() -> None:
    membership = started(Kept())
    seed = member("seed")
    view = MemberView(seed, "alive", 0.0)
    membership.step(SeedAnswered("seed:client", Topology(REQUEST, "ours", "seed", CONSTANTS, (view,), None, (), 1, 1)),
                    Now(100, 100))  # fmt: skip

    effects = membership.step(FOREIGN, Now(1_000, 1_000))

    fields: dict[str, object] = {"seed": "seed:client", "reason": "this node is of cluster theirs"}
    assert effects == [Noted("cluster.refused", fields, "warning")]


def test_a_node_that_starts_with_data_of_another_cluster_fails() -> None:
    membership = started(Kept("me", "ours", 1, CONSTANTS, (member("me"),)))

    effects = membership.step(FOREIGN, Now(100, 100))

    assert [type(effect) for effect in effects] == [Fail]
