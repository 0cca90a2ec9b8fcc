"""The load generator: a closed loop on one thread that keeps so many requests in flight, straight to the owners.

All requests to one node of one round travel in one frame, as the node's answers do, unless their values are large.
Whatever is not an answer of success is an error and is counted by its kind; a request without an answer counts when its
deadline has passed.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator

import zmq
from msgspec import Struct, field

from zdynamo.cli.ask import endpoint
from zdynamo.codec import decode_answers, encode
from zdynamo.errors import ZdynamoError
from zdynamo.messages import Absent, ClientAnswer, Done, Found, Get, NodeId, Put, Topology
from zdynamo.partition import partition_of

BUCKET = "bench"
CONTENT_TYPE = ""  # plain bytes
DEADLINE_MS = 5000
LATE_SECONDS = 1.0  # past the deadline: then no answer is expected any more
POLL_MS = 100
FRAMES_A_DRAIN = 256
FILL_IN_FLIGHT = 64
FRAME_BYTES = 2**20  # of values; a node closes the connection on a frame that is larger than any request may be
FILL_STEP = 1_000  # keys between two steps of a progress bar
SUCCESS = (Done, Found, Absent)


class NothingPut(ZdynamoError):
    """The cluster takes no puts, or none like these."""


class Measured(Struct):
    """One operation at one number in flight."""

    op: str
    in_flight: int
    ops_s: float  # successes a second
    p50_ms: float
    p99_ms: float
    requests: int
    errors: dict[str, int] = field(default_factory=dict)  # kind to count


class Load:
    """The sockets and keys of a generator; one measurement at a time."""

    def __init__(self, topology: Topology, *, keys: int, value_bytes: int, named: str = "key") -> None:
        """`named`: what the names of the keys begin with."""
        self._cluster = topology.cluster
        self._value = os.urandom(value_bytes)
        self._a_frame = max(1, FRAME_BYTES // (value_bytes + 1))  # requests in it
        self._context = zmq.Context()
        addresses = {member.record.id: member.record.addresses.client for member in topology.members}
        self._dealers = {node: self._dealer(address) for node, address in addresses.items()}
        self._poller = zmq.Poller()
        for dealer in self._dealers.values():
            self._poller.register(dealer, zmq.POLLIN)
        names = [f"{named}-{number:07}".encode() for number in range(keys)]
        random.Random(0).shuffle(names)
        firsts = [_first_up(owners, topology) for owners in topology.owners]
        self._keys = [(key, firsts[partition_of(BUCKET.encode(), key, len(firsts))]) for key in names]
        self._run = os.urandom(8)
        self._sequence = 0
        self._pending: dict[bytes, float] = {}  # request to its start, oldest first
        self._latencies: list[float] = []
        self._errors: Counter[str] = Counter()

    def __enter__(self) -> "Load":
        return self

    def __exit__(self, *_: object) -> None:
        self._context.destroy(linger=0)

    @property
    def fill_steps(self) -> int:
        """How often `fill` calls `advance`."""
        return sum(1 for _ in self._fill_parts())

    def fill(self, advance: Callable[[], None] = lambda: None) -> Counter[str]:
        """Put every key once, then read every key once: the warm-up. Returns: the errors of the puts.

        Raises: NothingPut when all of the first ones fail.
        """
        first = self.measure("put", FILL_IN_FLIGHT, requests=self._fill_first)
        errors = Counter(first.errors)
        if errors.total() == first.requests:
            raise NothingPut(f"none of the first {first.requests} puts could be done: {', '.join(errors)}")
        for op, count in self._fill_parts():
            done = self.measure(op, FILL_IN_FLIGHT, requests=count)
            errors.update(done.errors if op == "put" else ())
            advance()
        return errors

    @property
    def _fill_first(self) -> int:
        return min(FILL_IN_FLIGHT, len(self._keys))

    def _fill_parts(self) -> Iterator[tuple[str, int]]:
        """Behind the first: operation, how many keys."""
        for op, begin in (("put", self._fill_first), ("get", 0)):
            for at in range(begin, len(self._keys), FILL_STEP):
                yield op, min(FILL_STEP, len(self._keys) - at)

    def measure(self, op: str, in_flight: int, *, seconds: float = 0.0, requests: int = 0) -> Measured:
        """Keep `in_flight` requests going for so many seconds, or until so many requests are answered."""
        self._pending.clear()
        self._latencies, self._errors = [], Counter()
        issued = 0
        began = now = time.perf_counter()
        end = began + seconds
        while now < end if seconds else issued < requests:
            room = in_flight - len(self._pending)
            count = min(room, requests - issued) if requests else room
            self._issue(op, count, now)
            issued += count
            now = self._collect()
        in_time = len(self._latencies)
        while self._pending:
            now = self._collect()
        elapsed, succeeded = (seconds, in_time) if seconds else (now - began, len(self._latencies))
        latencies = sorted(self._latencies) or [0.0]
        return Measured(
            op=op,
            in_flight=in_flight,
            ops_s=succeeded / elapsed,
            p50_ms=latencies[len(latencies) // 2] * 1000,
            p99_ms=latencies[int(len(latencies) * 0.99)] * 1000,
            requests=issued,
            errors=dict(self._errors),
        )

    def _issue(self, op: str, count: int, now: float) -> None:
        batches: dict[str, list[Get | Put]] = {}
        for _ in range(count):
            self._sequence += 1
            request = self._run + self._sequence.to_bytes(8, "big")
            key, owner = self._keys[self._sequence % len(self._keys)]
            message: Get | Put = (
                Put(request, self._cluster, DEADLINE_MS, BUCKET, key, self._value, CONTENT_TYPE)
                if op == "put"
                else Get(request, self._cluster, DEADLINE_MS, BUCKET, key)
            )
            batches.setdefault(owner, []).append(message)
            self._pending[request] = now
        for owner, batch in batches.items():
            for at in range(0, len(batch), self._a_frame):
                self._dealers[owner].send(encode(batch[at : at + self._a_frame]))

    def _collect(self) -> float:
        """Take what has arrived; returns the time it was taken at."""
        ready = self._poller.poll(POLL_MS)
        now = time.perf_counter()
        for dealer, _ in ready:
            for frame in _drain(dealer):
                for answer in decode_answers(frame):
                    self._take(answer, now)
        if not ready:
            self._give_up_late(now)
        return now

    def _take(self, answer: ClientAnswer, now: float) -> None:
        began = self._pending.pop(answer.request, None)
        if began is None:  # of an earlier measurement
            return
        if isinstance(answer, SUCCESS):
            self._latencies.append(now - began)
        else:
            reason = getattr(answer, "reason", "")
            self._errors[type(answer).__name__ + (f": {reason}" if reason else "")] += 1

    def _give_up_late(self, now: float) -> None:
        while self._pending:
            request, began = next(iter(self._pending.items()))
            if now - began < DEADLINE_MS / 1000 + LATE_SECONDS:
                return
            del self._pending[request]
            self._errors["no answer"] += 1

    def _dealer(self, address: str) -> "zmq.Socket[bytes]":
        dealer = self._context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.sndhwm = dealer.rcvhwm = 0  # bounded by what is in flight
        dealer.connect(endpoint(address))
        return dealer


def _first_up(owners: tuple[NodeId, ...], topology: Topology) -> NodeId:
    """The first owner of a partition that is up, if any is."""
    up = {member.record.id for member in topology.members if member.state == "alive"}
    return next((owner for owner in owners if owner in up), owners[0])


def _drain(source: "zmq.Socket[bytes]") -> list[bytes]:
    frames: list[bytes] = []
    try:
        while len(frames) < FRAMES_A_DRAIN:
            frames.append(source.recv(zmq.NOBLOCK))
    except zmq.Again:
        pass
    return frames
