"""What a node does with what arrives, beside coordinating requests; and that nothing that arrives can hurt it."""

from random import Random

import msgspec
import pytest
from support.nodes import CLUSTER, LoneNode, answers, get, put, request_id, sent, view

from zdynamo import codec
from zdynamo.core.events import FromClient, FromPeer, News, Noted, Now, PeerUnreachable, Reply, Send, Tick, ViewChanged
from zdynamo.core.node import Node
from zdynamo.core.settings import NodeLimits
from zdynamo.errors import Malformed
from zdynamo.messages import (
    DescribeCluster,
    DescribeNode,
    FetchReplica,
    Forward,
    Forwarded,
    Frame,
    LayoutWanted,
    NodeDescription,
    PathLost,
    Ping,
    Pong,
    Probe,
    Probed,
    Refusal,
    Refused,
    ReplicaFetched,
    ReplicaRefused,
    ReplicaStored,
    StoreReplica,
    Table,
    Topology,
)
from zdynamo.storage.memory import MemoryStore


def test_a_ping_is_answered_at_once() -> None:
    assert LoneNode().hears("b", Ping(7)) == [Send("b", Pong(7))]


def test_membership_messages_go_to_the_router_with_their_sender() -> None:
    messages = [
        Pong(1), Table((), None, answer=True), LayoutWanted(), Probe(2, "c", 300), Probed(2, "c", True, False),
    ]  # fmt: skip

    effects = LoneNode().hears("b", *messages)

    assert effects == [News(CLUSTER, "b", message) for message in messages]


def test_a_lost_connection_is_told_to_the_router() -> None:
    effects = LoneNode().step(PeerUnreachable("b"))

    assert effects == [News(CLUSTER, "a", PathLost("b", "lost"))]


def test_a_full_queue_accuses_nobody() -> None:
    assert LoneNode().step(PeerUnreachable("b", full=True)) == []


def test_a_connection_of_nobody_that_is_known_is_no_news() -> None:
    early = Node(store=MemoryStore(), limits=NodeLimits(), random=Random(1), now=Now(0, 0))

    assert early.step(PeerUnreachable("b"), Now(0, 0)) == []
    assert LoneNode().step(PeerUnreachable("x")) == []


def test_a_peer_cannot_say_for_us_that_a_path_is_lost() -> None:
    assert LoneNode().hears("b", PathLost("c", "lost")) == []


def test_a_refusal_is_noted_with_its_reason() -> None:
    effects = LoneNode().hears("b", Refusal("n differs"))

    assert effects == [Noted("peer.refused_us", {"sender": "b", "reason": "n differs"}, "warning")]


def test_before_the_first_view_clients_are_told_to_try_another_and_only_hellos_are_heard() -> None:
    node = Node(store=MemoryStore(), limits=NodeLimits(), random=Random(1), now=Now(0, 0))
    hello = LoneNode().hello("b")

    asked = node.step(FromClient(b"client", put()), Now(1, 1))
    heard = node.step(FromPeer(Frame(CLUSTER, "b", 1, "", 0, (Ping(1), hello))), Now(1, 1))

    ((answer,),) = (answers(asked),)
    assert isinstance(answer, Refused)
    assert answer.retry
    assert heard == [News(CLUSTER, "b", hello)]


def test_a_node_that_is_stopping_takes_nothing_new_and_finishes_what_it_has() -> None:
    node = LoneNode()
    begun = node.asked(put())
    ((_, message), *_) = sent(begun, StoreReplica)
    node.node.stopping = True

    refused = node.asked(put(2))
    done = node.hears("b", ReplicaStored(message.request))  # type: ignore[attr-defined]

    assert answers(refused) == [Refused(request_id(2), "this node is stopping: ask another", retry=True)]
    assert len(answers(done)) == 1
    assert node.node.idle


def test_a_node_that_is_stopping_takes_nothing_new_from_peers_but_stays_a_replica() -> None:
    node = LoneNode()
    copy = sent(LoneNode(view(me="b", others="ac")).asked(put(5)), StoreReplica)[0][1]
    node.node.stopping = True

    forwarded = node.hears("b", Forward(7, 1000, 1, put(2)))
    stored = node.hears("b", copy)  # type: ignore[arg-type]

    assert forwarded == [
        Send("b", Forwarded(7, Refused(request_id(2), "this node is stopping: ask another", retry=True)))
    ]
    assert sent(stored, ReplicaStored)


def test_the_topology_says_what_this_node_sees() -> None:
    node = LoneNode()

    (topology,) = answers(node.asked(DescribeCluster(request_id(1), CLUSTER)))

    assert isinstance(topology, Topology)
    assert (topology.cluster, topology.answered_by, topology.members, topology.layout) == (
        CLUSTER,
        "a",
        node.seen.members,
        node.seen.layout,
    )
    assert len(topology.owners) == 16


def test_a_client_of_another_cluster_is_refused_and_noted() -> None:
    effects = LoneNode().asked(DescribeCluster(request_id(1), "another"))

    reason = f"this node is of cluster {CLUSTER}, the other of another: check the address"
    assert effects == [
        Reply(b"client", Refused(request_id(1), reason)),
        Noted("cluster.refused", {"reason": reason}, "warning"),
    ]


@pytest.mark.parametrize(
    ("seen", "notices"),
    [
        (view(), ()),
        (view(down="b"), ("down: b",)),
        (view(others="", layout="a"), ("each key has 1 of 3 copies: there are only so many members",)),
        (view(layout="bc"), ("each key has 2 of 3 copies", "joined after data was taken: owns nothing")),
        (view(layout=None, min_members=5), ("forming: 3 members, 5 needed",)),
    ],
)
def test_a_node_says_what_an_operator_should_know(seen: object, notices: tuple[str, ...]) -> None:
    node = LoneNode(seen)  # type: ignore[arg-type]
    node.monotonic_ms += 250

    (description,) = answers(node.asked(DescribeNode(request_id(1), "")))

    assert isinstance(description, NodeDescription)
    assert (description.id, description.engine, description.uptime_ms) == ("a", "memory", 250)
    assert len(description.notices) == len(notices)
    assert all(said.startswith(notice) for said, notice in zip(description.notices, notices, strict=True))


def test_a_commit_that_surely_wrote_nothing_refuses_its_writes_and_sends_nothing_of_them() -> None:
    node = LoneNode()

    effects = node.node.step(FromClient(b"client", put()), node.now)
    instead = node.node.abandon(effects, surely_nothing=True)

    assert instead == [Reply(b"client", Refused(request_id(1), "the disk is full: nothing was written", retry=True))]
    assert node.node.idle


def test_a_replica_whose_commit_failed_says_so_and_does_not_acknowledge() -> None:
    node = LoneNode()
    copy = sent(LoneNode(view(me="b", others="ac")).asked(put(5)), StoreReplica)[0][1]

    effects = node.node.step(FromPeer(Frame(CLUSTER, "b", 1, "a", 1, (copy,))), node.now)  # type: ignore[arg-type]
    instead = node.node.abandon(effects, surely_nothing=True)

    assert instead == [Send("b", ReplicaRefused(copy.request, "disk"))]  # type: ignore[attr-defined]


def test_nobody_is_shown_what_the_failed_commit_would_have_written() -> None:
    node = LoneNode(view(others="", layout="a"))

    staged = node.node.step(FromClient(b"writer", put()), node.now)
    read = node.node.step(FromClient(b"reader", get(2)), node.now)
    instead = node.node.abandon(staged + read, surely_nothing=True)

    assert {answer.request: type(answer) for answer in answers(instead)} == {
        request_id(1): Refused,
        request_id(2): Refused,
    }
    assert len(answers(instead)) == 2


def test_a_peer_is_not_shown_what_the_failed_commit_would_have_written() -> None:
    node = LoneNode()
    fetch = FetchReplica(9, 1000, (), node.key(b"k"))

    effects = node.node.step(FromClient(b"client", put()), node.now)
    effects += node.node.step(FromPeer(Frame(CLUSTER, "b", 1, "a", 1, (fetch,))), node.now)
    instead = node.node.abandon(effects, surely_nothing=True)

    assert [message for _, message in sent(instead, ReplicaFetched)] == []
    assert [message for _, message in sent(instead, ReplicaRefused)] == [ReplicaRefused(9, "disk")]


@pytest.mark.parametrize("seed", range(20))
def test_mutated_frames_of_a_known_peer_never_raise_and_what_follows_can_be_sent(seed: int) -> None:
    random = Random(seed)
    node = LoneNode(view(others="bcde", layout="abcde"))
    copy = sent(LoneNode(view(me="b", others="ac")).asked(put(5)), StoreReplica)[0][1]
    begun = node.asked(put(6, w=3))
    messages = (
        node.hello("b"), Ping(3), Pong(4), Table((), node.seen.layout, True), copy, Forward(7, 900, 1, put(8)),
        FetchReplica(8, 900, (1,), node.key(b"k")), Forwarded(3, Refused(request_id(1), "why")), LayoutWanted(),
        *(ReplicaStored(message.request, ((1, 2, 3),)) for _, message in sent(begun, StoreReplica)),  # type: ignore[attr-defined]
    )  # fmt: skip
    frame = codec.encode(Frame(CLUSTER, "b", 1, "a", 1, messages))  # type: ignore[arg-type]

    for _ in range(500):
        try:
            heard = codec.decode_frame(mutated(random, frame))
        except Malformed:
            continue
        node.monotonic_ms += random.choice([0, 0, 100])
        for effect in node.step(FromPeer(heard)) + node.step(Tick()):
            if isinstance(effect, Send):
                codec.encode(node.node.frame(effect.to, (effect.message,)))
            elif not isinstance(effect, Noted):
                codec.encode(effect)

    assert len(node.node._requests.pending) < 5000


@pytest.mark.parametrize("seed", range(20))
def test_mutated_requests_never_raise_and_get_an_answer_that_can_be_sent(seed: int) -> None:
    random = Random(seed)
    node = LoneNode(view(others="bcde", layout="abcde"))
    requests = [
        put(1, context=b"ctx", w=2),
        get(2),
        DescribeNode(request_id(3), ""),
    ]
    frame = codec.encode(requests)

    for _ in range(500):
        try:
            asked = codec.decode_requests(mutated(random, frame))
        except Malformed:
            continue
        for request in asked:
            node.monotonic_ms += random.choice([0, 0, 400])
            for effect in node.asked(request) + node.step(Tick()):
                if isinstance(effect, Send):
                    codec.encode(node.node.frame(effect.to, (effect.message,)))
                elif not isinstance(effect, Noted):
                    msgspec.msgpack.encode(effect)


def test_a_new_view_in_which_a_replica_is_down_ends_the_waiting_for_it() -> None:
    node = LoneNode()
    node.asked(put(w=3))

    effects = node.step(ViewChanged(view(number=2, down="b")))

    assert [type(answer).__name__ for answer in answers(effects)] == ["OutcomeUnknown"]


def mutated(random: Random, frame: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(random.randint(1, 3)):
        changed[random.randrange(len(changed))] = random.choice([random.randrange(256), 0xFF, 0xCF, 0, 0x7F])
    return bytes(changed)
