"""One node: makes its sockets and channels, starts its threads, and stops them in order.

A thread that dies takes the node down, loudly. Stopping begins at the source: the processor finishes what is in
progress, the pumps end, then each thread runs dry and closes the next.
"""

import random
import threading
import time
import traceback
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from zdynamo.config import Config
from zdynamo.core.members.events import Kept
from zdynamo.core.members.membership import Membership
from zdynamo.core.node import Node
from zdynamo.core.store import Store
from zdynamo.errors import ConfigError, StoreError
from zdynamo.storage import open_store
from zdynamo.threads import pumps
from zdynamo.threads.channel import Channels, Context, Socket, bind, border, offer, waiting
from zdynamo.threads.clock import now
from zdynamo.threads.folder import DataFolder, Folder
from zdynamo.threads.log import Log
from zdynamo.threads.machine import machine_boot
from zdynamo.threads.processor import DRAIN_MS, END, STOP, Processor
from zdynamo.threads.router import NodeFailed, Router
from zdynamo.threads.sender import Sender
from zdynamo.threads.settings import addresses_of, buckets_of, limits_of, profile_of, rhythms_of
from zdynamo.tracing.setup import open_export

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from zdynamo.threads.tracing import Tracer

PROCESS = 2  # its place among the threads, behind the pumps
FLUSH_S = 0.02  # that the pumps have for the last answers of the processor
HEARTBEAT_MS = 1_000  # by ZeroMQ, on connections made to us: what one sent before it fell silent must not arrive
HEARTBEAT_TIMEOUT_MS = 3_000  # when the silence ends, long after its deadline
CAUSE_MS = 200  # within which a thread that died says why, when others have ended for want of it
STOP_S = 1.9  # for everything to end; afterwards the process ends anyway


class Server:
    """A running node. `start` returns when its sockets are bound; `wait` when it has ended."""

    def __init__(
        self,
        config: Config,
        context: Context | None = None,
        store: Store | None = None,
        *,
        folder: Folder | None = None,
        log_of: Callable[[str], Log] = Log,
        bound: Callable[[], None] | None = None,
        spans: "TracerProvider | None" = None,
    ) -> None:
        """`context`: shared by nodes in one process that talk over inproc; `store`: instead of the configured engine;
        `folder`: instead of the one at `node.data`, given with a store; `log_of`: makes the log of a node by its name;
        `bound`: called when the ports are bound and nothing is opened yet, may raise ConfigError; `spans`: takes the
        spans of traced requests, in place of what is configured.

        Raises: ConfigError, StoreDamaged, StoreFull, StoreFailed.
        """
        self._config = config
        self._store = store
        self._folder = folder
        self._log_of = log_of
        self._bound = bound
        self._spans = spans
        self._own_context = context is None
        self.context: Context = context or zmq.Context(io_threads=1)
        self.addresses = addresses_of(config)
        self._name = config.node.name or self.addresses.client
        self._threads: list[threading.Thread] = []
        self._pump_controls: list[Socket] = []
        self._made: list[Socket] = []  # to close should the start fail; their threads close them otherwise
        channels = self._channels = Channels(self.context, uuid.uuid4().hex)
        self._orders, self._orders_source = channels.pipe("orders")
        self._ends = channels.source("ends")
        self._drained_sink, self._drained = channels.pipe("drained")
        self._cleanup = ExitStack()
        try:
            self._build()
        except BaseException:
            self._release()
            raise

    def _build(self) -> None:
        config, limits = self._config, self._config.limits
        channels = self._channels
        clients = self._border(zmq.ROUTER, limits.value_bytes_max + 2**21)
        peers = self._border(zmq.ROUTER, limits.record_bytes_max + limits.value_bytes_max + 2**21)
        peers.setsockopt(zmq.ROUTER_HANDOVER, 1)
        pub, sub = self._border(zmq.PUB, 2**20), self._border(zmq.SUB, 2**20)
        sub.setsockopt(zmq.SUBSCRIBE, b"")
        bind(clients, "node.port", self.addresses.client, config.node.bind)
        bind(peers, "node.peer_port", self.addresses.peer, config.node.bind)
        bind(pub, "node.gossip_port", self.addresses.gossip, config.node.bind)
        if self._bound:
            self._bound()
        spans = self._spans or self._open_export()

        folder, kept, store = self._open()
        moment = now()
        node = Node(
            store=store, limits=limits_of(config), random=random.Random(), now=moment, had_data=bool(kept.cluster),
            epoch=kept.epoch, machine_boot=machine_boot(), place=folder.place if folder else "",
            buckets=buckets_of(config),
        )  # fmt: skip
        store.commit()  # before the membership keeps its next epoch
        node.committed()
        membership = Membership(
            kept=kept, profile=profile_of(config, self._name, self.addresses), rhythms=rhythms_of(config),
            random=random.Random(), now=moment,
        )  # fmt: skip

        requests_sink, requests = channels.duplex("requests")
        inbox_sink, inbox = channels.pipe("inbox")
        outbox_sink, outbox = channels.pipe("outbox")
        news_sink, news = channels.pipe("news")
        mail_sink, mail = channels.pipe("mail")
        views_sink, views = channels.slot("views")
        evidence_sink, evidence = channels.pipe("evidence")
        clients_control, stop_clients = channels.control("stop-clients")
        receive_control, stop_receive = channels.control("stop-receive")
        self._pump_controls += (clients_control, receive_control)
        processor = Processor(
            node, store, requests=requests, inbox=inbox, views=views, mail=mail, evidence=evidence,
            orders=self._orders_source, drained=self._drained_sink,
            outbox=outbox_sink, news=news_sink, flush_interval_ms=config.storage.flush_interval_ms,
            log=self._log_of(self._name), tracer=self._tracer(node, spans) if spans else None,
        )  # fmt: skip
        routing = Router(
            self.context, membership, pub=pub, sub=sub, commands=news, views=views_sink, mail=mail_sink,
            keep=folder.keep if folder else _forget, log=self._log_of(self._name),
            connect_from=config.node.connect_from,
        )  # fmt: skip
        sending = Sender(
            self.context, boot=membership.boot.encode(), outbox=outbox, evidence=evidence_sink,
            connect_from=config.node.connect_from,
        )  # fmt: skip
        for name, body in (
            ("clients", lambda: pumps.pump(clients, requests_sink, stop_clients)),
            ("receive", lambda: pumps.pump(peers, inbox_sink, stop_receive)),
            ("process", processor.run),
            ("send", sending.run),
            ("router", routing.run),
        ):
            ending = channels.sink("ends")
            thread = threading.Thread(target=_run, args=(name, body, ending), name=f"{self._name}/{name}", daemon=True)
            self._threads.append(thread)

    def _open(self) -> tuple[Folder | None, Kept, Store]:
        """What was kept. Raises: ConfigError, StoreFailed."""
        storage = self._config.storage
        on_disk = None
        if self._folder is None and storage.engine != "memory":
            on_disk = DataFolder(Path(self._config.node.data))
        folder = self._folder or on_disk
        if folder:
            self._cleanup.callback(folder.close)
        kept = folder.load() if folder else Kept()
        store = self._store or open_store(storage, on_disk.store if on_disk else None)
        self._cleanup.callback(store.close)
        if on_disk and not kept.cluster and store.has_records():
            remedy = "put it back, or use another folder"
            raise ConfigError(f"node.data: {on_disk.path} holds records, but its membership.json is missing: {remedy}")
        return folder, kept, store

    def _open_export(self) -> "TracerProvider | None":
        """None: nothing is traced. Raises: ConfigError."""
        log = self._log_of(self._name)
        export = open_export(
            self._config.tracing, instance=self._name,
            say=lambda reason: log.note("warning", "traces.not_exported", {"reason": reason}),
        )  # fmt: skip
        if export is None:
            return None
        self._cleanup.callback(export.close)
        return export.provider

    def _tracer(self, node: Node, spans: "TracerProvider") -> "Tracer":
        from zdynamo.threads.tracing import Tracer

        return Tracer(
            spans, node=self._name, sample_ratio=self._config.tracing.sample_ratio, chance=random.random,
            asked_by=node.asked_by,
        )  # fmt: skip

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait(self, wake: int | None = None, within_s: float | None = None) -> None:
        """Until there is something to read from `wake`, or time is over. Raises: NodeFailed when a thread has ended by
        itself.
        """
        poller = zmq.Poller()
        poller.register(self._ends, zmq.POLLIN)
        if wake is not None:
            poller.register(wake, zmq.POLLIN)
        within_ms = None if within_s is None else ceil(within_s * 1000)
        if any(ready is self._ends for ready, _ in poller.poll(within_ms)):
            name, problem = (part.decode() for part in self._ends.recv_multipart())
            while not problem and self._ends.poll(CAUSE_MS):  # it ended because another did, which says so next
                problem = self._ends.recv_multipart()[1].decode()
            raise NodeFailed(problem or f"the thread {name} has ended")

    def stop(self) -> None:
        """Finish what is in progress, end all threads, release everything. Raises: NodeFailed if a thread had died."""
        deadline = time.monotonic() + STOP_S
        self._order(STOP)
        if self._threads[PROCESS].is_alive():
            self._drained.poll(DRAIN_MS + 100)
        time.sleep(FLUSH_S)
        for control in self._pump_controls:
            pumps.stop(control)
        for thread in self._threads[:PROCESS]:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._order(END)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        problems = [parts[1].decode() for parts in waiting(self._ends, len(self._threads)) if parts[1]]
        stuck = [thread.name for thread in self._threads if thread.is_alive()]
        self._release()
        if problems or stuck:
            raise NodeFailed("; ".join(problems) or f"did not end in time: {', '.join(stuck)}")

    def _order(self, order: bytes) -> None:
        offer(self._orders, [order])

    def _border(self, kind: int, message_bytes_max: int) -> Socket:
        made = border(self.context, kind, message_bytes_max=message_bytes_max)
        if kind == zmq.ROUTER:
            made.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
            made.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)
        self._made.append(made)
        return made

    def _release(self) -> None:
        running = any(thread.is_alive() for thread in self._threads)
        mine = (self._orders, self._ends, self._drained, *self._pump_controls)
        theirs = () if running else (self._orders_source, self._drained_sink, *self._made)
        for socket in (*mine, *theirs):
            socket.close(0)
        if running:
            return  # a thread that does not end still has the store
        self._cleanup.close()
        if self._own_context:
            self.context.term()


def _run(name: str, body: Callable[[], None], ending: Socket) -> None:
    """The whole life of a thread: its body, and word of its end."""
    problem = ""
    try:
        body()
    except NodeFailed as failure:
        problem = str(failure)
    except StoreError as error:
        problem = str(error)
    except Exception as error:
        with suppress(OSError, ValueError):  # whatever standard error is like, the end is told
            traceback.print_exc()
        problem = f"the thread {name} died of {type(error).__name__}: {error}"
    offer(ending, [name.encode(), problem.encode()])
    ending.close(pumps.FAREWELL_MS)


def _forget(kept: Kept) -> None:
    """The memory engine keeps nothing."""
