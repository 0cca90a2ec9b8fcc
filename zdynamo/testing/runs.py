"""One run from one seed: a cluster, clients that work while things break, healing, rest, and every promise checked."""

import math
import traceback
from collections import Counter
from collections.abc import Iterator
from functools import partial
from random import Random

from msgspec import Struct

from zdynamo.core.settings import NodeLimits
from zdynamo.messages import CompareHashes, Hashes, Hello, Ping, Pong, Table
from zdynamo.partition import partition_of
from zdynamo.testing import audits
from zdynamo.testing.audits import Audit, Dots
from zdynamo.testing.disk import Disk, SimulatedStore
from zdynamo.testing.fault_kinds import KINDS, TOLD_WITHIN_MS
from zdynamo.testing.faults import Fault, Faults
from zdynamo.testing.history import History, Key
from zdynamo.testing.promises import Broken, check
from zdynamo.testing.simulator import Simulation
from zdynamo.testing.story import Versions, tell
from zdynamo.testing.workload import LATEST, TTLS_MS, Load, Workload, bucket_table

NODES = (3, 9)
CLOCKS_OFF_MS = {"jump": 4_000_000, "snapshot": 30_000}  # by which a value may expire early, or late, after these
QUORUMS = ((3, 2, 2),) * 8 + ((3, 1, 3), (3, 3, 1), (5, 3, 3))  # N, R, W
TIGHT = {"requests_max": 1, "hint_count_max": 2, "siblings_max": 4}  # limits so low that they are reached
TIGHTENED = 0.3  # how often each of them is
FOUNDED_MS = 60  # by then the first node has founded its cluster
FORMING_MS = 20_000
REST_MS = 240_000  # that a healed cluster has to come to rest: a clock that was put back is doubted for a minute
REAPED_MS = 900_000  # an owner whose clock was put back may look at what is dead only ten minutes later
LOOK_MS = 500
QUIET_MS = 10_000
IDLE_TALK = frozenset({Ping, Pong, Table, Hello, CompareHashes, Hashes})  # what nodes say to each other at rest


class Plan(Struct, frozen=True, kw_only=True):
    """What a run is made of; everything else follows from the seed."""

    seed: int
    nodes: int = 0  # 0: by the seed
    faults: tuple[str, ...] = tuple(KINDS)
    seconds: float = 20.0  # of load and faults


class Result(Struct, kw_only=True):
    """What a run has shown."""

    plan: Plan
    nodes: int
    n: int
    r: int
    w: int
    broken: list[Broken]
    operations: Counter[tuple[str, str]]  # kind and outcome
    faults: list[Fault]
    virtual_ms: int
    messages: int  # between peers


class Run:
    """A run, step by step, so that tests can look into it."""

    def __init__(self, plan: Plan, versions_of: Key | None = None) -> None:
        """`versions_of`: the key whose story will be told."""
        random = Random(plan.seed)
        self.plan = plan
        self.count = plan.nodes or random.randint(*NODES)
        self.n, self.r, self.w = random.choice([quorum for quorum in QUORUMS if quorum[0] <= self.count])
        self.names = [chr(ord("a") + number) for number in range(self.count)]
        tight = {name: limit for name, limit in TIGHT.items() if random.random() < TIGHTENED}
        limits = NodeLimits(r=self.r, w=self.w, reap_interval_ms=random.choice((1_000, 3_000)), **tight)
        simulation = self.simulation = Simulation(
            random.getrandbits(64), n=self.n, min_members=random.choice((1, self.count)), limits=limits
        )
        simulation.buckets = bucket_table(limits)
        simulation.make_disk = self._make_disk
        self._durability = random.choice(("interval", "interval", "always"))
        self.dots = Dots()
        load = Load(think_ms=random.choice((300, 600, 1_200)), keys=random.choice((1, 3)))
        self.workload = Workload(simulation, Random(random.getrandbits(64)), load)
        kinds = {name: KINDS[name] for name in plan.faults}
        self.faults = Faults(simulation, Random(random.getrandbits(64)), kinds, losses=self.w - 1)
        self.broken: list[Broken] = []
        self.versions = Versions(versions_of, simulation.partitions) if versions_of else None

    def result(self) -> Result:
        """Do it all. A node that fails by itself, in the core, is a broken promise like any other."""
        try:
            if self.form() and self.work() and self.come_to_rest():
                self.stay_quiet()
            self.broken += [*self._told_late(), *self.dots.broken, *audits.answered_once(self.simulation)]
            self.broken += audits.goes_on(self.simulation)
            self.broken += check(self.history())
        except Exception as error:
            self.broken.append(Broken("no-crash", _where(error)))
        return Result(
            plan=self.plan,
            nodes=self.count,
            n=self.n,
            r=self.r,
            w=self.w,
            broken=self.broken,
            operations=Counter((each.kind, each.outcome) for each in self.workload.operations),
            faults=self.faults.log,
            virtual_ms=self.simulation.time_ms,
            messages=sum(self.simulation.messages.values()),
        )

    def form(self) -> bool:
        """Start all nodes; whether they have found each other."""
        first, *others = self.names
        self.simulation.start(first)
        self.simulation.at(FOUNDED_MS, self._keep_early, first)
        for name in others:
            self.simulation.start(name, first)
        return self._until([audits.one_view], FORMING_MS)

    def work(self) -> bool:
        """Let clients work while things break; then everything is mended. Whether all sessions have ended."""
        for_ms = int(self.plan.seconds * 1_000)
        self.workload.begin(for_ms)
        self.faults.begin(for_ms)
        end_ms = self.simulation.time_ms + for_ms
        while self.simulation.time_ms < end_ms and not self.broken:
            self.simulation.run(LOOK_MS)
            self.broken += audits.bounded(self.simulation)
        self.faults.end_all()
        deadline_ms = max(self.workload.load.deadlines_ms)
        self.simulation.run(3 * deadline_ms + LOOK_MS)
        if self.workload.running and not self.broken:  # else they have been cut short
            self.broken.append(Broken("one-answer", f"{self.workload.running} sessions wait for an answer"))
        return not self.broken

    def come_to_rest(self) -> bool:
        """Whether the cluster heals by itself, in time."""
        mended = self._until([audits.one_view, audits.settled], REST_MS)
        if not mended or not self._until(RESTS, REST_MS):
            return False
        self.simulation.run(max(TTLS_MS) + self.simulation.limits.clock_skew_ms)  # nothing expires any more from now on
        return self._until([audits.reaped], REAPED_MS)

    def stay_quiet(self) -> bool:
        """Whether nothing goes on any more but what goes on for ever."""
        simulation = self.simulation
        simulation.run(2 * LOOK_MS)
        before = Counter(simulation.messages)
        simulation.run(QUIET_MS)
        said = {kind: number for kind, number in (simulation.messages - before).items() if kind not in IDLE_TALK}
        for kind, number in said.items():
            self.broken.append(Broken("bounded", f"nodes at rest have sent {number} {kind.__name__} in {QUIET_MS} ms"))
        return not said

    def history(self) -> History:
        """As it is now."""
        owners, untold = audits.owners_by_partition(self.simulation), self._untold()
        for operation in self.workload.operations:
            operation.vouched = not any(
                name in owners[partition_of(operation.bucket.encode(), operation.key, len(owners))]
                and operation.begin_ms <= until_ms
                and since_ms <= operation.end_ms
                for name, since_ms, until_ms in untold
            )
            operation.twins = self.dots.has_twins(operation.request)
            if operation.twins or self.simulation.handed_on[operation.request] > 1:
                operation.doubled = True
        return History(
            operations=self.workload.operations,
            ended_ms=self.simulation.time_ms,
            final=audits.final_values(self.simulation, {operation.place for operation in self.workload.operations}),
            lww=frozenset({LATEST}),
            clocks_off_ms=max([1_000, *(CLOCKS_OFF_MS.get(fault.name, 0) for fault in self.faults.log)]),
            answers_late_ms=0,  # clients have timers that are never late
        )

    def _untold(self) -> list[tuple[str, int, float]]:
        """Nodes that were put back to a snapshot, since when, and until when they had not been told of it.

        One of before it had joined takes over the place that it finds itself to have had, and needs no telling.
        """
        told = [
            (ms, node)
            for ms, node, noted in self.simulation.notes
            if noted.name == "member.old_copy" or (noted.name == "cluster.joined" and noted.fields["took_over"])
        ]
        return [
            (name, at_ms, min((ms for ms, node in told if node == name and ms >= at_ms), default=math.inf))
            for name, at_ms in self.faults.put_back
        ]

    def _told_late(self) -> Iterator[Broken]:
        for name, since_ms, until_ms in self._untold():
            if until_ms > since_ms + TOLD_WITHIN_MS:
                what = f"{name}, put back to a snapshot at {since_ms} ms, was not told of it until {until_ms} ms"
                yield Broken("regular-reads", what)

    def _until(self, wanted: list[Audit], at_most_ms: int) -> bool:
        """Whether nothing of this is broken any more, in time; else that is what the run has found."""
        simulation = self.simulation
        end_ms = simulation.time_ms + at_most_ms
        while simulation.time_ms < end_ms:
            if not any(next(audit(simulation), None) for audit in wanted):
                return True
            self.faults.revive()
            simulation.run(LOOK_MS)
        for audit in wanted:
            self.broken += audit(simulation)
        return not self.broken

    def _keep_early(self, name: str) -> None:
        disk = self.simulation.disks[name]
        if disk.kept.cluster and disk.kept.layout is None:
            self.faults.early[name] = (self.simulation.time_ms, disk.copy(snapshot=True))

    def _make_disk(self, name: str) -> Disk:
        store = SimulatedStore(f"made at {self.simulation.time_ms}")
        store.durability = self._durability
        store.watch = partial(self._committing, name)
        return Disk(store)

    def _committing(self, name: str, staged: dict[bytes, bytes | None]) -> None:
        self.dots.watch(staged)
        if self.versions is not None:
            self.versions.stored(name, self.simulation.time_ms, staged)


RESTS: list[Audit] = [
    audits.at_rest, audits.one_view, audits.settled, audits.convergence, audits.hints_drained,
]  # fmt: skip


def run(plan: Plan) -> Result:
    """One run."""
    return Run(plan).result()


def story(plan: Plan, key: Key | None) -> list[str]:
    """The run once more, told from the side of one key; None: only what went wrong."""
    again = Run(plan, versions_of=key)
    again.result()
    operations = [operation for operation in again.workload.operations if operation.place == key]
    return list(tell(operations, again.faults.log, again.versions.lines if again.versions else []))


def _where(error: Exception) -> str:
    """One line: what, and where."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return (
        f"{type(error).__name__} in {place.name} ({place.filename.rpartition('zdynamo/')[2]}:{place.lineno}): {error}"
    )
