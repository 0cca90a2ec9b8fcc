"""The client without sockets: routes each call, tries other nodes within its deadline, ends it once (paper 4.5, 6.4).

`step` turns what happened into what is to be done. A driver owns sockets and clock and carries effects out in order.

What a no from a node means: *overloaded* and *refused, try again* wait a little and go elsewhere until the deadline.
*Quorum not met* and *outcome unknown* are tried once more at another node at once, then told to the caller. *Condition
failed* is told at once. A write of which an earlier attempt stayed without answer never ends as *nothing was done*.

Of many requests submitted at once as many are in flight as fit in a window; the rest waits in a queue.
"""

from collections.abc import Callable, Iterable
from typing import Any

from zdynamo.client.calls import Call, Denial, patience_ms
from zdynamo.client.events import (
    Answered,
    Complete,
    Connect,
    Connected,
    Disconnect,
    Disconnected,
    Effect,
    Event,
    NoNodeReached,
    Outcome,
    Send,
    Submitted,
    SubmittedMany,
    Tick,
    Withdrawn,
)
from zdynamo.client.limits import Limits
from zdynamo.client.queues import Queue, Queues
from zdynamo.client.routes import Link, Routes, endpoint
from zdynamo.client.timers import Timers
from zdynamo.messages import (
    Absent,
    ClientRequest,
    ConditionFailed,
    DescribeCluster,
    DescribeNode,
    Done,
    Explained,
    Found,
    KeysListed,
    NodeDescription,
    OutcomeUnknown,
    Overloaded,
    Put,
    QuorumNotMet,
    Refused,
    RepairProgress,
    Topology,
)

IN_FLIGHT_MAX = 10_000  # calls; beyond, and beyond this many bytes of values, a call ends as overloaded
IN_FLIGHT_BYTES_MAX = 256 * 2**20
WINDOW = 256  # calls in flight; beyond, requests that were submitted many at once wait: more only wait in the nodes
OVERLOADED_RETRY_MS = 50
REFRESH_MS = 5_000  # between looks at the topology while calls are made
REFRESH_AGAIN_MS = 1_000  # when a look was not answered
REFRESH_SOON_MS = 100  # when something suggests that the topology has changed: at most one look in this time
PAUSE_MS = 10  # before a refused call is tried again; doubled each time
PAUSE_MAX_MS = 200
NOBODY_MS = 1_000  # how long a call waits for a first node while every node given turns the connection down
SLOW_PATIENCES = 4  # a node that answers others may take this many times the patience for one call
TRY_AGAIN_MS = 5  # a call with less time left than this is not tried once more

FINAL = (Found, Absent, Done, NodeDescription, KeysListed, Explained, RepairProgress)
OWN_REQUESTS = 1 << 63  # request counters from here on are the core's own questions


class ClientCore:
    """Invariant: each call that is not withdrawn is completed exactly once, by its deadline plus the driver's delay."""

    def __init__(
        self,
        bootstrap: Iterable[str],
        *,
        client: bytes,
        cluster: str = "",
        in_flight_max: int = IN_FLIGHT_MAX,
        in_flight_bytes_max: int = IN_FLIGHT_BYTES_MAX,
        routes: Callable[[Iterable[str]], Routes] = Routes,
    ) -> None:
        """`client` is 8 random bytes, never used by another core; `cluster` the id to insist on, "" to take any."""
        assert len(client) == 8, f"a client id has 8 bytes, not {len(client)}"
        self._client = client
        self._cluster = cluster
        self._in_flight_max = in_flight_max
        self._in_flight_bytes_max = in_flight_bytes_max
        self._routes = routes(bootstrap)
        self._limits = Limits(in_flight_bytes_max)
        self._timers = Timers()
        self._queues = Queues()
        self._calls: dict[bytes, Call] = {}
        self._bytes_in_flight = 0
        self._parked: dict[bytes, Call] = {}  # calls that wait until a node is up
        self._own_requests = OWN_REQUESTS
        self._asked_at_ms = -REFRESH_MS
        self._refresh_at_ms = -1  # the next look is due by then, if there are calls
        self._steps: dict[type, Any] = {
            Submitted: self._submitted,
            SubmittedMany: self._submitted_many,
            Withdrawn: self._withdrawn,
            Answered: self._answered,
            Connected: self._connected,
            Disconnected: self._disconnected,
            Tick: self._tick,
        }
        self._denials: dict[type, Any] = {
            Refused: self._refused,
            Overloaded: self._overloaded,
            QuorumNotMet: self._missed,
            OutcomeUnknown: self._missed,
            ConditionFailed: self._failed,
        }

    def step(self, event: Event, now_ms: int) -> list[Effect]:
        effects: list[Effect] = self._steps[type(event)](event, now_ms)
        if self._queues:
            effects += self._fill_window(now_ms)
        return effects

    @property
    def next_due_ms(self) -> int | None:
        """When to tick next; None: not before something else has happened."""
        return self._timers.next_due_ms

    @property
    def topology(self) -> Topology | None:
        """The cluster as last told by a node; None: not known yet."""
        return self._routes.topology

    @property
    def in_flight(self) -> int:
        return len(self._calls)

    @property
    def timers_held(self) -> int:
        return len(self._timers)

    def _submitted(self, event: Submitted, now_ms: int) -> list[Effect]:
        if not self._has_room(event.request, self._in_flight_max):
            return [Complete(event.call, Overloaded(self._id_of(event.call), OVERLOADED_RETRY_MS))]
        effects: list[Effect] = []
        if event.only_at:
            effects += self._open([self._routes.at(endpoint(event.only_at))])
        if now_ms >= self._refresh_at_ms:
            effects += self._refresh(now_ms)
        due_ms, patience = now_ms + event.deadline_ms, patience_ms(event.deadline_ms)
        call = Call(event.call, self._id_of(event.call), event.request, now_ms, due_ms, patience)
        if event.only_at:
            call.only_at = self._routes.at(endpoint(event.only_at))
        effects += self._begin(call, now_ms)
        return effects

    def _submitted_many(self, event: SubmittedMany, now_ms: int) -> list[Effect]:
        self._timers.wake(self._queues.add(event, now_ms), now_ms + event.deadline_ms)
        return self._refresh(now_ms) if now_ms >= self._refresh_at_ms else []

    def _fill_window(self, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        window = min(WINDOW, self._in_flight_max)
        while (request := self._queues.next_request) is not None and self._has_room(request, window):
            effects += self._begin(self._queues.begin(self._client), now_ms)
        return effects

    def _has_room(self, request: ClientRequest, in_flight_max: int) -> bool:
        """Also for what never fits: it is refused at once, and nothing waits behind it."""
        size, most = len(request.value) if type(request) is Put else 0, self._in_flight_bytes_max
        return len(self._calls) < in_flight_max and (self._bytes_in_flight + size <= most or size > most)

    def _begin(self, call: Call, now_ms: int) -> list[Effect]:
        request = call.request
        self._calls[call.id] = call
        self._bytes_in_flight += len(request.value) if type(request) is Put else 0
        excess = self._limits.excess(request)
        if excess and self._limits.refuses(request):
            return [self._finish(call, Refused(call.id, excess))]
        call.held = bool(excess)
        return self._route(call, now_ms)

    def _withdrawn(self, event: Withdrawn, _: int) -> list[Effect]:
        self._queues.withdraw(event.call)
        for number in range(event.call, event.call + event.count):
            call = self._calls.get(self._id_of(number))
            if call:
                self._finish(call)
        return []

    def _answered(self, event: Answered, now_ms: int) -> list[Effect]:
        answer = event.answer
        link = self._routes.known(event.address)
        if link is None:
            return []
        link.heard_at_ms = now_ms
        link.silent = False
        call = self._calls.get(answer.request)
        if isinstance(answer, FINAL):
            return [self._finish(call, answer)] if call else []
        if isinstance(answer, Topology):
            return self._learned(answer, call, now_ms)
        return self._denied(call, link, answer, now_ms) if call else []

    def _connected(self, event: Connected, now_ms: int) -> list[Effect]:
        link = self._routes.known(event.address)
        if link is None:
            return []
        link.up, link.failed, link.silent = True, False, False
        waiting, self._parked = self._parked, {}
        effects = self._refresh(now_ms) if self.topology is None and self._calls else []
        for call in waiting.values():
            effects += self._route(call, now_ms)
        return effects

    def _disconnected(self, event: Disconnected, now_ms: int) -> list[Effect]:
        link = self._routes.known(event.address)
        if link is None:
            return []
        was_up, link.up, link.failed, link.silent = link.up, False, True, False
        held, link.outstanding = link.outstanding, {}
        effects: list[Effect] = []
        if was_up and self._calls:
            effects += self._refresh(now_ms)
        for call in held.values():
            if call.only_at:
                effects.append(self._finish(call, None if call.is_write else NoNodeReached((link.address,))))
            elif call.link is link:
                effects += self._route(call, now_ms)
        return effects

    def _tick(self, _: Tick, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        for call in self._timers.due(now_ms):
            if isinstance(call, Queue):
                effects += self._expired(call)
            elif now_ms >= call.due_ms:
                effects.append(self._finish(call))
            elif call.link:
                effects += self._unanswered(call, call.link, now_ms)
            elif call.id not in self._parked:
                effects += self._route(call, now_ms)
            elif self._routes.nobody_there and not call.attempts:
                effects.append(self._finish(call))
            else:
                if self.topology is None and now_ms >= self._refresh_at_ms:
                    effects += self._refresh(now_ms)
                self._timers.wake(call, min(call.due_ms, now_ms + NOBODY_MS))
        return effects

    def _expired(self, queue: Queue) -> list[Effect]:
        """The time is over while some have not even begun: of these surely nothing was done."""
        numbers = self._queues.expire(queue)
        return [Complete(number, Overloaded(self._id_of(number), OVERLOADED_RETRY_MS)) for number in numbers]

    def _route(self, call: Call, now_ms: int) -> list[Effect]:
        """Send it to the best node there is, or let it wait for one."""
        call.leave()
        link = None if call.held else call.only_at or self._routes.pick(call.request, call.tried)
        if link and link.up:
            return [self._send(call, link, now_ms)]
        self._parked[call.id] = call
        if link:
            link.outstanding[call.id] = call  # so that it ends when the one node that may serve it cannot be reached
        self._timers.wake(call, min(call.due_ms, now_ms + NOBODY_MS))
        return []

    def _send(self, call: Call, link: Link, now_ms: int) -> Send:
        call.link = link
        call.attempts += 1
        call.attempts_open += 1
        call.sent_at_ms = now_ms
        link.outstanding[call.id] = call
        self._timers.wake(call, min(call.due_ms, now_ms + call.patience_ms))
        return Send(link.address, call.message(self._cluster, now_ms))

    def _unanswered(self, call: Call, link: Link, now_ms: int) -> list[Effect]:
        """Ask another node as well: at once if this one is silent to everybody, later if it is only slow with this."""
        effects: list[Effect] = []
        quiet_since_ms = max(call.sent_at_ms, link.heard_at_ms)
        silent = now_ms - quiet_since_ms >= call.patience_ms
        if silent and not link.silent:
            link.silent = True
            effects.append(Send(link.address, DescribeNode(self._own_request(), self._cluster)))  # its answer ends that
        slow = now_ms - call.sent_at_ms >= SLOW_PATIENCES * call.patience_ms
        other = None if call.only_at else self._routes.pick(call.request, [*call.tried, link])
        if (silent or slow) and other and call.id not in other.outstanding:
            call.leave()
            return [*effects, self._send(call, other, now_ms)]
        again_ms = now_ms if silent else quiet_since_ms
        self._timers.wake(call, min(call.due_ms, again_ms + call.patience_ms))
        return effects

    def _denied(self, call: Call, link: Link, answer: Denial, now_ms: int) -> list[Effect]:
        link.outstanding.pop(call.id, None)
        call.last = answer
        if not isinstance(answer, OutcomeUnknown):
            call.attempts_open -= 1
        if call.link is not link:
            return []  # the no of an earlier attempt: the latest decides
        effects: list[Effect] = self._denials[type(answer)](call, answer, now_ms)
        return effects

    def _refused(self, call: Call, answer: Refused, now_ms: int) -> list[Effect]:
        if not answer.retry:
            return [self._finish(call)]
        pause_ms = min(PAUSE_MS << min(call.pauses, 10), PAUSE_MAX_MS)
        call.pauses += 1
        return self._refresh_soon(now_ms) + self._later(call, pause_ms, now_ms)

    def _overloaded(self, call: Call, answer: Overloaded, now_ms: int) -> list[Effect]:
        return self._later(call, max(PAUSE_MS, answer.retry_after_ms), now_ms)

    def _missed(self, call: Call, _: QuorumNotMet | OutcomeUnknown, now_ms: int) -> list[Effect]:
        if call.tried_again or call.due_ms - now_ms < TRY_AGAIN_MS:
            return [self._finish(call)]
        missed_at = call.link
        call.leave()
        other = self._routes.pick(call.request, call.tried)
        if other is None or other is missed_at or not other.good:
            return [self._finish(call)]
        call.tried_again = True
        return self._refresh_soon(now_ms) + self._route(call, now_ms)

    def _failed(self, call: Call, _: ConditionFailed, now_ms: int) -> list[Effect]:
        return [self._finish(call)]

    def _later(self, call: Call, pause_ms: int, now_ms: int) -> list[Effect]:
        if now_ms + pause_ms > call.due_ms - TRY_AGAIN_MS:
            return [self._finish(call)]
        call.leave()
        self._timers.wake(call, now_ms + pause_ms)
        return []

    def _finish(self, call: Call, outcome: Outcome | None = None) -> Complete:
        """End it with a final answer, or with what follows from all that was tried."""
        del self._calls[call.id]
        self._parked.pop(call.id, None)
        self._bytes_in_flight -= len(call.request.value) if type(call.request) is Put else 0
        call.wake_at_ms = -1
        for link in filter(None, (*call.tried, call.link, call.only_at)):  # at the last it may wait unsent
            link.outstanding.pop(call.id, None)
        return Complete(call.number, outcome or call.verdict(self._routes))

    def _refresh(self, now_ms: int) -> list[Effect]:
        """Look at the topology, through another node each time."""
        self._asked_at_ms = now_ms
        self._refresh_at_ms = now_ms + REFRESH_AGAIN_MS
        effects = self._open(self._routes.unopened())
        informant = self._routes.informant()
        if informant:
            effects.append(Send(informant.address, DescribeCluster(self._own_request(), self._cluster)))
        return effects

    def _refresh_soon(self, now_ms: int) -> list[Effect]:
        return self._refresh(now_ms) if now_ms - self._asked_at_ms >= REFRESH_SOON_MS else []

    def _learned(self, topology: Topology, call: Call | None, now_ms: int) -> list[Effect]:
        effects: list[Effect] = []
        if self._cluster in ("", topology.cluster):
            self._cluster = topology.cluster
            self._refresh_at_ms = now_ms + REFRESH_MS
            self._limits.learn(topology.limits)
            wanted = [call.only_at for call in self._calls.values() if call.only_at]
            effects += [Disconnect(link.address) for link in self._routes.learn(topology, wanted) if link.opened]
            effects += self._open(self._routes.unopened())
            for held in [held for held in self._parked.values() if held.held]:
                effects += self._release(held, now_ms)
        if call:
            effects.append(self._finish(call, topology))
        return effects

    def _release(self, call: Call, now_ms: int) -> list[Effect]:
        """The limits are known now."""
        excess = self._limits.excess(call.request)
        if excess:
            return [self._finish(call, Refused(call.id, excess))]
        call.held = False
        del self._parked[call.id]
        return self._route(call, now_ms)

    def _open(self, links: list[Link]) -> list[Effect]:
        effects: list[Effect] = []
        for link in links:
            if not link.opened:
                link.opened = True
                effects.append(Connect(link.address))
        return effects

    def _id_of(self, number: int) -> bytes:
        return self._client + number.to_bytes(8, "big")

    def _own_request(self) -> bytes:
        self._own_requests += 1
        return self._client + self._own_requests.to_bytes(8, "big")
