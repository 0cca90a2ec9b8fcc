"""More load than a cluster can serve: is memory flat, does it say *overloaded*, and is it itself again soon after?"""

import multiprocessing
import time
from collections import Counter, deque
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from flood_generator import Offered, generate
from killable import Killable
from msgspec import Struct, field
from watching import MIB, Watched, cores_used, thread_cores, watch

from zdynamo.cli.ask import topology_of
from zdynamo.cli.load import Load
from zdynamo.client import Client
from zdynamo.errors import RequestError
from zdynamo.messages import Topology

IN_FLIGHT = 256
CAPACITY_KEYS = 5_000
SAMPLE_SECONDS = 1.0
EARLY_SECONDS = 10.0  # buffers fill; from then on memory is flat
RSS_GROWTH_MAX = 16 * MIB
PUMP_CORES_MAX = 0.6
IDLE_CORES_MAX = 0.1  # of a node, when it is over
PROBES = 200  # puts and gets, one after the other, for the normal latency
PROBE_DEADLINE_MS = 1000
NORMAL_TIMES = 3.0  # a probe is normal up to so many times the p99 of before, or at least
NORMAL_MS_MIN = 20.0
NORMAL_IN_A_ROW = 20
RECOVERED_WITHIN_SECONDS = 2.0
GIVE_UP_SECONDS = 30.0
QUIET_SECONDS = 3.0  # to see whether processor time goes back to nothing


class OverloadPlan(Struct):
    seconds: float = 60.0
    times: float = 4.0
    generators: int = 2
    batch: int = 16  # requests a frame
    capacity_s: float = 5.0  # of the measurement before


class NodeUnderLoad(Struct):
    name: str
    alive: bool
    rss_before: int
    rss_early: int  # highest in the first seconds
    rss_peak: int  # highest later
    rss_after: int
    cores: float
    pump_cores: float  # of the busier of the two pumps
    cores_after: float
    threads: dict[str, float]  # cores that each kept busy while flooded
    rss_mib: list[int]  # each second of the flood


class OverloadVerdict(Struct):
    seconds: float
    capacity_ops_s: float
    offered_ops_s: float
    held_back: int
    done_ops_s: float
    answers: dict[str, int]
    retry_after_ms: list[int]
    normal_p99_ms: float
    recovered_s: float
    nodes: list[NodeUnderLoad]
    problems: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not self.problems


def overload(cluster: Killable, plan: OverloadPlan) -> OverloadVerdict:
    topology = topology_of(cluster.addresses[0], deadline_ms=5000)
    with Load(topology, keys=CAPACITY_KEYS, value_bytes=100) as load:
        load.fill()
        capacity = load.measure("put", IN_FLIGHT, seconds=plan.capacity_s).ops_s
    with Client(*cluster.addresses, deadline_ms=PROBE_DEADLINE_MS) as client:
        normal_p99_ms = sorted(_probe(client) for _ in range(PROBES))[int(PROBES * 0.99)]
        nodes = watch(cluster)
        spawned = _start(topology, capacity * plan.times, plan)
        flood_samples = _flood(spawned, plan, nodes)
        recovered_s = _recover(client, max(NORMAL_MS_MIN, normal_p99_ms * NORMAL_TIMES))
    offered = [_ended(process, ours) for process, ours in spawned]
    for wait_s in (QUIET_SECONDS, 0.0):
        for node in nodes:
            node.sample()
        time.sleep(wait_s)
    answers = sum((Counter(each.answers) for each in offered), Counter[str]())
    sent = sum(each.sent for each in offered)
    retries = [told for each in offered for told in each.retry_after_ms]
    verdict = OverloadVerdict(
        seconds=plan.seconds, capacity_ops_s=capacity, offered_ops_s=sent / plan.seconds,
        held_back=sum(each.held_back for each in offered), done_ops_s=answers["Done"] / plan.seconds,
        answers=dict(answers), retry_after_ms=[min(retries), max(retries)] if retries else [],
        normal_p99_ms=normal_p99_ms, recovered_s=recovered_s, nodes=[_judged(node, flood_samples) for node in nodes],
    )  # fmt: skip
    verdict.problems = _problems(verdict)
    return verdict


def _start(topology: Topology, rate: float, plan: OverloadPlan) -> list[tuple[BaseProcess, Connection]]:
    spawned: list[tuple[BaseProcess, Connection]] = []
    context = multiprocessing.get_context("spawn")
    for _ in range(plan.generators):
        ours, theirs = context.Pipe(duplex=False)
        arguments = (topology, rate / plan.generators, plan.seconds, plan.batch, theirs)
        process = context.Process(target=generate, args=arguments, daemon=True)
        process.start()
        theirs.close()
        spawned.append((process, ours))
    return spawned


def _flood(spawned: list[tuple[BaseProcess, Connection]], plan: OverloadPlan, nodes: list[Watched]) -> int:
    """Sample until the last request is sent; returns how many samples each node has then."""
    give_up = time.monotonic() + plan.seconds + GIVE_UP_SECONDS
    for node in nodes:
        node.sample()
    due = time.monotonic()
    while not all(ours.poll(0) for _, ours in spawned) and time.monotonic() < give_up:
        if time.monotonic() >= due:
            due += SAMPLE_SECONDS
            for node in nodes:
                node.sample()
        time.sleep(0.01)
    return len(nodes[0].samples)


def _ended(process: BaseProcess, ours: Connection) -> Offered:
    """Raises: EOFError if it has died."""
    try:
        while (said := ours.recv()) is None:
            pass
        process.join()
    finally:
        ours.close()
        process.close()
    return said


def _probe(client: Client) -> float:
    """Milliseconds of a put and a get; infinite if one of them fails."""
    began = time.perf_counter()
    try:
        client.put("probe", b"x", bucket="tools")
        client.get("probe", bucket="tools")
    except RequestError:
        return float("inf")
    return (time.perf_counter() - began) * 1000


def _recover(client: Client, limit_ms: float) -> float:
    """Seconds until the first of so many normal probes in a row; infinite if they do not come."""
    began = time.monotonic()
    row: deque[float] = deque(maxlen=NORMAL_IN_A_ROW)
    while time.monotonic() < began + GIVE_UP_SECONDS:
        at = time.monotonic()
        if _probe(client) > limit_ms:
            row.clear()
            continue
        row.append(at)
        if len(row) == NORMAL_IN_A_ROW:
            return row[0] - began
    return float("inf")


def _judged(node: Watched, flood_samples: int) -> NodeUnderLoad:
    flood, (quiet, end) = node.samples[:flood_samples], node.samples[-2:]
    early = [sample.rss_bytes for sample in flood if sample.at_s - flood[0].at_s <= EARLY_SECONDS]
    threads = {name: thread_cores(flood[0], flood[-1], name) for name in flood[-1].threads_cpu_s}
    late = [sample.rss_bytes for sample in flood[len(early) :]]
    return NodeUnderLoad(
        node.name,
        node.alive,
        rss_before=flood[0].rss_bytes,
        rss_early=max(early),
        rss_peak=max(late, default=max(early)),
        rss_after=end.rss_bytes,
        cores=cores_used(flood[0], flood[-1]),
        pump_cores=max(threads.get(pump, 0.0) for pump in ("clients", "receive")),
        cores_after=cores_used(quiet, end),
        threads={name: round(cores, 3) for name, cores in threads.items()},
        rss_mib=[sample.rss_bytes // MIB for sample in flood],
    )


def _problems(verdict: OverloadVerdict) -> list[str]:
    problems = []
    if not verdict.answers.get("Overloaded"):
        problems.append("nobody was told that the cluster is overloaded")
    if verdict.recovered_s > RECOVERED_WITHIN_SECONDS:
        problems.append(f"normal latency was back after {verdict.recovered_s:.2f} s, not {RECOVERED_WITHIN_SECONDS} s")
    for node in verdict.nodes:
        if not node.alive:
            problems.append(f"{node.name} is dead")
        if node.rss_peak - node.rss_early > RSS_GROWTH_MAX:
            problems.append(f"{node.name} grew by {(node.rss_peak - node.rss_early) / MIB:.1f} MiB while flooded")
        if node.pump_cores > PUMP_CORES_MAX:
            problems.append(f"{node.name}: a pump takes {node.pump_cores:.0%} of a core")
        if node.cores_after > IDLE_CORES_MAX:
            problems.append(f"{node.name} still takes {node.cores_after:.0%} of a core when it is over")
    return problems
