"""A page on the web cannot get at a node of its reader's machine by having its own name resolve there."""

from collections.abc import Iterator

import pytest
from support.served import Place, served

from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.http.browsers import check_host
from zdynamo.http.problems import Problem

NAMES = frozenset({"node-1", "proxy.example"})


@pytest.fixture(scope="module")
def place(cluster: InProcessCluster) -> Iterator[Place]:
    with served(cluster, "node-1:7400") as made:
        yield made


def status(place: Place, host: str, method: str = "GET", path: str = "/ping") -> int:
    with place.connect() as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n\r\n".encode())
        return int(connection.recv(4096).split(b" ")[1])


@pytest.mark.parametrize("path", ["/ping", "/", "/kvstore/k", "/v1/events", "/metrics", "/docs"])
def test_on_loopback_nothing_is_served_under_a_name_of_somebody_else(place: Place, path: str) -> None:
    assert status(place, "evil.example:7403", path=path) == 403
    assert status(place, "evil.example", "DELETE", "/kvstore/k") == 403


@pytest.mark.parametrize(
    "host", ["127.0.0.1:7403", "localhost", "LOCALHOST:80", "[::1]:7403", "node-1:7403", "proxy.example"]
)
def test_on_loopback_it_is_served_under_its_own_names(place: Place, host: str) -> None:
    assert status(place, host) == 200


@pytest.mark.parametrize(
    "host", [b"evil.example", b"127.0.0.1.evil.example", b"node-1.evil:80", b"localhost.evil", b"node-1:x"]
)
def test_a_name_that_only_looks_like_ours_is_none(host: bytes) -> None:
    with pytest.raises(Problem, match=r"node\.http_names"):
        check_host([(b"host", host)], NAMES)
