"""What clients do in a run: registers, sets, deletes, conditions, values that expire, in buckets of all kinds.

Each session does one thing after the other. No two puts have the same value.
"""

from collections.abc import Callable
from random import Random
from typing import Literal, NamedTuple

from msgspec import Struct

from zdynamo.client.events import Outcome
from zdynamo.client.requests import make_delete, make_get, make_put
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Absent, Bucket, Done, Found
from zdynamo.testing.clients import SimulatedClient, Then
from zdynamo.testing.history import Kind, Operation
from zdynamo.testing.simulator import Simulation

STRICT, LATEST, SHORT, OPEN = "strict", "latest", "short", "default"
SHORT_TTL_MS = 4_000
TTLS_MS = (1_000, 5_000, 20_000)  # of single puts


class Seen(NamedTuple):
    """What a session knows of a key."""

    context: bytes
    values: tuple[bytes, ...]  # whose writes the context covers
    looked_ms: int  # from when on they were looked for


def bucket_table(limits: NodeLimits) -> tuple[Bucket, ...]:
    return (
        Bucket(LATEST, conflict="lww"),
        Bucket(SHORT, expiry_ms=SHORT_TTL_MS),
        Bucket(STRICT, pr=limits.r, pw=limits.w),
    )


class Load(Struct, kw_only=True):
    """How much is done."""

    clients: int = 3
    sessions: int = 2  # of each client
    think_ms: int = 600  # twice the mean pause between two operations of a session
    keys: int = 3  # of each kind
    deadlines_ms: tuple[int, ...] = (500, 1_000, 2_000, 5_000)
    known: int = 2  # nodes that a client knows at first


class Workload:
    """The sessions, and the history that they make."""

    def __init__(self, simulation: Simulation, random: Random, load: Load) -> None:
        self.operations: list[Operation] = []
        self.running = 0
        self._simulation = simulation
        self._random = random
        self._load = load
        self._until_ms = 0
        limits = simulation.limits
        self._meets = limits.r + limits.w > simulation.n

    def begin(self, for_ms: int) -> None:
        """Start the sessions; each ends after so long, with the operation that it is at."""
        self._until_ms = self._simulation.time_ms + for_ms
        names = sorted(self._simulation.nodes)
        for number in range(self._load.clients):
            known = tuple(self._random.sample(names, self._load.known))
            client = SimulatedClient(self._simulation, f"c{number}", known, Random(self._random.getrandbits(64)))
            for _ in range(self._load.sessions):
                self.running += 1
                session = _Session(self, client, Random(self._random.getrandbits(64)))
                self._simulation.at(self._simulation.time_ms + session.thinks_ms(), session.go_on)

    def made(self, client: SimulatedClient, kind: Kind, bucket: str, key: bytes, deadline_ms: int) -> Operation:
        operation = Operation(
            client=client.name,
            kind=kind,
            bucket=bucket,
            key=key,
            request=client.next_request,
            begin_ms=self._simulation.time_ms,
            deadline_ms=deadline_ms,
        )
        self.operations.append(operation)
        return operation

    @property
    def is_over(self) -> bool:
        return self._simulation.time_ms >= self._until_ms

    @property
    def load(self) -> Load:
        return self._load

    @property
    def meets(self) -> bool:
        """Whether R and W answers have a replica in common."""
        return self._meets

    @property
    def simulation(self) -> Simulation:
        return self._simulation


class _Session:
    """One user, who does one thing at a time."""

    def __init__(self, workload: Workload, client: SimulatedClient, random: Random) -> None:
        self._workload = workload
        self._client = client
        self._random = random
        self._limits = workload.simulation.limits
        self._strict = random.random() < 0.5  # in buckets that are not strict themselves
        self._last: dict[tuple[str, bytes], Seen] = {}  # of its own last write of a key
        self._things: tuple[tuple[Callable[[], None], int], ...] = (
            (self._put_new, 15),
            (self._read, 20),
            (self._write_over, 20),
            (self._write_blindly, 12),
            (self._write_after_own, 6),
            (self._add_to_set, 14),
            (self._delete_what_is_seen, 7),
            (self._delete_blindly, 4),
            (self._put_if, 4),
            (self._put_and_delete, 4),
        )
        self._weights = [weight for _, weight in self._things]

    def thinks_ms(self) -> int:
        return 1 + int(self._random.random() * self._workload.load.think_ms)

    def go_on(self) -> None:
        if self._workload.is_over:
            self._workload.running -= 1
            return
        ((do, _),) = self._random.choices(self._things, self._weights)
        do()

    # What a user does

    def _put_new(self) -> None:
        """A key of its own, which nobody touches again."""
        bucket = self._random.choice((OPEN, OPEN, STRICT, SHORT))
        key = b"new-%d" % len(self._workload.operations)
        self._put(bucket, key, None, self._over)

    def _read(self) -> None:
        self._get(*self._register(), self._over)

    def _write_over(self) -> None:
        bucket, key = self._register()
        self._get(bucket, key, lambda operation, told: self._write_with(bucket, key, operation, told))

    def _write_with(self, bucket: str, key: bytes, operation: Operation, told: Outcome) -> None:
        seen = _seen(operation, told)
        if seen is None:
            self._over(operation, told)
        else:
            self._put(bucket, key, seen, self._over)

    def _write_blindly(self) -> None:
        self._put(*self._register(), None, self._over)

    def _write_after_own(self) -> None:
        """With the context that its own last write gave, if it has written."""
        place = self._register()
        seen = self._last.get(place)
        self._put(*place, seen, self._over)

    def _add_to_set(self) -> None:
        key = b"set-%d" % self._random.randrange(self._workload.load.keys)

        def then(operation: Operation, told: Outcome) -> None:
            seen = _seen(operation, told)
            if seen is None:
                self._over(operation, told)
                return
            elements = {element for value in seen.values for element in value.split(b",")}
            self._put(OPEN, key, seen, self._over, elements)

        self._get(OPEN, key, then)

    def _delete_what_is_seen(self) -> None:
        bucket, key = self._register()

        def then(operation: Operation, told: Outcome) -> None:
            seen = _seen(operation, told)
            if seen is None:
                self._over(operation, told)
            else:
                self._delete(bucket, key, seen)

        self._get(bucket, key, then)

    def _delete_blindly(self) -> None:
        self._delete(*self._register(), None)

    def _put_if(self) -> None:
        bucket, key = self._register()

        def then(operation: Operation, told: Outcome) -> None:
            seen = _seen(operation, told)
            if seen is None:
                self._over(operation, told)
            elif self._random.random() < 0.5:
                self._put(bucket, key, Seen(b"", (), operation.begin_ms), self._over, condition="absent")
            else:
                self._put(bucket, key, seen, self._over, condition="unchanged")

        self._get(bucket, key, then)

    def _put_and_delete(self) -> None:
        """At a time, with the same context: where the last write wins, one may come to hide the other."""
        key = b"both-%d" % len(self._workload.operations)
        running = 2

        def done(operation: Operation, told: Outcome) -> None:
            nonlocal running
            running -= 1
            if not running:
                self._over(operation, told)

        def then(operation: Operation, told: Outcome) -> None:
            seen = self._last.get((LATEST, key))
            if seen is None:
                self._over(operation, told)
            elif self._random.random() < 0.5:
                self._put(LATEST, key, seen, done)
                self._delete(LATEST, key, seen, done)
            else:
                self._delete(LATEST, key, seen, done)
                self._put(LATEST, key, seen, done)

        self._put(LATEST, key, None, then)

    # One operation

    def _get(self, bucket: str, key: bytes, then: Then) -> None:
        operation = self._made("get", bucket, key)
        pr = self._limits.r if self._strict and bucket != STRICT else 0
        operation.strict = self._workload.meets and (bucket == STRICT or self._strict)
        self._client.call(operation, make_get(key, bucket, pr=pr), then)

    def _put(
        self,
        bucket: str,
        key: bytes,
        seen: Seen | None,
        then: Then,
        elements: set[bytes] | None = None,
        condition: Literal["", "absent", "unchanged"] = "",
    ) -> None:
        operation = self._made("put", bucket, key)
        own = b"%s.%d" % (self._client.name.encode(), len(self._workload.operations))
        operation.value = own if elements is None else b",".join(sorted({*elements, own}))
        if seen is not None:
            operation.seen, operation.seen_ms = seen.values, seen.looked_ms
        ttl_ms = None
        if bucket == SHORT:
            operation.ttl_ms = SHORT_TTL_MS
        elif elements is None and self._random.random() < 0.05:
            operation.ttl_ms = ttl_ms = self._random.choice(TTLS_MS)
        pw = self._limits.w if self._strict and bucket != STRICT else 0
        operation.strict = self._workload.meets and (bucket == STRICT or self._strict)
        context = None if seen is None else seen.context
        put = make_put(
            key,
            ("", operation.value),
            bucket,
            context=None if condition else context,
            pw=pw,
            ttl_ms=ttl_ms,
            if_absent=condition == "absent",
            if_context=context if condition == "unchanged" else None,
        )
        self._client.call(operation, put, lambda done, told: self._written(done, told, then))

    def _delete(self, bucket: str, key: bytes, seen: Seen | None, then: Then | None = None) -> None:
        operation = self._made("delete", bucket, key)
        if seen is not None:
            operation.seen, operation.seen_ms = seen.values, seen.looked_ms
        operation.strict = self._workload.meets and bucket == STRICT
        context = None if seen is None else seen.context
        self._client.call(operation, make_delete(key, bucket, context=context), then or self._over)

    def _written(self, operation: Operation, told: Outcome, then: Then) -> None:
        if isinstance(told, Done):
            self._last[operation.place] = Seen(told.context, (operation.value,), operation.end_ms)
        then(operation, told)

    def _made(self, kind: Kind, bucket: str, key: bytes) -> Operation:
        deadline_ms = self._random.choice(self._workload.load.deadlines_ms)
        return self._workload.made(self._client, kind, bucket, key, deadline_ms)

    def _over(self, operation: Operation, told: Outcome) -> None:
        self._workload.simulation.at(self._workload.simulation.time_ms + self.thinks_ms(), self.go_on)

    def _register(self) -> tuple[str, bytes]:
        bucket = self._random.choice((OPEN, OPEN, STRICT, STRICT, LATEST, SHORT))
        return bucket, b"register-%d" % self._random.randrange(self._workload.load.keys)


def _seen(operation: Operation, told: Outcome) -> Seen | None:
    """The context of a read and what it showed; None: the read has failed."""
    if not isinstance(told, Found | Absent):
        return None
    return Seen(told.context, operation.siblings, operation.begin_ms)
