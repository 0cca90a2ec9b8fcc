"""What clients did and what they were told: plain data, from the simulator or from clients of real nodes.

Whoever writes a history sees to it that no two puts of one key have the same value, and that all times are of one
clock. The promises are checked on it by `promises`.
"""

from typing import Literal

from msgspec import Struct

Key = tuple[str, bytes]  # bucket and key
Kind = Literal["get", "put", "delete"]
Outcome = Literal["", "ok", "nothing", "unknown"]

LATE_MS = 5_000  # by which a copy of a request may be at work after its deadline: a link that stood still has kept it


class Operation(Struct, kw_only=True):
    """One call of a client, with all its attempts."""

    client: str
    kind: Kind
    bucket: str
    key: bytes
    request: bytes  # of all attempts; of no other operation
    value: bytes = b""  # of a put
    seen: tuple[bytes, ...] | None = None  # the values whose writes its context covers; None: a write without a context
    seen_ms: int = -1  # when whoever gave the context began to look for them; -1: when this began
    ttl_ms: int = 0  # after which the value expires; 0: never
    strict: bool = False  # so many owners have to answer that reads and writes meet: pr=R and pw=W, with R + W > N
    begin_ms: int
    deadline_ms: int  # a span
    doubled: bool = False  # several copies of it may have been under way: attempts, or what the network has doubled
    vouched: bool = True  # else a node that was put back to a snapshot may have taken part before it was told of that
    twins: bool = False  # it was written more than once: where that is known, one of them may come to light late
    end_ms: int = -1  # -1: not yet
    outcome: Outcome = ""  # nothing: surely nothing was written, or the read failed; unknown: it may have been written
    answer: str = ""  # as the client was told, for people
    answers: int = 0  # how often it was told
    siblings: tuple[bytes, ...] = ()  # what a get showed

    @property
    def place(self) -> Key:
        return self.bucket, self.key

    @property
    def is_write(self) -> bool:
        return self.kind != "get"

    @property
    def has_written(self) -> bool:
        """Whether it may have: all but what was told that it has not."""
        return self.is_write and self.outcome != "nothing"

    @property
    def looked_ms(self) -> int:
        """From when on what its context covers was looked for."""
        return self.begin_ms if self.seen_ms < 0 else self.seen_ms

    @property
    def at_work_until_ms(self) -> int:
        """From when on no copy of it can do anything any more."""
        if self.outcome == "ok" and not self.doubled:
            return self.end_ms
        return self.begin_ms + self.deadline_ms + LATE_MS


class History(Struct, kw_only=True):
    """What was done, and what was there in the end."""

    operations: list[Operation]
    ended_ms: int  # when `final` was read
    final: dict[Key, dict[str, tuple[bytes, ...]]] = {}  # by replica, the values of all siblings; () if there are none
    lww: frozenset[str] = frozenset()  # buckets that keep only the last write, by design
    clocks_off_ms: int = 1_000  # by which a value may expire early, or late
    answers_late_ms: int = 200  # by which an answer may come after its deadline

    def by_key(self) -> dict[Key, list[Operation]]:
        """In the order in which they began."""
        found: dict[Key, list[Operation]] = {}
        for operation in sorted(self.operations, key=lambda operation: operation.begin_ms):
            found.setdefault(operation.place, []).append(operation)
        return found
