"""The router thread: gossip in and out, views to whoever reads them, whatever strangers say."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
import zmq
from msgspec.structs import replace

from threads.clusters import WITHIN_S, eventually, own_context
from zdynamo import codec
from zdynamo.core.members.events import Heard, Kept, Profile
from zdynamo.core.members.membership import Membership
from zdynamo.core.settings import Rhythms
from zdynamo.errors import StoreFailed
from zdynamo.messages import Addresses, Constants, Heartbeat, Hello, MemberRecord, Rumor, Table, View
from zdynamo.partition import HASH_VERSION
from zdynamo.threads import router
from zdynamo.threads.channel import CAPACITY, Channels, Socket, border, offer, waiting
from zdynamo.threads.clock import now
from zdynamo.threads.log import Log
from zdynamo.threads.router import STOP, Router

CONSTANTS = Constants(16, 3, HASH_VERSION, 1, "")
FAST = Rhythms(heartbeat_ms=10)


class Routing:
    """A running router thread of a node that founds at once, and a peer's PUB that it listens to."""

    def __init__(self, context: zmq.Context[Any], keep: Any = None) -> None:
        channels = Channels(context, "a")
        self.commands, commands = channels.pipe("news")
        views, self.views = channels.slot("views")
        mail, self.mail = channels.pipe("mail")
        pub, sub = border(context, zmq.PUB), border(context, zmq.SUB)
        sub.setsockopt(zmq.SUBSCRIBE, b"")
        pub.bind("inproc://a-gossip")
        self.peer = border(context, zmq.PUB)
        self.peer.bind("inproc://b-gossip")
        self.listener = border(context, zmq.SUB)
        self.listener.setsockopt(zmq.SUBSCRIBE, b"")
        self.listener.connect("inproc://a-gossip")
        profile = Profile(
            name="a", addresses=Addresses("a:1", "a:2", "inproc://a-gossip", ""), zone="", weight=1, seeds=(),
            found=True, constants=CONSTANTS,
        )  # fmt: skip
        membership = Membership(kept=Kept(), profile=profile, rhythms=FAST, random=Random(1), now=now())
        routing = Router(
            context, membership, pub=pub, sub=sub, commands=commands, views=views, mail=mail,
            keep=keep or (lambda kept: None), log=Log("a"),
        )  # fmt: skip
        self.thread = threading.Thread(target=routing.run)
        self.thread.start()
        first = self.next_view()
        self.cluster, self.me = first.cluster, first.me.id

    def next_view(self) -> View:
        assert self.views.poll(int(WITHIN_S * 1000))
        return codec.decode_view(self.views.recv())

    def hears(self, message: object, cluster: str | None = None) -> None:
        letter = Heard(self.cluster if cluster is None else cluster, "b", message)  # type: ignore[arg-type]
        offer(self.commands, [router.NEWS, router.encode_letter(letter)])

    def is_alive(self) -> bool:
        """It still tells its heartbeat."""
        while self.listener.poll(0):
            self.listener.recv()
        return self.listener.poll(int(WITHIN_S * 1000)) > 0

    def stop(self) -> None:
        offer(self.commands, [STOP])
        self.thread.join(WITHIN_S)
        for socket in (self.commands, self.views, self.mail, self.peer, self.listener):
            socket.close(0)


@contextmanager
def routing(context: zmq.Context[Any], keep: Callable[[Kept], None] | None = None) -> Iterator[Routing]:
    each = Routing(context, keep)
    try:
        yield each
    finally:
        each.stop()


def record(node: str, version: int = 1, gossip: str = "inproc://b-gossip", client: str = "b:1") -> MemberRecord:
    return MemberRecord(node, version, node, 1, f"boot-{node}", 0, Addresses(client, "b:2", gossip, ""), "", 1)


def names(view: View) -> set[str]:
    return {member.record.name for member in view.members}


def test_heartbeats_are_told_to_whoever_listens() -> None:
    with own_context() as context, routing(context) as node:
        told = [codec.decode_gossip(node.listener.recv()) for _ in range(5)]

    beats = [message.sequence for message in told if isinstance(message, Heartbeat)]
    assert beats == list(range(beats[0], beats[0] + len(beats)))
    assert len(beats) >= 3


class FullDisk:
    """Where what is kept of the membership goes, as long as there is room."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.full = False

    def keep(self, kept: Kept) -> None:
        if self.full:
            raise StoreFailed("membership.json cannot be written (No space left on device)")
        self.kept.append(kept)

    def knows(self, *members: str) -> bool:
        return {record.name for record in self.kept[-1].records} == set(members)


def test_a_full_disk_ends_no_node_that_hears_of_a_new_member_and_it_is_kept_when_there_is_room() -> None:
    disk = FullDisk()
    with own_context() as context, routing(context, disk.keep) as node:
        disk.full = True
        node.hears(Hello(1, 1, record("b"), CONSTANTS, 0, ""))
        seen = node.next_view()
        alive = node.is_alive()
        before = disk.knows("a")
        disk.full = False
        eventually(lambda: node.is_alive() and disk.knows("a", "b"))

    assert (names(seen), alive, before) == ({"a", "b"}, True, True)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_only_this_node_knows_of_itself_is_not_said_before_it_is_kept() -> None:
    disk = FullDisk()
    with own_context() as context, routing(context, disk.keep) as node:
        disk.full = True
        later = replace(record("a", 50), epoch=7, id=node.me)
        node.hears(Table((later,), None, answer=False))
        node.thread.join(WITHIN_S)

        assert (node.thread.is_alive(), node.views.poll(0)) == (False, 0)


def test_a_member_heard_of_is_listened_to() -> None:
    with own_context() as context, routing(context) as node:
        node.hears(Hello(1, 1, record("b"), CONSTANTS, 0, ""))
        first = node.next_view()

        rumor = codec.encode(Rumor(node.cluster, "b", (record("c", gossip="inproc://c-gossip"),), None))
        eventually(lambda: node.peer.send(rumor) or node.views.poll(10))
        second = node.next_view()

    assert (names(first), names(second)) == ({"a", "b"}, {"a", "b", "c"})


@pytest.mark.parametrize("address", ["", "nonsense", "127.0.0.1x7401", "127.0.0.1:port", "://", "ftp://a:1"])
def test_members_whose_addresses_are_none_do_not_hurt(address: str) -> None:
    with own_context() as context, routing(context) as node:
        node.hears(Hello(1, 1, record("bad", gossip=address, client=address), CONSTANTS, 0, ""))
        first = node.next_view()
        node.hears(Hello(1, 1, record("bad", 2), CONSTANTS, 0, ""))
        second = node.next_view()
        node.hears(Hello(1, 1, record("bad", 3, gossip=address), CONSTANTS, 0, ""))
        third = node.next_view()

        assert [names(view) for view in (first, second, third)] == [{"a", "bad"}] * 3
        assert node.is_alive()


def test_a_member_that_is_gone_from_its_old_address_is_listened_to_at_its_new_one() -> None:
    with own_context() as context, routing(context) as node:
        node.hears(Hello(1, 1, record("b"), CONSTANTS, 0, ""))
        node.next_view()
        node.peer.close(0)
        node.peer = border(context, zmq.PUB)
        node.peer.bind("inproc://b-moved")

        node.hears(Hello(1, 1, record("b", 2, gossip="inproc://b-moved"), CONSTANTS, 0, ""))
        node.next_view()
        rumor = codec.encode(Rumor(node.cluster, "b", (record("c", gossip="inproc://c"),), None))
        eventually(lambda: node.peer.send(rumor) or node.views.poll(10))

        assert "c" in names(node.next_view())


def test_the_next_process_of_a_member_is_listened_to_at_the_same_inproc_address() -> None:
    with own_context() as context, routing(context) as node:
        node.hears(Hello(1, 1, record("b"), CONSTANTS, 0, ""))
        node.next_view()
        node.peer.close(0)
        node.peer = border(context, zmq.PUB)
        eventually(lambda: bound(node.peer, "inproc://b-gossip"))

        node.hears(Hello(1, 1, replace(record("b", 2), epoch=2), CONSTANTS, 0, ""))
        node.next_view()
        rumor = codec.encode(Rumor(node.cluster, "b", (record("c", gossip="inproc://c"),), None))
        eventually(lambda: node.peer.send(rumor) or node.views.poll(10))

        assert "c" in names(node.next_view())


def bound(socket: Socket, address: str) -> bool:
    """A closed socket holds its address for a moment."""
    try:
        socket.bind(address)
    except zmq.ZMQError:
        return False
    return True


def test_a_member_is_listened_to_though_another_that_said_to_be_there_has_moved() -> None:
    with own_context() as context, routing(context) as node:
        for version, gossip in ((1, "inproc://b-gossip"), (2, "inproc://elsewhere")):
            for name in ("b", "c") if version == 1 else ("c",):
                node.hears(Hello(1, 1, record(name, version, gossip=gossip), CONSTANTS, 0, ""))
                node.next_view()

        rumor = codec.encode(Rumor(node.cluster, "b", (record("d"),), None))
        eventually(lambda: node.peer.send(rumor) or node.views.poll(10))

        assert "d" in names(node.next_view())


def test_another_cluster_that_knows_this_address_by_many_names_does_not_make_it_grow() -> None:
    with own_context() as context, routing(context) as node:
        for number in range(500):
            stranger = record("x", client=f"inproc://nobody-{number}")
            node.hears(Hello(1, 1, stranger, CONSTANTS, 0, "a:1"), cluster="another")
        node.hears(Table((), None, answer=False))
        eventually(lambda: not node.commands.poll(0, zmq.POLLIN))

        sockets = [socket for socket in context._sockets if not socket.closed and socket.type == zmq.DEALER]
        assert len(sockets) <= router.SEEDS_MAX


def test_garbage_from_a_member_is_dropped_and_the_router_goes_on() -> None:
    random = Random(1)
    known = [
        codec.encode(Heartbeat("cluster", "b", 1, "boot", 1, 2, 3)),
        codec.encode(Rumor("cluster", "b", (record("c"),), None)),
    ]
    with own_context() as context, routing(context) as node:
        node.hears(Hello(1, 1, record("b"), CONSTANTS, 0, ""))
        node.next_view()
        known.append(codec.encode(Rumor(node.cluster, "b", (record("c"),), None)))

        for number in range(5000):
            node.peer.send(mutated(random, known[number % 3]) if number % 4 else random.randbytes(number % 99))
            if not number % 500:
                assert node.is_alive()

        rumor = codec.encode(Rumor(node.cluster, "b", (record("last"),), None))
        eventually(lambda: node.peer.send(rumor) or (node.views.poll(10) and "last" in names(node.next_view())))
        assert node.is_alive()


def mutated(random: Random, frame: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(random.randint(1, 3)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)


def test_letters_for_which_there_is_no_room_are_dropped_and_their_number_is_told_when_there_is_again() -> None:
    with own_context() as context, routing(context) as node:
        node.hears(Hello(1, 1, record("b"), CONSTANTS, 0, ""))
        letter = router.encode_letter(Heard(node.cluster, "b", Table((), None, answer=True)))  # each is answered

        for _ in range(CAPACITY + 500):
            node.commands.send_multipart([router.NEWS, letter])
        node.hears(Hello(1, 1, record("c", client="c:1"), CONSTANTS, 0, ""))
        eventually(lambda: "c" in names(node.next_view()))  # by then it has heard all of them
        told = eventually(
            lambda: (
                offer(node.commands, [router.NEWS, letter])
                and next((parts for parts in waiting(node.mail, CAPACITY) if len(parts) > 1), None)
            )
        )

    assert told[0] == b"mail.dropped"
    assert 500 <= int(told[1]) < CAPACITY  # pings among them, however many were due
