"""Who may talk to a node: greeted, refused or heard."""

import itertools
from dataclasses import dataclass

import pytest
from msgspec.structs import replace
from support.nodes import CLUSTER, LoneNode, member, sent, view

from zdynamo.core.events import Effect, FromPeer, Mailed, News, Noted, Send, SendStranger, ViewChanged
from zdynamo.core.links import HELLO_EVERY_MS, REFUSAL_EVERY_MS, REFUSED_MAX
from zdynamo.core.members.table import FIGURE_MAX
from zdynamo.messages import Frame, Hello, MemberView, PeerMessage, Ping, Pong, Probed, Refusal, View


@dataclass
class Heard:
    """A node, and what follows when somebody says something to it."""

    node: LoneNode

    def frame(
        self,
        *messages: PeerMessage,
        cluster: str = CLUSTER,
        sender: str = "b",
        epoch: int = 1,
        to: str = "a",
        to_epoch: int = 1,
    ) -> list[Effect]:
        return self.node.step(FromPeer(Frame(cluster, sender, epoch, to, to_epoch, messages)))


def silent_node() -> Heard:
    """Its peers have not said Hello, and its own Hellos are long out."""
    node = LoneNode(view(me="a", others=""))
    node.seen = view()
    node.step(ViewChanged(node.seen))
    node.monotonic_ms += HELLO_EVERY_MS
    return Heard(node)


def acquainted_node() -> Heard:
    node = LoneNode()
    node.monotonic_ms += HELLO_EVERY_MS
    return Heard(node)


def hello(node: LoneNode, peer: str = "b", epoch: int = 1, **fields: object) -> Hello:
    return replace(node.hello(peer), member=member(peer, epoch), **fields)


def test_a_new_view_greets_everybody_once() -> None:
    node = LoneNode(view(me="a", others=""))

    first = node.step(ViewChanged(view()))
    again = node.step(ViewChanged(view(number=2)))

    expected = [(peer, Hello(1, 1, member("a"), view().constants, 0, f"{peer}:client")) for peer in "bc"]
    assert sent(first, Hello) == expected
    assert sent(again, Hello) == []


def test_a_member_in_a_new_epoch_is_greeted_and_the_others_are_not() -> None:
    node = LoneNode()

    effects = node.step(ViewChanged(with_epoch(view(number=2), "b", 2)))

    assert [to for to, _ in sent(effects, Hello)] == ["b"]


def test_a_node_in_a_new_epoch_greets_everybody() -> None:
    node = LoneNode()

    effects = node.step(ViewChanged(with_epoch(view(number=2), "a", 2)))

    assert [to for to, _ in sent(effects, Hello)] == ["b", "c"]


def test_a_message_without_hello_is_dropped_and_its_sender_greeted() -> None:
    heard = silent_node()

    effects = heard.frame(Ping(1))

    assert sent(effects, Pong) == []
    assert [to for to, _ in sent(effects, Hello)] == ["b"]
    assert heard.node.node.counters["frames.unexpected"] == 1


def test_who_goes_on_without_hello_is_greeted_no_more_than_once_in_a_while() -> None:
    heard = silent_node()

    greeted = 0
    for _ in range(100):
        greeted += len(sent(heard.frame(Ping(1)), Hello))
        heard.node.monotonic_ms += 5

    assert greeted == 500 // HELLO_EVERY_MS


def test_a_hello_that_has_ours_is_not_answered() -> None:
    heard = silent_node()

    effects = heard.frame(hello(heard.node, heard_epoch=1))

    assert sent(effects, Hello) == []
    assert [type(effect) for effect in effects] == [News]


def test_a_hello_that_does_not_have_ours_is_answered() -> None:
    heard = silent_node()

    effects = heard.frame(hello(heard.node, heard_epoch=0))

    ((to, answer),) = sent(effects, Hello)
    assert to == "b"
    assert answer.heard_epoch == 1  # type: ignore[attr-defined]


def test_after_hello_messages_are_heard() -> None:
    heard = silent_node()

    heard.frame(hello(heard.node))

    assert heard.frame(Ping(7)) == [Send("b", Pong(7))]


def test_messages_behind_a_hello_in_one_frame_are_heard() -> None:
    heard = silent_node()

    effects = heard.frame(hello(heard.node), Ping(7))

    assert sent(effects, Pong) == [("b", Pong(7))]


@pytest.mark.parametrize(
    "wrong", [{"epoch": 2}, {"epoch": 0}, {"to_epoch": 2}, {"to_epoch": 0}, {"to": "c"}, {"to": ""}], ids=str
)
def test_a_frame_of_another_epoch_or_for_somebody_else_is_dropped_and_greeted(wrong: dict[str, object]) -> None:
    heard = acquainted_node()

    effects = heard.frame(Ping(1), **wrong)  # type: ignore[arg-type]

    assert sent(effects, Pong) == []
    assert [to for to, _ in sent(effects, Hello)] == ["b"]


def test_a_frame_of_somebody_unknown_without_hello_has_no_effect() -> None:
    heard = acquainted_node()

    assert heard.frame(Ping(1), sender="unknown") == []
    assert heard.node.node.counters["frames.unexpected"] == 1


def test_a_hello_of_somebody_unknown_goes_to_the_router() -> None:
    heard = acquainted_node()
    said = hello(heard.node, "d")

    assert heard.frame(said, sender="d") == [News(CLUSTER, "d", said)]


def test_a_member_that_the_view_does_not_have_yet_is_no_trouble_when_a_late_frame_of_it_comes() -> None:
    """As for a node on an old member table: the Hello is there before the view that has its sender."""
    node = acquainted_node()
    node.frame(hello(node.node, "x"), sender="x")

    assert node.frame(Ping(1), sender="x", to_epoch=7) == []
    assert [to for to, _ in sent(node.node.step(ViewChanged(view(others="bcx", number=2))), Hello)] == ["x"]


def test_a_node_of_another_cluster_is_refused_with_the_reason_at_both() -> None:
    heard = acquainted_node()
    said = hello(heard.node, "x")

    effects = heard.frame(said, Ping(1), cluster="another", sender="x")

    reason = f"this node is of cluster {CLUSTER}, the other of another"
    assert effects == [
        News("another", "x", said),
        Noted("peer.refused", {"sender": "x", "address": "x:peer", "reason": reason}, "warning"),
        SendStranger("x:peer", Refusal(reason)),
    ]
    told = heard.frame(Refusal("why"), cluster="yet another", sender="y")
    assert told == [Noted("peer.refused_us", {"sender": "y", "reason": "why"}, "warning")]


def test_a_stranger_is_refused_no_more_than_once_in_a_while() -> None:
    heard = acquainted_node()

    refused = []
    for _ in range(30):
        effects = heard.frame(hello(heard.node, "x"), cluster="another", sender="x")
        refused += [heard.node.monotonic_ms] * any(isinstance(effect, SendStranger) for effect in effects)
        heard.node.monotonic_ms += REFUSAL_EVERY_MS // 10

    assert [later - earlier for earlier, later in itertools.pairwise(refused)] == [REFUSAL_EVERY_MS] * 2


def test_the_strangers_that_are_remembered_are_bounded() -> None:
    heard = acquainted_node()

    for number in range(3 * REFUSED_MAX):
        heard.frame(Ping(1), cluster="another", sender=f"x{number}")

    assert len(heard.node.node._links._refused) == REFUSED_MAX


def test_a_frame_that_is_no_hello_is_not_answered_to_a_stranger() -> None:
    """Nobody knows where to."""
    heard = acquainted_node()

    effects = heard.frame(Ping(1), cluster="another", sender="x")

    assert [type(effect) for effect in effects] == [Noted]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"lowest": 2, "highest": 9}, "no protocol version in common: this node speaks 1 to 1, the other 2 to 9"),
        ({"lowest": 0, "highest": 0}, "no protocol version in common: this node speaks 1 to 1, the other 0 to 0"),
        ({"partitions": 32}, "partitions differs: 16 here, 32 there"),
        ({"n": 5}, "n differs: 3 here, 5 there"),
        ({"hash_version": 2}, "hash_version differs: 1 here, 2 there"),
    ],
)
def test_who_cannot_work_with_this_node_is_refused_and_told_why(said: dict[str, int], reason: str) -> None:
    heard = silent_node()
    versions = {key: value for key, value in said.items() if key in ("lowest", "highest")}
    constants = {key: value for key, value in said.items() if key not in versions}
    theirs = hello(heard.node, constants=replace(heard.node.seen.constants, **constants), **versions)

    effects = heard.frame(theirs, Ping(1))

    assert [effect for effect in effects if isinstance(effect, SendStranger)] == [
        SendStranger("b:peer", Refusal(reason))
    ]
    assert not sent(effects, Pong)


def test_a_later_version_that_also_speaks_ours_is_heard() -> None:
    heard = silent_node()

    effects = heard.frame(hello(heard.node, highest=7), Ping(1))

    assert sent(effects, Pong) == [("b", Pong(1))]


@pytest.mark.parametrize("epoch", [0, -1, FIGURE_MAX, 2**64 - 1])
def test_a_hello_with_an_epoch_that_cannot_be_does_not_cut_the_link(epoch: int) -> None:
    heard = acquainted_node()

    heard.frame(hello(heard.node, "b", epoch))
    heard.frame(hello(heard.node, "b", epoch), epoch=epoch)
    effects = heard.frame(Ping(1))

    assert sent(effects, Pong) == [("b", Pong(1))]
    assert heard.node.node.frame("b", ()).to_epoch == 1


def test_a_hello_in_the_name_of_another_does_not_cut_the_link() -> None:
    heard = acquainted_node()

    heard.frame(hello(heard.node, "c", epoch=9))

    assert heard.node.node.frame("b", ()).to_epoch == 1


def test_mail_to_a_peer_that_is_not_alive_is_preceded_by_hello() -> None:
    """It may be another process by now."""
    node = LoneNode(view(down="b"))

    effects = node.step(Mailed("b", Ping(1)))

    assert [(effect.to, type(effect.message)) for effect in effects if isinstance(effect, Send)] == [
        ("b", Hello),
        ("b", Ping),
    ]


def test_mail_to_a_peer_that_is_alive_goes_as_it_is() -> None:
    assert LoneNode().step(Mailed("b", Ping(1))) == [Send("b", Ping(1))]


@pytest.mark.parametrize("to", ["a", "nobody"])
def test_mail_to_this_node_or_to_nobody_is_dropped(to: str) -> None:
    assert LoneNode().step(Mailed(to, Probed(1, "b", True, False))) == []


def test_a_ping_to_this_node_is_answered_at_once() -> None:
    """The router wants to know whether this thread runs."""
    assert LoneNode().step(Mailed("a", Ping(7))) == [News(CLUSTER, "a", Pong(7))]


def with_epoch(seen: View, node: str, epoch: int) -> View:
    members = tuple(
        MemberView(member(node, epoch), each.state, each.phi) if each.record.id == node else each
        for each in seen.members
    )
    return replace(seen, members=members, me=member(node, epoch) if seen.me.id == node else seen.me)
