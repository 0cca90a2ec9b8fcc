"""What the operating system says of node processes: memory, processor time of each thread, lines of log."""

import time
from pathlib import Path

import psutil
from killable import Killable
from msgspec import Struct

THREADS = ("clients", "receive", "process", "send", "router")  # in the order in which a node starts them
NATIVE = ("ZMQbg", "rocksdb")  # how the threads of libraries are named
MIB = 2**20


class Sample(Struct):
    """One node at one moment."""

    at_s: float
    rss_bytes: int
    cpu_s: float  # so far, all threads
    threads_cpu_s: dict[str, float]


class Watched:
    """The process of one node."""

    def __init__(self, name: str, pid: int, log: Path | None = None) -> None:
        self.name = name
        self.log = log
        self.samples: list[Sample] = []
        self._process = psutil.Process(pid)

    @property
    def alive(self) -> bool:
        return self._process.is_running() and self._process.status() != psutil.STATUS_ZOMBIE

    def sample(self) -> Sample:
        cpu = self._process.cpu_times()
        taken = Sample(time.monotonic(), self._process.memory_info().rss, cpu.user + cpu.system, self._threads())
        self.samples.append(taken)
        return taken

    @property
    def log_lines(self) -> int:
        return self.log.read_bytes().count(b"\n") if self.log else 0

    def _threads(self) -> dict[str, float]:
        """Processor seconds of the node's own threads: the last that Python has started."""
        own, native = [], {}
        for thread in sorted(self._process.threads(), key=lambda thread: thread.id):
            try:
                name = Path(f"/proc/{self._process.pid}/task/{thread.id}/comm").read_text().strip()
            except OSError:
                continue
            seconds = thread.user_time + thread.system_time
            if name.startswith(NATIVE):
                native[name] = native.get(name, 0.0) + seconds
            else:
                own.append(seconds)
        return dict(zip(THREADS, own[-len(THREADS) :], strict=False)) | native


def watch(cluster: Killable) -> list[Watched]:
    return [Watched(child.name, child.process.pid, child.log) for child in cluster.children if child.process]


def cores_used(before: Sample, after: Sample) -> float:
    """Cores kept busy between the two."""
    return (after.cpu_s - before.cpu_s) / max(0.001, after.at_s - before.at_s)


def thread_cores(before: Sample, after: Sample, thread: str) -> float:
    spent = after.threads_cpu_s.get(thread, 0.0) - before.threads_cpu_s.get(thread, 0.0)
    return spent / max(0.001, after.at_s - before.at_s)
