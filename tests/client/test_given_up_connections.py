"""The client connects again where ZeroMQ does not: where it has heard something impossible, or had no socket."""

import socket

import pytest
import zmq
from killable import wait_until
from scripted_node import ScriptedCluster, ScriptedNode

from zdynamo import Client, errors
from zdynamo.client.events import Disconnected
from zdynamo.client.sockets import ANSWER_BYTES_MAX, Sockets
from zdynamo.messages import DescribeNode

GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL".ljust(55, b"\0")  # of ZeroMQ 3.0 and later
TOO_LARGE = b"\x02" + (ANSWER_BYTES_MAX + 1).to_bytes(8, "big")  # the head of such a frame


def ready(kind: bytes) -> bytes:
    """The end of the handshake, by a socket of this kind."""
    command = b"\x05READY\x0bSocket-Type" + len(kind).to_bytes(4, "big") + kind
    return b"\x04" + bytes([len(command)]) + command


def say(listener: socket.socket, words: bytes) -> None:
    """To the next who connects, until he hangs up."""
    connection, _ = listener.accept()
    with connection:
        connection.sendall(words)
        while connection.recv(65536):
            pass


@pytest.mark.parametrize(
    "words",
    [GREETING + ready(b"ROUTER") + TOO_LARGE, GREETING + ready(b"PUB"), GREETING.replace(b"NULL\0", b"CURVE")],
    ids=["more-than-is-taken", "a-stranger", "encrypted"],
)
def test_a_client_uses_a_node_where_something_else_has_answered_before(words: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        client = Client(address)
        asked = client.submit_get("k")
        say(listener, words)

    with client, ScriptedNode(ScriptedCluster(), bind=f"tcp://{address}"):
        asked.exception()  # however it ends

        assert not client.get("k").exists


def test_a_client_connects_when_there_are_sockets_again() -> None:
    with (
        zmq.Context() as context,
        ScriptedNode(ScriptedCluster()) as node,
        Client(node.address, context=context) as client,
    ):
        context.set(zmq.MAX_SOCKETS, 8)
        taken = [context.socket(zmq.PAIR) for _ in range(8)]
        with pytest.raises(errors.Unreachable):
            client.get("k")

        for socket_ in taken:
            socket_.close(0)

        wait_until(lambda: answers(client))


def test_what_is_to_go_to_a_node_without_a_socket_is_lost_and_that_is_in_the_news() -> None:
    """The core may have chosen the node in the very round in which the socket could not be made."""
    with zmq.Context() as context, Sockets(context) as sockets:
        context.set(zmq.MAX_SOCKETS, 1)
        with context.socket(zmq.PAIR):
            sockets.connect("tcp://127.0.0.1:1")
            sockets.send("tcp://127.0.0.1:1", DescribeNode(bytes(16), ""))
            sockets.flush()

            assert sockets.wait(0) == [Disconnected("tcp://127.0.0.1:1")]


def answers(client: Client) -> bool:
    try:
        return not client.get("k").exists
    except errors.Unreachable:
        return False
