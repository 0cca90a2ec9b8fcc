"""What this node thinks of each other member, and what it says and asks to find out (paper 4.8.3)."""

from collections.abc import Iterable
from typing import NamedTuple

from zdynamo.core.events import Noted, Randomness
from zdynamo.core.failures.detector import Liveness
from zdynamo.core.failures.health import Health
from zdynamo.core.failures.probes import Errands
from zdynamo.core.failures.suspicion import WITNESSES_MAX, Cause, Inquiry, Others, Word
from zdynamo.core.members.events import Mail
from zdynamo.core.settings import Rhythms
from zdynamo.messages import Heartbeat, MemberRecord, MemberView, NodeId, PathLost, Ping, Pong, Probe, Probed

EVENTS = {
    "alive": "member.alive",
    "suspect": "member.suspected",
    "unreachable": "member.unreachable",
    "down": "member.down",
}
PROBES_MAX = 64  # asked by this node and not answered yet; beyond, a suspect waits for its turn and stays a suspect
TOLD_MAX = 16  # suspects named in a heartbeat; the others hear of it by the questions about them

Sign = Pong | Probe | Probed | PathLost


class Findings(NamedTuple):
    """What follows from something seen or heard; `notes` only if an opinion has changed."""

    notes: list[Noted]
    mails: list[Mail]


class Opinions:
    """One `Liveness` for each other member that is followed, and this node's `Health`."""

    def __init__(self, rhythms: Rhythms, random: Randomness, now_ms: int) -> None:
        self._rhythms = rhythms
        self._random = random
        self._of: dict[NodeId, Liveness] = {}
        self._errands = Errands()
        self._number = 0  # of the last ping or probe
        self._due_ms = now_ms
        self._process_heard_ms = now_ms  # from this node's process thread, which carries pings and their answers
        self.health = Health()
        self.incarnation = 0  # of this process: raised when it hears that it is suspected

    def __contains__(self, node: NodeId) -> bool:
        return node in self._of

    def follow(self, record: MemberRecord, now_ms: int) -> list[Noted]:
        """A record has come or changed."""
        self._due_ms = now_ms
        fields: dict[str, object] = {"member": record.name, "id": record.id, "address": record.addresses.client}
        if record.status == "removed":
            self._of.pop(record.id, None)
            return [Noted("member.removed", fields)]
        known = self._of.get(record.id)
        if known is None:
            self._of[record.id] = Liveness(self._rhythms, record.boot, now_ms)
            return [Noted("member.joined", fields)]
        before = known.state
        known.changed(record.boot, now_ms)
        changed = [Noted("member.changed", {**fields, "epoch": record.epoch})]
        return changed + self._notes(record, before, now_ms) if known.state != before else changed

    def process_heard(self, now_ms: int) -> None:
        """This node's process thread runs: it has just said something."""
        self._process_heard_ms = now_ms

    @property
    def doubts_process(self) -> bool:
        """Whether it has said nothing since somebody was suspected: it may be that which stands still."""
        suspicions = [each.suspicion for each in self._of.values() if each.suspicion is not None]
        return any(self._process_heard_ms <= suspicion.since_ms for suspicion in suspicions)

    def stood_still(self, gap_ms: int) -> None:
        """This node stood still so long: nobody is to blame."""
        self._errands.shift(gap_ms)
        for liveness in self._of.values():
            liveness.stood_still(gap_ms)

    def heartbeat(self, message: Heartbeat, record: MemberRecord, me: NodeId, now_ms: int) -> tuple[bool, list[Mail]]:
        """Whether this node is suspected as it is now, and so has to raise its voice; and pings."""
        liveness = self._of[message.id]
        if record.boot != message.boot:  # of a process before or after the one that is known
            liveness.heartbeat(liveness.incarnation, liveness.stalled_ms, now_ms)
            return False, []
        before = liveness.suspicion
        liveness.heartbeat(message.incarnation, message.stalled_ms, now_ms)
        if liveness.suspicion is not before:
            self._due_ms = now_ms
        told = next((incarnation for node, incarnation in message.suspects if node == me), None)
        if told is None:
            return False, []
        accused = told == self.incarnation
        self.incarnation += accused
        return accused, [self._ping(message.id)]

    def heard(self, record: MemberRecord, message: Sign, now_ms: int) -> Findings:
        """From this member; a PathLost is about it."""
        match message:
            case Pong(number):
                return self._pong(record, number, now_ms)
            case PathLost(_, cause):
                return self._lost(record, cause, now_ms)
            case Probe():
                return Findings([], self._probe(record.id, message, now_ms))
            case Probed():
                self._probed(record.id, message)
                return Findings([], [])

    def look(self, records: Iterable[MemberRecord], now_ms: int) -> Findings:
        """Move on with time."""
        notes: list[Noted] = []
        stalled = self.health.stalled_ms(now_ms) > 0
        mails = [Mail(asker, probed) for asker, probed in self._errands.overdue(now_ms, stalled=stalled)]
        patience = self.health.patience(now_ms)
        alive = sum(each.state == "alive" for each in self._of.values())
        possible = alive + sum(each.state == "suspect" for each in self._of.values())
        for record in records:
            liveness = self._of[record.id]
            before = liveness.state
            others = Others(alive - (before == "alive"), possible - (before in ("alive", "suspect")))
            steps = liveness.look(
                patience=patience, others=others, proof=self._number + 1, heard_ms=self._process_heard_ms, now_ms=now_ms
            )
            if "ping" in steps:
                mails.append(self._ping(record.id))
            if "ask" in steps:
                mails += self._ask(record.id, liveness, liveness.least_ms(patience), now_ms)
            notes += self._notes(record, before, now_ms)
        dues = [liveness.next_due_ms(now_ms) for liveness in self._of.values()]
        errand_due_ms = self._errands.next_due_ms
        self._due_ms = min([*dues, *([] if errand_due_ms is None else [errand_due_ms])], default=now_ms + 60_000)
        return Findings(notes, mails)

    @property
    def next_due_ms(self) -> int:
        """When to look again at the latest."""
        return self._due_ms

    @property
    def suspected(self) -> tuple[tuple[NodeId, int], ...]:
        """Whom this node has cause to suspect, for its heartbeat."""
        return tuple(
            (node, each.incarnation)
            for node, each in self._of.items()
            if each.suspicion is not None and each.suspicion.cause != "new"
        )[:TOLD_MAX]

    def is_alive(self, node: NodeId) -> bool:
        return self._of[node].state == "alive"

    def view(self, record: MemberRecord, now_ms: int) -> MemberView:
        """A member as it is shown; this node itself, whom nobody follows here, is alive."""
        liveness = self._of.get(record.id)
        if liveness is None:
            return MemberView(record, "alive", 0.0)
        return MemberView(record, liveness.state, round(liveness.phi(now_ms), 2))

    def _pong(self, record: MemberRecord, number: int, now_ms: int) -> Findings:
        liveness = self._of[record.id]
        before, steady = liveness.state, liveness.steady_ms
        liveness.pong(number, now_ms)
        mails = [Mail(asker, probed) for asker, probed in self._errands.ponged(record.id, number)]
        if liveness.state == before and steady is None and liveness.steady_ms:
            return Findings([self._note("member.flapping", record, now_ms, steady_ms=liveness.steady_ms)], mails)
        return Findings(self._notes(record, before, now_ms), mails)

    def _lost(self, record: MemberRecord, cause: Cause, now_ms: int) -> Findings:
        liveness = self._of[record.id]
        before = liveness.state
        liveness.lost(cause, self._number + 1, now_ms)
        self._due_ms = now_ms
        return Findings(self._notes(record, before, now_ms), [])

    def _probe(self, asker: NodeId, probe: Probe, now_ms: int) -> list[Mail]:
        if probe.target not in self._of or not self._errands.take(asker, probe, self._number + 1, now_ms):
            return []
        self._due_ms = min(self._due_ms, now_ms + max(0, probe.wait_ms))
        return [self._ping(probe.target)]

    def _probed(self, witness: NodeId, probed: Probed) -> None:
        liveness = self._of.get(probed.target)
        if liveness is not None and liveness.inquiry is not None:
            word: Word = "reached" if probed.reached else "stalled" if probed.stalled else "missed"
            liveness.inquiry.hear(witness, probed.number, word)

    def _ping(self, node: NodeId) -> Mail:
        self._number += 1
        return Mail(node, Ping(self._number))

    def _ask(self, about: NodeId, liveness: Liveness, least_ms: int, now_ms: int) -> list[Mail]:
        """Up to three others that are alive, by lot; those that say they run well first."""
        candidates = [node for node, each in self._of.items() if node != about and each.state == "alive"]
        count = min(WITNESSES_MAX, len(candidates))
        if not count or self._probes_in_flight(now_ms) + count > PROBES_MAX:
            return []
        lots = {node: (self._of[node].stalled_ms > 0, self._random.getrandbits(32)) for node in candidates}
        asked = sorted(candidates, key=lots.__getitem__)[:count]
        self._number += 1
        liveness.asked(Inquiry(self._number, frozenset(asked), now_ms + least_ms))
        return [Mail(node, Probe(self._number, about, least_ms // 2)) for node in asked]

    def _probes_in_flight(self, now_ms: int) -> int:
        inquiries = [each.inquiry for each in self._of.values() if each.inquiry is not None]
        return sum(len(each.asked) - len(each.words) for each in inquiries if not each.is_over(now_ms))

    def _notes(self, record: MemberRecord, before: str, now_ms: int) -> list[Noted]:
        liveness = self._of[record.id]
        if liveness.state == before:
            return []
        cause = {"cause": liveness.suspicion.cause} if liveness.suspicion else {}
        return [self._note(EVENTS[liveness.state], record, now_ms, **cause)]

    def _note(self, name: str, record: MemberRecord, now_ms: int, **more: object) -> Noted:
        fields: dict[str, object] = {
            "member": record.name,
            "id": record.id,
            "address": record.addresses.client,
            "phi": round(self._of[record.id].phi(now_ms), 1),
            **more,
        }
        return Noted(name, fields, "info" if name == EVENTS["alive"] else "warning")
