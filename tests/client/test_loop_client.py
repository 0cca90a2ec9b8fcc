"""The client whose event loop does its I/O: the same answers, deadlines and ends, without a thread."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from zdynamo.client.io_loop import LoopClient
from zdynamo.client.requests import make_get, make_put
from zdynamo.client.values import encode_value
from zdynamo.errors import DeadlineExceeded, RequestError, Unreachable
from zdynamo.fixtures.cluster import InProcessCluster
from zdynamo.messages import Absent, Done, Found

NOBODY = "tcp://127.0.0.1:9"


@pytest.fixture(scope="module")
def cluster() -> Iterator[InProcessCluster]:
    with InProcessCluster() as made:
        made.wait_until_ready()
        yield made


def with_client(cluster: InProcessCluster, body: Callable[[LoopClient], Awaitable[Any]], *addresses: str) -> Any:
    async def run() -> Any:
        async with LoopClient(*(addresses or cluster.addresses), context=cluster.context) as client:
            return await body(client)

    return asyncio.run(run())


def test_it_has_all_the_calls_of_the_other_and_no_thread(cluster: InProcessCluster) -> None:
    async def body(client: LoopClient) -> None:
        before = threading.active_count()
        await asyncio.gather(*(client.put(f"key/{number}", number) for number in range(300)))
        found = await client.get_many([f"key/{number}" for number in range(300)])
        assert [value.value for value in found.values()] == list(range(300))
        assert await client.update("key/0", lambda value: value + 1) == 1
        assert len([key async for key in client.keys(prefix="key/")]) == 300
        assert await client.delete("key/0") is True
        assert threading.active_count() == before

    with_client(cluster, body)


def test_outcomes_are_given_as_they_are(cluster: InProcessCluster) -> None:
    async def body(client: LoopClient) -> list[type]:
        one = await client.ask(make_put("raw", encode_value(1), "default"), at=cluster.address("b"))
        many = await client.ask_many([make_get("raw", "default"), make_get("never", "default")])
        return [type(outcome) for outcome in (one, *many)] + [type(await client.ask_many([]))]

    assert with_client(cluster, body) == [Done, Found, Absent, list]


def test_nobody_there_is_said_in_time_although_nothing_happens(cluster: InProcessCluster) -> None:
    async def body(client: LoopClient) -> None:
        with pytest.raises((Unreachable, DeadlineExceeded)):
            await client.get("k", deadline_ms=300)

    with_client(cluster, body, NOBODY)


def test_closing_fails_the_calls_in_flight_and_later_ones_raise(cluster: InProcessCluster) -> None:
    async def body(client: LoopClient) -> None:
        waiting = [asyncio.ensure_future(client.get("k", deadline_ms=60_000)) for _ in range(3)]
        await asyncio.sleep(0)
        await client.close()
        await client.close()
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(error) for error in ended] == [RequestError] * 3
        with pytest.raises(RequestError):
            await client.get("k")

    with_client(cluster, body, NOBODY)


def test_a_cancelled_call_is_forgotten(cluster: InProcessCluster) -> None:
    async def body(client: LoopClient) -> None:
        waiting = asyncio.ensure_future(client.get("k", deadline_ms=60_000))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(0)
        assert client._io is not None
        assert client._io._rounds.core.in_flight == len(client._io._rounds._pending) == 0

    with_client(cluster, body, NOBODY)


def test_it_goes_on_with_the_others_when_a_node_dies() -> None:
    with InProcessCluster() as cluster:
        cluster.wait_until_ready()

        async def body(client: LoopClient) -> object:
            before = await client.put("k", 1)
            await asyncio.to_thread(cluster.kill, "a")
            await client.put("k", 2, context=before)
            return (await client.get("k")).value

        assert with_client(cluster, body) == 2
