"""A local cluster whose nodes can be killed and restarted one by one, and what is asked of each; tests use it, too."""

import time
from collections.abc import Callable
from pathlib import Path

from zdynamo.cli.ask import ask, topology_of
from zdynamo.cli.cluster import Child, ClusterFailed, LocalCluster, free_ports
from zdynamo.client import Client
from zdynamo.errors import RequestError
from zdynamo.messages import DescribeNode, MemberView, NodeDescription

POLL_SECONDS = 0.02
READY_SECONDS = 30.0


class Killable(LocalCluster):
    """Starts with the first `start`; leaving it stops all nodes, and so does the death of this process."""

    def __init__(self, *, nodes: int, folder: Path, memory: bool, flags: tuple[str, ...] = ()) -> None:
        super().__init__(nodes=nodes, port=free_ports(nodes), folder=folder, memory=memory, flags=flags)

    def start_and_open(self) -> None:
        """Start, wait until all see each other, and store once: the first put fixes who owns what."""
        self.start()
        self.wait_ready(READY_SECONDS)
        with Client(*self.addresses, deadline_ms=int(READY_SECONDS * 1000)) as client:
            client.put("first", b"", bucket="tools")
        wait_until(lambda: all(map(has_layout, self.children)), READY_SECONDS)

    def kill(self, child: Child) -> None:
        """kill -9, and wait until it is gone."""
        kill(child)

    def restart(self, child: Child) -> None:
        """With its folder, or empty if it has none, at its old address."""
        other = next(other for other in self.children if other is not child and other.ended is None)
        store = ["--memory"] if self._memory else ["--data", str(child.data)]
        child.start([*store, "--seed", other.address, f"--min-members={self._min_members}", *self._flags])

    def wait_down(self, victim: Child, within_seconds: float) -> float:
        """Seconds until every other running node calls it down. Raises: ClusterFailed."""
        others = [child for child in self.children if child is not victim and child.ended is None]
        return wait_until(lambda: all(states_at(child).get(victim.name) == "down" for child in others), within_seconds)


def kill(child: Child) -> None:
    """kill -9, and wait until it is gone."""
    assert child.process and child.process.stdin
    child.process.kill()
    child.process.wait()
    child.process.stdin.close()


def members_of(child: Child) -> tuple[MemberView, ...]:
    """As this node lists them; none if it does not answer."""
    try:
        return topology_of(child.address, deadline_ms=500).members
    except RequestError:
        return ()


def states_at(child: Child) -> dict[str, str]:
    """Name to state."""
    return {member.record.name: member.state for member in members_of(child)}


def has_layout(child: Child) -> bool:
    try:
        return bool(topology_of(child.address, deadline_ms=500).owners)
    except RequestError:
        return False


def description_of(child: Child) -> NodeDescription | None:
    """None if it does not answer."""
    try:
        return ask(child.address, lambda request: DescribeNode(request, ""), NodeDescription, 500)
    except RequestError:
        return None


def is_settled(child: Child, *, after_doubt: bool = False) -> bool:
    """Whether it doubts nothing that it holds. `after_doubt`: it has, so that all of that is compared by now."""
    described = description_of(child)
    return described is not None and described.counters.get("partitions.unsettled", None if after_doubt else 0) == 0


def wait_until(holds: Callable[[], bool], within_seconds: float = READY_SECONDS) -> float:
    """Poll until it holds; the seconds that it took. Raises: ClusterFailed."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() > began + within_seconds:
            raise ClusterFailed(f"the cluster is not as expected after {within_seconds:.0f} s")
        time.sleep(POLL_SECONDS)
    return time.monotonic() - began
