"""The send thread: one connection a peer, never waiting, whatever the addresses are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import zmq

from threads.clusters import WITHIN_S, eventually, own_context
from zdynamo.threads import sender
from zdynamo.threads.channel import Channels, Socket, offer, waiting
from zdynamo.threads.sender import PeerAddress, Sender

NO_ADDRESSES = [
    "",
    "nonsense",
    "127.0.0.1x7401",
    "127.0.0.1:port",
    "127.0.0.1:99999999",
    "://",
    "ftp://a:1",
    "a\x00b:1",
]


class Sending:
    """A running send thread."""

    def __init__(self, context: zmq.Context[Any], connect_from: str = "") -> None:
        channels = Channels(context, "a")
        self.outbox, outbox = channels.pipe("outbox")
        evidence, self.evidence = channels.pipe("evidence")
        sending = Sender(context, boot=b"boot-a", outbox=outbox, evidence=evidence, connect_from=connect_from)
        self.thread = threading.Thread(target=sending.run)
        self.thread.start()

    def connect(self, *peers: PeerAddress) -> None:
        self.outbox.send_multipart([sender.PEERS, sender.encode_peers(list(peers))])

    def send(self, *peers_and_frames: bytes) -> None:
        self.outbox.send_multipart([sender.FRAMES, *peers_and_frames])

    def stop(self) -> None:
        offer(self.outbox, [b""])
        self.thread.join(WITHIN_S)
        self.outbox.close(0)
        self.evidence.close(0)


@contextmanager
def sending(context: zmq.Context[Any], connect_from: str = "") -> Iterator[Sending]:
    each = Sending(context, connect_from)
    try:
        yield each
    finally:
        each.stop()


@contextmanager
def peer(context: zmq.Context[Any], address: str) -> Iterator[Socket]:
    made = context.socket(zmq.ROUTER)
    made.linger = 0
    made.rcvtimeo = int(WITHIN_S * 1000)
    made.bind(address)
    try:
        yield made
    finally:
        made.close(0)


def test_frames_go_to_whom_they_are_for_and_say_which_process_sent_them() -> None:
    with (
        own_context() as context,
        peer(context, "inproc://b") as b,
        peer(context, "inproc://c") as c,
        sending(context) as node,
    ):
        node.connect(PeerAddress("b", 1, "inproc://b"), PeerAddress("c", 1, "inproc://c"))
        node.send(b"b", b"for b", b"c", b"for c", b"b", b"more for b")
        received = [b.recv_multipart(), b.recv_multipart(), c.recv_multipart()]

    assert [frame for _, frame in received] == [b"for b", b"more for b", b"for c"]
    assert all(sender_id.startswith(b"boot-a") for sender_id, _ in received)


def test_frames_for_whom_nobody_knows_are_dropped() -> None:
    with own_context() as context, peer(context, "inproc://b") as b, sending(context) as node:
        node.connect(PeerAddress("b", 1, "inproc://b"))
        node.send(b"nobody", b"lost", b"b", b"for b")

        assert b.recv_multipart()[1] == b"for b"


def test_a_peer_at_another_address_gets_a_new_connection() -> None:
    with (
        own_context() as context,
        peer(context, "inproc://b1"),
        peer(context, "inproc://b2") as new,
        sending(context) as node,
    ):
        node.connect(PeerAddress("b", 1, "inproc://b1"))
        node.connect(PeerAddress("b", 1, "inproc://b2"))
        node.send(b"b", b"hello")

        assert new.recv_multipart()[1] == b"hello"


def test_a_peer_in_another_epoch_gets_a_new_connection() -> None:
    with own_context() as context, sending(context) as node:
        with peer(context, "tcp://127.0.0.1:*") as b:
            address = b.last_endpoint.decode()
            node.connect(PeerAddress("b", 1, address))
            node.send(b"b", b"first")
            first = b.recv_multipart()[1]
        with peer(context, "tcp://127.0.0.1:*") as b:
            node.connect(PeerAddress("b", 2, b.last_endpoint.decode()))
            node.send(b"b", b"second")
            second = b.recv_multipart()[1]

    assert (first, second) == (b"first", b"second")


def test_connections_come_from_the_address_that_the_node_was_given() -> None:
    with own_context() as context, peer(context, "tcp://127.0.0.1:*") as b, sending(context, "127.0.0.77") as node:
        node.connect(PeerAddress("b", 1, b.last_endpoint.decode().removeprefix("tcp://")))
        node.send(b"b", b"for b")
        _, frame = b.recv_multipart(copy=False)

    assert frame.get("Peer-Address") == "127.0.0.77"


def test_a_full_queue_is_told_with_the_frames_that_are_dropped_and_does_not_keep_others_waiting() -> None:
    with own_context() as context, peer(context, "inproc://b") as b, sending(context) as node:
        node.connect(PeerAddress("gone", 1, "tcp://127.0.0.1:1"), PeerAddress("b", 1, "inproc://b"))
        for _ in range(1500):
            node.send(b"gone", b"x")
        node.send(b"b", b"for b")

        assert b.recv_multipart()[1] == b"for b"
        told: list[list[bytes]] = []
        eventually(lambda: told.extend(waiting(node.evidence, 1500)) or sum(int(parts[2]) for parts in told) == 500)
        assert {tuple(parts[:2]) for parts in told} == {(b"full", b"gone")}


def test_a_lost_connection_is_told() -> None:
    with own_context() as context, sending(context) as node:
        with peer(context, "tcp://127.0.0.1:*") as b:
            node.connect(PeerAddress("b", 1, b.last_endpoint.decode()))
            node.send(b"b", b"x")
            b.recv_multipart()

        assert eventually(lambda: list(waiting(node.evidence, 10))) == [[b"lost", b"b"]]


def test_an_inproc_peer_that_has_ended_is_told_as_lost_by_what_is_sent_to_it() -> None:
    with own_context() as context, sending(context) as node:
        with peer(context, "inproc://b") as b:
            node.connect(PeerAddress("b", 1, "inproc://b"))
            node.send(b"b", b"x")
            b.recv_multipart()

        def told() -> list[list[bytes]]:
            node.send(b"b", b"in vain")  # the first may still go into a pipe that is just ending
            return list(waiting(node.evidence, 10))

        assert eventually(told)[0] == [b"lost", b"b"]


def test_without_descriptors_it_goes_on_and_connects_when_there_are_some() -> None:
    with own_context() as context:
        context.set(zmq.MAX_SOCKETS, 20)
        with peer(context, "inproc://b") as b, peer(context, "inproc://c") as c, sending(context) as node:
            node.connect(PeerAddress("c", 1, "inproc://c"))
            node.send(b"c", b"first")
            first = c.recv_multipart()[1]
            taken = all_that_there_are(context)
            node.connect(PeerAddress("c", 1, "inproc://c"), PeerAddress("b", 1, "inproc://b"))
            told = eventually(lambda: list(waiting(node.evidence, 10)))
            node.outbox.send_multipart([sender.STRANGER, b"inproc://b", b"refused"])
            node.send(b"c", b"second")
            second = c.recv_multipart()[1]
            for each in taken:
                each.close(0)

            def arrives() -> bool:
                node.send(b"b", b"for b")
                return bool(b.poll(10))

            assert (first, told, second) == (b"first", [[b"lost", b"b"]], b"second")
            assert eventually(arrives)


def all_that_there_are(context: zmq.Context[Any]) -> list[Socket]:
    taken: list[Socket] = []
    with suppress(zmq.ZMQError):
        while True:
            taken.append(context.socket(zmq.PAIR))
    return taken


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_peer_whose_address_is_none_does_not_hurt_the_others(address: str) -> None:
    with own_context() as context, peer(context, "inproc://b") as b, sending(context) as node:
        node.connect(PeerAddress("bad", 1, address), PeerAddress("b", 1, "inproc://b"))
        node.connect(PeerAddress("bad", 1, address), PeerAddress("b", 1, "inproc://b"))
        node.send(b"bad", b"lost", b"b", b"for b")

        assert b.recv_multipart()[1] == b"for b"


@pytest.mark.parametrize("address", NO_ADDRESSES)
def test_a_stranger_whose_address_is_none_does_not_hurt(address: str) -> None:
    with own_context() as context, peer(context, "inproc://b") as b, sending(context) as node:
        node.connect(PeerAddress("b", 1, "inproc://b"))
        for _ in range(20):
            node.outbox.send_multipart([sender.STRANGER, address.encode(), b"refused"])
        node.send(b"b", b"for b")

        assert b.recv_multipart()[1] == b"for b"


def test_a_stranger_is_told_without_waiting_for_it() -> None:
    with own_context() as context, peer(context, "inproc://stranger") as stranger, sending(context) as node:
        node.outbox.send_multipart([sender.STRANGER, b"inproc://stranger", b"refused"])

        assert stranger.recv_multipart()[1] == b"refused"


def test_it_ends_when_its_outbox_is_closed_though_peers_are_gone() -> None:
    with own_context() as context, sending(context) as node:
        node.connect(PeerAddress("gone", 1, "tcp://127.0.0.1:1"))
        node.send(b"gone", b"x")

        offer(node.outbox, [b""])
        node.thread.join(WITHIN_S)

        assert not node.thread.is_alive()
