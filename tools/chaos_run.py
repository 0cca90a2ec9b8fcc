"""One chaos run: start, load, steps of faults, heal, and the history of it all."""

import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from chaos_cluster import ChaosCluster
from chaos_converge import converge
from chaos_disk_faults import may_mount
from chaos_faults import Fault, Ongoing, Scene, Skipped
from chaos_history import Loaded, Recorder, Run, Struck, written_keys
from chaos_load import workers_of, working
from chaos_plan import KINDS, Plan
from killable import wait_until

from zdynamo.cli.cluster import ClusterFailed
from zdynamo.client import Client

WHOLE_SECONDS = 60.0  # that nodes have to see each other again when all faults have ended
SETTLED_SECONDS = 120.0  # that a lost disk has to be refilled
APART_SECONDS = 0.3  # at most, between the faults of a step
COPIES = 3
FINAL_DEADLINE_MS = 5_000


class Progress:
    """Who wants to know how far it is; does nothing."""

    def say(self, what: str) -> None:
        """What goes on now."""

    def step(self) -> None:
        """One step is done."""


class Runner:
    """The steps of one plan on one cluster."""

    def __init__(self, plan: Plan, seed: int, cluster: ChaosCluster, recorder: Recorder, progress: Progress) -> None:
        self._plan = plan
        self._chance = random.Random(seed)
        self._cluster = cluster
        self._recorder = recorder
        self._progress = progress
        self._faults = plan.kinds()
        self._ongoing: list[tuple[Ongoing, Struck]] = []
        self._before: list[Struck] = []  # of the step before

    def steps(self) -> None:
        """Raises: ClusterFailed."""
        began = time.monotonic()
        for _ in range(self._plan.steps):
            self._wait(self._plan.calm_s, "calm")
            if self._plan.seconds and time.monotonic() - began > self._plan.seconds:
                break
            self._revive()
            try:
                self._strike_all()
                self._detect()
                self._wait(self._plan.fault_s, "; ".join(ongoing.what for ongoing, _ in self._ongoing))
            finally:
                ended = self._end_all()
            self._recover(ended)
            self._progress.step()
        self._wait(self._plan.calm_s, "calm")
        self._revive()

    def finish(self) -> None:
        """Stop all nodes: what has ended before, or does not stop in order, is recorded."""
        self._cluster.terminate(*self._cluster.names)
        self._record(self._cluster.endings(), self._before)

    def _strike_all(self) -> None:
        scene = Scene(self._cluster, self._chance, set())
        wanted = min(self._plan.at_once, len(self._faults))
        kinds: list[Fault] = []
        while len(kinds) < wanted:
            free = [fault for fault in self._faults if fault not in kinds]
            kinds += self._chance.choices(free, [fault.weight for fault in free])
        for place, fault in enumerate(kinds):
            if place:
                time.sleep(self._chance.uniform(0, APART_SECONDS))
            self._strike(fault, scene)

    def _strike(self, fault: Fault, scene: Scene) -> None:
        kind = next(name for name, each in KINDS.items() if type(fault) is each)
        at_ms = int(self._recorder.now_ms())
        try:
            ongoing = fault.strike(scene)
        except Skipped as skipped:
            self._recorder.add(Struck(kind=kind, what=kind, at_ms=at_ms, ended_ms=at_ms, skipped=str(skipped)))
            return
        waited = bool(ongoing.down and self._plan.detect_s)
        self._ongoing.append((ongoing, Struck(kind=kind, what=ongoing.what, at_ms=at_ms, waited=waited)))
        self._set_links()

    def _detect(self) -> None:
        """Wait until the victims are called down; how long each took."""
        waiting = [(ongoing, struck) for ongoing, struck in self._ongoing if ongoing.down]
        give_up = time.monotonic() + self._plan.detect_s
        while waiting and time.monotonic() < give_up:
            self._progress.say(f"{waiting[0][0].what}, until it is noticed")
            for ongoing, struck in list(waiting):
                if self._cluster.call_down(ongoing.down):
                    struck.detected_s = round((self._recorder.now_ms() - struck.at_ms) / 1000, 3)
                    waiting.remove((ongoing, struck))
            time.sleep(0.02)

    def _end_all(self) -> list[Struck]:
        ended = [struck for _, struck in self._ongoing]
        self._chance.shuffle(self._ongoing)
        while self._ongoing:
            ongoing, struck = self._ongoing.pop()
            ongoing.end()
            self._set_links()
            struck.ended_ms = int(self._recorder.now_ms())
        return ended

    def _set_links(self) -> None:
        self._cluster.set_links(link for ongoing, _ in self._ongoing for link in ongoing.links)

    def _recover(self, ended: list[Struck]) -> None:
        self._progress.say("until all see each other")
        began = time.monotonic()
        self._revive(*ended)
        give_up = began + WHOLE_SECONDS
        while not self._cluster.is_whole():
            self._revive(*ended)
            if time.monotonic() > give_up:
                raise ClusterFailed(f"not all nodes see each other {WHOLE_SECONDS:.0f} s after the faults have ended")
            time.sleep(0.05)
        for struck in ended:
            struck.rejoined_s = round(time.monotonic() - began, 3)
            self._recorder.add(struck)
        if self._cluster.lost_disk:
            self._progress.say("until the lost disk is refilled")
            wait_until(self._cluster.all_settled, SETTLED_SECONDS)
            self._cluster.lost_disk = False
        self._before = ended

    def _revive(self, *struck: Struck) -> None:
        self._record(self._cluster.revive(), (*self._before, *struck))  # a node may end late

    def _record(self, endings: list[str], struck: Sequence[Struck]) -> None:
        for words in endings:
            expected = may_end(words.split()[0], struck)
            at_ms = int(self._recorder.now_ms())
            self._recorder.add(Struck(kind="ended", what=words, at_ms=at_ms, ended_ms=at_ms, expected=expected))

    def _wait(self, span: tuple[float, float], what: str) -> None:
        self._progress.say(what)
        time.sleep(self._chance.uniform(*span))


def may_end(name: str, struck: Sequence[Struck]) -> bool:
    """Whether a fault of its disk has struck this node."""
    return any(KINDS[each.kind].ends_nodes and name in each.what.split() for each in struck)


def run(plan: Plan, name: str, seed: int, folder: Path, recorder: Recorder, progress: Progress) -> None:
    """Into the recorder. Raises: ClusterFailed, RequestError if there can be no verdict."""
    recorder.add(Run(name, seed, plan.nodes, plan.must_converge_s, plan.must_p999_ms))
    with ExitStack() as stack:
        progress.say("starting")
        cluster = stack.enter_context(cluster_of(plan, seed, folder))
        cluster.start_and_open()
        placed = cluster.connected(plan.load.deadline_ms)
        for each in placed:
            stack.callback(each.close)
        workers = workers_of(plan.load, placed, recorder, seed)
        with working(workers):
            from_ms = int(recorder.now_ms())
            runner = Runner(plan, seed, cluster, recorder, progress)
            runner.steps()
            recorder.add(Loaded(from_ms, int(recorder.now_ms())))
        time.sleep(plan.quiet_s)
        with Client(*cluster.addresses, deadline_ms=FINAL_DEADLINE_MS) as client:
            keys, copies = written_keys(recorder.lines), min(COPIES, plan.nodes)
            hints, alike_s = cluster.hints_held, cluster.alike_s
            converge(client, keys, copies, recorder, plan.converge_s, hints, alike_s, progress.say)
        runner.finish()


def cluster_of(plan: Plan, seed: int, folder: Path) -> ChaosCluster:
    """With what its faults need."""
    kinds = plan.kinds()
    return ChaosCluster(
        nodes=plan.nodes,
        clients=plan.load.clients,
        folder=folder,
        seed=seed,
        memory=plan.memory,
        settings=plan.node,
        relay=any(kind.needs_relay for kind in kinds),
        clocks=any(kind.needs_clocks for kind in kinds),
        mounts=any(kind.needs_mounts for kind in kinds) and may_mount(),
    )
