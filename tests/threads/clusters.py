"""Whole clusters in one process over inproc, and a client that shows every frame as it is."""

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Self

import zmq
from opentelemetry.sdk.trace import TracerProvider
from support import nodes

from zdynamo import codec
from zdynamo.config import (
    BucketSettings,
    ClusterSettings,
    Config,
    LimitSettings,
    MembershipSettings,
    NodeSettings,
    QuorumSettings,
    StorageSettings,
    TracingSettings,
)
from zdynamo.messages import (
    ClientAnswer,
    Delete,
    DescribeCluster,
    DescribeNode,
    Get,
    NodeDescription,
    Put,
    Topology,
)
from zdynamo.threads.server import Server

WITHIN_S = 10.0  # what a test waits for comes about sooner, or it fails
DEADLINE_MS = 5_000

_numbers = itertools.count(1)


def new_request() -> bytes:
    return nodes.request_id(next(_numbers))


def put(key: bytes, value: bytes = b"v", **fields: Any) -> Put:
    return nodes.put(next(_numbers), key, value, **{"deadline_ms": DEADLINE_MS, **fields})


def get(key: bytes, **fields: Any) -> Get:
    return nodes.get(next(_numbers), key, **{"deadline_ms": DEADLINE_MS, **fields})


def delete(key: bytes, **fields: Any) -> Delete:
    return nodes.delete(next(_numbers), key, **{"deadline_ms": DEADLINE_MS, **fields})


def eventually(condition: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    """The first true outcome. Raises: AssertionError if there is none in time. `condition` itself takes its time."""
    end = time.monotonic() + within_s
    while True:
        outcome = condition()
        if outcome:
            return outcome
        assert time.monotonic() < end, f"did not come about within {within_s} s"


class RawClient:
    """A DEALER to one node."""

    def __init__(self, context: zmq.Context[Any], address: str) -> None:
        self._dealer = context.socket(zmq.DEALER)
        self._dealer.linger = 0
        self._dealer.connect(address if "://" in address else f"tcp://{address}")

    def send(self, *requests: object) -> None:
        self._dealer.send(codec.encode(list(requests)))

    def send_raw(self, *parts: bytes) -> None:
        self._dealer.send_multipart(parts)

    def receive(self, within_s: float = WITHIN_S) -> list[ClientAnswer]:
        """The answers of the next frame, none if there is none in time."""
        if not self._dealer.poll(int(within_s * 1000)):
            return []
        return codec.decode_answers(self._dealer.recv())

    def answers_to(self, requests: list[Any], within_s: float = WITHIN_S) -> dict[bytes, list[ClientAnswer]]:
        """By request id what was answered, until each has an answer or time is up."""
        wanted = {request.request for request in requests}
        answers: dict[bytes, list[ClientAnswer]] = {}
        end = time.monotonic() + within_s
        while wanted - answers.keys() and time.monotonic() < end:
            for answer in self.receive(max(0.0, end - time.monotonic())):
                answers.setdefault(answer.request, []).append(answer)
        return answers

    def rest(self) -> dict[bytes, list[ClientAnswer]]:
        """By request id, all answers until no more come."""
        answers: dict[bytes, list[ClientAnswer]] = {}
        while several := self.receive(0.1):
            for answer in several:
                answers.setdefault(answer.request, []).append(answer)
        return answers

    def ask(self, request: Any) -> ClientAnswer:
        self.send(request)
        answers = self.answers_to([request]).get(request.request)
        assert answers, f"no answer to {request}"
        return answers[0]

    def topology(self) -> Topology | None:
        """None while the node has not joined."""
        answer = self.ask(DescribeCluster(new_request(), ""))
        self._dealer.poll(10)  # nothing comes: the pace of who asks again and again
        return answer if isinstance(answer, Topology) else None

    def description(self) -> NodeDescription:
        answer = self.ask(DescribeNode(new_request(), ""))
        self._dealer.poll(10)
        assert isinstance(answer, NodeDescription)
        return answer

    def close(self) -> None:
        self._dealer.close(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def settings(
    host: str,
    *seeds: str,
    min_members: int = 1,
    n: int = 3,
    limits: dict[str, int] | None = None,
    buckets: dict[str, BucketSettings] | None = None,
    tracing: TracingSettings | None = None,
    **quorum: int,
) -> Config:
    """A node with the memory store that founds at once if it has no seeds."""
    return Config(
        node=NodeSettings(name=host.rpartition("/")[2], host=host),
        cluster=ClusterSettings(seeds=list(seeds), found=not seeds, min_members=min_members, partitions=16, n=n),
        quorum=QuorumSettings(**{"r": min(2, n), "w": min(2, n), **quorum}),
        storage=StorageSettings(engine="memory"),
        membership=MembershipSettings(listen_ms=0),
        limits=LimitSettings(**(limits or {})),
        buckets=buckets or {},
        tracing=tracing or TracingSettings(),
    )


class Cluster:
    """Servers `a`, `b`, `c`, ... that know each only the one before it."""

    def __init__(
        self, context: zmq.Context[Any], names: str, spans: TracerProvider | None = None, **fields: Any
    ) -> None:
        """`spans`: takes those of all nodes."""
        self.context = context
        self.spans = spans
        self.servers: dict[str, Server] = {}
        for before, name in zip(["", *names], names, strict=False):
            seeds = (self.address(before),) if before else ()
            self.start(name, settings(f"inproc://{name}", *seeds, **{"min_members": len(names), **fields}))

    def start(self, name: str, config: Config) -> None:
        server = self.servers[name] = Server(config, self.context, spans=self.spans)
        server.start()

    @staticmethod
    def address(name: str) -> str:
        return f"inproc://{name}-client"

    def client(self, name: str) -> RawClient:
        return RawClient(self.context, self.address(name))

    def wait_until_formed(self) -> None:
        """All list all as alive and know the same layout."""
        for name in self.servers:
            with self.client(name) as client:
                eventually(lambda client=client: formed(client.topology(), len(self.servers)))

    def wait_until(self, state: str, of: str, seen_by: str) -> None:
        with self.client(seen_by) as client:
            eventually(lambda: states(client.topology()).get(of) == state)

    def stop(self, name: str) -> None:
        self.servers.pop(name).stop()

    def stop_all(self) -> None:
        """Every one of them, also when some do not stop well. Raises: NodeFailed of those that did not."""
        with ExitStack() as stack:
            for name in list(self.servers):
                stack.callback(self.stop, name)


def states(topology: Topology | None) -> dict[str, str]:
    return {member.record.name: member.state for member in topology.members} if topology else {}


def formed(topology: Topology | None, count: int) -> bool:
    return topology is not None and topology.layout is not None and list(states(topology).values()) == ["alive"] * count


@contextmanager
def running(names: str, **fields: Any) -> Iterator[Cluster]:
    """A formed cluster; afterwards nothing of it is left."""
    with own_context() as context:
        cluster = Cluster(context, names, **fields)
        try:
            cluster.wait_until_formed()
            yield cluster
        finally:
            cluster.stop_all()


@contextmanager
def own_context() -> Iterator[zmq.Context[Any]]:
    """A context in which no socket may be left open."""
    context: zmq.Context[Any] = zmq.Context()
    try:
        yield context
    finally:
        left = [socket for socket in context._sockets if not socket.closed]
        assert not left, f"sockets left open: {left}"
        context.term()
