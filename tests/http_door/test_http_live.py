"""What the page is told of the cluster: one look a second for everybody, and none for nobody."""

import asyncio
import http.client
import json
from typing import Any, NamedTuple

import pytest
from msgspec import to_builtins
from support.asgi import Http, over_http
from support.served import served

from zdynamo.figures.explanations import explanation, names_of
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.fixtures.shape import Shape
from zdynamo.http.audience import PEER_STREAMS_MAX, STREAMS_MAX, Listener
from zdynamo.http.problems import Problem

WITHIN_S = 20.0


class Event(NamedTuple):
    name: str
    data: Any


def events_in(body: bytes) -> list[Event]:
    blocks = [block.split("\n") for block in body.decode().split("\n\n") if block.startswith("event: ")]
    return [Event(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


async def heard(listener: Listener, *names: str) -> Event:
    """The next event of one of these names."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            for event in events_in(await anext(listener)):
                if event.name in names:
                    return event


def is_quiet() -> bool:
    """Nothing else is going on in this loop."""
    return asyncio.all_tasks() == {asyncio.current_task()}


def test_events_tell_who_owns_what_once_and_each_second_what_nodes_are_like(http: Http) -> None:
    http.ask("POST", "/kvstore", {"Key": "told", "Value": 1})
    topology = http.run(http.client.topology())

    answer = http.get("/v1/events?limit=2")

    layout, first, second = events_in(answer.body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.body.startswith(b"retry: ")
    assert (layout.name, first.name, second.name) == ("layout", "moment", "moment")
    ids = layout.data["ids"]
    assert tuple(tuple(ids[place] for place in owners) for owners in layout.data["owners"]) == topology.owners
    assert [(node["name"], node["state"]) for node in first.data["nodes"]] == [(name, "alive") for name in "abc"]
    assert (first.data["total"], first.data["nodes"][0]["load"]) == (None, None)
    assert second.data["total"]["requests_per_s"]["put"] >= 0
    assert second.data["nodes"][0]["load"]["busy"] >= 0


def test_a_layout_that_is_decided_later_is_told_then() -> None:
    with InProcessCluster(Shape(nodes=1)) as cluster, over_http(cluster) as http:
        cluster.wait_until_ready()

        async def watch() -> tuple[Event, Event]:
            listener = http.door.audience.join("10.0.0.1")
            before = await heard(listener, "layout")
            await http.client.put("k", "v")
            after = await heard(listener, "layout")
            http.door.audience.leave(listener)
            return before, after

        before, after = http.run(watch())

    assert (before.data["layout"], before.data["owners"]) == (None, [])
    assert (after.data["layout"], len(after.data["owners"])) == (1, after.data["partitions"])


def test_many_pages_cost_the_cluster_no_more_than_one(http: Http, cluster: InProcessCluster) -> None:
    async def taken() -> int:
        return (await http.client.node_status(cluster.address("a"))).counters["requests.taken"]

    async def watch() -> int:
        before = await taken()
        listeners = [http.door.audience.join(f"10.0.0.{number % 2}") for number in range(STREAMS_MAX)]
        for _ in range(3):
            await asyncio.gather(*(heard(listener, "moment") for listener in listeners))
        for listener in listeners:
            http.door.audience.leave(listener)
        return await taken() - before

    assert http.run(watch()) < STREAMS_MAX


def test_nobody_is_asked_when_the_last_page_is_closed_and_the_next_is_told_at_once(http: Http) -> None:
    async def watch() -> Event:
        first, second = http.door.audience.join("10.0.0.1"), http.door.audience.join("10.0.0.1")
        await heard(first, "moment")
        http.door.audience.leave(first)
        assert not is_quiet()
        http.door.audience.leave(second)
        await asyncio.sleep(0)
        assert is_quiet()
        third = http.door.audience.join("10.0.0.1")
        told = await heard(third, "layout")
        http.door.audience.leave(third)
        return told

    assert http.run(watch()).data["partitions"] == 16


def test_who_comes_later_is_told_the_layout_too(http: Http) -> None:
    async def watch() -> list[Event]:
        first = http.door.audience.join("10.0.0.1")
        await heard(first, "moment")
        second = http.door.audience.join("10.0.0.1")
        told = events_in(await anext(second))
        for listener in (first, second):
            http.door.audience.leave(listener)
        return told

    assert [event.name for event in http.run(watch())] == ["layout", "moment"]


def test_who_reads_slowly_misses_moments_but_no_layout(http: Http) -> None:
    async def read() -> list[bytes]:
        listener = Listener("10.0.0.1")
        listener.offer(b"1", b"layout 1 ")
        listener.offer(b"2")
        taken = [await anext(listener)]
        listener.offer(b"3")
        listener.offer(b"4", b"layout 2 ")
        return [*taken, await anext(listener)]

    assert http.run(read()) == [b"layout 1 2", b"layout 2 4"]


def test_one_page_too_many_is_refused_until_another_is_closed(http: Http) -> None:
    async def watch() -> None:
        audience = http.door.audience
        listeners = [audience.join(f"10.0.0.{number % 2}") for number in range(STREAMS_MAX)]
        with pytest.raises(Problem, match=f"{STREAMS_MAX} pages"):
            audience.join("10.0.0.1")
        audience.leave(listeners.pop())
        listeners.append(audience.join("10.0.0.1"))
        for listener in listeners:
            audience.leave(listener)

    http.run(watch())


def test_one_address_has_no_more_than_half_of_the_pages(http: Http) -> None:
    async def watch() -> None:
        audience = http.door.audience
        listeners = [audience.join("10.0.0.1") for _ in range(PEER_STREAMS_MAX)]
        with pytest.raises(Problem, match="pages are open"):
            audience.join("10.0.0.1")
        listeners.append(audience.join("10.0.0.2"))
        for listener in listeners:
            audience.leave(listener)

    http.run(watch())


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}])
def test_a_page_of_another_site_cannot_listen(http: Http, headers: dict[str, str]) -> None:
    assert http.get("/v1/events", **headers).said == (403, "cross_origin")


def test_it_is_refused_as_an_answer_that_says_when_to_come_again(http: Http) -> None:
    async def fill() -> list[Listener]:
        return [http.door.audience.join(f"10.0.0.{number % 2}") for number in range(STREAMS_MAX)]

    listeners = http.run(fill())
    answer = http.get("/v1/events")
    for listener in listeners:
        http.door.audience.leave(listener)

    assert answer.said == (503, "too_many_streams")
    assert answer.headers["retry-after"] == "5"


def test_a_reader_who_goes_away_is_forgotten(http: Http) -> None:
    async def watch() -> None:
        gone = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if b"event: moment" in message.get("body", b""):
                gone.set()

        scope = {"type": "http", "method": "GET", "raw_path": b"/v1/events", "query_string": b"", "headers": []}
        async with asyncio.timeout(WITHIN_S):
            await http.app(scope, receive, send)
        await asyncio.sleep(0)
        assert is_quiet()

    http.run(watch())


def test_a_head_of_the_stream_ends(http: Http) -> None:
    answer = http.ask("HEAD", "/v1/events")

    assert (answer.status, answer.body) == (200, b"")


def test_a_node_that_does_not_answer_is_told_and_so_is_its_return() -> None:
    with InProcessCluster(Shape()) as cluster, over_http(cluster) as http:
        cluster.wait_until_ready()

        async def watch() -> list[str]:
            listener = http.door.audience.join("10.0.0.1")
            names = [(await heard(listener, "moment", "silent")).name]
            await asyncio.to_thread(cluster.stop, "a")
            names.append((await heard(listener, "silent")).name)
            await asyncio.to_thread(cluster.start, "a")
            names.append((await heard(listener, "moment")).name)
            http.door.audience.leave(listener)
            return names

        assert http.run(watch()) == ["moment", "silent", "moment"]


def test_a_gateway_goes_on_with_another_node() -> None:
    with InProcessCluster(Shape()) as cluster, over_http(cluster, gateway=True) as http:
        cluster.wait_until_ready()

        async def watch() -> tuple[str, str]:
            listener = http.door.audience.join("10.0.0.1")
            first = await heard(listener, "moment")
            by = {node["id"]: node["name"] for node in first.data["nodes"]}
            seen_by = by[first.data["seen_by"]]
            await asyncio.to_thread(cluster.stop, seen_by)
            async with asyncio.timeout(WITHIN_S):
                while (event := await heard(listener, "moment")).data["seen_by"] == first.data["seen_by"]:
                    pass
            http.door.audience.leave(listener)
            return seen_by, by[event.data["seen_by"]]

        before, after = http.run(watch())

    assert before != after


def test_a_stream_ends_in_order_when_the_process_is_told_to_stop(cluster: InProcessCluster) -> None:
    with served(cluster) as place:
        connection = http.client.HTTPConnection("127.0.0.1", place.port, timeout=WITHIN_S)
        connection.request("GET", "/v1/events")
        stream = connection.getresponse()
        assert stream.readline() == b"retry: 1000\n"

        place.end()

        assert b"event: " in stream.read()  # cut off, it would be IncompleteRead
        connection.close()


def test_an_explanation_is_that_of_the_command_line(http: Http) -> None:
    http.put("/v1/buckets/default/keys/told%2Fto", b"x", Content_Type="text/plain")

    answer = http.get("/v1/buckets/default/explain/told%2Fto")

    explained = http.run(http.client.explain("told/to"))
    names = names_of(http.run(http.client.topology()))
    assert answer.json == to_builtins(explanation(b"told/to", explained, names))
    assert [sibling["size"] for replica in answer.json["replicas"] for sibling in replica["siblings"]] in (
        [1] * 2,
        [1] * 3,
    )


def test_a_key_without_a_value_is_explained_as_well(http: Http) -> None:
    answer = http.get("/v1/buckets/default/explain/%00nothing")

    assert (answer.status, answer.json["key"]) == (200, "\0nothing")
    assert [replica["digest"] for replica in answer.json["replicas"]] == [None] * 3
