"""The HTTP process ends: requests that it cuts off are told what is known of them."""

import json
from contextlib import ExitStack

from killable import wait_until
from support.served import served

from zdynamo.fixtures.cluster import InProcessCluster

KEY = "/v1/buckets/b/keys/k?timeout_ms=20000"
REQUESTS = {
    "PUT": f"PUT {KEY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n1",
    "DELETE": f"DELETE {KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET": f"GET {KEY} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "half a PUT": f"PUT {KEY} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
}


def test_of_a_write_that_is_cut_off_the_outcome_is_unknown_and_a_read_may_be_asked_elsewhere() -> None:
    with InProcessCluster() as cluster, served(cluster) as place, ExitStack() as connections:
        cluster.wait_until_ready()
        for name in cluster.names:
            cluster.kill(name)
        asked = {what: connections.enter_context(place.connect()) for what in REQUESTS}
        for what, connection in asked.items():
            connection.sendall(REQUESTS[what].encode())
        wait_until(lambda: len(place.server.server_state.tasks) == len(REQUESTS))

        place.end()
        told = {what: connection.makefile("rb").read() for what, connection in asked.items()}

    assert {what: said(answer) for what, answer in told.items()} == {
        "PUT": (504, "outcome_unknown"),
        "DELETE": (504, "outcome_unknown"),
        "GET": (503, "stopping"),
        "half a PUT": (504, "outcome_unknown"),
    }


def said(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["code"]
