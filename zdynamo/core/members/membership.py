"""Who is a member, and is it there: explicit membership by gossip, liveness by opinion (paper 4.8).

`Membership.step` is pure, like the node's, and belongs to the router thread. PUB/SUB is a hint, the streams are the
truth: a differing digest in a heartbeat, and a slow timer, exchange whole tables over the streams.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from zdynamo.core.events import Noted, Now, Randomness
from zdynamo.core.failures.opinions import Findings, Opinions, Sign
from zdynamo.core.members.bucket_tables import BucketTables
from zdynamo.core.members.events import (
    AskSeed,
    Fail,
    Gossiped,
    Heard,
    Kept,
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
from zdynamo.core.members.first_layout import FirstLayout
from zdynamo.core.members.joining import Joining
from zdynamo.core.members.table import MemberTable, is_sound
from zdynamo.core.members.views import Views
from zdynamo.core.owners.layout import is_genuine, is_newer
from zdynamo.core.settings import Rhythms
from zdynamo.messages import (
    Gossip,
    Heartbeat,
    Hello,
    Layout,
    LayoutWanted,
    MemberRecord,
    NodeId,
    PathLost,
    Ping,
    Refused,
    Rumor,
    Table,
    Topology,
    View,
)

JOINING_MS = 50  # between two ticks while there is no cluster
LOOK_MS = 250  # between two ticks at most: a node that stood still notices all but so much of it
PAUSE_MS = 1000  # that this node itself stood still, to say so; it takes account of less
BEAT_APART_MS = 50  # between two heartbeats, however much there is to say
EXCHANGE_AGAIN_MS = 200  # with one member whose digest differs
TWIN_SIGHTINGS = 2  # of our own record, raised by one other process: the first may be from before our restart
REMOVED = "this node has been removed from the cluster: start it with an empty data folder to join anew"


class Membership:
    """The member table, the opinions and the layout. Owned by one thread."""

    def __init__(self, *, kept: Kept, profile: Profile, rhythms: Rhythms, random: Randomness, now: Now) -> None:
        self._profile = profile
        self._rhythms = rhythms
        self._random = random
        self._id = kept.node or f"{random.getrandbits(64):016x}"
        self.boot = f"{random.getrandbits(64):016x}"
        self._started_ms = now.wall_ms
        self._epoch = kept.epoch + 1
        self._cluster = kept.cluster
        self._constants = kept.constants
        self._table = MemberTable(kept.records)
        self._layout = kept.layout
        self._took_over = kept.took_over
        self._old_copy = kept.old_copy
        self._joining = Joining(profile, rhythms, now.monotonic_ms, member_of=kept.cluster)
        self._first_layout = FirstLayout(now.monotonic_ms + rhythms.listen_ms)
        self._awaited: tuple[NodeId, ...] = ()  # as the last view shows
        self._opinions = Opinions(rhythms, random, now.monotonic_ms)
        self._bucket_tables = BucketTables(profile.buckets_digest)
        self._views = Views()
        self._exchanged_at_ms: dict[NodeId, int] = {}
        self._view_number = 0
        self._sequence = 0
        self._twin_boot = ""  # of the process that was last seen to use this node's id
        self._twin_sightings = 0
        self._told_suspects: set[NodeId] = set()  # by the last heartbeat
        self._ticked_at_ms = self._stepped_at_ms = now.monotonic_ms
        self._beat_at_ms = now.monotonic_ms - BEAT_APART_MS
        self._heartbeat_due_ms = now.monotonic_ms
        self._exchange_due_ms = now.monotonic_ms + rhythms.exchange_ms

    def start(self, now: Now) -> list[MembershipEffect]:
        """A node that has been a member goes on where it was; another looks for a cluster."""
        if not self._cluster:
            return [Persist(self._keep())]
        if failed := self._joining.resumed(self._constants):
            return failed
        known = self._table.get(self._id)
        asked: list[MembershipEffect] = [AskSeed(seed, self._cluster) for seed in self._joining.seeds]
        return self._publish_me(known.version if known else 0, now) + asked

    def step(self, event: MembershipEvent, now: Now) -> list[MembershipEffect]:
        effects = self._woken(now)
        match event:
            case Ticked():
                effects += self._tick(now)
            case Gossiped(message):
                effects += self._gossiped(message, now)
            case Heard(cluster, sender, message):
                self._opinions.process_heard(now.monotonic_ms)
                effects += self._heard(cluster, sender, message, now)
            case SeedAnswered(address, answer):
                effects += self._seed_answered(address, answer, now)
        return effects if self._layout or not self._cluster else effects + self._decide_layout(now)

    @property
    def next_due_ms(self) -> int:
        """When the next Ticked is wanted, monotonic. A step that comes much later means that this node stood still."""
        if not self._cluster:
            return self._ticked_at_ms + JOINING_MS
        return min(self._heartbeat_due_ms, self._opinions.next_due_ms, self._ticked_at_ms + LOOK_MS)

    def view(self, now: Now) -> View:
        me = self._table.get(self._id)
        assert me is not None and self._constants is not None
        return View(
            self._view_number,
            self._cluster,
            self._constants,
            me,
            tuple(self._opinions.view(record, now.monotonic_ms) for record in self._table.members),
            self._layout,
            self._table.digest,
            self._took_over,
            self._old_copy,
            self._among_members(self._bucket_tables.differing),
            self._among_members(self._views.differing),
            self._may_know(now),
        )

    # Joining

    def _seed_answered(self, address: str, answer: Topology | Refused, now: Now) -> list[MembershipEffect]:
        if isinstance(answer, Refused):
            if self._cluster and not answer.retry:
                return [self._joining.of_another_cluster(address, answer.reason, now.monotonic_ms)]
            return [Noted("seed.refused", {"seed": address, "reason": answer.reason}, "warning")]
        if self._cluster:
            if answer.cluster != self._cluster:
                reason = f"the seed is of cluster {answer.cluster}"
                return [self._joining.of_another_cluster(address, reason, now.monotonic_ms)]
            return self._merge([member.record for member in answer.members], answer.layout, now)
        decided = self._joining.decide(answer, now.monotonic_ms)
        if isinstance(decided, list):
            return decided
        self._cluster, self._constants = answer.cluster, answer.constants
        self._joining.over()
        self._table.merge(member.record for member in answer.members)
        self._layout = answer.layout
        version = 0
        if decided.replaced is not None:
            self._id, self._took_over = decided.replaced.id, True
            self._epoch, version = decided.replaced.epoch + 1, decided.replaced.version
        joined: list[MembershipEffect] = [
            Noted("cluster.joined", {"cluster": self._cluster, "seed": address, "took_over": self._took_over})
        ]
        if self._layout is not None and all(member.id != self._id for member in self._layout.members):
            reason = "data was taken before this node joined: it owns nothing until layouts can change"
            joined.append(Noted("member.owns_nothing", {"reason": reason}, "warning"))
        return joined + self._publish_me(version, now)

    def _found(self, now: Now) -> list[MembershipEffect]:
        self._cluster = f"{self._random.getrandbits(64):016x}"
        self._constants = replace(self._profile.constants, founder=self._id)
        self._first_layout.founded_by(self._id)
        self._joining.over()
        return [Noted("cluster.founded", {"cluster": self._cluster}), *self._publish_me(0, now)]

    def _publish_me(self, above: int, now: Now) -> list[MembershipEffect]:
        profile = self._profile
        me = MemberRecord(
            self._id, above + 1, profile.name, self._epoch, self.boot, self._started_ms,
            profile.addresses, profile.zone, profile.weight,
        )  # fmt: skip
        self._table.merge([me])
        for record in self._others():
            if record.id not in self._opinions:
                self._opinions.follow(record, now.monotonic_ms)
        return self._changed([me], now) + self._exchange_with_all(now)

    # Gossip and exchanges

    def _gossiped(self, message: Gossip, now: Now) -> list[MembershipEffect]:
        if not self._cluster or message.cluster != self._cluster or message.id == self._id:
            return []
        if isinstance(message, Rumor):
            return self._merge(message.members, message.layout, now)
        if message.id not in self._opinions:
            return []
        record = self._table.get(message.id)
        assert record is not None
        accused, pings = self._opinions.heartbeat(message, record, self._id, now.monotonic_ms)
        effects: list[MembershipEffect] = [*(self._beat(now) if accused else ()), *pings]
        layout_digest = self._layout.digest if self._layout else 0
        differs = message.table_digest != self._table.digest or message.layout_digest != layout_digest
        noted = [self._views.said(record, differs=differs, now_ms=now.monotonic_ms)]
        if record.boot == message.boot:  # not of a process before or after the one that is known
            noted.append(self._bucket_tables.said(record, message.buckets_digest, now.monotonic_ms))
        if any(noted):
            effects += [*filter(None, noted), self._new_view(now)]
        tells = differs or self._table.has_to_hear(message.id) or message.id in self._awaited
        return effects + self._exchange(message.id, now) if tells else effects

    def _heard(self, cluster: str, sender: NodeId, message: object, now: Now) -> list[MembershipEffect]:
        if cluster != self._cluster or not self._cluster:
            return self._heard_stranger(cluster, message)
        if isinstance(message, Sign):
            return self._heard_sign(sender, message, now)
        if isinstance(message, Hello):
            return self._merge([message.member], None, now)
        if isinstance(message, Table):
            effects = self._merge(message.members, message.layout, now)
            if sender in self._opinions:
                self._first_layout.told(sender)
                if message.answer:
                    effects.append(Mail(sender, Table(self._table.told_to(sender), self._layout, answer=False)))
            return effects
        if isinstance(message, LayoutWanted) and sender == self._id:
            self._first_layout.wanted()
        return []

    def _heard_stranger(self, cluster: str, message: object) -> list[MembershipEffect]:
        """A cluster that knows this address: whoever has nothing of his own joins it."""
        if not isinstance(message, Hello) or message.to_address != self._profile.addresses.client:
            return []
        alone = self._layout is None and len(self._table.members) <= 1
        if self._cluster and not alone:
            return []
        if self._cluster:
            self._cluster, self._constants, self._table = "", None, MemberTable()
            self._joining.again()
        return [AskSeed(message.member.addresses.client)]

    def _merge(self, records: Sequence[MemberRecord], layout: Layout | None, now: Now) -> list[MembershipEffect]:
        news = self._table.merge(record for record in records if record.id != self._id)
        mine = [record for record in records if record.id == self._id and is_sound(record)]
        effects = [effect for record in mine for effect in self._saw_myself(record, now)]
        decided = layout is not None and is_newer(layout, self._layout) and is_genuine(layout)
        if decided:
            self._layout = layout
        if news or decided:
            effects += self._changed(news, now)
        for record in news:
            effects += self._exchange(record.id, now) if self._table.has_to_hear(record.id) else []
        return effects

    def _saw_myself(self, record: MemberRecord, now: Now) -> list[MembershipEffect]:
        """Only this node raises its version: whoever else did is an earlier process, a removal, or a twin."""
        me = self._table.get(self._id)
        assert me is not None
        if record.status == "removed":
            return [Fail(REMOVED)]
        mine = record.boot == me.boot
        if record == me or (record.version < me.version and (mine or record.epoch < self._epoch)):
            return []
        if mine:  # nobody has ever said this: say what is true above it
            return self._publish_me(record.version, now)
        if record.boot != self._twin_boot:
            self._twin_boot, self._twin_sightings = record.boot, 0
        self._twin_sightings += 1
        later = (record.started_ms, record.boot) < (me.started_ms, me.boot)
        if self._twin_sightings >= TWIN_SIGHTINGS and later:
            return [Fail(f"a node with the same id is alive at {record.addresses.client}: was the data folder copied?")]
        noted: list[MembershipEffect] = []
        if record.epoch >= self._epoch:  # kept before it was ever published; no clock is asked, it may be behind
            noted.append(Noted("member.old_copy", {"epoch": self._epoch, "remembered": record.epoch}, "warning"))
            self._old_copy = record.epoch + 1
        self._epoch = max(self._epoch, record.epoch + 1)
        return noted + self._publish_me(max(record.version, me.version), now)

    def _exchange_with_all(self, now: Now) -> list[MembershipEffect]:
        return [effect for record in self._others() for effect in self._exchange(record.id, now)]

    def _exchange(self, peer: NodeId, now: Now) -> list[MembershipEffect]:
        if now.monotonic_ms - self._exchanged_at_ms.get(peer, -EXCHANGE_AGAIN_MS) < EXCHANGE_AGAIN_MS:
            return []
        self._exchanged_at_ms[peer] = now.monotonic_ms
        return [Mail(peer, Table(self._table.told_to(peer), self._layout, answer=True))]

    # Liveness

    def _woken(self, now: Now) -> list[MembershipEffect]:
        """Before anything that has waited meanwhile is taken for late."""
        late_ms = now.monotonic_ms - max(self.next_due_ms, self._stepped_at_ms)
        self._stepped_at_ms = now.monotonic_ms
        stalled_ms = self._opinions.health.woken(late_ms, now.monotonic_ms)
        if not stalled_ms:
            return []
        self._opinions.stood_still(stalled_ms)
        return [Noted("node.paused", {"gap_ms": stalled_ms}, "warning")] if stalled_ms >= PAUSE_MS else []

    def _tick(self, now: Now) -> list[MembershipEffect]:
        self._ticked_at_ms = now.monotonic_ms
        if not self._cluster:
            if self._joining.may_found(now.monotonic_ms):
                return self._found(now)
            return self._joining.ask(now.monotonic_ms)
        effects = self._shown(self._opinions.look(self._others(), now.monotonic_ms), now)
        if self._opinions.doubts_process:
            effects.append(Mail(self._id, Ping(0)))
        suspects = {node for node, _ in self._opinions.suspected}
        if now.monotonic_ms >= self._heartbeat_due_ms or suspects - self._told_suspects:
            effects += self._beat(now)
        effects += self._bucket_tables.remind(self._table.members, now.monotonic_ms)
        if now.monotonic_ms >= self._exchange_due_ms:
            self._exchange_due_ms = now.monotonic_ms + self._rhythms.exchange_ms
            others = self._others()
            one = others[self._random.getrandbits(16) % len(others)] if others else None
            effects += self._exchange(one.id, now) if one else []
            if not any(self._opinions.is_alive(record.id) for record in others):  # they may know a later start of this
                known = (*self._joining.seeds, *((one.addresses.client,) if one else ()))
                effects += [AskSeed(address, self._cluster) for address in known]
        return effects

    def _beat(self, now: Now) -> list[MembershipEffect]:
        if now.monotonic_ms - self._beat_at_ms < BEAT_APART_MS:
            self._heartbeat_due_ms = min(self._heartbeat_due_ms, self._beat_at_ms + BEAT_APART_MS)
            return []
        self._beat_at_ms = now.monotonic_ms
        self._heartbeat_due_ms = now.monotonic_ms + self._rhythms.heartbeat_ms
        self._sequence += 1
        opinions, layout_digest = self._opinions, self._layout.digest if self._layout else 0
        self._told_suspects = {node for node, _ in opinions.suspected}
        heartbeat = Heartbeat(
            self._cluster, self._id, self._epoch, self.boot, self._sequence, self._table.digest, layout_digest,
            self._profile.buckets_digest, opinions.incarnation, opinions.suspected,
            opinions.health.stalled_ms(now.monotonic_ms),
        )  # fmt: skip
        return [Publish(heartbeat)]

    def _heard_sign(self, sender: NodeId, message: Sign, now: Now) -> list[MembershipEffect]:
        if isinstance(message, PathLost) and sender != self._id:
            return []
        record = self._table.get(message.member if isinstance(message, PathLost) else sender)
        if record is None or record.id not in self._opinions:
            return []
        return self._shown(self._opinions.heard(record, message, now.monotonic_ms), now)

    def _shown(self, findings: Findings, now: Now) -> list[MembershipEffect]:
        """The view goes ahead of the mail: whom to greet depends on it."""
        return [*findings.notes, *([self._new_view(now)] if findings.notes else ()), *findings.mails]

    # Changes

    def _changed(self, news: list[MemberRecord], now: Now) -> list[MembershipEffect]:
        """Keep, tell and show a change of the table or the layout."""
        effects: list[MembershipEffect] = []
        for record in news:
            if record.id != self._id:
                effects += self._opinions.follow(record, now.monotonic_ms)
        rumor = Rumor(self._cluster, self._id, tuple(news), self._layout)
        return [Persist(self._keep()), *effects, Publish(rumor), self._new_view(now)]

    def _decide_layout(self, now: Now) -> list[MembershipEffect]:
        """If it is time; else show whom that waits for."""
        members = self._table.members
        self._layout = self._first_layout.decide(self._id, self._constants, members, now.monotonic_ms)
        if self._layout is None:
            return [] if self._awaited == self._may_know(now) else [self._new_view(now)]
        assert self._constants is not None
        n = self._constants.n
        level = "warning" if len(members) < n else "info"
        decided = Noted("layout.decided", {"number": 1, "members": len(members), "n": n}, level)
        return [decided, *self._changed([], now), *self._exchange_with_all(now)]

    def _may_know(self, now: Now) -> tuple[NodeId, ...]:
        members, now_ms = self._table.members, now.monotonic_ms
        return () if self._layout else self._first_layout.awaited(self._id, self._constants, members, now_ms)

    def _new_view(self, now: Now) -> NewView:
        self._view_number += 1
        view = self.view(now)
        self._awaited = view.awaited
        return NewView(view)

    def _among_members(self, nodes: set[NodeId]) -> tuple[NodeId, ...]:
        return tuple(record.id for record in self._table.members if record.id in nodes)

    def _others(self) -> list[MemberRecord]:
        return [record for record in self._table.members if record.id != self._id]

    def _keep(self) -> Kept:
        return Kept(
            self._id, self._cluster, self._epoch, self._constants, self._table.all, self._layout, self._took_over,
            self._old_copy,
        )  # fmt: skip
