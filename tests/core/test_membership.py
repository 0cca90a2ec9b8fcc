"""The membership of one node: what it takes from others, what it says, and what it never believes."""

from random import Random

import pytest
from support.memberships import Started
from support.nodes import member

from zdynamo.core.events import Noted, Now
from zdynamo.core.members.events import (
    AskSeed,
    Fail,
    Gossiped,
    Heard,
    Kept,
    Mail,
    MembershipEffect,
    NewView,
    Persist,
    Profile,
    Publish,
    SeedAnswered,
    Ticked,
)
from zdynamo.core.members.membership import Membership
from zdynamo.core.members.table import MEMBERS_MAX
from zdynamo.core.owners.layout import make_layout
from zdynamo.core.settings import Rhythms
from zdynamo.messages import (
    Addresses,
    Constants,
    Heartbeat,
    Hello,
    Layout,
    LayoutMember,
    LayoutWanted,
    MemberRecord,
    Ping,
    Pong,
    Rumor,
    Table,
)
from zdynamo.partition import HASH_VERSION

BIGGEST = 2**64 - 1
WALL_MS = 1_800_000_000_000


class LoneMembership(Started):
    """The membership of node `a`, which has founded a cluster."""

    wall_ms = WALL_MS

    def __init__(self, *, min_members: int = 1, kept: Kept | None = None) -> None:
        super().__init__(kept or Kept(), min_members=min_members)
        self.step(Ticked())
        self.cluster = self.view.cluster
        self.id = self.view.me.id

    def hears(self, sender: str, message: object) -> list[MembershipEffect]:
        return self.step(Heard(self.cluster, sender, message))  # type: ignore[arg-type]

    def rumor(self, *records: MemberRecord, layout: Layout | None = None) -> list[MembershipEffect]:
        return self.step(Gossiped(Rumor(self.cluster, "b", records, layout)))

    @property
    def names(self) -> list[str]:
        return [member.record.name for member in self.membership.view(self.now).members]

    @property
    def me(self) -> MemberRecord:
        return self.membership.view(self.now).me


def noted(effects: list[MembershipEffect]) -> list[str]:
    return [effect.name for effect in effects if isinstance(effect, Noted)]


def test_a_rumor_of_a_new_member_is_kept_told_and_shown_in_this_order() -> None:
    a = LoneMembership()

    effects = a.rumor(member("b"))

    assert [type(effect) for effect in effects] == [Persist, Noted, Publish, NewView]
    assert a.names == ["b", "a"] or a.names == ["a", "b"]


def test_a_rumor_that_is_no_news_has_no_effect() -> None:
    a = LoneMembership()
    a.rumor(member("b", version=3))

    assert a.rumor(member("b", version=3), member("b", version=2)) == []


def test_gossip_of_another_cluster_has_no_effect() -> None:
    a = LoneMembership()

    heartbeat = a.step(Gossiped(Heartbeat("another", "b", 1, "boot", 1, 2, 3)))
    rumor = a.step(Gossiped(Rumor("another", "b", (member("b"),), None)))

    assert heartbeat + rumor == []


def test_a_heartbeat_with_another_digest_asks_for_the_table_over_the_stream_but_not_at_every_beat() -> None:
    a = LoneMembership()
    a.rumor(member("b"))
    a.ms += 900

    first = a.step(Gossiped(Heartbeat(a.cluster, "b", 1, "boot", 1, 2, 3)))
    a.ms += 100
    soon = a.step(Gossiped(Heartbeat(a.cluster, "b", 1, "boot", 2, 2, 3)))
    a.ms += 100
    later = a.step(Gossiped(Heartbeat(a.cluster, "b", 1, "boot", 3, 2, 3)))

    table = Mail("b", Table(a.membership._table.all, None, answer=True))
    assert (first, soon, later) == ([table], [], [table])


def test_a_table_that_wants_an_answer_gets_ours() -> None:
    a = LoneMembership()
    a.rumor(member("b"))

    effects = a.hears("b", Table((member("c"),), None, answer=True))

    assert effects[-1] == Mail("b", Table(a.membership._table.all, None, answer=False))
    assert a.hears("b", Table((member("c"),), None, answer=False)) == []


def test_who_sees_his_own_record_at_a_higher_version_publishes_it_anew_above_that() -> None:
    a = LoneMembership()

    effects = a.rumor(member(a.id, version=7, epoch=4, boot="an earlier process"))

    assert (a.me.version, a.me.epoch, a.me.boot) == (8, 5, a.membership.boot)
    assert Publish(Rumor(a.cluster, a.id, (a.me,), None)) in effects


def test_his_own_record_at_a_higher_version_and_with_his_own_boot_is_published_anew_too() -> None:
    """Or the others would hold what nobody ever said, and ask for tables for ever."""
    a = LoneMembership()

    a.rumor(member(a.id, version=7, boot=a.membership.boot, name="not what I said"))

    assert (a.me.version, a.me.name) == (8, "a")


def test_of_two_processes_with_one_id_the_later_stops_and_names_the_other() -> None:
    a = LoneMembership()

    first = a.rumor(member(a.id, version=2, boot="twin"))
    second = a.rumor(member(a.id, version=4, boot="twin"))

    assert not any(isinstance(effect, Fail) for effect in first)
    assert second == [Fail(f"a node with the same id is alive at {a.id}:client: was the data folder copied?")]


def test_records_of_several_earlier_processes_are_no_twin() -> None:
    """After a restore from a backup the others may know of many."""
    a = LoneMembership()

    for version in range(2, 40, 2):
        effects = a.rumor(member(a.id, version=version, boot=f"earlier {version}"))

        assert not any(isinstance(effect, Fail) for effect in effects)


def test_of_two_processes_with_one_id_the_earlier_stays() -> None:
    a = LoneMembership()

    for version in (2, 4, 6):
        effects = a.rumor(member(a.id, version=version, boot="twin", started_ms=WALL_MS + 10_000))

        assert not any(isinstance(effect, Fail) for effect in effects)


def test_a_removed_member_does_not_come_back_by_gossip() -> None:
    a = LoneMembership()
    a.rumor(member("b"))

    effects = a.rumor(member("b", version=2, status="removed"))
    a.rumor(member("b", version=9, epoch=9))

    assert noted(effects) == ["member.removed"]
    assert a.names == ["a"]


def test_a_node_that_has_been_removed_stops_and_says_what_to_do() -> None:
    a = LoneMembership()

    effects = a.rumor(member(a.id, version=2, status="removed"))

    assert effects == [
        Fail("this node has been removed from the cluster: start it with an empty data folder to join anew")
    ]


def test_the_founder_decides_on_the_layout_once_as_soon_as_enough_have_joined() -> None:
    a = LoneMembership(min_members=3)
    a.rumor(member("b"))
    before = a.membership.view(a.now).layout

    a.rumor(member("c"))
    decided = a.membership.view(a.now).layout
    a.rumor(member("d"))

    assert before is None
    assert decided == make_layout(1, [LayoutMember(node, "", 1) for node in ("b", "c", a.id)])
    assert a.membership.view(a.now).layout == decided
    assert noted(a.effects).count("layout.decided") == 1


@pytest.mark.parametrize(("min_members", "level"), [(2, "warning"), (3, "info")])
def test_a_layout_with_fewer_members_than_copies_is_a_warning(min_members: int, level: str) -> None:
    a = LoneMembership(min_members=min_members)
    for number in range(min_members - 1):
        a.rumor(member("bc"[number]))

    [decided] = [effect for effect in a.effects if isinstance(effect, Noted) and effect.name == "layout.decided"]

    assert decided == Noted("layout.decided", {"number": 1, "members": min_members, "n": 3}, level)


def test_with_one_member_enough_the_first_data_decides_on_the_layout() -> None:
    a = LoneMembership(min_members=1)
    a.rumor(member("b"))
    before = a.membership.view(a.now).layout

    a.hears(a.id, LayoutWanted())

    assert before is None
    assert a.membership.view(a.now).layout == make_layout(1, [LayoutMember(node, "", 1) for node in ("b", a.id)])


def test_only_this_node_itself_may_want_a_layout_of_it() -> None:
    a = LoneMembership(min_members=1)
    a.rumor(member("b"))

    assert a.hears("b", LayoutWanted()) == []


def test_a_layout_is_not_wanted_before_enough_have_joined() -> None:
    a = LoneMembership(min_members=2)

    assert a.hears(a.id, LayoutWanted()) == []


def test_a_layout_whose_digest_is_wrong_is_not_taken() -> None:
    a = LoneMembership(min_members=3)
    real = make_layout(1, [LayoutMember(node, "", 1) for node in "bcd"])

    a.rumor(member("b"), layout=Layout(2, real.digest, real.members))
    forged = a.membership.view(a.now).layout
    a.rumor(member("c"), layout=real)

    assert forged is None
    assert a.membership.view(a.now).layout == real


@pytest.mark.parametrize(
    "hostile",
    [
        {"version": BIGGEST},
        {"version": -1},
        {"epoch": BIGGEST},
        {"epoch": -(2**63)},
        {"weight": 0},
        {"weight": -1},
        {"weight": 2**63},
        {"status": "removed", "version": BIGGEST},
    ],
    ids=str,
)
@pytest.mark.parametrize("whose", ["mine", "another's", "a known one's"])
def test_a_record_with_figures_that_cannot_be_is_not_believed(hostile: dict[str, object], whose: str) -> None:
    a = LoneMembership(min_members=3)
    a.rumor(member("b"))
    node = {"mine": a.id, "another's": "x", "a known one's": "b"}[whose]
    before = a.membership.view(a.now)
    told = member(node, **{"version": 5, **hostile})  # type: ignore[arg-type]

    a.rumor(told)
    a.hears("b", Table((told,), None, answer=True))
    a.hears("b", Hello(1, 1, told, Constants(16, 3, HASH_VERSION, 1, ""), 0, ""))
    a.rumor(member("c"))  # enough to decide on a layout

    after = a.membership.view(a.now)
    assert [member.record for member in after.members if member.record.id != "c"] == [
        member.record for member in before.members
    ]
    assert not any(isinstance(effect, Fail) for effect in a.effects)


def test_the_table_is_bounded() -> None:
    a = LoneMembership()

    a.rumor(*(member(f"x{number}") for number in range(MEMBERS_MAX - 10)))
    for number in range(20):
        a.rumor(member(f"y{number}"))
    a.rumor(*(member(f"z{number}") for number in range(20)))

    assert len(a.membership.view(a.now).members) == MEMBERS_MAX


def test_a_pong_of_nobody_has_no_effect() -> None:
    assert LoneMembership().hears("nobody", Pong(1)) == []


def test_a_member_is_suspect_until_its_first_pong_and_then_alive() -> None:
    a = LoneMembership()
    a.rumor(member("b"))
    before = {member.record.name: member.state for member in a.membership.view(a.now).members}
    a.ms += 50
    ticked = a.step(Ticked())

    effects = a.hears("b", Pong(1))

    assert before == {"a": "alive", "b": "suspect"}
    assert [effect for effect in ticked if isinstance(effect, Mail)] == [Mail("b", Ping(1)), Mail(a.id, Ping(0))]
    assert [type(effect) for effect in effects] == [Noted, NewView]
    assert noted(effects) == ["member.alive"]


def test_a_node_that_was_a_member_goes_on_in_the_next_epoch_and_persists_it_first() -> None:
    first = LoneMembership()
    kept = [effect.kept for effect in first.effects if isinstance(effect, Persist)][-1]

    again = LoneMembership(kept=kept)

    assert isinstance(again.effects[0], Persist)
    assert again.effects[0].kept.epoch == kept.epoch + 1
    assert (again.me.id, again.me.epoch, again.me.version) == (first.id, 2, 2)


def test_seeds_and_a_known_member_are_asked_again_when_all_other_members_are_down() -> None:
    profile = Profile(
        name="a", addresses=Addresses("a:1", "a:2", "a:3", ""), zone="", weight=1, seeds=("s:1",), found=False,
        constants=Constants(16, 3, HASH_VERSION, 1, "a"),
    )  # fmt: skip
    kept = Kept("a", "cluster", 3, Constants(16, 3, HASH_VERSION, 1, "a"), (member("a"), member("b")), None)
    membership = Membership(kept=kept, profile=profile, rhythms=Rhythms(), random=Random(1), now=Now(0, WALL_MS))
    asked = [effect for effect in membership.start(Now(0, WALL_MS)) if isinstance(effect, AskSeed)]

    for ms in range(50, 12_000, 50):
        asked += [e for e in membership.step(Ticked(), Now(ms, WALL_MS + ms)) if isinstance(e, AskSeed)]

    assert asked == [AskSeed("s:1", "cluster"), *[AskSeed("s:1", "cluster"), AskSeed("b:client", "cluster")] * 2]


def test_a_seed_of_another_cluster_is_noted_when_the_node_has_long_been_a_member() -> None:
    a = LoneMembership()
    a.ms += 60_000
    a.step(Ticked())

    from zdynamo.messages import Topology

    topology = Topology(bytes(16), "another", "x", Constants(16, 3, HASH_VERSION, 1, ""), (), None, (), 1, 1)
    effects = a.step(SeedAnswered("s:1", topology))

    assert noted(effects) == ["cluster.refused"]
