"""The verdict on a history: each promise by its name, and the figures; for people and for scripts."""

from collections import Counter
from collections.abc import Iterable, Sequence

from chaos_figures import (
    Latency,
    Spread,
    by_kind,
    counted,
    latency_of,
    longest_gap_ms,
    longest_gap_of_one_ms,
    spread,
)
from chaos_history import Converged, Line, Loaded, Op, Run, Struck, Unreadable, history_of
from msgspec import Struct, field

from zdynamo.cli.output import note, show_table
from zdynamo.testing.promises import Broken, check

PROMISES = (
    "no-lost-write",
    "no-resurrection",
    "regular-reads",
    "no-needless-siblings",
    "one-answer",
    "convergence",
    "hints-drain",
    "no-crash",
    "service",
)
SHOWN = 10  # breaches told to people; --json has up to BREACHES_MAX
BREACHES_MAX = 100


class Verdict(Struct, kw_only=True):
    """What came out."""

    plan: str
    seed: int
    promises: dict[str, int]  # breaches by name
    breaches: list[str]
    faults: dict[str, int]  # that struck, by kind
    skipped: dict[str, int]  # that could not, by reason
    ended: list[str]  # nodes that ended by themselves, with their last words
    operations: int
    acknowledged: int  # puts and deletes
    found: int  # of the puts: there in the end, or covered
    lost: int
    resurrected: int
    stale: int
    phantom: int  # shown though it was said that nothing was written, or never written
    needless_siblings: int
    failed: dict[str, int]
    unreadable: list[str]
    longest_without_service_s: float
    longest_without_service_of_one_worker_s: float
    latency: Latency
    around: dict[str, Latency] = field(default_factory=dict)
    detected: Spread | None = None
    not_detected: int = 0
    rejoined: Spread | None = None
    convergence: Converged | None = None
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return not any(self.promises.values())


def judge(lines: Sequence[Line]) -> Verdict:
    """Everything is computed from the lines, by the checkers that the simulator uses too."""
    run = next((line for line in lines if isinstance(line, Run)), Run("?", 0, 0))
    operations = [line for line in lines if isinstance(line, Op)]
    faults = [line for line in lines if isinstance(line, Struck) and line.kind != "ended"]
    struck = [fault for fault in faults if not fault.skipped]
    load = next((line for line in lines if isinstance(line, Loaded)), None) or _span_of(operations)
    converged = next((line for line in lines if isinstance(line, Converged)), None)
    ended = [line for line in lines if isinstance(line, Struck) and line.kind == "ended"]
    around = by_kind(operations, struck)
    broken = [
        *check(history_of(lines)), *_convergence(converged, run, struck), *_unreadable(lines), *_hints_drain(converged),
        *_no_crash(ended), *_cost(run, around),
    ]  # fmt: skip
    count = Counter(each.promise for each in broken)
    puts = sum(operation.kind == "put" and operation.outcome == "ok" for operation in operations)
    return Verdict(
        plan=run.plan,
        seed=run.seed,
        promises={promise: count[promise] for promise in PROMISES},
        breaches=[_told(each) for each in broken[:BREACHES_MAX]],
        faults=dict(sorted(Counter(fault.kind for fault in struck).items())),
        skipped=dict(Counter(fault.skipped for fault in faults if fault.skipped)),
        ended=[line.what for line in ended],
        operations=len(operations),
        acknowledged=sum(operation.kind != "get" and operation.outcome == "ok" for operation in operations),
        found=puts - count["no-lost-write"],
        lost=count["no-lost-write"],
        resurrected=count["no-resurrection"],
        stale=count["regular-reads"],
        phantom=sum(each.promise == "one-answer" and " shows " in each.what for each in broken),
        needless_siblings=count["no-needless-siblings"],
        failed=counted(operations, lambda operation: operation.outcome != "ok"),
        unreadable=[f"{line.bucket}/{line.key}: {line.why}" for line in lines if isinstance(line, Unreadable)],
        longest_without_service_s=round(longest_gap_ms(operations, load) / 1000, 3),
        longest_without_service_of_one_worker_s=round(longest_gap_of_one_ms(operations, load) / 1000, 3),
        latency=latency_of(operations),
        around=around,
        detected=spread(fault.detected_s for fault in struck),
        not_detected=sum(fault.detected_s is None and fault.waited for fault in struck),
        rejoined=spread(fault.rejoined_s for fault in struck),
        convergence=converged,
        seconds=(load.until_ms - load.from_ms) / 1000,
    )


def show(verdict: Verdict) -> None:
    title = f"PLAN {verdict.plan}, SEED {verdict.seed}"
    faults = ", ".join(f"{count} {kind}" for kind, count in verdict.faults.items())
    print(f"{verdict.seconds:.0f} s of load, faults: {faults or 'none'}\n")
    show_table(["CHAOS", title], _rows(verdict), right=[title])
    print()
    around = [("all", verdict.latency), *((f"around {kind}", each) for kind, each in verdict.around.items())]
    show_table(
        ["OPERATIONS", "COUNT", "FAILED", "P50 MS", "P99 MS", "P99.9 MS", "MAX MS"],
        [(name, f"{each.count:,}", f"{each.failed:,}", *_times(each)) for name, each in around],
        right=["COUNT", "FAILED", "P50 MS", "P99 MS", "P99.9 MS", "MAX MS"],
    )
    print()
    show_table(
        ["PROMISE", "VERDICT"],
        [(name, "holds" if not count else f"BROKEN, {count:,} times") for name, count in verdict.promises.items()],
    )
    for breach in verdict.breaches[:SHOWN]:
        note(breach)
    for words in verdict.ended:
        note(f"a node ended by itself: {words}")
    for reason, count in verdict.skipped.items():
        note(f"SKIPPED {count} times: {reason}")
    for key in verdict.unreadable[:SHOWN]:
        note(f"unreadable: {key}")
    print("every promise holds" if verdict.holds else "BROKEN")


def _rows(verdict: Verdict) -> list[tuple[str, str]]:
    return [
        ("operations", f"{verdict.operations:,}"),
        ("acknowledged writes", f"{verdict.acknowledged:,}"),
        ("puts found or covered by a later write", f"{verdict.found:,}"),
        ("lost", f"{verdict.lost:,}"),
        ("back after a delete", f"{verdict.resurrected:,}"),
        ("stale strict reads", f"{verdict.stale:,}"),
        ("shown though never written", f"{verdict.phantom:,}"),
        ("siblings beyond concurrency", f"{verdict.needless_siblings:,}"),
        *((f"failed: {name}", f"{count:,}") for name, count in verdict.failed.items()),
        ("longest without service", f"{verdict.longest_without_service_s:.3f} s"),
        ("longest one worker was without", f"{verdict.longest_without_service_of_one_worker_s:.3f} s"),
        ("victim struck until all others call it down", _spread(verdict.detected)),
        ("victims never called down", f"{verdict.not_detected:,}"),
        ("end of a fault until all see each other", _spread(verdict.rejoined)),
        ("hints handed over", _hints(verdict.convergence)),
        ("hash trees alike", _trees(verdict.convergence)),
        ("replicas equal", _converged(verdict.convergence)),
    ]


def _converged(converged: Converged | None) -> str:
    if converged is None:
        return "not looked at"
    if converged.by_itself_s is not None:
        return f"by itself after {converged.differed_until_s:.1f} to {converged.by_itself_s:.1f} s"
    if converged.after_reading_s is not None:
        return f"{converged.differed:,} of {converged.keys:,} keys only when they were read"
    return f"{converged.left:,} of {converged.keys:,} keys never"


def _hints(converged: Converged | None) -> str:
    if converged is None:
        return "not looked at"
    return f"{converged.hints:,} are still held" if converged.hints_s is None else f"after {converged.hints_s:.1f} s"


def _trees(converged: Converged | None) -> str:
    if converged is None:
        return "not looked at"
    return "not in time" if converged.trees_s is None else f"by itself after {converged.trees_s:.1f} s"


def _convergence(converged: Converged | None, run: Run, struck: Iterable[Struck]) -> Iterable[Broken]:
    """Times count from when the last fault had ended."""
    if converged is None:
        return
    healed_ms = max((fault.ended_ms for fault in struck), default=int(converged.began_ms))
    most_s = run.must_converge_s - (converged.began_ms - healed_ms) / 1000  # that is left
    if converged.left:
        yield Broken("convergence", f"{converged.left} keys differ for good, such as {'; '.join(converged.examples)}")
    elif run.must_converge_s:
        if converged.trees_s is None or converged.trees_s > most_s:
            what = f"hash trees not alike {run.must_converge_s:g} s after the faults: {_trees(converged)}"
            yield Broken("convergence", what)
        if converged.by_itself_s is None or converged.differed_until_s > most_s:
            what = f"not equal {run.must_converge_s:g} s after the faults: {_converged(converged)}"
            yield Broken("convergence", what)


def _hints_drain(converged: Converged | None) -> Iterable[Broken]:
    if converged is not None and converged.hints_left:
        yield Broken("hints-drain", f"{converged.hints_left} records are held for others for good")


def _unreadable(lines: Iterable[Line]) -> Iterable[Broken]:
    for line in lines:
        if isinstance(line, Unreadable):
            yield Broken("convergence", f"{line.bucket}/{line.key} cannot be read from all its owners: {line.why}")


def _cost(run: Run, around: dict[str, Latency]) -> Iterable[Broken]:
    """What a plan allows in the second around a fault."""
    for kind, latency in around.items():
        if run.must_p999_ms and latency.p999_ms > run.must_p999_ms:
            what = f"p99.9 around {kind} is {latency.p999_ms:.1f} ms, more than {run.must_p999_ms:g} ms"
            yield Broken("service", what)
        if run.must_p999_ms and latency.failed:
            yield Broken("service", f"{latency.failed} requests around {kind} failed")


def _no_crash(ended: Iterable[Struck]) -> Iterable[Broken]:
    for line in ended:
        if not line.expected:
            yield Broken("no-crash", f"a node ended by itself: {line.what}")


def _told(broken: Broken) -> str:
    return f"{broken} (key {broken.key[0]}/{broken.key[1].decode()})" if broken.key else str(broken)


def _span_of(operations: Sequence[Op]) -> Loaded:
    """Of a history that was cut short."""
    if not operations:
        return Loaded(0, 0)
    return Loaded(operations[0].begin_ms, int(max(operation.end_ms for operation in operations)))


def _times(latency: Latency) -> tuple[str, ...]:
    return tuple(f"{ms:,.1f}" for ms in (latency.p50_ms, latency.p99_ms, latency.p999_ms, latency.max_ms))


def _spread(seconds: Spread | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds.min_s:.2f} / {seconds.median_s:.2f} / {seconds.max_s:.2f} s"
