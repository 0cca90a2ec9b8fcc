"""What goes wrong, and when: a seeded schedule of named faults, two at a time, each with a beginning and an end.

Copies are lost only as the promises allow: W-1 of them at most, so that a disk is lost, an old copy is restored or
power is cut only while all nodes are up, all that was lost before has been made up, and nothing else is being lost.
"""

from collections.abc import Callable, Mapping
from random import Random

from msgspec import Struct

from zdynamo.errors import StoreFull
from zdynamo.testing.node import SimulatedNode
from zdynamo.testing.simulator import Simulation

LANES = 2  # faults at a time
LOOK_MS = 500  # between looks for processes that have stopped by themselves
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

    def __init__(self, simulation: Simulation, random: Random, kinds: Mapping[str, Kind], *, loses: bool) -> None:
        """`kinds`: those that may happen, by name; `loses`: W is above 1, so that a copy may be lost."""
        self.simulation = simulation
        self.random = random
        self.log: list[Fault] = []
        self.down: set[str] = set()  # kept down by a fault
        self._kinds = kinds
        self._loses = loses
        self._taken: set[str] = set()
        self._ends: dict[int, Callable[[], None]] = {}
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

        A machine sets its clock before it starts a node, or at least not far ahead: such a node would write what nobody
        takes before that time has come.
        """
        self.down.discard(name)
        off = self.simulation.clock_skew_ms
        off[name] = min(off.get(name, 0), self.simulation.limits.clock_skew_ms // 2)
        if name in self.simulation.nodes:
            return
        try:
            self.simulation.start(name, *(other for other in sorted(self.simulation.disks) if other != name))
        except StoreFull:
            self.simulation.disks[name].store.forget_staged()

    def victim(self, *, losing: bool = False) -> str | None:
        """A node that is up and that no other fault has."""
        free = sorted(name for name in self.simulation.nodes if name not in self._taken)
        if not free or (losing and not self.may_lose()):
            return None
        return self.random.choice(free)

    def may_lose(self) -> bool:
        """Whether there are W copies of all that W replicas have acknowledged."""
        nodes, names = self.simulation.nodes, self.simulation.disks
        return (
            self._loses
            and "losing" not in self._taken
            and len(nodes) == len(names)
            and all(map(_is_whole, nodes.values()))
        )

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
    partitions, view = node.node._state.partitions, node.view
    return view is not None and view.layout is not None and not partitions.doubts and not partitions.rounds_lost
