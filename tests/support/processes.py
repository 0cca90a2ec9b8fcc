"""Node processes over TCP on free ports, one by one and with whatever flags a test wants."""

import signal
import time
from pathlib import Path

from killable import kill, states_at, wait_until

from zdynamo.cli.cluster import PORTS_PER_NODE, Child, free_ports

WITHIN_SECONDS = 20.0


class Nodes:
    """Starts nodes; `stop` ends whatever still runs."""

    def __init__(self, folder: Path, at_most: int = 8) -> None:
        self._folder = folder
        self._first_port = free_ports(at_most)
        self._started: list[Child] = []

    def port(self, place: int) -> int:
        return self._first_port + PORTS_PER_NODE * place

    def start(self, name: str, place: int, *flags: str, data: Path | str | None = None, memory: bool = False) -> Child:
        """At a place of its own among the ports; the log of a name goes on over its starts."""
        child = Child(name, self.port(place), self._folder)
        store = ["--memory"] if memory else ["--data", str(data or child.data)]
        child.start(["--http=off", *store, *flags])
        self._started.append(child)
        return child

    def trio(self) -> list[Child]:
        """Three nodes that have found each other."""
        first = self.start("a", 0, "--found", "--min-members=3")
        rest = [self.start(name, at, f"--seed={first.address}", "--min-members=3") for at, name in ((1, "b"), (2, "c"))]
        wait_until(lambda: all(is_whole(child, [first, *rest]) for child in [first, *rest]))
        return [first, *rest]

    def again(self, child: Child, *flags: str, data: Path | None = None, memory: bool = False) -> Child:
        """The same name and address, and the same folder unless it is another one or none."""
        place = (child.port - self._first_port) // PORTS_PER_NODE
        return self.start(child.name, place, *flags, data=data, memory=memory)

    def stop(self) -> None:
        for child in self._started:
            kill(child)


class Trio:
    """Three nodes, the third of which may be replaced."""

    def __init__(self, nodes: Nodes, first: Child, second: Child, third: Child) -> None:
        self.nodes = nodes
        self.first = first
        self.second = second
        self.third = third

    @property
    def all(self) -> list[Child]:
        return [self.first, self.second, self.third]


def terminate(child: Child) -> tuple[int, float]:
    """SIGTERM; the exit code, and the seconds that it took."""
    assert child.process and child.process.stdin
    began = time.monotonic()
    child.process.send_signal(signal.SIGTERM)
    code = child.process.wait(WITHIN_SECONDS)
    child.process.stdin.close()
    return code, time.monotonic() - began


def ended(child: Child) -> tuple[int, list[str]]:
    """Of a node that ends by itself: its exit code, and all that it said."""
    assert child.process
    return child.process.wait(WITHIN_SECONDS), child.log.read_text().splitlines()


def is_whole(child: Child, nodes: list[Child]) -> bool:
    """Whether it lists exactly these, all alive."""
    return states_at(child) == {node.name: "alive" for node in nodes}
