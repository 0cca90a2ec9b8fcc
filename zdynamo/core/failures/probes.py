"""Pings that this node sends to a member because another asks whether it can be reached from here."""

from dataclasses import dataclass

from zdynamo.messages import NodeId, Probe, Probed

SERVED_MAX = 256  # at a time; beyond, a probe is not answered, which confirms nothing
WAIT_MAX_MS = 5_000  # for a pong, whatever the asker says


@dataclass(slots=True)
class Errand:
    """One probe asked of this node."""

    asker: NodeId
    probe: Probe
    ping: int  # its number; only an answer to it or to a later one counts
    due_ms: int


class Errands:
    """The probes that this node makes for others."""

    def __init__(self) -> None:
        self._errands: list[Errand] = []

    def take(self, asker: NodeId, probe: Probe, ping: int, now_ms: int) -> bool:
        """Whether to send that ping now."""
        if len(self._errands) >= SERVED_MAX:
            return False
        due_ms = now_ms + max(0, min(probe.wait_ms, WAIT_MAX_MS))
        self._errands.append(Errand(asker, probe, ping, due_ms))
        return True

    def ponged(self, target: NodeId, number: int) -> list[tuple[NodeId, Probed]]:
        """The answers for whoever wanted to know."""
        done = [errand for errand in self._errands if errand.probe.target == target and number >= errand.ping]
        return self._end(done, reached=True, stalled=False)

    def overdue(self, now_ms: int, *, stalled: bool) -> list[tuple[NodeId, Probed]]:
        """`stalled`: this node has just stood still, and may not have heard an answer."""
        return self._end([each for each in self._errands if now_ms >= each.due_ms], reached=False, stalled=stalled)

    def shift(self, gap_ms: int) -> None:
        """This node stood still so long."""
        for errand in self._errands:
            errand.due_ms += gap_ms

    @property
    def next_due_ms(self) -> int | None:
        return min((errand.due_ms for errand in self._errands), default=None)

    def _end(self, done: list[Errand], *, reached: bool, stalled: bool) -> list[tuple[NodeId, Probed]]:
        for errand in done:
            self._errands.remove(errand)
        return [(each.asker, Probed(each.probe.number, each.probe.target, reached, stalled)) for each in done]
