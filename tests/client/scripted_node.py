"""A node as a client sees it: a ROUTER that speaks the codec and answers as a script says, from a thread of its own."""

import threading
from collections.abc import Callable
from typing import Any

import zmq

from zdynamo import codec
from zdynamo.messages import (
    Absent,
    Addresses,
    Bucket,
    ClientAnswer,
    ClientLimits,
    ClientRequest,
    Constants,
    Delete,
    DescribeCluster,
    Done,
    Found,
    Get,
    KeysListed,
    ListKeys,
    MemberRecord,
    MemberView,
    NodeDescription,
    Put,
    SiblingValue,
    Topology,
)
from zdynamo.partition import partition_of

POLL_MS = 10
PARTITIONS = 4
Script = Callable[[ClientRequest], "ClientAnswer | bytes | None"]


class ScriptedCluster:
    """What its nodes agree on: the members, who owns everything, and one dictionary of values."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.owners: list[str] = []  # of every partition; empty: all members
        self.values: dict[bytes, Put] = {}
        self.buckets: tuple[Bucket, ...] = ()
        self.limits: ClientLimits | None = None

    def answer(self, request: ClientRequest) -> ClientAnswer:
        match request:
            case Put():
                self.values[request.key] = request
                return Done(request.request, b"context of " + request.key)
            case Get():
                put = self.values.get(request.key)
                if put is None:
                    return Absent(request.request, b"")
                return Found(request.request, b"seen", (SiblingValue(put.content_type, put.value, 0),))
            case Delete():
                return Done(request.request, b"", self.values.pop(request.key, None) is not None)
            case ListKeys():
                return self._listed(request)
            case DescribeCluster():
                return self._topology(request.request)
        return NodeDescription(request.request, "a" * 16, "a", "one", {}, (), "memory", "never", 1)

    def _topology(self, request: bytes) -> Topology:
        ids = {address: f"{number:016x}" for number, address in enumerate(self.addresses)}
        members = tuple(
            MemberView(MemberRecord(id, 1, id, 1, "", 0, Addresses(address, "", "", ""), "", 1), "alive", 0.0)
            for address, id in ids.items()
        )
        owners = tuple(ids[address] for address in self.owners or self.addresses)
        return Topology(
            request,
            "one",
            members[0].record.id,
            Constants(PARTITIONS, 3, 1, 1, ""),
            members,
            None,
            (owners,) * PARTITIONS,
            1,
            1,
            self.buckets,
            self.limits,
        )

    def _listed(self, request: ListKeys) -> KeysListed:
        """Two keys a page."""
        bucket = request.bucket.encode()
        keys = sorted(
            key
            for key in self.values
            if partition_of(bucket, key, PARTITIONS) == request.partition
            and key.startswith(request.prefix)
            and key > request.after
        )
        page = tuple(keys[:2])
        return KeysListed(request.request, page, page[-1] if page else b"", len(keys) > 2)


class ScriptedNode:
    """Serves until `stop`. A script answers instead of the cluster: bytes go out as they are, None is silence."""

    def __init__(
        self,
        cluster: ScriptedCluster,
        script: Script | None = None,
        *,
        bind: str = "tcp://127.0.0.1:*",
        context: "zmq.Context[Any] | None" = None,
    ) -> None:
        self._cluster = cluster
        self._own_context = zmq.Context() if context is None else None
        self.script = script or cluster.answer
        self.holds: Callable[[ClientRequest], bool] = lambda _: (
            False
        )  # whether a request has to wait, asked again and again
        self.saw_frame: Callable[[list[ClientRequest]], None] = lambda _: None
        self.received: list[ClientRequest] = []
        self._router = (context or self._own_context).socket(zmq.ROUTER)
        self._router.linger = 0
        self._router.bind(bind)
        self.address = self._router.last_endpoint.decode().removeprefix("tcp://")
        if self.address not in cluster.addresses:
            cluster.addresses.append(self.address)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="scripted-node")
        self._thread.start()

    def stop(self) -> None:
        """Like a kill: connections break, what is unanswered stays so."""
        self._stopping.set()
        self._thread.join()
        if self._own_context:
            self._own_context.term()

    def __enter__(self) -> "ScriptedNode":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def data_requests(self) -> list[ClientRequest]:
        return [request for request in self.received if isinstance(request, Get | Put | Delete)]

    def _serve(self) -> None:
        waiting: list[tuple[bytes, ClientRequest]] = []
        while not self._stopping.is_set():
            if self._router.poll(POLL_MS):
                client, frame = self._router.recv_multipart()
                requests = codec.decode_requests(frame)
                self.saw_frame(requests)
                self.received += requests
                waiting += [(client, request) for request in requests]
            held = [(client, request) for client, request in waiting if self.holds(request)]
            for client, request in [entry for entry in waiting if entry not in held]:
                answer = self.script(request)
                if answer is not None:
                    frame = answer if isinstance(answer, bytes) else codec.encode([answer])
                    self._router.send_multipart([client, frame])
            waiting = held
        self._router.close()
