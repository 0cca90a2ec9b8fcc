"""What can strike: the form of all faults, and those of whole processes."""

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, ClassVar

from chaos_links import Link
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from chaos_cluster import ChaosCluster

Positive = Annotated[float, Meta(gt=0, le=1e6)]


class Skipped(Exception):
    """The fault cannot strike here and now; the message says why."""


class Ongoing(Struct):
    """A fault that has struck."""

    what: str  # for people
    end: Callable[[], None]
    down: str = ""  # the node that all others ought to call down meanwhile
    links: list[Link] = []  # that are bad as long as it lasts


class Scene(Struct):
    """Where a fault strikes."""

    cluster: "ChaosCluster"
    chance: random.Random
    taken: set[str]  # nodes that are struck in this step already

    def victim(self) -> str:
        """A node that is not struck yet; one is always left in peace. Raises: Skipped."""
        free = [name for name in self.cluster.names if name not in self.taken]
        if len(free) < 2:
            raise Skipped("no node is left to strike")
        victim = self.chance.choice(free)
        self.taken.add(victim)
        return victim


class Fault(Struct, forbid_unknown_fields=True, kw_only=True):
    """One kind, with its settings."""

    nodes_min: ClassVar[int] = 2
    needs_relay: ClassVar[bool] = False
    needs_mounts: ClassVar[bool] = False
    needs_clocks: ClassVar[bool] = False
    ends_nodes: ClassVar[bool] = False  # a node may end by itself

    weight: Positive = 1.0

    def strike(self, scene: Scene) -> Ongoing:
        """Raises: Skipped."""
        raise NotImplementedError


def nothing() -> None:
    """How faults end that leave nothing to undo."""


class Kill(Fault):
    """kill -9; started again at the end."""

    def strike(self, scene: Scene) -> Ongoing:
        victim = scene.victim()
        scene.cluster.kill_node(victim)
        return Ongoing(f"kill -9 {victim}", lambda: scene.cluster.restart_node(victim), down=victim)


class Restart(Fault):
    """SIGTERM; started again at the end."""

    def strike(self, scene: Scene) -> Ongoing:
        victim = scene.victim()
        scene.cluster.terminate(victim)
        return Ongoing(f"restart of {victim}", lambda: scene.cluster.restart_node(victim))


class Pause(Fault):
    """SIGSTOP; SIGCONT at the end."""

    def strike(self, scene: Scene) -> Ongoing:
        victim = scene.victim()
        scene.cluster.pause(victim)
        return Ongoing(f"pause of {victim}", lambda: scene.cluster.resume(victim), down=victim)


class Blink(Fault):
    """SIGSTOP for less than makes a node down, again and again until the end."""

    stopped_s: Positive = 0.5
    every_s: Positive = 1.5

    def strike(self, scene: Scene) -> Ongoing:
        victim = scene.victim()
        return Ongoing(f"{victim} blinks", scene.cluster.blinking(victim, self.stopped_s, self.every_s))


class Clock(Fault):
    """The wall clock of a node is wrong, ahead or behind."""

    needs_clocks: ClassVar[bool] = True

    offset_ms: tuple[Positive, Positive] = (100.0, 3_000.0)
    ahead: Annotated[float, Meta(ge=0, le=1)] = 0.5  # how often it is ahead

    def strike(self, scene: Scene) -> Ongoing:
        victim = scene.victim()
        sign = 1 if scene.chance.random() < self.ahead else -1
        shift_ms = sign * round(scene.chance.uniform(*self.offset_ms))
        scene.cluster.shift_clock(victim, shift_ms)
        return Ongoing(f"clock of {victim} {shift_ms:+} ms", lambda: scene.cluster.shift_clock(victim, 0))


PROCESS_FAULTS: dict[str, type[Fault]] = {
    "kill": Kill,
    "restart": Restart,
    "pause": Pause,
    "blink": Blink,
    "clock": Clock,
}
