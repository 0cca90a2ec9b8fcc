"""Garbage on every socket of a running node is counted, and does no harm."""

import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from random import Random
from typing import Any

import pytest
import zmq

from threads.clusters import RawClient, eventually, get, own_context, put, running
from zdynamo import codec
from zdynamo.config import ClusterSettings, Config, MembershipSettings, NodeSettings, StorageSettings
from zdynamo.messages import Constants, Done, Found, Frame, Hello, LayoutWanted, MemberRecord, Ping, Refused, Table
from zdynamo.threads.server import Server

FRAMES = 3_000


def mutated(random: Random, frame: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(random.randint(1, 4)):
        changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed[: random.randrange(len(changed))] if random.random() < 0.2 else changed)


def peer_frames(cluster: str, member: MemberRecord, constants: Constants) -> list[bytes]:
    """Of a member to itself, the most that a stranger could know to say."""
    messages = (
        Hello(1, 1, member, constants, 1, member.addresses.client),
        Ping(1),
        Table((member,), None, answer=True),
        LayoutWanted(),
    )
    return [codec.encode(Frame(cluster, member.id, 1, member.id, 1, messages[:end])) for end in range(1, 5)]


def test_garbage_from_clients_is_counted_and_everybody_else_is_served() -> None:
    random = Random(1)
    with running("abc") as cluster, cluster.client("a") as client, cluster.client("a") as stranger:
        client.ask(put(b"k", b"v"))
        known = codec.encode([put(b"k2"), get(b"k")])

        for _ in range(FRAMES):
            stranger.send_raw(random.randbytes(random.randrange(50)))
            stranger.send_raw(mutated(random, known))
        stranger.send_raw(*[b"part"] * 50)
        stranger.send_raw(b"")

        assert isinstance(client.ask(get(b"k")), Found)
        counters = eventually(lambda: several(client.description().counters, "requests.malformed", FRAMES))
        assert counters["requests.malformed"] >= FRAMES
        assert isinstance(client.ask(put(b"afterwards")), Done)


def test_garbage_from_peers_is_counted_and_the_cluster_goes_on() -> None:
    random = Random(2)
    with running("abc") as cluster, cluster.client("a") as client:
        topology = client.topology()
        assert topology is not None
        peer = cluster.context.socket(zmq.DEALER)
        peer.linger = 0
        peer.connect("inproc://a-peer")
        known = [
            frame for member in topology.members for frame in peer_frames("another", member.record, topology.constants)
        ]

        for number in range(FRAMES):
            peer.send(random.randbytes(random.randrange(50)))
            peer.send(mutated(random, known[number % len(known)]))
        peer.send_multipart([b"part"] * 50)
        peer.close(0)

        eventually(lambda: several(client.description().counters, "frames.malformed", FRAMES // 2))
        assert [type(client.ask(put(b"%d" % number))) for number in range(20)] == [Done] * 20
        after = client.topology()
        assert after is not None
        assert [member.record for member in after.members] == [member.record for member in topology.members]


@pytest.mark.parametrize("seed", range(3))
def test_mutated_frames_in_the_name_of_members_hurt_no_thread(seed: int) -> None:
    """Whoever can forge a cluster's frames can lie to it; but nothing dies of it."""
    random = Random(seed)
    with running("abc") as cluster, cluster.client("a") as client:
        topology = client.topology()
        assert topology is not None
        peer = cluster.context.socket(zmq.DEALER)
        peer.linger = 0
        peer.connect("inproc://a-peer")
        known = [
            frame
            for member in topology.members
            for frame in peer_frames(topology.cluster, member.record, topology.constants)
        ]

        for number in range(FRAMES):
            peer.send(mutated(random, known[number % len(known)]))
        peer.close(0)

        eventually(lambda: several(client.description().counters, "frames.malformed", 100))
        assert all(thread.is_alive() for thread in cluster.servers["a"]._threads)


def several(counters: dict[str, int], name: str, least: int) -> dict[str, int] | None:
    return counters if counters.get(name, 0) >= least else None


def test_garbage_on_every_tcp_socket_does_no_harm() -> None:
    random = Random(3)
    with own_context() as context, node_on_tcp(context) as (server, ports):
        with RawClient(context, f"127.0.0.1:{ports[0]}") as client:
            eventually(client.topology)
            client.ask(put(b"k", b"v"))

            for port in ports[:3]:
                for _ in range(30):
                    with closing(socket.create_connection(("127.0.0.1", port))) as raw:
                        raw.sendall(random.randbytes(200))
                for kind in (zmq.DEALER, zmq.REQ, zmq.SUB, zmq.PUB, zmq.ROUTER, zmq.PUSH, zmq.PULL):
                    wrong = context.socket(kind)
                    wrong.linger = 0
                    wrong.connect(f"tcp://127.0.0.1:{port}")
                    if kind in (zmq.DEALER, zmq.REQ, zmq.PUB):
                        wrong.send(random.randbytes(100))
                    if kind == zmq.SUB:
                        wrong.subscribe(random.randbytes(1000))
                    wrong.close(50)

            assert isinstance(client.ask(get(b"k")), Found)
            assert isinstance(client.ask(put(b"k", b"v", w=9)), Refused)
        assert all(thread.is_alive() for thread in server._threads)


@contextmanager
def node_on_tcp(context: zmq.Context[Any]) -> Iterator[tuple[Server, list[int]]]:
    with closing(socket.socket()) as a, closing(socket.socket()) as b, closing(socket.socket()) as c:
        for each in (a, b, c):
            each.bind(("127.0.0.1", 0))
        ports = [each.getsockname()[1] for each in (a, b, c)]
    config = Config(
        node=NodeSettings(name="a", port=ports[0], peer_port=ports[1], gossip_port=ports[2]),
        cluster=ClusterSettings(found=True),
        storage=StorageSettings(engine="memory"),
        membership=MembershipSettings(listen_ms=0),
    )
    server = Server(config, context)
    server.start()
    try:
        yield server, ports
    finally:
        server.stop()
