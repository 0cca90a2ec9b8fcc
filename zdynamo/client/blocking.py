"""The client for programs with threads: every method blocks until the answer is there or the deadline has passed."""

import os
import threading
import weakref
from types import TracebackType
from typing import Any

import zmq

from zdynamo.client.events import Outcome
from zdynamo.client.io_thread import IoThread
from zdynamo.client.outcomes import answer_of, value_of
from zdynamo.client.requests import UNSENT, check_deadline, make_delete, make_get, make_put
from zdynamo.client.routes import endpoint
from zdynamo.client.values import Value
from zdynamo.errors import RequestError
from zdynamo.messages import (
    ClientRequest,
    DescribeCluster,
    DescribeNode,
    Done,
    MemberView,
    NodeDescription,
    Topology,
)

DEADLINE_MS = 5_000

_opening = threading.Lock()  # made anew in a fork: in the parent another thread may have held it


class Client:
    """A connection to a cluster, safe to share between threads and to use on in a fork.

    Knows which nodes own a key and asks one of them; tries others when it fails, within the deadline. Nothing is
    connected before the first call.

    Every call raises what became of it, always a `RequestError`: `QuorumNotMet` (too few replicas; nothing was
    written), `OutcomeUnknown` and `DeadlineExceeded` (a write may or may not have been kept), `Overloaded` and
    `Refused` (nothing was done), `Unreachable` (never sent). A wrong type is a TypeError; stored bytes that cannot be
    read are `Malformed`.
    """

    def __init__(
        self,
        *addresses: str,
        deadline_ms: int = DEADLINE_MS,
        cluster: str = "",
        context: "zmq.Context[Any] | None" = None,
    ) -> None:
        """Any one member's public address (`HOST:PORT`) is enough; give several in case it is down.

        `cluster` is the cluster id to insist on, "" to take any. `context` is shared with others, for `inproc://`, and
        not used in a fork. Raises: ValueError for what is no address.
        """
        if not addresses:
            raise ValueError('give the public address of at least one node, such as "127.0.0.1:7400"')
        for address in addresses:
            _check_address(address)
        self._addresses = addresses
        self._deadline_ms = check_deadline(deadline_ms)
        self._cluster = cluster
        self._context = context
        self._made_in = os.getpid()
        self._closed = False
        self._io: IoThread | None = None
        self._finalizer: weakref.finalize[..., Any] | None = None

    def get(
        self,
        key: str | bytes,
        *,
        bucket: str = "default",
        r: int | None = None,
        pr: int | None = None,
        deadline_ms: int | None = None,
    ) -> Value | None:
        """None: R replicas agree that there is no value. `r` and `pr` replace the cluster's defaults."""
        return value_of(self._ask(make_get(key, bucket, r=r, pr=pr), deadline_ms))

    def put(
        self,
        key: str | bytes,
        value: object,
        *,
        bucket: str = "default",
        context: bytes | None = None,
        w: int | None = None,
        pw: int | None = None,
        deadline_ms: int | None = None,
    ) -> bytes:
        """Store bytes, str or plain data (`client.values`). Returns the context of what was written.

        With the `context` of a get it replaces what that get saw, and what was written meanwhile stays as a sibling.
        """
        return answer_of(
            self._ask(make_put(key, value, bucket, context=context, w=w, pw=pw), deadline_ms), Done
        ).context

    def delete(
        self,
        key: str | bytes,
        *,
        bucket: str = "default",
        context: bytes | None = None,
        r: int | None = None,
        w: int | None = None,
        deadline_ms: int | None = None,
    ) -> bool:
        """Whether there was something to delete. With a `context`, only what it has seen goes."""
        return answer_of(self._ask(make_delete(key, bucket, context=context, r=r, w=w), deadline_ms), Done).changed

    def topology(self, *, deadline_ms: int | None = None) -> Topology:
        """The cluster as one of its nodes sees it now."""
        return answer_of(self._ask(DescribeCluster(UNSENT, ""), deadline_ms), Topology)

    def members(self, *, deadline_ms: int | None = None) -> tuple[MemberView, ...]:
        """All members with their states, as one node sees them now."""
        return self.topology(deadline_ms=deadline_ms).members

    def node_status(self, address: str, *, deadline_ms: int | None = None) -> NodeDescription:
        """The figures of the node at this public address; `Unreachable` as soon as connecting to it fails."""
        _check_address(address)
        return answer_of(self._ask(DescribeNode(UNSENT, ""), deadline_ms, only_at=address), NodeDescription)

    def close(self) -> None:
        """Calls in flight in other threads fail; later ones raise. Safe to repeat."""
        self._closed = True
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: ClientRequest, deadline_ms: int | None, only_at: str = "") -> Outcome:
        within_ms = self._deadline_ms if deadline_ms is None else check_deadline(deadline_ms)
        return self._running().submit(request, within_ms, only_at).result()

    def _running(self) -> IoThread:
        """The I/O thread of this process, started on first use."""
        if self._closed:
            raise RequestError("the client is closed")
        io = self._io
        if io is None or io.pid != os.getpid():
            with _opening:
                io = self._io
                if io is None or io.pid != os.getpid():
                    io = self._io = self._open()
        return io

    def _open(self) -> IoThread:
        context = self._context if self._made_in == os.getpid() else None
        io = IoThread(self._addresses, cluster=self._cluster, context=context)
        self._finalizer = weakref.finalize(self, io.close)  # for clients that are dropped, and at exit
        return io


def _check_address(address: str) -> None:
    scheme, _, place = endpoint(address).partition("://")
    port = place.rpartition(":")[2]
    if not place or (scheme == "tcp" and not (":" in place[1:] and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError(f"{address!r} is no address, write it as HOST:PORT")


def _after_fork() -> None:
    global _opening  # noqa: PLW0603 - a lock cannot be renewed in place
    _opening = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
