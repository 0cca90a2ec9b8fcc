"""One simulated node: the two pure cores, and what the threads do around them in production.

What has arrived while the node was at work is a batch: each is stepped, then one commit, then all effects, with all
messages to one peer in one frame. A slow disk keeps the node at work; a paused node does nothing, and all waits for it.
"""

from collections import deque
from random import Random
from typing import TYPE_CHECKING

from zdynamo import codec
from zdynamo.core.events import (
    Effect,
    Event,
    FromClient,
    FromPeer,
    Mailed,
    News,
    Noted,
    PeerUnreachable,
    Reply,
    Send,
    SendStranger,
    Tick,
    ViewChanged,
)
from zdynamo.core.links import comes_later
from zdynamo.core.members.events import (
    AskSeed,
    Fail,
    Gossiped,
    Heard,
    Mail,
    MembershipEffect,
    MembershipEvent,
    NewView,
    Persist,
    Profile,
    Publish,
    SeedAnswered,
    Ticked,
)
from zdynamo.core.members.membership import Membership
from zdynamo.core.node import Node
from zdynamo.errors import StoreFailed, StoreFull
from zdynamo.messages import (
    ClientAnswer,
    Forward,
    Gossip,
    NodeId,
    PeerMessage,
    Refused,
    Topology,
    View,
)
from zdynamo.testing.disk import Disk

if TYPE_CHECKING:
    from zdynamo.testing.simulator import Simulation

SYNC_MS = 1_000  # between fsyncs
QUEUE_MAX = 10_000  # messages of a kind that wait for a node that does not look; beyond, they are lost


class SimulatedNode:
    """A process. It lives until it is killed or stops itself; the disk outlives it."""

    def __init__(self, simulation: "Simulation", name: str, disk: Disk, profile: Profile) -> None:
        self.simulation = simulation
        self.name = name
        self.disk = disk
        self.failed = ""  # why it has stopped itself
        self.alive = True
        self.paused = False
        self.view: View | None = None
        self.members: dict[NodeId, str] = {}  # names by id, of the view
        self._names: frozenset[str] = frozenset()
        random = Random(simulation.random.getrandbits(64))
        now = simulation.now(name)
        self.node = Node(
            store=disk.store,
            limits=simulation.limits,
            random=random,
            now=now,
            had_data=bool(disk.kept.cluster),
            epoch=disk.kept.epoch,
            machine_boot=disk.machine_boot,
            place=disk.store.place,
            buckets=simulation.buckets_of(name),
        )
        disk.store.commit()
        self.node.committed()
        self.membership = Membership(
            kept=disk.kept,
            profile=profile,
            rhythms=simulation.rhythms,
            random=random,
            now=now,
        )
        self._new_view: View | None = None
        self._mail: deque[Mailed] = deque()
        self._lost: dict[NodeId, bool] = {}  # peers whose connection is gone; true: whose queue is full
        self._frames: deque[bytes] = deque()
        self._requests: deque[tuple[bytes, bytes]] = deque()
        self._gossip: deque[MembershipEvent] = deque()
        self._effects: list[Effect] | None = None  # to be carried out after the commit that is going on
        self._turn_due_ms = -1  # -1: no turn is on the agenda
        self._tick_due_ms = -1
        self._router_due_ms = -1
        self._held_up_since_ms: int | None = None  # since then it has not looked at what arrived
        self._sync_due_ms = now.monotonic_ms + SYNC_MS

    def start(self) -> None:
        self._act(self.membership.start(self.simulation.now(self.name)))
        self._turn()
        self._router_tick(self._router_due_ms)

    # What arrives

    def take_frame(self, frame: bytes) -> None:
        if self.alive and len(self._frames) < QUEUE_MAX:
            self._frames.append(frame)
            self._wake()

    def take_request(self, client: bytes, frame: bytes) -> None:
        if self.alive and len(self._requests) < QUEUE_MAX:
            self._requests.append((client, frame))
            self._wake()

    def lose_peer(self, name: str, *, full: bool) -> None:
        """The connection to the peer is gone, or its queue is full, as that of one who does not listen is."""
        peer = next((id for id, known in self.members.items() if known == name), None)
        if self.alive and peer is not None:
            self._lost[peer] = full and self._lost.get(peer, True)
            self._wake()

    def take_gossip(self, sender: str, message: Gossip) -> None:
        """A node hears whom it has subscribed to: the members of its view."""
        if sender in self._names:
            self._router_takes(Gossiped(message))

    def take_seed_answer(self, address: str, answer: Topology | Refused) -> None:
        self._router_takes(SeedAnswered(address, answer))

    # The life of the process

    def pause(self) -> None:
        """As by SIGSTOP."""
        self.paused = True
        if self._held_up_since_ms is None:
            self._held_up_since_ms = self.simulation.time_ms

    def resume(self) -> None:
        self.paused = False
        while self._gossip and self.alive:
            self._router_takes(self._gossip.popleft())
        self._router_tick(self._router_due_ms)
        self._wake()

    def die(self) -> None:
        """What was staged is gone, unless the commit that was going on has just been done and nobody knows of it."""
        self.alive = False
        store = self.disk.store
        if self._effects is not None and not store.full and self.simulation.random.random() < 0.5:
            store.breaks = None
            store.commit()
        store.forget_staged()

    # The process thread

    def _wake(self) -> None:
        """Take a turn at this time, unless one is due anyhow, or the node is at work."""
        now_ms = self.simulation.time_ms
        if self._turn_due_ms < 0 and self._effects is None and not self.paused:
            self._turn_due_ms = now_ms
            self.simulation.at(now_ms, self._turn)

    def _turn(self) -> None:
        self._turn_due_ms = -1
        if not self.alive or self.paused or self._effects is not None:
            return
        simulation, node = self.simulation, self.node
        now = simulation.now(self.name)
        since_ms, self._held_up_since_ms = self._held_up_since_ms, None
        waited_ms = 0 if since_ms is None else now.monotonic_ms - since_ms
        effects: list[Effect] = []
        for event in self._arrived(waited_ms):
            effects += node.step(event, now)
        due_ms = node.next_due_ms
        if due_ms is not None and now.monotonic_ms >= due_ms:
            effects += node.step(Tick(), now)
            due_ms = node.next_due_ms
        low, high = self.disk.slow_ms
        if not high or not self.disk.store.has_staged:
            self._finish(effects, due_ms)
            return
        self._effects, self._held_up_since_ms = effects, now.monotonic_ms
        simulation.at(now.monotonic_ms + simulation.random.randint(low, high), self._committed_slowly)

    def _arrived(self, waited_ms: int) -> list[Event]:
        """In the order in which the processor takes it: the view, letters, lost connections, control frames first."""
        events: list[Event] = []
        if self._new_view is not None:
            events.append(ViewChanged(self._new_view))
            self._new_view = None
        if self._mail:
            events += self._mail
            self._mail.clear()
        if self._lost:
            events += [PeerUnreachable(peer, full=full) for peer, full in self._lost.items()]
            self._lost.clear()
        if self._frames:
            frames = [codec.decode_frame(frame) for frame in self._frames]
            self._frames.clear()
            if len(frames) > 1:
                frames.sort(key=comes_later)
            events += [FromPeer(frame, waited_ms) for frame in frames]
        while self._requests:
            client, encoded = self._requests.popleft()
            events += [FromClient(client, request, waited_ms) for request in codec.decode_requests(encoded)]
        return events

    def _committed_slowly(self) -> None:
        if not self.alive:
            return
        effects, self._effects = self._effects, None
        assert effects is not None
        self._finish(effects, self.node.next_due_ms)
        self._wake()

    def _finish(self, effects: list[Effect], due_ms: int | None) -> None:
        """Commit, then carry the effects out. `due_ms`: when the node wants to tick."""
        store = self.disk.store
        try:
            store.commit()
            self.node.committed()
        except StoreFull:
            effects = self.node.abandon(effects, surely_nothing=True)
            due_ms = self.node.next_due_ms
        except StoreFailed as error:
            self._carry_out(self.node.abandon(effects, surely_nothing=False))
            self._fail(str(error))
            return
        if effects:
            self._carry_out(effects)
        now_ms = self.simulation.time_ms
        if now_ms >= self._sync_due_ms:
            self._sync_due_ms = now_ms + SYNC_MS
            store.sync()
        self._plan_tick(due_ms, now_ms)

    def _plan_tick(self, due_ms: int | None, now_ms: int) -> None:
        """Put the next tick on the agenda; one that is due earlier than is wanted finds nothing to do."""
        store = self.disk.store
        if not store.is_synced and (due_ms is None or due_ms > self._sync_due_ms):
            due_ms = self._sync_due_ms
        if due_ms is None:
            return
        due_ms = max(due_ms, now_ms + 1)
        if self._tick_due_ms < 0 or due_ms < self._tick_due_ms:
            self._tick_due_ms = due_ms
            self.simulation.at(due_ms, self._tick, due_ms)

    def _tick(self, due_ms: int) -> None:
        if due_ms == self._tick_due_ms:
            self._tick_due_ms = -1
            self._wake()

    def _carry_out(self, effects: list[Effect]) -> None:
        simulation, name = self.simulation, self.name
        to_peers: dict[NodeId, list[PeerMessage]] = {}
        to_clients: dict[bytes, list[ClientAnswer]] = {}
        for effect in effects:
            if isinstance(effect, Send):
                message = effect.message
                to_peers.setdefault(effect.to, []).append(message)
                simulation.messages[type(message)] += 1
                if isinstance(message, Forward):
                    simulation.handed_on[message.message.request] += 1
            elif isinstance(effect, Reply):
                to_clients.setdefault(effect.client, []).append(effect.answer)
            elif isinstance(effect, News):
                self._router_takes(Heard(effect.cluster, effect.sender, effect.message))
            elif isinstance(effect, Noted):
                simulation.note(name, effect)
            else:
                assert isinstance(effect, SendStranger)
                stranger = effect.address.removesuffix(":peer")
                simulation.send(name, stranger, codec.encode(self.node.frame("", (effect.message,))))
        for peer, messages in to_peers.items():
            target = self.members.get(peer)
            if target is not None:
                simulation.send(name, target, codec.encode(self.node.frame(peer, tuple(messages))))
        for client, answers in to_clients.items():
            simulation.answered(name, client, codec.encode(answers))

    # The router thread

    def _router_takes(self, event: MembershipEvent) -> None:
        if not self.alive:
            return
        if not self.paused:
            self._act(self.membership.step(event, self.simulation.now(self.name)))
            self._plan_router_tick()
        elif len(self._gossip) < QUEUE_MAX:
            self._gossip.append(event)

    def _router_tick(self, due_ms: int) -> None:
        """Tick the membership as it comes due."""
        if not self.alive or self.paused or due_ms != self._router_due_ms:
            return
        now = self.simulation.now(self.name)
        if now.monotonic_ms >= self.membership.next_due_ms:
            self._act(self.membership.step(Ticked(), now))
        self._router_due_ms = -1
        self._plan_router_tick()

    def _plan_router_tick(self) -> None:
        """Put the next tick on the agenda. What an event brings may be due earlier than what was planned."""
        due_ms = max(self.membership.next_due_ms, self.simulation.time_ms + 1)
        if self._router_due_ms < 0 or due_ms < self._router_due_ms:
            self._router_due_ms = due_ms
            self.simulation.at(due_ms, self._router_tick, due_ms)

    def _act(self, effects: list[MembershipEffect]) -> None:
        simulation = self.simulation
        for effect in effects:
            match effect:
                case Persist(kept):
                    if not (self.disk.store.full and kept.tells_more_of_others_than(self.disk.kept)):
                        self.disk.kept = kept
                case NewView(view):
                    self.view = self._new_view = view
                    self.members = {
                        member.record.id: member.record.addresses.peer.removesuffix(":peer") for member in view.members
                    }
                    self._names = frozenset(member.record.name for member in view.members)
                    self._wake()
                case Mail(to, message):
                    self._mail.append(Mailed(to, message))
                    self._wake()
                case Publish(message):
                    simulation.publish(self.name, message)
                case AskSeed(address, cluster):
                    simulation.ask(self.name, address, cluster)
                case Noted():
                    simulation.note(self.name, effect)
                case Fail(reason):
                    self._fail(reason)
                    return

    def _fail(self, reason: str) -> None:
        self.failed = reason
        self.simulation.ended.append((self.simulation.time_ms, self.name, reason))
        self.simulation.kill(self.name)
