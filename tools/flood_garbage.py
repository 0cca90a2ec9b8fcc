"""Garbage on every port of a cluster: does it live, stay small, count, log little, and still serve?"""

import random
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle, islice

import zmq
from flood_frames import client_frames, gossip_frames, is_malformed, peer_frames, tcp_opening
from killable import READY_SECONDS, Killable, wait_until
from msgspec import Struct, field
from watching import MIB, Watched, watch

from zdynamo import codec
from zdynamo.cli.ask import topology_of
from zdynamo.cli.cluster import ClusterFailed
from zdynamo.client import Client
from zdynamo.messages import MemberRecord, Topology

BURST = 200
COUNTED_WITHIN_SECONDS = 30.0
LINGER_MS = 10_000  # a node that takes nothing for so long is dead or stuck
RSS_GROWTH_MAX = 32 * MIB  # from before the first frame; buffers that are made once are in it
RSS_GROWTH_LATE_MAX = 8 * MIB  # in the second half: nothing may keep growing
LOG_LINES_MAX = 30  # of a node, beside so many a second:
LOG_LINES_A_SECOND = 6
SHARE_GOSSIP, SHARE_CLIENTS = 0.15, 0.45  # of the frames; 2% are connections of raw TCP, peers get the rest
SHARE_TCP = 0.02
TCP_HELD_MAX = 50  # connections that stay half-open
COUNTERS = ("requests.malformed", "requests.refused", "requests.foreign", "frames.malformed", "frames.foreign",
            "frames.unexpected")  # fmt: skip


class NodeUnderGarbage(Struct):
    name: str
    alive: bool
    rss_before: int
    rss_half: int
    rss_after: int
    log_lines: int
    counted: dict[str, int]


class GarbageVerdict(Struct):
    seed: int
    frames: int
    seconds: float
    sent: dict[str, int]  # by port
    malformed_sent: int  # to client and peer ports
    malformed_counted: int
    gossip_logged: int  # lines about gossip; the router thread logs and does not count
    nodes: list[NodeUnderGarbage]
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.problems


class Garbage:
    """One run against a cluster of our own; gossip garbage comes from the port of a node that is killed for it."""

    def __init__(self, cluster: Killable, frames: int, seed: int) -> None:
        self._cluster = cluster
        self._frames = frames
        self._seed = seed
        self._chance = random.Random(seed)
        self._malformed = 0
        self._sent: dict[str, int] = {}
        self._gossip_logged = 0

    def run(self) -> GarbageVerdict:
        began = time.monotonic()
        lines = {node.name: node.log_lines for node in watch(self._cluster)}
        self._gossip(int(self._frames * SHARE_GOSSIP))
        topology, nodes, counters = self._topology(), watch(self._cluster), self._counters()
        for node in nodes:
            node.sample()
        rest = self._frames - sum(self._sent.values())
        for half in (rest // 2, rest - rest // 2):
            self._flood(topology, half)
            for node in nodes:
                node.sample()
        seconds = time.monotonic() - began
        counted = self._wait_counted(counters)
        malformed = sum(each["requests.malformed"] + each["frames.malformed"] for each in counted.values())
        verdict = GarbageVerdict(
            seed=self._seed, frames=sum(self._sent.values()), seconds=seconds, sent=self._sent,
            malformed_sent=self._malformed, malformed_counted=malformed, gossip_logged=self._gossip_logged,
            nodes=[_judged(node, counted[node.name], node.log_lines - lines[node.name]) for node in nodes],
        )  # fmt: skip
        verdict.problems = _problems(verdict) + self._service()
        return verdict

    def _topology(self) -> Topology:
        return topology_of(self._cluster.addresses[0], deadline_ms=5000)

    def _flood(self, topology: Topology, frames: int) -> None:
        tcp, clients = int(frames * SHARE_TCP), int(frames * SHARE_CLIENTS)
        members = [view.record for view in topology.members]
        requests = islice(client_frames(topology, self._chance), clients)
        self._sent["client"] = self._sent.get("client", 0) + clients
        self._send(requests, [member.addresses.client for member in members], codec.decode_requests)
        peers = frames - tcp - clients
        self._sent["peer"] = self._sent.get("peer", 0) + peers
        streams = islice(peer_frames(topology, self._chance), peers)
        self._send(streams, [member.addresses.peer for member in members], codec.decode_frame)
        self._sent["tcp"] = self._sent.get("tcp", 0) + tcp
        self._connect(members, tcp)

    def _send(self, frames: Iterator[bytes], addresses: list[str], decode: object) -> None:
        """In bursts to each in turn; answers are thrown away."""
        with zmq.Context() as context:
            dealers = [context.socket(zmq.DEALER) for _ in addresses]
            for dealer, address in zip(dealers, addresses, strict=True):
                dealer.linger = LINGER_MS
                dealer.sndtimeo = LINGER_MS
                dealer.connect(f"tcp://{address}")
            for dealer in cycle(dealers):
                burst = list(islice(frames, BURST))
                if not burst:
                    break
                for frame in burst:
                    self._malformed += is_malformed(decode, frame)
                    self._send_one(dealer, frame)
                while dealer.poll(0):
                    dealer.recv_multipart()
            for dealer in dealers:
                while dealer.poll(100):
                    dealer.recv_multipart()
                dealer.close()

    def _send_one(self, dealer: "zmq.Socket[bytes]", frame: bytes) -> None:
        """Raises: ClusterFailed if the node takes no more."""
        try:
            dealer.send(frame)
        except zmq.Again:
            dealer.linger = 0
            dead = [f"{child.name} ended with {code}: {child.last_words()}" for child, code in self._cluster.ended()]
            raise ClusterFailed("; ".join(dead) or f"{dealer.last_endpoint} takes no more") from None

    def _connect(self, members: list[MemberRecord], connections: int) -> None:
        """Raw TCP: noise, half a greeting, and a true greeting with what cannot be after it."""
        held: list[socket.socket] = []
        try:
            for _ in range(connections):
                addresses = self._chance.choice(members).addresses
                place = self._chance.choice((addresses.client, addresses.peer, addresses.gossip))
                host, _, port = place.rpartition(":")
                opened = socket.create_connection((host, int(port)), timeout=5)
                held.append(opened)
                with suppress(OSError):  # it has hung up already
                    opened.sendall(tcp_opening(self._chance))
                if len(held) > TCP_HELD_MAX:
                    held.pop(0).close()
        finally:
            for opened in held:
                opened.close()

    def _gossip(self, frames: int) -> None:
        """In the place of a killed node's PUB, so that the others' SUB hear it; then the node comes back."""
        victim, topology = self._cluster.children[-1], self._topology()
        record = next(view.record for view in topology.members if view.record.addresses.client == victim.address)
        others = [child for child in self._cluster.children if child is not victim]
        logged = [_gossip_lines(child.log.read_text()) for child in others]
        self._cluster.kill(victim)
        with zmq.Context() as context, context.socket(zmq.XPUB) as pub:
            pub.linger = LINGER_MS
            pub.sndhwm = 0
            pub.setsockopt(zmq.XPUB_VERBOSE, 1)
            pub.bind(f"tcp://{record.addresses.gossip}")
            for _ in others:
                if not pub.poll(int(READY_SECONDS * 1000)):
                    raise TimeoutError("a node does not subscribe to the address of a killed member")
                pub.recv()
            for frame in islice(gossip_frames(topology, self._chance), frames):
                pub.send(frame)
        self._sent["gossip"] = frames
        wait_until(
            lambda: all(_gossip_lines(child.log.read_text()) > n for child, n in zip(others, logged, strict=True)),
            READY_SECONDS,
        )
        self._gossip_logged = sum(_gossip_lines(child.log.read_text()) for child in others) - sum(logged)
        self._cluster.restart(victim)
        self._cluster.wait_ready(READY_SECONDS)

    def _counters(self) -> dict[str, dict[str, int]]:
        with Client(*self._cluster.addresses) as client:
            found = {child.name: client.node_status(child.address).counters for child in self._cluster.children}
        return {name: {counter: counters.get(counter, 0) for counter in COUNTERS} for name, counters in found.items()}

    def _wait_counted(self, before: dict[str, dict[str, int]]) -> dict[str, dict[str, int]]:
        """What was counted since, as soon as all that is malformed is, or nothing more comes."""
        give_up = time.monotonic() + COUNTED_WITHIN_SECONDS
        while True:
            now = self._counters()
            since = {node: {name: now[node][name] - before[node][name] for name in COUNTERS} for node in now}
            malformed = sum(each["requests.malformed"] + each["frames.malformed"] for each in since.values())
            if malformed >= self._malformed or time.monotonic() > give_up:
                return since
            time.sleep(0.1)

    def _service(self) -> list[str]:
        """What does not work afterwards."""
        problems = []
        for child in self._cluster.children:
            if child.ended is not None:
                problems.append(f"{child.name} ended with {child.ended}: {child.last_words()}")
                continue
            with Client(child.address, deadline_ms=5000) as client:
                client.put("after", child.name, bucket="tools")
                found = client.get("after", bucket="tools", r=len(self._cluster.children))
                if child.name not in found.siblings:
                    problems.append(f"{child.name}: what was put after the garbage is not found")
        try:
            self._cluster.wait_ready(READY_SECONDS)
        except ClusterFailed as error:
            problems.append(str(error))
        members = len(self._topology().members)
        if members != len(self._cluster.children):
            problems.append(f"{members} members are listed, there are {len(self._cluster.children)}")
        return problems


def _gossip_lines(log: str) -> int:
    return log.count("gossip.malformed")


def _judged(node: Watched, counted: dict[str, int], log_lines: int) -> NodeUnderGarbage:
    before, half, after = (sample.rss_bytes for sample in node.samples)
    return NodeUnderGarbage(node.name, node.alive, before, half, after, log_lines, counted)


def _problems(verdict: GarbageVerdict) -> list[str]:
    problems = []
    if verdict.malformed_counted < verdict.malformed_sent:  # noise on raw TCP may pass for frames of ZMTP 1
        problems.append(f"{verdict.malformed_sent} malformed frames were sent, {verdict.malformed_counted} counted")
    lines_max = LOG_LINES_MAX + LOG_LINES_A_SECOND * verdict.seconds
    for node in verdict.nodes:
        if not node.alive:
            problems.append(f"{node.name} is dead")
        if node.rss_after - node.rss_before > RSS_GROWTH_MAX or node.rss_after - node.rss_half > RSS_GROWTH_LATE_MAX:
            sizes = [f"{rss / MIB:.1f}" for rss in (node.rss_before, node.rss_half, node.rss_after)]
            problems.append(f"{node.name} has grown: {' -> '.join(sizes)} MiB")
        if node.log_lines > lines_max:
            problems.append(f"{node.name} has logged {node.log_lines} lines, more than {lines_max:.0f}")
    return problems
