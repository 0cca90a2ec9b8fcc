"""The cluster of a chaos run: its nodes can be killed and paused, its links, disks and clocks made bad."""

import json
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from chaos_clients import Placed
from chaos_disks import FREE_MIN_MIB, Disks
from chaos_history import STRICT
from chaos_link_faults import merged
from chaos_links import PORT, Link, Places, Relay
from chaos_watch import Watch
from killable import Killable

from zdynamo.cli.cluster import Child
from zdynamo.threads.clock import SHIFT, TEST_CLOCK

TERMINATE_SECONDS = 10.0  # that a node has to stop; then it is killed
STRICT_RULES = {"pr": 2, "pw": 2}


class ChaosCluster(Killable):
    """Use as a context manager: leaving it stops nodes and relay, whatever state they are in."""

    def __init__(
        self, *, nodes: int, clients: int, folder: Path, seed: int, memory: bool = False,
        settings: dict[str, dict[str, Any]] | None = None, relay: bool = False, clocks: bool = False,
        mounts: bool = False,
    ) -> None:  # fmt: skip
        """`settings`: of all nodes, section to key to value; the rest says what the faults need."""
        super().__init__(nodes=nodes, folder=folder, memory=memory)
        self._folder = folder
        self.names = [child.name for child in self.children]
        self.places = Places(self.names, clients)
        self.disks = Disks()
        self.lost_disk = False  # in this step
        self.lost_disks = 0
        self._endings: list[str] = []  # of nodes that ended by themselves, or did not stop as they were told to
        self._settings = settings or {}
        self._relay: Relay | None = None
        self._seed = seed
        if relay:
            for at, child in enumerate(self.children):
                self.children[at] = moved = Child(child.name, PORT, folder)
                moved.address = f"{self.places.advertised(child.name)}:{PORT}"
        folder.mkdir(parents=True, exist_ok=True)
        for child in self.children:
            self._prepare(child, relay=relay, clock=clocks, mount=mounts)
        self._relayed = relay
        self.watch = Watch({child.name: child.address for child in self.children})

    def __enter__(self) -> "ChaosCluster":
        return self

    @property
    def everybody(self) -> list[str]:
        """Nodes and clients."""
        return [*self.names, *self.places.clients]

    def start(self) -> None:
        """Raises: ClusterFailed."""
        if self._relayed:
            self._relay = Relay(self.places.setup(self._seed))
        super().start()

    def stop(self) -> None:
        for name in self.names:
            with suppress(OSError):
                self.resume(name)
        super().stop()
        self.watch.close()
        if self._relay:
            self._relay.close()
        self.disks.unmount()

    def connected(self, deadline_ms: int) -> list[Placed]:
        """The clients, each at its place."""
        return [
            Placed(name, self.addresses, deadline_ms, self.places.client(name) if self._relayed else "")
            for name in self.places.clients
        ]

    def set_links(self, links: Iterable[Link]) -> None:
        """These are bad, and no others."""
        if self._relay:
            self._relay.set(merged(links))

    def child(self, name: str) -> Child:
        return self.children[self.names.index(name)]

    def running(self) -> list[str]:
        return [child.name for child in self.children if child.ended is None]

    def kill_node(self, name: str) -> None:
        if not self._has_ended(name):
            self.kill(self.child(name))

    def restart_node(self, name: str) -> None:
        if self.child(name).ended is not None:
            self.restart(self.child(name))

    def terminate(self, *names: str) -> None:
        """SIGTERM to all, and wait until they have stopped."""
        children = [self.child(name) for name in names if not self._has_ended(name)]
        for child in children:
            self._signal(child.name, signal.SIGTERM)
        give_up = time.monotonic() + TERMINATE_SECONDS
        for child in children:
            assert child.process and child.process.stdin
            try:
                if child.process.wait(max(0.0, give_up - time.monotonic())):
                    self._has_ended(child.name)
            except subprocess.TimeoutExpired:
                self._endings.append(f"{child.name} did not stop within {TERMINATE_SECONDS:.0f} s of SIGTERM")
                self.kill(child)
            child.process.stdin.close()

    def revive(self) -> list[str]:
        """Start again whatever has ended by itself; what it said, and what others said that have ended since."""
        for name in self.names:
            if self._has_ended(name):
                self.restart_node(name)
        return self.endings()

    def endings(self) -> list[str]:
        """How nodes ended that were not to, since the last call."""
        told, self._endings = self._endings, []
        return told

    def pause(self, name: str) -> None:
        self._signal(name, signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._signal(name, signal.SIGCONT)

    def blinking(self, name: str, stopped_s: float, every_s: float) -> Callable[[], None]:
        """Paused again and again; how to end it."""
        ending = threading.Event()

        def blink() -> None:
            while not ending.is_set():
                self.pause(name)
                ending.wait(stopped_s)
                self.resume(name)
                ending.wait(max(0.0, every_s - stopped_s))

        thread = threading.Thread(target=blink, name=f"blink-{name}", daemon=True)
        thread.start()

        def end() -> None:
            ending.set()
            thread.join()

        return end

    def shift_clock(self, name: str, ms: int) -> None:
        with self._clock_of(name).open("r+b") as file:
            file.write(SHIFT.pack(ms))

    def lose_disk(self, name: str) -> None:
        """Of a node that is not running."""
        for path in self.child(name).data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.lost_disk = True
        self.lost_disks += 1

    def limit_files(self, name: str, *, limited: bool) -> None:
        """No file of the node grows beyond its write-ahead log as it is."""
        process = self.child(name).process
        if process is None or process.poll() is not None:
            return
        logs = [path.stat().st_size for path in self.child(name).data.rglob("*.log")]
        most = max(logs, default=0) if limited else resource.RLIM_INFINITY
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))

    def all_settled(self) -> bool:
        """Whether every node runs and has got back what it may have lost."""
        described = self.watch.descriptions(self.names)
        unsettled = [each.counters.get("partitions.unsettled", 0) for each in described.values()]
        return len(described) == len(self.names) and not any(unsettled)

    def hints_held(self) -> int:
        """By all nodes for others."""
        described = self.watch.descriptions(self.names)
        return sum(held.count for each in described.values() for held in each.hints)

    def alike_s(self) -> float | None:
        """How long ago every node had found its hash trees like those of others; None: not all have."""
        described = self.watch.descriptions(self.names)
        if len(described) < len(self.names):
            return None
        ages = [each.counters["compare.alike_ms"] for each in described.values() if "compare.alike_ms" in each.counters]
        return None if -1 in ages else max(ages, default=0) / 1_000

    def call_down(self, victim: str) -> bool:
        """Whether all others that run call it down, or unreachable."""
        others = [name for name in self.running() if name != victim]
        seen = self.watch.states(others)
        return all(seen.get(other, {}).get(victim) in ("down", "unreachable") for other in others)

    def is_whole(self) -> bool:
        """Whether every node calls every node alive."""
        seen = self.watch.states(self.names)
        return all(seen.get(at, {}).get(name) == "alive" for at in self.names for name in self.names)

    def _has_ended(self, name: str) -> bool:
        """If it has, it is remembered how."""
        child = self.child(name)
        if child.ended is None:
            return False
        assert child.process and child.process.stdin
        child.process.stdin.close()
        self._endings.append(f"{name} ended with {child.ended}: {child.last_words()}")
        return True

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.child(name).process
        if process and process.poll() is None:
            process.send_signal(number)

    def _clock_of(self, name: str) -> Path:
        return self._folder / f"{name}.clock"

    def _prepare(self, child: Child, *, relay: bool, clock: bool, mount: bool) -> None:
        """Its configuration file, and what its faults need."""
        settings = {section: dict(keys) for section, keys in self._settings.items()}
        settings[f"buckets.{STRICT}"] = dict(STRICT_RULES)
        if relay:
            own = self.places.node(child.name)
            node = settings.setdefault("node", {})
            node |= {"host": self.places.advertised(child.name), "bind": own, "connect_from": own}
        if clock:
            child.environment[TEST_CLOCK] = str(self._clock_of(child.name))
            self._clock_of(child.name).write_bytes(SHIFT.pack(0))
        if mount:
            self.disks.mount(child.name, child.data)
            settings.setdefault("storage", {}).setdefault("disk_free_min", FREE_MIN_MIB * 2**20)
        file = self._folder / f"{child.name}.toml"
        file.write_text(as_toml(settings))
        child.flags = [f"--config={file}"]


def as_toml(settings: dict[str, dict[str, Any]]) -> str:
    """Of plain values: what is JSON is TOML then."""
    text = ""
    for section, keys in settings.items():
        plain = {key: value for key, value in keys.items() if not isinstance(value, dict)}
        text += f"[{section}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in plain.items())
        text += as_toml({f"{section}.{key}": value for key, value in keys.items() if key not in plain})
    return text
