"""Whatever nodes and network do, each call of a client ends exactly once, and in time."""

from hypothesis import given, settings
from hypothesis import strategies as st
from test_client_core import CLIENT, GET, PUT, STATUS, A, B, C, D, question, topology

from zdynamo.client.core import ClientCore
from zdynamo.client.events import (
    Answered,
    Complete,
    Connect,
    Connected,
    Disconnect,
    Disconnected,
    Send,
    Submitted,
    SubmittedMany,
    Tick,
    Withdrawn,
)
from zdynamo.messages import ConditionFailed, DescribeCluster, Done, OutcomeUnknown, Overloaded, QuorumNotMet, Refused

ANSWERS = [
    lambda id: Done(id, b""),
    lambda id: QuorumNotMet(id, 2, 1),
    lambda id: OutcomeUnknown(id, 2, 1),
    lambda id: Overloaded(id, 20),
    lambda id: Refused(id, "not now", retry=True),
    lambda id: Refused(id, "never"),
    lambda id: ConditionFailed(id, b""),
]
ADDRESSES = [A, B, C, D]  # the last is no member
DEADLINE_MS = 1_000
WINDOW = 4  # calls in flight of many at once; single calls end as overloaded beyond

moves = st.one_of(
    st.tuples(st.just("call"), st.booleans()),
    st.tuples(st.just("call_many"), st.integers(1, 6)),
    st.tuples(st.just("ask_one"), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("withdraw"), st.integers(0, 50)),
    st.tuples(st.just("answer"), st.tuples(st.integers(0, 50), st.sampled_from(ANSWERS))),
    st.tuples(st.just("connect"), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("disconnect"), st.sampled_from(ADDRESSES)),
    st.tuples(st.just("wait"), st.integers(1, 400)),
)


class World:
    """The driver and the nodes, as far as the core can tell."""

    def __init__(self) -> None:
        self.core = ClientCore([A, B], client=CLIENT, in_flight_max=WINDOW)
        self.now_ms = 0
        self.calls = 0
        self.unanswered: list[Send] = []
        self.opened: set[str] = set()
        self.up: set[str] = set()
        self.ends: dict[int, int] = {}
        self.began: dict[int, int] = {}
        self.submitted: list[tuple[int, int]] = []  # first call, count
        self.withdrawn: set[int] = set()

    def step(self, event) -> None:
        for effect in self.core.step(event, self.now_ms):
            if isinstance(effect, Send):
                assert effect.address in self.up, "only connected nodes are sent to"
                self.unanswered.append(effect)
            elif isinstance(effect, Complete):
                assert effect.call not in self.ends, "a call ends once"
                assert effect.call not in self.withdrawn, "a call that was withdrawn has no end"
                self.ends[effect.call] = self.now_ms
            elif isinstance(effect, Connect):
                self.opened.add(effect.address)
            elif isinstance(effect, Disconnect):
                self.opened.discard(effect.address)
                self.up.discard(effect.address)

    def call(self, write: bool) -> None:
        self._begins(1)
        self.step(Submitted(self.calls - 1, PUT if write else GET, DEADLINE_MS))

    def call_many(self, count: int) -> None:
        self._begins(count)
        self.step(SubmittedMany(self.calls - count, [PUT, GET] * (count // 2) + [GET] * (count % 2), DEADLINE_MS))

    def ask_one(self, address: str) -> None:
        self._begins(1)
        self.step(Submitted(self.calls - 1, STATUS, DEADLINE_MS, only_at=address))

    def _begins(self, count: int) -> None:
        self.submitted.append((self.calls, count))
        self.began |= dict.fromkeys(range(self.calls, self.calls + count), self.now_ms)
        self.calls += count

    def withdraw(self, choice: int) -> None:
        if self.submitted:
            first, count = self.submitted.pop(choice % len(self.submitted))
            self.withdrawn |= set(range(first, first + count)) - set(self.ends)
            self.step(Withdrawn(first, count))

    def answer(self, choice) -> None:
        at, make = choice
        if self.unanswered:
            sent = self.unanswered.pop(at % len(self.unanswered))
            id = sent.message.request
            answer = topology(id, A, B, C) if isinstance(sent.message, DescribeCluster) else make(id)
            self.step(Answered(sent.address, answer))

    def connect(self, address: str) -> None:
        if address in self.opened:
            self.up.add(address)
            self.step(Connected(address))

    def disconnect(self, address: str) -> None:
        if address in self.opened:
            self.up.discard(address)
            self.step(Disconnected(address))

    def wait(self, for_ms: int) -> None:
        until_ms = self.now_ms + for_ms
        while (due_ms := self.core.next_due_ms) is not None and due_ms <= until_ms:
            self.now_ms = max(self.now_ms, due_ms)
            self.step(Tick())
        self.now_ms = until_ms


@settings(max_examples=200, deadline=None)
@given(st.lists(moves, max_size=60))
def test_each_call_ends_exactly_once_and_by_its_deadline_unless_it_is_withdrawn(script):
    world = World()

    for move, argument in script:
        getattr(world, move)(argument)
    world.wait(DEADLINE_MS)

    assert set(world.ends) == set(range(world.calls)) - world.withdrawn
    assert all(ended_ms <= world.began[call] + DEADLINE_MS for call, ended_ms in world.ends.items())
    assert world.core.in_flight == 0
    world.step(Answered(A, topology(question(1), A, B, C)))
    assert D not in world.opened, "nothing is kept for a call that is over"
