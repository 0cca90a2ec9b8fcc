"""One question to exactly one node: what a client that may go to any node cannot be asked."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

import zmq

from zdynamo.codec import decode_answers, encode
from zdynamo.errors import Refused, Unreachable
from zdynamo.messages import ClientAnswer, ClientRequest, DescribeCluster, Topology

Answer = TypeVar("Answer", bound=ClientAnswer)


def topology_of(address: str, deadline_ms: int) -> Topology:
    """The cluster as that node sees it. Raises: Unreachable, Refused."""
    return ask(address, lambda request: DescribeCluster(request, ""), Topology, deadline_ms)


def ask(address: str, question: Callable[[bytes], ClientRequest], kind: type[Answer], deadline_ms: int) -> Answer:
    """Raises: Unreachable without an answer in time, Refused for another answer than that kind."""
    request = os.urandom(16)
    give_up = time.monotonic() + deadline_ms / 1000
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(endpoint(address))
        dealer.send(encode([question(request)]))
        while (left_ms := (give_up - time.monotonic()) * 1000) > 0:
            if not dealer.poll(int(left_ms) + 1):
                break
            for answer in decode_answers(dealer.recv()):
                if answer.request == request:
                    if isinstance(answer, kind):
                        return answer
                    raise Refused(f"{address} answers: {getattr(answer, 'reason', answer)}")
    raise Unreachable(f"{address} does not answer within {deadline_ms} ms: is a node running there?")


def endpoint(address: str) -> str:
    """`HOST:PORT` as ZeroMQ writes it."""
    return address if "://" in address else f"tcp://{address}"
