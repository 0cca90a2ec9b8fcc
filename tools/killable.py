"""A local cluster whose nodes can be killed and restarted one by one, for `chaos.py` and `flood.py`."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

from zdynamo.cli.ask import topology_of
from zdynamo.cli.cluster import Child, ClusterFailed, LocalCluster, free_ports
from zdynamo.client import Client
from zdynamo.errors import RequestError

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
        wait_until(lambda: all(owners_known(child.address) for child in self.children), READY_SECONDS)

    def kill(self, child: Child) -> None:
        """kill -9, and wait until it is gone."""
        assert child.process and child.process.stdin
        child.process.send_signal(signal.SIGKILL)
        child.process.wait()
        child.process.stdin.close()

    def restart(self, child: Child) -> None:
        """With its folder, or empty if it has none, at its old address."""
        other = next(other for other in self.children if other is not child and other.ended is None)
        store = ["--memory"] if self._memory else ["--data", str(child.data)]
        child.start([*store, "--seed", other.address, f"--min-members={self._min_members}", *self._flags])

    def wait_down(self, victim: Child, within_seconds: float) -> float:
        """Seconds until every other running node calls it down. Raises: ClusterFailed."""
        began = time.monotonic()
        others = [child for child in self.children if child is not victim and child.ended is None]
        wait_until(lambda: all(state_of(victim, at=child) == "down" for child in others), within_seconds)
        return time.monotonic() - began


def state_of(child: Child, *, at: Child) -> str:
    """What one node says of another, "" if it says nothing."""
    try:
        members = topology_of(at.address, deadline_ms=500).members
    except RequestError:
        return ""
    return next((member.state for member in members if member.record.addresses.client == child.address), "")


def owners_known(address: str) -> bool:
    try:
        return bool(topology_of(address, deadline_ms=500).owners)
    except RequestError:
        return False


def wait_until(holds: Callable[[], bool], within_seconds: float) -> None:
    """Poll until it holds. Raises: ClusterFailed."""
    give_up = time.monotonic() + within_seconds
    while not holds():
        if time.monotonic() > give_up:
            raise ClusterFailed(f"the cluster is not as expected after {within_seconds:.0f} s")
        time.sleep(POLL_SECONDS)
