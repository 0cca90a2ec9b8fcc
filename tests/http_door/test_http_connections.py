"""Connections: nonsense, floods and slow clients do no harm, over real sockets."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
from killable import wait_until
from support.served import Place, served

from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.http.connections import CONNECTIONS_MAX, HEAD_BYTES_MAX, READING_S, REQUEST_S, beyond
from zdynamo.threads.foreground import raise_file_limit

PING = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
PONG = b'{"message":"pong"}'


@pytest.fixture(scope="module")
def place(cluster: InProcessCluster) -> Iterator[Place]:
    with served(cluster) as made:
        yield made


def until_closed(connection: socket.socket) -> bytes:
    received = b""
    while chunk := connection.recv(65536):
        received += chunk
    return received


def exchange(place: Place, *pieces: bytes) -> bytes:
    """All that is answered until the connection is closed."""
    with place.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
        return until_closed(connection)


def answers(place: Place, *pieces: bytes, ending: bytes = PONG) -> bytes:
    """What is answered up to these bytes."""
    with place.connect() as connection:
        for piece in pieces:
            connection.sendall(piece)
        received = b""
        while ending not in received:
            chunk = connection.recv(65536)
            assert chunk, received
            received += chunk
        return received


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PUT /v1/buckets/b/keys/k HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"PUT /v1/buckets/b/keys/k HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"PUT /v1/buckets/b/keys/k HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_http_is_400_in_the_one_shape_and_closed(place: Place, nonsense: bytes) -> None:
    answer = exchange(place, nonsense)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"error":{"code":"malformed"' in answer
    assert answers(place, PING).startswith(b"HTTP/1.1 200 ")


def test_a_head_without_end_is_refused(place: Place) -> None:
    line = b"GET /ping HTTP/1.1\r\nX: "

    answer = exchange(place, line, b"x" * (HEAD_BYTES_MAX + 1 - len(line)))

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answers(place, PING).startswith(b"HTTP/1.1 200 ")


def test_requests_that_come_together_are_answered_in_their_order(place: Place) -> None:
    put = b"PUT /v1/buckets/b/keys/order HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\none"
    get = b"GET /v1/buckets/b/keys/order HTTP/1.1\r\nHost: localhost\r\n\r\n"

    answer = answers(place, put + get + PING)

    assert [answer.find(part) >= 0 for part in (b"204 No Content", b"\r\n\r\none", PONG)] == [True] * 3
    assert answer.find(b"204 No Content") < answer.find(b"\r\n\r\none") < answer.find(PONG)


def test_a_request_in_single_bytes_is_a_request(place: Place) -> None:
    body = b'{"Key":"slow","Value":1}'
    request = b"POST /kvstore HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    assert answers(place, *(request[at : at + 1] for at in range(len(request))), ending=b'"slow"').startswith(
        b"HTTP/1.1 200"
    )


def test_a_chunked_body_is_taken_and_a_too_large_one_ends_the_connection(place: Place) -> None:
    head = b"PUT /v1/buckets/b/keys/chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"

    assert b"204 No Content" in answers(place, head, b"3\r\none\r\n", b"0\r\n\r\n", ending=b"\r\n\r\n")
    assert b"413 " in exchange(place, head, b"186a1\r\n" + b"x" * 100_001)


@pytest.mark.parametrize(
    "beginning", [b"", b"\r\n", b"GET /ping HT", b"PUT /v1/buckets/b/keys/k HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"]
)
def test_a_request_that_does_not_arrive_in_time_is_408_and_closed(place: Place, beginning: bytes) -> None:
    with place.connect() as connection:
        connection.sendall(beginning)
        look_later(place, REQUEST_S + 1)

        answer = until_closed(connection)

    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_client_between_two_requests_is_not_slow(place: Place) -> None:
    with place.connect() as connection:
        ping(connection)

        look_later(place, REQUEST_S + 1)

        ping(connection)


def test_a_client_that_does_not_read_its_answers_is_cut_off(place: Place) -> None:
    large = b"x" * 99_000
    put = b"PUT /v1/buckets/b/keys/large HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(large)
    answers(place, put + large, ending=b"204")
    with place.connect() as connection:
        connection.sendall(b"GET /v1/buckets/b/keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n" * 200)
        wait_until(lambda: any(each.unread_since is not None for each in connections_of(place)))

        look_later(place, READING_S + 1)

        wait_until(lambda: not any(each.unread_since is not None for each in connections_of(place)))
        assert len(read_to_the_end(connection)) < 200 * len(large)


class Unread(NamedTuple):
    """A connection, as far as is looked at, which is its own transport."""

    unread_since: float | None
    size: int

    @property
    def transport(self) -> "Unread":
        return self

    def get_write_buffer_size(self) -> int:
        return self.size


def test_of_too_much_that_nobody_reads_the_oldest_goes() -> None:
    oldest, old, new, fine = Unread(1.0, 50), Unread(2.0, 50), Unread(3.0, 50), Unread(None, 1_000)

    assert beyond(150, [new, oldest, fine, old]) == []
    assert beyond(149, [new, oldest, fine, old]) == [oldest]
    assert beyond(99, [new, oldest, fine, old]) == [oldest, old]


def test_one_connection_too_many_is_told_to_come_again(place: Place) -> None:
    raise_file_limit()
    with ExitStack() as stack:
        for _ in range(CONNECTIONS_MAX):
            stack.enter_context(place.connect())
        wait_until(lambda: len(connections_of(place)) >= CONNECTIONS_MAX)

        answer = exchange(place)

    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"retry-after: 1" in answer


def test_a_server_that_ends_finishes_what_it_has_begun(cluster: InProcessCluster) -> None:
    with served(cluster) as place, place.connect() as connection:
        ping(connection)

        place.end()

        assert until_closed(connection) == b""


def read_to_the_end(connection: socket.socket) -> bytes:
    """Up to a reset, too."""
    received = bytearray()
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionError:
        pass
    return bytes(received)


def ping(connection: socket.socket) -> None:
    connection.sendall(PING)
    received = b""
    while not received.endswith(PONG):
        received += connection.recv(65536) or pytest.fail("closed")


def connections_of(place: Place) -> list[Any]:
    return list(place.server.server_state.connections)


def look_later(place: Place, seconds: float) -> None:
    """As if so much time had passed, once the server has all that was sent."""
    assert answers(place, PING)
    for connection in connections_of(place):
        connection.loop.call_soon_threadsafe(connection.close_if_slow, connection.loop.time() + seconds)
