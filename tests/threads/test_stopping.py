"""How a node ends: when told to, under load, and when one of its threads dies."""

import io
import os
import sys
import threading
import time
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import zmq

from threads.clusters import (
    WITHIN_S,
    Cluster,
    eventually,
    get,
    own_context,
    put,
    running,
    settings,
)
from zdynamo.core.members.events import Kept, Profile
from zdynamo.core.members.membership import Membership
from zdynamo.core.records.dots import COUNTER_KEY
from zdynamo.core.settings import Rhythms
from zdynamo.errors import StoreFailed, StoreFull
from zdynamo.messages import (
    Addresses,
    Constants,
    Done,
    Found,
    OutcomeUnknown,
    Overloaded,
    Refused,
)
from zdynamo.storage.memory import MemoryStore
from zdynamo.threads.channel import Channels, border, offer
from zdynamo.threads.clock import now
from zdynamo.threads.log import Log
from zdynamo.threads.router import STOP, NodeFailed, Router
from zdynamo.threads.server import Server

STOP_WITHIN_S = 2.0


class BreakingStore(MemoryStore):
    """A commit with this in a value fails."""

    def __init__(self, mark: bytes, error: Exception) -> None:
        super().__init__()
        self._mark = mark
        self._error = error

    def commit(self) -> None:
        if any(value and self._mark in value for value in self._staged.values()):
            if isinstance(self._error, StoreFull):
                self._staged.clear()
            raise self._error
        super().commit()


def alone(context: zmq.Context[Any], store: MemoryStore | None = None, host: str = "inproc://a") -> Server:
    server = Server(settings(host), context, store=store)
    server.start()
    return server


def test_a_node_that_starts_and_stops_leaves_no_thread_and_no_socket() -> None:
    with own_context() as context:
        for number in range(10):
            alone(context, host=f"inproc://a{number}").stop()


def test_a_node_with_a_context_of_its_own_ends_it() -> None:
    for _ in range(3):
        server = Server(settings("inproc://a"))
        server.start()
        server.stop()

        assert server.context.closed


def test_a_node_that_cannot_start_leaves_nothing() -> None:
    with own_context() as context:
        server = alone(context)

        with pytest.raises(Exception, match="in use"):
            Server(settings("inproc://a"), context)
        server.stop()


def test_an_idle_cluster_stops_at_once() -> None:
    with own_context() as context:
        cluster = Cluster(context, "abcde")
        cluster.wait_until_formed()
        spans = []

        for name in "abcde":
            begun = time.monotonic()
            cluster.stop(name)
            spans.append(time.monotonic() - begun)

    assert max(spans) < 1.0


@pytest.mark.parametrize("seed", range(3))
def test_a_node_stopped_under_load_gives_each_request_at_most_one_answer_and_ends_in_time(seed: int) -> None:
    with running("abc") as cluster:
        clients = [cluster.client("a") for _ in range(4)]
        requests = [
            [put(b"%d-%d" % (who, number), bytes(500), deadline_ms=1000) for number in range(300)] for who in range(4)
        ]
        for client, batch in zip(clients, requests, strict=True):
            client.send(*batch[:150])
            for request in batch[150:]:
                client.send(request)
        clients[Random(seed).randrange(4)].receive()

        begun = time.monotonic()
        cluster.stop("a")
        span = time.monotonic() - begun
        answers = [client.rest() for client in clients]  # all that there will be is on its way: the node has stopped

        several = [each for client_answers in answers for each in client_answers.values()]
        kinds = {type(answer) for each in several for answer in each}
        assert span < STOP_WITHIN_S
        assert max(len(each) for each in several) == 1
        assert kinds <= {Done, Refused, OutcomeUnknown, Overloaded}
        acknowledged = [
            request
            for batch, client_answers in zip(requests, answers, strict=True)
            for request in batch
            if isinstance(client_answers.get(request.request, [None])[0], Done)
        ]
        assert acknowledged
        with cluster.client("b") as b:
            cluster.wait_until("down", of="a", seen_by="b")
            found = [b.ask(get(request.key)) for request in acknowledged]
        for client in clients:
            client.close()

    assert {type(answer) for answer in found} == {Found}


def test_a_node_that_is_stopping_refuses_what_is_new() -> None:
    """A put that can not be answered keeps it from ending at once."""
    with running("abc") as cluster, cluster.client("a") as client:
        cluster.stop("b")
        cluster.stop("c")
        slow = put(b"slow", deadline_ms=20_000, w=3)
        client.send(slow)
        stopping = threading.Thread(target=cluster.stop, args=("a",))
        stopping.start()

        refused = eventually(lambda: refusal_of(client))
        stopping.join()

        assert refused.reason == "this node is stopping: ask another"
        assert refused.retry


def refusal_of(client: Any) -> Refused | None:
    request = get(b"k", deadline_ms=100)
    client.send(request)
    answer = client.answers_to([request], 0.5).get(request.request, [None])[0]
    return answer if isinstance(answer, Refused) else None


def test_a_failing_disk_takes_the_node_down_with_one_line_that_says_so() -> None:
    for _ in range(5):
        with own_context() as context:
            server = alone(context, BreakingStore(b"poison", StoreFailed("a/store: the disk is on fire")))
            cluster = Cluster(context, "")
            with cluster.client("a") as client:
                eventually(client.topology)
                first = client.ask(put(b"k", b"v"))
                last = client.ask(put(b"k", b"poison"))

                with pytest.raises(NodeFailed) as failure:
                    server.wait()
                server.stop()

        assert isinstance(first, Done)
        assert isinstance(last, OutcomeUnknown)
        assert str(failure.value) == "a/store: the disk is on fire"


def test_a_thread_that_dies_of_a_bug_takes_the_node_down_and_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    with own_context() as context:
        server = alone(context, BreakingStore(b"poison", ZeroDivisionError("a bug")))
        with Cluster(context, "").client("a") as client:
            eventually(client.topology)
            client.send(put(b"k", b"poison"))

            with pytest.raises(NodeFailed) as failure:
                server.wait()
            server.stop()

    assert str(failure.value) == "the thread process died of ZeroDivisionError: a bug"
    assert "Traceback" in capsys.readouterr().err


def test_a_thread_that_dies_takes_the_node_down_though_nobody_reads_standard_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    unread = io.TextIOWrapper(io.FileIO(writer, "w"), write_through=True)
    monkeypatch.setattr(sys, "stderr", unread)
    with suppress(BrokenPipeError), unread, own_context() as context:
        server = alone(context, BreakingStore(b"poison", ZeroDivisionError("a bug")))
        with Cluster(context, "").client("a") as client:
            eventually(client.topology)
            client.send(put(b"k", b"poison"))

            with pytest.raises(NodeFailed, match="the thread process died of ZeroDivisionError: a bug"):
                server.wait()
            server.stop()


def test_a_full_disk_refuses_writes_and_the_node_goes_on() -> None:
    with own_context() as context:
        server = alone(context, BreakingStore(b"poison", StoreFull("no room")))
        with Cluster(context, "").client("a") as client:
            eventually(client.topology)
            client.ask(put(b"k", b"v"))
            refused = client.ask(put(b"k", b"poison"))
            found = client.ask(get(b"k"))
            done = client.ask(put(b"k", b"after"))
        server.stop()

    assert isinstance(refused, Refused)
    assert refused.retry
    assert isinstance(found, Found)
    assert [sibling.value for sibling in found.siblings] == [b"v"]
    assert isinstance(done, Done)


def test_a_full_disk_before_the_first_request_ends_the_start_with_one_line() -> None:
    class Full(MemoryStore):
        def commit(self) -> None:
            if COUNTER_KEY in self._staged:
                raise StoreFull("node.data: no room for the node's own keys")
            super().commit()

    with own_context() as context, pytest.raises(StoreFull, match=r"^node.data: no room for the node's own keys$"):
        alone(context, Full())


def test_the_router_ends_though_nobody_takes_its_views_any_more() -> None:
    with own_context() as context:
        channels = Channels(context, "a")
        (commands_sink, commands), (views, views_source) = channels.pipe("news"), channels.slot("views")
        mail, mail_source = channels.pipe("mail")
        pub, sub = border(context, zmq.PUB), border(context, zmq.SUB)
        founder = Profile(
            name="a", addresses=Addresses("a:1", "a:2", "a:3", ""), zone="", weight=1, seeds=(), found=True,
            constants=Constants(16, 3, 1, 1, ""),
        )  # fmt: skip
        membership = Membership(kept=Kept(), profile=founder, rhythms=Rhythms(), random=Random(1), now=now())
        views_source.close(0)
        kept: list[Kept] = []
        routing = Router(
            context, membership, pub=pub, sub=sub, commands=commands, views=views, mail=mail, keep=kept.append,
            log=Log("a"),
        )  # fmt: skip
        thread = threading.Thread(target=routing.run, daemon=True)

        thread.start()
        eventually(lambda: len(kept) > 1)  # it has founded: a view follows
        offer(commands_sink, [STOP])
        thread.join(WITHIN_S)
        ended = not thread.is_alive()
        for socket in (commands_sink, mail_source):
            socket.close(0)

    assert ended
