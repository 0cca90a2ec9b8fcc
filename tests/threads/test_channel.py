"""Channels: what waits, what is dropped and said, and what replaces what."""

from pathlib import Path

import pytest
import zmq

from threads.clusters import eventually, own_context
from zdynamo.errors import ConfigError
from zdynamo.threads.channel import CAPACITY, Channels, bind, endpoint, offer, waiting


def test_a_slot_keeps_only_the_newest() -> None:
    with own_context() as context:
        sink, source = Channels(context, "a").slot("views")
        offered = [offer(sink, [b"%d" % number]) for number in range(1000)]

        received = list(waiting(source, 10))
        sink.close()
        source.close()

    assert all(offered)
    assert received == [[b"999"]]


def test_a_slot_that_nobody_reads_any_more_says_so_instead_of_waiting() -> None:
    with own_context() as context:
        sink, source = Channels(context, "a").slot("views")
        source.close(0)

        eventually(lambda: not offer(sink, [b"x"]))
        sink.close()


def test_offer_says_when_a_pipe_is_full_and_what_was_taken_is_kept_in_order() -> None:
    with own_context() as context:
        sink, source = Channels(context, "a").pipe("news")
        taken = 0
        while offer(sink, [b"%d" % taken, b"x"]):
            taken += 1
        received = list(waiting(source, 2 * CAPACITY))
        sink.close()
        source.close()

    assert taken == CAPACITY
    assert received == [[b"%d" % number, b"x"] for number in range(taken)]


def test_a_full_pipe_takes_again_when_it_has_been_read() -> None:
    with own_context() as context:
        sink, source = Channels(context, "a").pipe("news")
        while offer(sink, [b"x"]):
            pass
        list(waiting(source, CAPACITY))

        taken = offer(sink, [b"y"])
        sink.close()
        source.close()

    assert taken


def test_waiting_takes_at_most_so_many() -> None:
    with own_context() as context:
        sink, source = Channels(context, "a").pipe("news")
        for number in range(5):
            offer(sink, [b"%d" % number])

        first, rest = list(waiting(source, 3)), list(waiting(source, 3))
        sink.close()
        source.close()

    assert (len(first), len(rest)) == (3, 2)


def test_a_source_with_many_sinks_hears_them_all() -> None:
    with own_context() as context:
        channels = Channels(context, "a")
        source = channels.source("ends")
        sinks = [channels.sink("ends") for _ in range(3)]
        for number, sink in enumerate(sinks):
            offer(sink, [b"%d" % number])
            sink.close(100)

        received = sorted(part for parts in waiting(source, 10) for part in parts)
        source.close()

    assert received == [b"0", b"1", b"2"]


def test_channels_of_one_name_in_two_nodes_are_two() -> None:
    with own_context() as context:
        ends = [*Channels(context, "a").pipe("inbox"), *Channels(context, "b").pipe("inbox")]
        offer(ends[0], [b"for a"])

        received = [list(waiting(ends[1], 1)), list(waiting(ends[3], 1))]
        for end in ends:
            end.close()

    assert received == [[[b"for a"]], []]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:7400", "tcp://127.0.0.1:7400"),
        ("localhost:7400", "tcp://localhost:7400"),
        ("inproc://a-client", "inproc://a-client"),
        ("ipc:///tmp/a", "ipc:///tmp/a"),
    ],
)
def test_an_address_is_an_endpoint_of_tcp_unless_it_has_a_scheme(address: str, expected: str) -> None:
    assert endpoint(address) == expected


def test_an_address_in_use_is_named_with_its_option() -> None:
    with own_context() as context:
        first, second = context.socket(zmq.ROUTER), context.socket(zmq.ROUTER)
        first.bind("tcp://127.0.0.1:*")
        port = first.last_endpoint.decode().rpartition(":")[2]

        with pytest.raises(ConfigError, match=rf"^node.port: 127.0.0.1:{port} is in use"):
            bind(second, "node.port", f"127.0.0.1:{port}")
        first.close()
        second.close()


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("no.such.host.invalid", "node.bind: the host no.such.host.invalid is not known"),
        ("192.0.2.1", "node.port: 127.0.0.1:7999 cannot be bound"),
    ],
)
def test_an_address_that_is_not_of_this_machine_is_named_with_its_option(host: str, message: str) -> None:
    with own_context() as context:
        socket = context.socket(zmq.ROUTER)

        with pytest.raises(ConfigError) as raised:
            bind(socket, "node.port", "127.0.0.1:7999", host)
        socket.close()

    assert str(raised.value).startswith(message)
    assert "\n" not in str(raised.value)


def test_an_ipc_address_in_a_folder_that_is_not_there_is_named_with_its_option(tmp_path: Path) -> None:
    with own_context() as context:
        socket = context.socket(zmq.ROUTER)

        with pytest.raises(ConfigError, match=r"^node.port: "):
            bind(socket, "node.port", f"ipc://{tmp_path}/not/there")
        socket.close()
