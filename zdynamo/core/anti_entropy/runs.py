"""Repairs that somebody has asked for: everything that this node owns, or one partition, compared at once."""

from collections import Counter, deque
from collections.abc import Iterable

from msgspec import Struct, field

from zdynamo.core.anti_entropy.comparison import Comparison
from zdynamo.core.anti_entropy.hashes import ALL
from zdynamo.core.coordinator.admission import foreign
from zdynamo.core.events import Effect, Reply
from zdynamo.core.owners.placement import Placement
from zdynamo.messages import NodeId, Overloaded, Refused, Repair, RepairProgress

RUNS_MAX = 4  # in progress; beyond, overloaded
RUNS_KEPT = 16  # those that are over are forgotten first, the oldest first
RETRY_AFTER_MS = 1_000
FORGOTTEN = "this node knows nothing of that repair, it may have been restarted: begin again"
NOT_AN_OWNER = "this node does not own the partition: ask one that does (zdynamo ring --json)"
NO_LAYOUT = "the cluster has taken no data yet: there is nothing to repair"


class Run(Struct, kw_only=True):
    """A repair. Each partition counts once for each other owner."""

    number: int
    partition: int  # ALL: of all
    begun: bool = False  # before, the trees are waited for
    asked: set[NodeId] = field(default_factory=set)  # for their roots
    queue: deque[tuple[NodeId, int]] = field(default_factory=deque)  # partitions that differ
    going: int = 0  # of those
    total: int = 0
    compared: int = 0
    differing: int = 0
    stored_here: int = 0
    stored_there: int = 0
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def done(self) -> bool:
        return self.begun and not self.asked and not self.queue and not self.going

    def wants(self, partition: int) -> bool:
        return self.partition in (ALL, partition)

    def wanted(self, shared: Iterable[int]) -> int:
        """How many of the partitions that another owner shares."""
        return sum(map(self.wants, shared))

    def missed(self, peer: NodeId, shared: Iterable[int], why: str) -> None:
        """There are no roots to be had from an owner."""
        self.asked.discard(peer)
        self.failed[why] += self.wanted(shared)

    def looked(self, place: tuple[NodeId, int], *, alike: bool, why: str) -> None:
        """What the roots of a partition say. `why` it cannot be compared; "": it can."""
        if why:
            self.failed[why] += 1
        elif alike:
            self.compared += 1
        else:
            self.queue.append(place)

    def ended(self, comparison: Comparison, why: str) -> None:
        """One of its partitions is through. `why` it failed; "": it did not."""
        self.going -= 1
        self.differing += comparison.differs
        self.stored_here += comparison.stored_here
        self.stored_there += comparison.stored_there
        if why:
            self.failed[why] += 1
        else:
            self.compared += 1

    def progress(self, request: bytes, waits: str) -> RepairProgress:
        failed = tuple(sorted(self.failed.items()))
        return RepairProgress(
            request, self.number, self.done, self.total, self.compared, self.differing,
            self.stored_here, self.stored_there, failed, "" if self.begun else waits,
        )  # fmt: skip


class Runs:
    """Those in progress, and the last of those that are over."""

    def __init__(self, first_number: int) -> None:
        self._number = first_number
        self._runs: dict[int, Run] = {}
        self.get = self._runs.get

    @property
    def in_progress(self) -> list[Run]:
        return [run for run in self._runs.values() if not run.done] if self._runs else []

    def asked(self, client: bytes, request: Repair, placement: Placement, waits: str) -> Effect:
        """Begin one, or tell of it. `waits`: for what a new one has to wait."""
        if request.run:
            known = self._runs.get(request.run)
            if known is None:
                return Reply(client, Refused(request.request, FORGOTTEN))
            return Reply(client, known.progress(request.request, waits))
        refused = _refusal(request, placement)
        if refused:
            return Reply(client, Refused(request.request, refused))
        in_progress = self.in_progress
        run = next((run for run in in_progress if run.partition == request.partition), None)
        if run is None and len(in_progress) >= RUNS_MAX:
            return Reply(client, Overloaded(request.request, RETRY_AFTER_MS))
        return Reply(client, (run or self._new(request.partition)).progress(request.request, waits))

    def _new(self, partition: int) -> Run:
        self._number += 1
        for number in [number for number, run in self._runs.items() if run.done][:-RUNS_KEPT]:
            del self._runs[number]
        run = self._runs[self._number] = Run(number=self._number, partition=partition)
        return run


def _refusal(request: Repair, placement: Placement) -> str:
    partition = request.partition
    if request.cluster and request.cluster != placement.view.cluster:
        return foreign(request.cluster, placement)
    if not placement.owners:
        return NO_LAYOUT
    if partition == ALL:
        return ""
    if not 0 <= partition < placement.partitions:
        return f"partition is {partition}: use 0 to {placement.partitions - 1}"
    return "" if placement.me in placement.owners[partition] else NOT_AN_OWNER
