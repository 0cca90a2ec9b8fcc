"""Clients that connect from an address of their own, and can be asked which puts they have tried again."""

from typing import Any

import zmq

from zdynamo.client import Client
from zdynamo.codec import decode_requests
from zdynamo.errors import Malformed
from zdynamo.messages import Delete, Put


class Placed:
    """One client of the cluster under test."""

    def __init__(self, name: str, addresses: list[str], deadline_ms: int, source: str = "") -> None:
        """`source`: the host that it connects from; "": as the system chooses."""
        self.name = name
        self._context = TappedContext(source)
        self.client = Client(*addresses, deadline_ms=deadline_ms, context=self._context)

    def tried_again(self, key: str, value: bytes = b"") -> bool:
        """Whether this put (a delete has no value) took more than one attempt; asked once, when it has ended."""
        write = key.encode(), value
        again = write in self._context.again
        self._context.again.discard(write)
        return again

    def close(self) -> None:
        self.client.close()
        self._context.destroy(0)


class TappedContext(zmq.Context[Any]):
    """Its sockets note which writes go out a second time."""

    again: set[tuple[bytes, bytes]] = set()  # key and value; ZeroMQ's objects take attributes of their class only
    _source = ""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.again = set()
        self._source = source

    def socket(self, socket_type: int, socket_class: Any = None, **options: Any) -> Any:
        made = super().socket(socket_type, socket_class or _Tapped, **options)
        if isinstance(made, _Tapped):
            made.again, made.source = self.again, self._source
        return made


class _Tapped(zmq.Socket[bytes]):
    again: set[tuple[bytes, bytes]] = set()
    source = ""

    def connect(self, addr: str) -> Any:
        scheme, _, place = addr.partition("://")
        return super().connect(f"tcp://{self.source}:0;{place}" if scheme == "tcp" and self.source else addr)

    def send(self, data: Any, flags: int = 0, *arguments: Any, **options: Any) -> Any:
        try:
            requests = decode_requests(data)
        except (Malformed, TypeError):
            requests = []
        self.again.update(
            (request.key, request.value if isinstance(request, Put) else b"")
            for request in requests
            if isinstance(request, Put | Delete) and request.attempt > 1
        )
        return super().send(data, flags, *arguments, **options)
