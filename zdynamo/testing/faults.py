"""What goes wrong, and when: a seeded schedule of named faults, two at a time, each with a beginning and an end.

Copies are lost only as the promises allow: W-1 of them at most. So a disk is lost, an old copy is restored or power is
cut only while fewer than W-1 nodes are away, are being lost, or have not yet got back what they lost before.
"""

from collections.abc import Callable, Mapping
from random import Random

from msgspec import Struct

from zdynamo.errors import StoreFull
from zdynamo.testing.disk import Disk
from zdynamo.testing.node import SimulatedNode
from zdynamo.testing.simulator import Simulation

LANES = 2  # faults at a time
LOOK_MS = 500  # between looks for processes that have stopped by themselves
AHEAD_MAX_MS = 20_000  # of the clock of a node that starts
EARLY = 0.3  # how often a backup of the founder is one from before the first layout
AGAIN_MS = 200  # after which a lane that found nothing to break looks again

End = Callable[[], None]


class Fault(Struct):
    """One that has happened, or goes on."""

    name: str
    what: str
    begin_ms: int
    end_ms: int = -1  # -1: it goes on


class Started(Struct):
    """A fault that has just begun."""

    what: str
    tokens: tuple[str, ...]  # what no other fault may touch meanwhile
    for_ms: int
    end: End


Kind = Callable[["Faults"], Started | None]  # begins one, if it can begin now


class Faults:
    """The schedule of one run."""

    def __init__(self, simulation: Simulation, random: Random, kinds: Mapping[str, Kind], *, losses: int) -> None:
        """`kinds`: those that may happen, by name; `losses`: copies that may be lost at a time."""
        self.simulation = simulation
        self.random = random
        self.log: list[Fault] = []
        self.down: set[str] = set()  # kept down by a fault
        self.put_back: list[tuple[str, int]] = []  # nodes whose machine was put back to a snapshot, and when
        self.early: dict[str, tuple[int, Disk]] = {}  # of nodes, when there was no layout yet, and when that was
        self._kinds = kinds
        self._losses = losses
        self.losing: set[str] = set()  # nodes of which a copy is being lost
        self._taken: set[str] = set()
        self._ends: dict[int, Callable[[], None]] = {}
        self._following: list[End] = []
        self._until_ms = 0

    def begin(self, for_ms: int) -> None:
        """Break things for so long."""
        self._until_ms = self.simulation.time_ms + for_ms
        for _ in range(LANES if self._kinds else 0):
            self.simulation.at(self.simulation.time_ms + self.random.randrange(1_000), self._next)
        self._look()

    def end_all(self) -> None:
        """Nothing is broken any more, and everybody is up."""
        self._until_ms = 0
        for end in list(self._ends.values()):
            end()
        while self._following:
            self._following[0]()
        simulation = self.simulation
        simulation.network.heal()
        simulation.clock_skew_ms.clear()
        self.revive()

    def revive(self) -> None:
        """Start whoever has stopped and is not kept down."""
        for name in sorted(self.simulation.disks):
            if name not in self.simulation.nodes and name not in self.down:
                self.up(name)

    def up(self, name: str) -> None:
        """Start a node again; one whose disk is full is looked at again later.

        A machine sets its clock before it starts a node, or at least not far ahead: what such a node writes, nobody
        takes before that time has come.
        """
        self.down.discard(name)
        self.losing.discard(name)
        off = self.simulation.clock_skew_ms
        off[name] = min(off.get(name, 0), AHEAD_MAX_MS)
        if name in self.simulation.nodes:
            return
        try:
            self.simulation.start(name, *(other for other in sorted(self.simulation.disks) if other != name))
        except StoreFull:
            self.simulation.disks[name].store.forget_staged()

    def lose(self, name: str) -> None:
        """A copy is lost with this node, which is down as of now."""
        self.down.add(name)
        self.losing.add(name)

    def later(self, after_ms: int, do: End) -> None:
        """What follows after a fault has ended, or at once when all of them end."""
        done = False

        def once() -> None:
            nonlocal done
            if not done:
                done = True
                self._following.remove(once)
                do()

        self._following.append(once)
        self.simulation.at(self.simulation.time_ms + after_ms, once)

    def backup(self, name: str, *, snapshot: bool = False) -> tuple[int, Disk]:
        """A copy of what is on a disk, or has been before there was a layout, and of which time it is."""
        at_ms, disk = self.simulation.time_ms, self.simulation.disks[name]
        if name in self.early and self.random.random() < EARLY:
            at_ms, disk = self.early[name]
        return at_ms, disk.copy(snapshot=snapshot)

    def victim(self, *, losing: bool = False) -> str | None:
        """A node that is up and that no other fault has."""
        free = sorted(name for name in self.simulation.nodes if name not in self._taken)
        if not free or (losing and not self.may_lose()):
            return None
        return self.random.choice(free)

    def may_lose(self) -> bool:
        """Whether one copy more may go of all that W replicas have acknowledged."""
        nodes, names = self.simulation.nodes, self.simulation.disks
        lost = {name for name in names if name not in nodes or name in self.losing or not _is_whole(nodes[name])}
        return len(lost) < self._losses

    def is_free(self, token: str) -> bool:
        return token not in self._taken

    def span(self, low_ms: int, high_ms: int) -> int:
        return self.random.randint(low_ms, high_ms)

    def _next(self) -> None:
        """Begin a fault of some kind, if there is any that can begin."""
        simulation = self.simulation
        if simulation.time_ms >= self._until_ms:
            return
        kind = self.random.choice(list(self._kinds))
        started = self._kinds[kind](self)
        if started is None:
            simulation.at(simulation.time_ms + AGAIN_MS, self._next)
            return
        fault = Fault(kind, started.what, simulation.time_ms)
        number = len(self.log)
        self.log.append(fault)
        self._taken.update(started.tokens)

        def end() -> None:
            if self._ends.pop(number, None) is None:
                return
            started.end()
            self._taken.difference_update(started.tokens)
            fault.end_ms = simulation.time_ms
            simulation.at(simulation.time_ms + self.span(0, 2_000), self._next)

        self._ends[number] = end
        simulation.at(simulation.time_ms + started.for_ms, end)

    def _look(self) -> None:
        if self.simulation.time_ms < self._until_ms:
            self.revive()
            self.simulation.at(self.simulation.time_ms + LOOK_MS, self._look)


def _is_whole(node: SimulatedNode) -> bool:
    """It has got back all that it may have lost."""
    partitions, placement = node.node._state.partitions, node.node._placement
    if placement is None or not placement.owners:  # it has not looked yet what it may have lost
        return False
    return not partitions.doubts and not partitions.rounds_lost
