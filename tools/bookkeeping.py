#!/usr/bin/env python3
"""What the versions of a key cost: merging, writing and encoding a record, and what a node does for one put or get.

Counted in *its versions alone*: the record that is held read from its bytes, the dot, the time, the new record, the
count of the answers, the context. Counted in the others: all that the core does. For a put that is admission, the local
copy read and decoded, the dot, the new record and its encoding, what is sent to the two other owners, both of their
answers, and the client's with its context; for a replica the merge of a record into the copy that it holds.

Not counted: messages to and from bytes, sockets, threads, and the disk: the store is a dictionary. Values have 100
bytes, keys have one sibling each, N=3, R=W=2. Messages come in rounds of 64, as under load. Each figure is the median
of several rounds, in microseconds.

    tools/bookkeeping.py
    tools/bookkeeping.py --rounds 31 --json
"""

import argparse
import gc
import json
import statistics
from collections.abc import Callable, Iterator
from itertools import count
from random import Random
from time import process_time

from msgspec.structs import replace
from rich.console import Console
from rich.table import Table

from zdynamo.core.anti_entropy.pace import Pace
from zdynamo.core.anti_entropy.trees import Trees
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.events import Effect, FromClient, FromPeer, Now, Send, ViewChanged
from zdynamo.core.node import Node
from zdynamo.core.owners.layout import make_layout
from zdynamo.core.records.context import encode_context
from zdynamo.core.records.dots import Dots
from zdynamo.core.records.hybrid_clock import HybridClock
from zdynamo.core.records.record import EMPTY, NOTHING_SEEN, Record, Sibling, decode_record, encode_record, merge, write
from zdynamo.core.served import Served
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import (
    PROTOCOL_HIGHEST,
    PROTOCOL_LOWEST,
    Addresses,
    Constants,
    Done,
    FetchReplica,
    Frame,
    Get,
    Hello,
    LayoutMember,
    MemberRecord,
    MemberView,
    PeerMessage,
    Put,
    ReplicaFetched,
    ReplicaStored,
    StoreReplica,
    StoreSizes,
    View,
)
from zdynamo.partition import HASH_VERSION, storage_key

WALL_MS = 1_800_000_000_000
KEYS = 256
A_ROUND = 64  # messages that are taken at a time
CLUSTER = "bookkeeping"
NAMES = "abc"
CLIENT = b"bookkeep"  # the first half of request ids


class Dictionary:
    """A store that costs as little as one can."""

    engine, durability, durable = "memory", "never", False

    def __init__(self) -> None:
        self._pairs: dict[bytes, bytes] = {}
        self.get = self._pairs.get

    def put(self, key: bytes, value: bytes, *, synced: bool = False) -> None:
        self._pairs[key] = value

    def delete(self, key: bytes) -> None:
        self._pairs.pop(key, None)

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        return iter(sorted(pair for pair in self._pairs.items() if start <= pair[0] < end))

    def has_records(self) -> bool:
        return bool(self._pairs)

    def room(self) -> bool:
        return True

    def sizes(self) -> StoreSizes:
        return StoreSizes(len(self._pairs), 0, -1)

    def commit(self) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21, help="how often everything is measured (default 21)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    measured = measure(chosen.rounds)
    if chosen.json:
        print(json.dumps({name: round(us, 3) for name, us in measured.items()}))
        return
    table = Table("what", "us", title=f"median of {chosen.rounds} rounds, microseconds each")
    table.columns[1].justify = "right"
    for name, us in measured.items():
        table.add_row(name, f"{us:.2f}")
    Console().print(table)


def measure(rounds: int) -> dict[str, float]:
    """Microseconds of each, by what it is."""
    records, nodes = _records(), _Trio()
    figures: dict[str, list[float]] = {}
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        for name, action in records.items():
            figures.setdefault(name, []).append(_timed(action))
        for name, us in nodes.one_round().items():
            figures.setdefault(name, []).append(us)
        gc.collect()
    gc.enable()
    return {name: statistics.median(us) for name, us in figures.items()}


def _timed(action: Callable[[], object], times: int = 2000) -> float:
    start = process_time()
    for _ in range(times):
        action()
    return (process_time() - start) / times * 1e6


def _records() -> dict[str, Callable[[], object]]:
    """What is done with records of one sibling each."""
    older, newer, beside = _sibling(1, 1), _sibling(1, 2), _sibling(2, 3)
    first = write(EMPTY, NOTHING_SEEN, older)
    twin = decode_record(encode_record(first))
    second = write(first, first.clock, newer)
    other = write(EMPTY, NOTHING_SEEN, beside)
    encoded = encode_record(first)
    return {
        "merge: equal": lambda: merge(first, twin),
        "merge: one covers the other": lambda: merge(first, second),
        "merge: concurrent": lambda: merge(first, other),
        "write over a sibling": lambda: write(first, first.clock, newer),
        "encode a record": lambda: encode_record(first),
        "decode a record": lambda: decode_record(encoded),
        "adjust a hash tree": _adjusted_tree(first, second),
        "count an answer for the pace": _answer_counted(),
        "count a request and its answer": _request_served(),
        "put: its versions alone": _versions_of_a_put(encoded, newer),
    }


def _adjusted_tree(first: Record, second: Record) -> Callable[[], object]:
    """One record in place of another; the list of what was staged is emptied now and then, as by commits."""
    trees = Trees(Dictionary(), lambda key, record: None)
    trees.own(range(256), 256)
    key = storage_key(b"default", b"key-0000000", 256)
    was, encoded = encode_record(first), encode_record(second)
    staged = count()

    def adjust() -> None:
        trees.replaced(key, first, was, second, encoded)
        if next(staged) % A_ROUND == 0:
            trees.committed()

    return adjust


def _answer_counted() -> Callable[[], object]:
    pace, answered = Pace(2**25), count()
    return lambda: pace.answered(3, next(answered) >> 5)  # 32 of them a millisecond


def _request_served() -> Callable[[], object]:
    """A put alone in its frame, and its answer alone in another, while others wait."""
    served, number = Served(), count()
    requests = [Put(_request(at), "", 5000, "default", b"key", b"", "x") for at in range(2 * A_ROUND)]
    answers = [Done(put.request, b"") for put in requests]
    served.taken(requests[:A_ROUND], 0)

    def serve() -> None:
        at = next(number)
        served.taken((requests[(at + A_ROUND) % len(requests)],), at)
        served.answered((answers[at % len(answers)],), at + 3_000)

    return serve


def _versions_of_a_put(encoded: bytes, draft: Sibling) -> Callable[[], bytes]:
    """The record that is held, the dot, the time, the new record, the count of two answers, the context."""
    dots, clock = Dots(Dictionary(), 1 << 60), HybridClock(500)
    dots.committed()
    now = Now(1_000, WALL_MS)

    def put() -> bytes:
        held = decode_record(encoded)
        dot = dots.mint(0)
        assert dot is not None
        sibling = Sibling(
            dot, clock.next(now, held.siblings[0].time), 0, False, draft.content_type, draft.value, draft.request
        )
        record = write(held, held.clock, sibling)
        tally = Tally(2, ("b", "c"), agreed=1)
        tally.yes("b")
        tally.yes("c")
        return encode_context(record.clock, b"key")

    return put


def _sibling(actor: int, counter: int) -> Sibling:
    dot = (actor << 60, 1, counter)
    return Sibling(dot, WALL_MS << 16, 0, False, "x", bytes(100), _request(counter))


def _request(number: int) -> bytes:
    return CLIENT + number.to_bytes(8, "big")


class _Trio:
    """A coordinator and a replica of a cluster of three; the third is silent."""

    def __init__(self) -> None:
        self._coordinator, self._replica = _node("a"), _node("b")
        self._number = 0
        self._now = Now(1_000, WALL_MS)
        self.one_round()

    def one_round(self) -> dict[str, float]:
        """Microseconds a put takes at the coordinator and at a replica, and a get at both."""
        spent = dict.fromkeys(
            ("put: at the coordinator", "put: at a replica", "get: at the coordinator", "get: at a replica"), 0.0
        )
        for start in range(0, KEYS, A_ROUND):
            self._now = Now(self._now.monotonic_ms + 1, self._now.wall_ms + 1)
            keys = [b"key-%d" % number for number in range(start, start + A_ROUND)]
            self._put(keys, spent)
            self._get(keys, spent)
        return {name: seconds / KEYS * 1e6 for name, seconds in spent.items()}

    def _put(self, keys: list[bytes], spent: dict[str, float]) -> None:
        puts = [FromClient(b"client", Put(self._next(), "", 5000, "default", key, bytes(100), "x")) for key in keys]
        effects, seconds = self._stepped(self._coordinator, puts)
        sent = [_said(effects, peer, StoreReplica) for peer in "bc"]
        at_replica = self._stepped(self._replica, [_frame("a", "b", sent[0])])
        answered = [
            _frame(peer, "a", [ReplicaStored(message.request) for message in messages])  # type: ignore[attr-defined]
            for peer, messages in zip("bc", sent, strict=True)
        ]
        done = self._stepped(self._coordinator, answered)
        assert len(done[0]) == len(keys) == len(sent[0]) == len(at_replica[0])
        spent["put: at the coordinator"] += seconds + done[1]
        spent["put: at a replica"] += at_replica[1]

    def _get(self, keys: list[bytes], spent: dict[str, float]) -> None:
        gets = [FromClient(b"client", Get(self._next(), "", 5000, "default", key)) for key in keys]
        effects, seconds = self._stepped(self._coordinator, gets)
        asked = _said(effects, "b", FetchReplica)
        fetched, at_replica = self._stepped(self._replica, [_frame("a", "b", asked)])
        told = _said(fetched, "a", ReplicaFetched)
        answered = [_frame(peer, "a", [replace(message) for message in told]) for peer in "bc"]
        done = self._stepped(self._coordinator, answered)
        assert len(done[0]) == len(keys) == len(told)
        spent["get: at the coordinator"] += seconds + done[1]
        spent["get: at a replica"] += at_replica

    def _next(self) -> bytes:
        self._number += 1
        return _request(self._number)

    def _stepped(self, node: Node, events: list[FromClient] | list[FromPeer]) -> tuple[list[Effect], float]:
        """The effects, and the seconds it took."""
        effects: list[Effect] = []
        start = process_time()
        for event in events:
            effects += node.step(event, self._now)
        node.committed()
        return effects, process_time() - start


def _node(me: str) -> Node:
    """A node of the cluster whose peers have said Hello."""
    members = {name: MemberRecord(name, 1, name, 1, "", 0, Addresses("", "", "", ""), "", 1) for name in NAMES}
    constants = Constants(256, 3, HASH_VERSION, 1, "a")
    layout = make_layout(1, [LayoutMember(name, "", 1) for name in NAMES])
    views = tuple(MemberView(member, "alive", 0.0) for member in members.values())
    now = Now(0, WALL_MS)
    node = Node(store=Dictionary(), limits=NodeLimits(), random=Random(me), now=now)
    node.committed()
    node.step(ViewChanged(View(1, CLUSTER, constants, members[me], views, layout, 0)), now)
    for peer in NAMES.replace(me, ""):
        hello = Hello(PROTOCOL_LOWEST, PROTOCOL_HIGHEST, members[peer], constants, 1, "")
        node.step(_frame(peer, me, [hello]), now)
    return node


def _frame(sender: str, to: str, messages: list[PeerMessage]) -> FromPeer:
    return FromPeer(Frame(CLUSTER, sender, 1, to, 1, tuple(messages)))


def _said(effects: list[Effect], to: str, kind: type) -> list[PeerMessage]:
    return [
        effect.message
        for effect in effects
        if isinstance(effect, Send) and effect.to == to and isinstance(effect.message, kind)
    ]


if __name__ == "__main__":
    main()
