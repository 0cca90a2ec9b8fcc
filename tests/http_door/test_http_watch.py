"""What those are told who watch a node."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq
from prometheus_client.parser import text_string_to_metric_families
from support.asgi import Http, over_http

from zdynamo.codec import decode_requests, encode
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.fixtures.shape import Shape
from zdynamo.messages import Refused


@contextmanager
def refusing(context: zmq.Context[Any], address: str) -> Iterator[None]:
    """A node that refuses everything for now, as one does that has not joined."""
    ended = threading.Event()

    def serve() -> None:
        with context.socket(zmq.ROUTER) as node:
            node.linger = 0
            node.bind(address)
            while not ended.is_set():
                if node.poll(10):
                    client, frame = node.recv_multipart()
                    refused = [Refused(request.request, "not yet", retry=True) for request in decode_requests(frame)]
                    node.send_multipart([client, encode(refused)])

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_metrics_are_those_of_the_node_and_count_what_clients_ask(http: Http, cluster: InProcessCluster) -> None:
    http.ask("POST", "/kvstore", {"Key": "counted", "Value": 1})

    answer = http.get("/metrics")

    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    (info,) = families["zdynamo_node_info"].samples
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert info.labels["name"] == "a"
    assert sum(sample.value for sample in families["zdynamo_members"].samples) == len(cluster.addresses)


def test_a_node_whose_cluster_is_well_is_alive_and_ready(http: Http) -> None:
    assert (http.get("/healthz").status, http.get("/healthz").json) == (200, {"well": True})
    assert (http.get("/readyz").status, http.get("/readyz").json) == (200, {"well": True})


def test_a_node_without_a_quorum_is_alive_and_not_ready() -> None:
    with InProcessCluster(Shape()) as cluster, over_http(cluster) as http:
        cluster.wait_until_ready()

        cluster.stop("b")
        cluster.stop("c")
        cluster.wait_until_down("b")
        cluster.wait_until_down("c")

        assert http.get("/healthz").status == 200
        assert http.get("/readyz").said == (503, "not_ready")
        assert http.get("/readyz").error["problems"] == ["a quorum needs 2 members: this node reaches 1"]


def test_a_node_that_has_stopped_is_neither_alive_nor_ready() -> None:
    with InProcessCluster(Shape()) as cluster, over_http(cluster) as http:
        cluster.wait_until_ready()

        cluster.stop("a")

        assert http.get("/healthz").said == (503, "not_alive")
        assert http.get("/readyz").said == (503, "not_ready")
        assert http.get("/metrics").said == (503, "no_figures")


def test_a_node_that_hangs_is_neither_alive_nor_ready(cluster: InProcessCluster) -> None:
    with cluster.context.socket(zmq.ROUTER) as silent, over_http(cluster) as http:
        silent.bind("inproc://silent")
        http.door.node = "inproc://silent"

        assert http.get("/healthz").said == (503, "not_alive")
        assert http.get("/readyz").said == (503, "not_ready")


def test_a_node_that_has_not_joined_is_alive_and_not_ready(cluster: InProcessCluster) -> None:
    with refusing(cluster.context, "inproc://joining"), over_http(cluster) as http:
        http.door.node = "inproc://joining"

        assert http.get("/healthz").status == 200
        assert http.get("/readyz").said == (503, "not_ready")


def test_a_gateway_is_alive_by_itself_ready_with_any_node_and_has_no_figures(cluster: InProcessCluster) -> None:
    with over_http(cluster, gateway=True) as gateway:
        assert gateway.get("/healthz").status == 200
        assert gateway.get("/readyz").json == {"well": True}
        assert gateway.get("/metrics").said == (404, "no_node")
