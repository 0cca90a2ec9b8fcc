"""A process that offers load at a fixed rate whatever the answers are: an open loop, straight to the owners."""

import os
import time
from collections import Counter
from multiprocessing.connection import Connection

import zmq
from msgspec import Struct, field

from zdynamo.codec import decode_answers, encode
from zdynamo.messages import Overloaded, Put, Topology
from zdynamo.partition import partition_of

BUCKET = "flood"
KEYS = 5_000
VALUE = os.urandom(100)
DEADLINE_MS = 1000
ROUND_SECONDS = 0.005  # what is due in this time travels together
LATE_SECONDS = 2.0  # that answers may still come after the last request


class Offered(Struct):
    """What one generator has done and heard."""

    sent: int = 0
    held_back: int = 0  # the connection took no more: TCP said stop
    answers: dict[str, int] = field(default_factory=dict)
    retry_after_ms: list[int] = field(default_factory=list)  # lowest and highest told


def generate(topology: Topology, rate: float, seconds: float, batch: int, report: Connection) -> None:
    """The whole life of the process: says `None` when it stops sending, and an `Offered` when it stops listening.

    `batch`: requests that travel in one frame.
    """
    offered, answers, retries = Offered(), Counter[str](), set[int]()
    with zmq.Context() as context:
        dealers = {view.record.id: _dealer(context, view.record.addresses.client) for view in topology.members}
        poller = zmq.Poller()
        for dealer in dealers.values():
            poller.register(dealer, zmq.POLLIN)
        plan = _plan(topology)
        began = time.perf_counter()
        due = 0
        while (elapsed := time.perf_counter() - began) < seconds:
            wanted = int(rate * elapsed) - due
            _offer(_puts(topology.cluster, plan, due, wanted), batch, dealers, offered)
            due += wanted
            _listen(poller, began + elapsed + ROUND_SECONDS, answers, retries)
        report.send(None)
        _listen(poller, time.perf_counter() + LATE_SECONDS, answers, retries)
        for dealer in dealers.values():
            dealer.close(0)
    offered.answers = dict(answers) | {"no answer": offered.sent - answers.total()}
    offered.retry_after_ms = [min(retries), max(retries)] if retries else []
    report.send(offered)
    report.close()


def _plan(topology: Topology) -> list[tuple[bytes, str]]:
    """Keys, each with its first owner."""
    keys = [b"flood-%d" % number for number in range(KEYS)]
    count = topology.constants.partitions
    return [(key, topology.owners[partition_of(BUCKET.encode(), key, count)][0]) for key in keys]


def _puts(cluster: str, plan: list[tuple[bytes, str]], first: int, count: int) -> dict[str, list[Put]]:
    """By owner."""
    puts: dict[str, list[Put]] = {}
    prefix = os.urandom(8)
    for number in range(first, first + count):
        key, owner = plan[number % KEYS]
        put = Put(prefix + number.to_bytes(8, "big"), cluster, DEADLINE_MS, BUCKET, key, VALUE, "")
        puts.setdefault(owner, []).append(put)
    return puts


def _offer(puts: dict[str, list[Put]], batch: int, dealers: dict[str, "zmq.Socket[bytes]"], offered: Offered) -> None:
    for owner, all_of_it in puts.items():
        for at in range(0, len(all_of_it), batch):
            part = all_of_it[at : at + batch]
            try:
                dealers[owner].send(encode(part), zmq.NOBLOCK)
                offered.sent += len(part)
            except zmq.Again:
                offered.held_back += len(part)


def _listen(poller: zmq.Poller, until: float, answers: Counter[str], retries: set[int]) -> None:
    while (left_ms := (until - time.perf_counter()) * 1000) > 0:
        for dealer, _ in poller.poll(left_ms):
            _hear(dealer, answers, retries)


def _hear(dealer: "zmq.Socket[bytes]", answers: Counter[str], retries: set[int]) -> None:
    try:
        for _ in range(100):
            for answer in decode_answers(dealer.recv(zmq.NOBLOCK)):
                answers[type(answer).__name__] += 1
                if isinstance(answer, Overloaded):
                    retries.add(answer.retry_after_ms)
    except zmq.Again:
        pass


def _dealer(context: "zmq.Context[zmq.Socket[bytes]]", address: str) -> "zmq.Socket[bytes]":
    dealer = context.socket(zmq.DEALER)
    dealer.linger = 0
    dealer.connect(f"tcp://{address}")
    return dealer
