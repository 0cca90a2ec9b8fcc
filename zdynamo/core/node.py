"""The whole protocol of one node, pure: `step(event, now)` returns the effects (paper 4).

The threads and the simulator drive it alike: they step it with what has arrived, commit the store once, call
`committed` (or `abandon`), and only then carry the effects out.
"""

from collections.abc import Callable

from msgspec.structs import replace

from zdynamo.core.anti_entropy.asking import AntiEntropy
from zdynamo.core.coordinator.explains import Explains
from zdynamo.core.coordinator.listings import Listings
from zdynamo.core.coordinator.pending import answer
from zdynamo.core.coordinator.requests import Requests
from zdynamo.core.coordinator.write import Write
from zdynamo.core.describe import describe_cluster, describe_node, figures_of
from zdynamo.core.events import (
    Effect,
    Event,
    FromClient,
    FromPeer,
    Mailed,
    News,
    Noted,
    Now,
    PeerUnreachable,
    Randomness,
    Reply,
    Send,
    Tick,
    ViewChanged,
)
from zdynamo.core.failures.evidence import path_lost
from zdynamo.core.links import Links
from zdynamo.core.owners.placement import Placement
from zdynamo.core.reaping.reaper import Reaper
from zdynamo.core.recovery.pulls import Pulls
from zdynamo.core.recovery.standing import Standing
from zdynamo.core.replicas.handoff import Handoff, Handover
from zdynamo.core.replicas.storing import Storing
from zdynamo.core.served import Histogram, Served
from zdynamo.core.settings import NodeLimits
from zdynamo.core.state import State
from zdynamo.core.store import Store
from zdynamo.messages import (
    BeginRound,
    Bucket,
    CompareHashes,
    CompareKeys,
    Delete,
    DescribeCluster,
    DescribeNode,
    FetchReplica,
    Forward,
    Forwarded,
    Frame,
    Get,
    HandOver,
    Hashes,
    Hello,
    HoldReplica,
    Inspect,
    Inspected,
    LayoutWanted,
    LeafKeys,
    ListKeys,
    ListReplica,
    NodeId,
    Page,
    PeerMessage,
    Ping,
    Pong,
    Probe,
    Probed,
    PullPage,
    Put,
    Reap,
    ReapAsk,
    Reaped,
    ReapHeld,
    RecordsSwapped,
    Refusal,
    Refused,
    Repair,
    ReplicaFetched,
    ReplicaListed,
    ReplicaRefused,
    ReplicaStored,
    RoundBegun,
    RoundsTold,
    RoundsWanted,
    StoreReplica,
    SwapRecords,
    Table,
)
from zdynamo.partition import is_storage_key

STOPPING = "this node is stopping: ask another"
DATA = (Put, Get, Delete)
TO_ROUTER = (Pong, Table, LayoutWanted, Probe, Probed)  # never PathLost: only this node can know that
COMPARING = (CompareHashes, Hashes, CompareKeys, LeafKeys, SwapRecords, RecordsSwapped)
REAPING = (ReapAsk, ReapHeld, BeginRound, RoundBegun, Reap, Reaped)


class Node:
    """One node. Owned by one thread, together with its store."""

    def __init__(
        self,
        *,
        store: Store,
        limits: NodeLimits,
        random: Randomness,
        now: Now,
        had_data: bool = False,
        epoch: int = 0,
        machine_boot: str = "",
        place: str = "",
        buckets: tuple[Bucket, ...] = (),
    ) -> None:
        """Commit before the first step, and before the membership keeps another epoch.

        `had_data`: this node has been a member; an empty store is a lost disk then. `epoch`: the last one that the
        membership has kept. `machine_boot`: of which start of the machine it is; `place`: another for every
        copy of the store; "" if they are not known.
        """
        state = State(
            store=store, limits=limits, random=random, buckets=buckets,
            had_data=had_data, epoch=epoch, machine_boot=machine_boot, place=place,
        )  # fmt: skip
        state.clock.look(now)
        self._state = state
        self.counters = state.counters
        self.served = Served()  # this one and the next are filled by the driver
        self.turns = Histogram()  # of its loop
        self.stopping = False  # set by the driver: take nothing new, finish what is in progress
        self._started_ms = now.monotonic_ms
        self._placement: Placement | None = None
        self._links = Links(self.counters)
        self._pulls = Pulls(state, linked=self._links.heard)
        self._standing = Standing(state, linked=self._links.heard, heard_round=self._pulls.heard_round)
        self._storing = Storing(state, heard_round=self._pulls.heard_round)
        self._requests = Requests(state, heard_round=self._pulls.heard_round, first_number=random.getrandbits(48))
        self._pending = self._requests.pending
        self.asked_by = self._pending.asked_by  # for the driver, which may trace requests
        self._handoff = Handoff(state, self._pending, linked=self._links.heard)
        self._reaper = Reaper(state, heal=self._requests.heal, heard_round=self._pulls.heard_round, random=random)
        self._listings = Listings(state, self._pending, self._requests.forming, fetch=self._requests.local)
        self._anti_entropy = AntiEntropy(
            state, linked=self._links.heard, heard_round=self._pulls.heard_round, first_number=random.getrandbits(48)
        )
        self._explains = Explains(state, self._pending, waits=self._reaper.waits)
        self._steps: dict[type[Event], Callable[..., list[Effect]]]
        self._handlers: dict[type[PeerMessage], Callable[..., list[Effect]]]
        self._wire()

    def _wire(self) -> None:
        """Who takes which event, and which message."""
        self._steps = {
            FromPeer: self._from_peer,
            FromClient: self._from_client,
            Mailed: self._mailed,
            ViewChanged: self._view_changed,
            PeerUnreachable: self._peer_unreachable,
            Tick: self._tick,
        }
        self._handlers = {
            StoreReplica: self._storing.store,
            HoldReplica: self._storing.hold,
            HandOver: self._storing.hand_over,
            ReplicaStored: self._replica_stored,
            FetchReplica: self._fetch_replica,
            ReplicaFetched: self._replica_fetched,
            ReplicaRefused: self._replica_refused,
            Forward: self._forward,
            Forwarded: self._forwarded,
            Ping: self._ping,
            Hello: self._hello,
            PullPage: self._pulls.page_wanted,
            Page: self._pulls.page,
            RoundsWanted: self._standing.wanted,
            RoundsTold: self._standing.told,
            ReapAsk: self._reaper.asked,
            ReapHeld: self._reaper.held,
            BeginRound: self._reaper.begin_round,
            RoundBegun: self._reaper.round_begun,
            Reap: self._reaper.reap,
            Reaped: self._reaper.reaped,
            ListReplica: self._listings.list_replica,
            ReplicaListed: self._listings.replica_listed,
            Inspect: self._explains.inspect,
            Inspected: self._explains.inspected,
            CompareHashes: self._anti_entropy.answering.hashes_wanted,
            Hashes: self._anti_entropy.hashes,
            CompareKeys: self._anti_entropy.answering.keys_wanted,
            LeafKeys: self._anti_entropy.answered,
            SwapRecords: self._anti_entropy.answering.swap_wanted,
            RecordsSwapped: self._anti_entropy.answered,
        }

    def step(self, event: Event, now: Now) -> list[Effect]:
        """What follows from an event. Deterministic; writes are staged in the store."""
        pending = self._pending
        pending.now_ms = pending.began_ms = now.monotonic_ms
        return self._steps[type(event)](event, now)

    def committed(self) -> None:
        """What the steps since the last call have staged is kept."""
        self._state.committed()
        self._pulls.committed()
        self._requests.committed()

    def leaving(self) -> None:
        """Stage the mark of a clean stop: the last thing that is committed."""
        self._state.session.leave()

    def abandon(self, effects: list[Effect], *, surely_nothing: bool) -> list[Effect]:
        """The commit failed: the effects to carry out instead of those of the steps since the last commit."""
        self._state.discarded()
        self._pulls.discarded()
        self._standing.discarded()
        self._reaper.discarded()
        self._anti_entropy.discarded()
        self.counters["commits.failed"] += 1
        kept = self._handoff.abandon(self._requests.abandon(effects, surely_nothing=surely_nothing))
        kept += self._listings.abandon()
        return [
            Send(effect.to, ReplicaRefused(effect.message.request, "disk"))
            if isinstance(effect, Send) and isinstance(effect.message, ReplicaStored)
            else effect
            for effect in kept
            if not (isinstance(effect, Send) and isinstance(effect.message, (*REAPING, *COMPARING, Page, RoundsTold)))
        ]

    @property
    def next_due_ms(self) -> int | None:
        """When the next Tick is wanted, monotonic; None: not before another event."""
        dues = [self._requests.next_due_ms]
        if self._placement is not None and self._placement.owners and not self.stopping:
            dues += (self._pulls.next_due_ms, self._handoff.next_due_ms, self._reaper.next_due_ms)
            dues += (self._anti_entropy.next_due_ms, self._standing.next_due_ms)
        return min((due_ms for due_ms in dues if due_ms is not None), default=None)

    @property
    def idle(self) -> bool:
        """Whether no client waits for an answer."""
        return self._requests.idle

    def frame(self, to: NodeId, messages: tuple[PeerMessage, ...]) -> Frame:
        """A round's messages to one peer ("" to a stranger), addressed."""
        assert self._placement is not None
        view = self._placement.view
        return Frame(view.cluster, view.me.id, view.me.epoch, to, self._links.epoch_of(to), messages)

    def _view_changed(self, event: ViewChanged, now: Now) -> list[Effect]:
        before, view = self._placement, event.view
        placement = self._placement = Placement(view)
        effects: list[Effect] = self._links.view_changed(placement, now.monotonic_ms)
        effects += self._pulls.view_changed(placement, now)
        self._standing.view_changed(now)
        self._anti_entropy.view_changed(placement, now)
        if view.layout is not None:
            effects += self._requests.layout_known(placement, now)
        self._handoff.view_changed()
        for peer in sorted(placement.down - (before.down if before else frozenset())):
            effects += self._requests.missing(peer, placement, now, gone=True)
        return effects

    def _mailed(self, event: Mailed, now: Now) -> list[Effect]:
        placement = self._placement
        if placement is None or event.to not in placement.members:
            return []
        if event.to == placement.me:  # the router wants to know whether this thread still runs
            ping = event.message
            return [News(placement.view.cluster, event.to, Pong(ping.sequence))] if isinstance(ping, Ping) else []
        send = Send(event.to, event.message)
        if self._links.heard(event.to) and placement.members[event.to].state == "alive":
            return [send]
        return [self._links.greet(event.to, placement, now.monotonic_ms), send]  # it may be another process by now

    def _peer_unreachable(self, event: PeerUnreachable, now: Now) -> list[Effect]:
        self.counters["peers.full" if event.full else "peers.unreachable"] += 1
        if self._placement is None:
            return []
        told: list[Effect] = []
        if not event.full:
            self._state.patience.lost.add(event.peer)
            told = path_lost(self._placement, event.peer, "lost")
        return told + self._requests.missing(event.peer, self._placement, now, gone=not event.full)

    def _tick(self, event: Tick, now: Now) -> list[Effect]:
        placement = self._placement
        if placement is None:
            return []
        effects = self._requests.expire(placement, now)
        if placement.owners and not self.stopping:
            effects += self._pulls.tick(placement, now) + self._standing.tick(placement, now)
            effects += self._handoff.tick(placement, now)
            effects += self._reaper.tick(placement, now) + self._anti_entropy.tick(placement, now)
        return effects

    def _from_peer(self, event: FromPeer, now: Now) -> list[Effect]:
        frame = event.frame
        placement = self._placement
        if placement is None or frame.cluster != placement.view.cluster:
            strangers: list[Effect] = [
                News(frame.cluster, frame.sender, message) for message in frame.messages if isinstance(message, Hello)
            ]
            return strangers + (self._links.accept(frame, placement, now.monotonic_ms)[1] if placement else [])
        messages, effects = self._links.accept(frame, placement, now.monotonic_ms)
        if messages:
            self._state.patience.heard(frame.sender, messages)
        for message in messages:
            if event.waited_ms and isinstance(message, Forward):
                message = replace(message, deadline_ms=message.deadline_ms - event.waited_ms)  # noqa: PLW2901
            handler = self._handlers.get(type(message))
            if handler is not None:
                effects += handler(frame.sender, message, placement, now)
            elif isinstance(message, TO_ROUTER):
                effects.append(News(frame.cluster, frame.sender, message))
            elif isinstance(message, Refusal):
                effects.append(Noted("peer.refused_us", {"sender": frame.sender, "reason": message.reason}, "warning"))
        return effects

    def _hello(self, sender: NodeId, message: Hello, placement: Placement, now: Now) -> list[Effect]:
        news = News(placement.view.cluster, sender, message)
        return [news, *self._links.heard_hello(sender, message, placement, now.monotonic_ms)]

    def _ping(self, sender: NodeId, message: Ping, placement: Placement, now: Now) -> list[Effect]:
        return [Send(sender, Pong(message.sequence))]

    def _replica_stored(self, sender: NodeId, message: ReplicaStored, placement: Placement, now: Now) -> list[Effect]:
        operation = self._requests.pending.get(message.request)
        if isinstance(operation, Handover):
            return self._handoff.stored(operation, placement, now) if sender == operation.target else []
        return self._requests.stored(sender, message, placement, now)

    def _fetch_replica(self, sender: NodeId, message: FetchReplica, placement: Placement, now: Now) -> list[Effect]:
        if not is_storage_key(message.key, placement.view.constants.partitions):
            return [Send(sender, ReplicaRefused(message.request, "malformed"))]
        return [Send(sender, self._requests.local(message.request, message.key, placement))]

    def _replica_fetched(self, sender: NodeId, message: ReplicaFetched, placement: Placement, now: Now) -> list[Effect]:
        return self._requests.fetched(sender, message, placement, now) or self._listings.fetched(
            sender, message, placement, now
        )

    def _replica_refused(self, sender: NodeId, message: ReplicaRefused, placement: Placement, now: Now) -> list[Effect]:
        self.counters["replica.refused_us"] += 1
        operation = self._pending.get(message.request)
        noted: list[Effect] = []
        if isinstance(operation, Write | Handover):
            noted = self._pulls.heard_round(sender, operation.key, message.round, placement)
        return noted + self._requests.refused(sender, message, placement, now)

    def _forward(self, sender: NodeId, message: Forward, placement: Placement, now: Now) -> list[Effect]:
        origin = (sender, message.request)
        if self.stopping:
            return [answer(origin, Refused(message.message.request, STOPPING, retry=True))]
        return self._requests.admit(
            origin, message.message, placement, now, deadline_ms=message.deadline_ms, hops=message.hops
        )

    def _forwarded(self, sender: NodeId, message: Forwarded, placement: Placement, now: Now) -> list[Effect]:
        return self._requests.forwarded(sender, message, now)

    def _from_client(self, event: FromClient, now: Now) -> list[Effect]:
        client, request = event.client, event.request
        placement = self._placement
        if placement is None:
            reason = "this node has not joined a cluster yet: its seeds do not answer, or it is still looking for one"
            return [Reply(client, Refused(request.request, reason, retry=True))]
        if self.stopping:
            return [Reply(client, Refused(request.request, STOPPING, retry=True))]
        if isinstance(request, DATA):
            deadline_ms = request.deadline_ms - event.waited_ms
            self._pending.began_ms -= event.waited_ms
            return self._requests.admit(client, request, placement, now, deadline_ms=deadline_ms)
        if isinstance(request, DescribeCluster):
            return describe_cluster(client, request, placement, self._state)
        if isinstance(request, DescribeNode):
            return self._describe_node(client, request, placement, now)
        if isinstance(request, Repair):
            return self._anti_entropy.repair(client, request, placement, now)
        deadline_ms = request.deadline_ms - event.waited_ms
        if isinstance(request, ListKeys):
            return self._listings.begin(client, request, placement, now, deadline_ms=deadline_ms)
        return self._explains.begin(client, request, placement, now, deadline_ms=deadline_ms)

    def _describe_node(self, client: bytes, request: DescribeNode, placement: Placement, now: Now) -> list[Effect]:
        state, served = self._state, self.served
        counters = self.counters | self._anti_entropy.figures(now) | self._pending.figures()
        counters |= {"reads.with_siblings": served.siblings, "tombstones.waiting": self._reaper.waiting}
        notices = (*self._pulls.notices(placement), *self._standing.notices(placement))
        notices += tuple(self._anti_entropy.notices(placement, now))
        uptime_ms, figures = now.monotonic_ms - self._started_ms, figures_of(placement, state, served, self.turns)
        held = self._handoff.describe(now)
        return [Reply(client, describe_node(request, placement, counters, notices, state, uptime_ms, held, figures))]
