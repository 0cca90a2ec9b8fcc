"""What the nodes say of each other and of themselves, asked of all at once over connections that stay."""

import os
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import zmq

from zdynamo.codec import decode_answers, encode
from zdynamo.messages import ClientAnswer, ClientRequest, DescribeCluster, DescribeNode, NodeDescription, Topology

ANSWER_SECONDS = 0.5
Answer = TypeVar("Answer", bound=ClientAnswer)


class Watch:
    """One connection a node. Close it, or use it as a context manager."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        """`addresses`: by the name of the node."""
        self._context: zmq.Context[Any] = zmq.Context()
        self._dealers: dict[str, zmq.Socket[bytes]] = {}
        for name, address in addresses.items():
            dealer = self._dealers[name] = self._context.socket(zmq.DEALER)
            dealer.linger = 0
            dealer.setsockopt(zmq.IMMEDIATE, 1)  # nothing waits in a queue for a node that is gone
            dealer.setsockopt(zmq.RECONNECT_IVL, 20)
            dealer.connect(f"tcp://{address}")

    def close(self) -> None:
        self._context.destroy(0)

    def states(self, of: list[str]) -> dict[str, dict[str, str]]:
        """By node that answers: the state of each member, by name."""
        found = self._ask(of, lambda request: DescribeCluster(request, ""), Topology)
        return {
            name: {member.record.name: member.state for member in topology.members} for name, topology in found.items()
        }

    def topologies(self, of: list[str]) -> dict[str, Topology]:
        return self._ask(of, lambda request: DescribeCluster(request, ""), Topology)

    def descriptions(self, of: list[str]) -> dict[str, NodeDescription]:
        return self._ask(of, lambda request: DescribeNode(request, ""), NodeDescription)

    def _ask(self, of: list[str], question: Callable[[bytes], ClientRequest], kind: type[Answer]) -> dict[str, Answer]:
        request = os.urandom(16)
        poller, waiting = zmq.Poller(), {}
        for name in of:
            dealer = self._dealers[name]
            try:
                dealer.send(encode([question(request)]), zmq.NOBLOCK)
            except zmq.Again:
                continue
            waiting[dealer] = name
            poller.register(dealer, zmq.POLLIN)
        found: dict[str, Answer] = {}
        give_up = time.monotonic() + ANSWER_SECONDS
        while waiting and (left_s := give_up - time.monotonic()) > 0:
            for dealer, _ in poller.poll(int(left_s * 1000) + 1):
                for answer in decode_answers(dealer.recv()):
                    if answer.request == request and isinstance(answer, kind):
                        found[waiting.pop(dealer)] = answer
                        poller.unregister(dealer)
        return found
