"""The C pumps move messages both ways and stop when told."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq

from threads.clusters import own_context
from zdynamo.threads import pumps
from zdynamo.threads.channel import Channels, Socket

WITHIN_MS = 2_000

_numbers = itertools.count()


class Pumped:
    """A border ROUTER pumped to a channel's far end."""

    def __init__(self, context: zmq.Context[Any], *, both_ways: bool) -> None:
        number = next(_numbers)
        channels = Channels(context, f"pumped-{number}")
        self.address = f"inproc://border-{number}"
        border = context.socket(zmq.ROUTER)
        border.bind(self.address)
        near, self.far = channels.duplex("far") if both_ways else channels.pipe("far")
        self.control, stopped = channels.control("control")
        self.thread = threading.Thread(target=pumps.pump, args=(border, near, stopped))
        self.thread.start()

    def stop(self) -> None:
        pumps.stop(self.control)
        self.thread.join(WITHIN_MS / 1000)

    def close(self) -> None:
        self.control.close(0)
        self.far.close(0)


@contextmanager
def pumped(context: zmq.Context[Any], *, both_ways: bool = True) -> Iterator[Pumped]:
    each = Pumped(context, both_ways=both_ways)
    try:
        yield each
    finally:
        each.stop()
        each.close()


@contextmanager
def dealer(context: zmq.Context[Any], address: str, name: bytes) -> Iterator[Socket]:
    made = context.socket(zmq.DEALER)
    made.linger = 0
    made.rcvtimeo = WITHIN_MS
    made.routing_id = name
    made.connect(address)
    try:
        yield made
    finally:
        made.close(0)


def test_a_pump_moves_messages_both_ways_and_says_who_sent_them() -> None:
    with own_context() as context, pumped(context) as pump, dealer(context, pump.address, b"me") as me:
        pump.far.rcvtimeo = WITHIN_MS
        me.send(b"question")
        there = pump.far.recv_multipart()
        pump.far.send_multipart([there[0], b"answer"])
        back = me.recv_multipart()

    assert (there, back) == ([b"me", b"question"], [b"answer"])


def test_a_pump_into_a_pipe_keeps_the_order_of_each_sender() -> None:
    with (
        own_context() as context,
        pumped(context, both_ways=False) as pump,
        dealer(context, pump.address, b"me") as me,
    ):
        pump.far.rcvtimeo = WITHIN_MS
        for number in range(1000):
            me.send(b"%d" % number)
        received = [pump.far.recv_multipart() for _ in range(1000)]

    assert received == [[b"me", b"%d" % number] for number in range(1000)]


def test_an_answer_to_nobody_is_dropped() -> None:
    with own_context() as context, pumped(context) as pump, dealer(context, pump.address, b"me") as me:
        pump.far.rcvtimeo = WITHIN_MS
        pump.far.send_multipart([b"nobody", b"answer"])
        me.send(b"question")
        pump.far.recv_multipart()
        pump.far.send_multipart([b"me", b"answer"])

        assert me.recv() == b"answer"


def test_a_pump_that_sleeps_ends_whenever_it_is_told_to() -> None:
    with own_context() as context:
        for _ in range(200):
            with pumped(context) as pump, dealer(context, pump.address, b"me") as me:
                me.send(b"x")
                pump.far.poll(WITHIN_MS)
                me.poll(3)  # nothing comes: the pump is asleep

                pump.stop()

                assert not pump.thread.is_alive()


def test_a_pump_ends_under_load() -> None:
    with own_context() as context:
        for _ in range(20):
            with pumped(context) as pump, dealer(context, pump.address, b"me") as me:
                for _ in range(100):
                    me.send(b"x")
                pump.stop()

                assert not pump.thread.is_alive()


def test_to_stop_a_pump_that_has_ended_by_itself_does_not_wait() -> None:
    with own_context() as context, pumped(context) as pump:
        pump.stop()

        assert not pump.thread.is_alive()
