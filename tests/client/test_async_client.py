"""The asyncio client over real sockets, against nodes that do what a script says."""

import asyncio
import gc
import inspect
import threading

import pytest
from scripted_node import ScriptedCluster, ScriptedNode

from zdynamo import AsyncClient, Client, Value, errors
from zdynamo.client.core import WINDOW
from zdynamo.messages import DescribeCluster, Get, ListKeys, Put, QuorumNotMet, Refused


@pytest.fixture
def cluster():
    return ScriptedCluster()


def silent_on_data(cluster):
    return lambda request: cluster.answer(request) if isinstance(request, DescribeCluster) else None


def client_threads():
    return [thread for thread in threading.enumerate() if thread.name == "zdynamo-client"]


async def until(condition, within_s=5.0):
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.002)


def public(kind):
    return {name: member for name, member in inspect.getmembers(kind, inspect.isfunction) if name[0] != "_"}


def test_both_clients_have_the_same_calls_with_the_same_parameters():
    blocking, awaited = public(Client), public(AsyncClient)

    assert set(blocking) == set(awaited)
    for name, method in blocking.items():
        parameters = inspect.signature(method).parameters
        assert list(inspect.signature(awaited[name]).parameters.values()) == list(parameters.values()), name


def test_what_is_put_is_got_and_deleted(cluster):
    async def main(address):
        async with AsyncClient(address) as client:
            assert not await client.get("k")
            assert await client.put("k", {"a": 1}) == b"context of k"
            assert (await client.get("k")).value == {"a": 1}
            assert [await client.delete("k"), await client.delete("k")] == [True, False]
            assert (await client.topology()).cluster == "one"
            assert len(await client.members()) == 1
            assert (await client.node_status(address)).engine == "memory"

    with ScriptedNode(cluster) as node:
        asyncio.run(main(node.address))

    assert client_threads() == []


def test_gathered_calls_are_in_flight_together(cluster):
    async def main(node):
        async with AsyncClient(node.address) as client:
            node.holds = lambda request: isinstance(request, Get) and len(node.data_requests()) < 200
            found = await asyncio.gather(*(client.get(f"k{number}") for number in range(200)))
            assert [value.exists for value in found] == [False] * 200

    with ScriptedNode(cluster) as node:
        asyncio.run(main(node))


def test_many_keys_updates_and_listings_work_as_in_the_blocking_client(cluster):
    async def main(address):
        names = [f"key-{number}" for number in range(2 * WINDOW)]
        async with AsyncClient(address) as client:
            assert await client.put_many({name: name for name in names}) == {
                name: f"context of {name}".encode() for name in names
            }
            assert await client.get_many(["key-1", "none"]) == {
                "key-1": Value(["key-1"], b"seen"),
                "none": Value([], b""),
            }
            assert await client.update("key-1", lambda text: text + "!") == "key-1!"
            assert await client.delete_many(["key-2", "none"]) == {"key-2": True, "none": False}
            keys = client.keys()
            first = await anext(keys)
            rest = [key async for key in client.keys(after=keys.cursor)]
            assert sorted([first, *rest]) == sorted(name.encode() for name in names if name != "key-2")

    with ScriptedNode(cluster) as node:
        asyncio.run(main(node.address))


def test_an_update_pauses_without_holding_up_the_loop(cluster):
    missed = [2]

    def script(request):
        if isinstance(request, Put) and missed[0]:
            missed[0] -= 1
            return QuorumNotMet(request.request, 2, 1)
        return cluster.answer(request)

    async def main(address):
        async with AsyncClient(address) as client:
            assert await client.update("k", lambda count: (count or 0) + 1) == 1

    with ScriptedNode(cluster, script) as node:
        asyncio.run(main(node.address))


def test_what_a_call_raises_is_raised_where_it_is_awaited(cluster):
    def script(request):
        if isinstance(request, Get | ListKeys):
            return Refused(request.request, "no")
        return cluster.answer(request)

    async def main(address):
        async with AsyncClient(address) as client:
            for call in (
                client.get("k"),
                client.submit_get("k"),
                client.update("k", lambda _: 1),
                anext(client.keys()),
            ):
                with pytest.raises(errors.Refused, match="no"):
                    await call
            with pytest.raises(TypeError):
                await client.put("k", object())
            answers = await client.get_many(["k"])
            assert isinstance(answers["k"], errors.Refused)

    with ScriptedNode(cluster, script) as node:
        asyncio.run(main(node.address))


def test_futures_are_answered_without_a_task_each(cluster):
    async def main(address):
        async with AsyncClient(address) as client:
            before = len(asyncio.all_tasks())
            puts = [client.submit_put(f"k{number}", number) for number in range(50)]
            assert len(asyncio.all_tasks()) == before
            await asyncio.gather(*puts)
            gets = [client.submit_get(f"k{number}") for number in range(50)]
            assert [(await found).value for found in gets] == list(range(50))
            assert await client.submit_delete("k1")

    with ScriptedNode(cluster) as node:
        asyncio.run(main(node.address))


def test_a_cancelled_call_is_forgotten_and_the_others_go_on(cluster):
    async def main(node):
        async with AsyncClient(node.address) as client:
            await client.members()
            node.script = silent_on_data(cluster)
            waiting = [
                asyncio.ensure_future(call)
                for call in (client.get("a"), client.submit_get("b"), client.put_many({"c": 1, "d": 2}))
            ]
            await until(lambda: len(node.data_requests()) == 4)
            for call in waiting:
                call.cancel()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            node.script = cluster.answer

            assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3
            assert not await client.get("e")
            assert client._io._rounds.core.in_flight == len(client._io._rounds._pending) == 0

    with ScriptedNode(cluster) as node:
        asyncio.run(main(node))


def test_a_timeout_around_a_call_ends_it(cluster):
    async def main(address):
        async with AsyncClient(address) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get("k"), 0.05)

    with ScriptedNode(cluster, silent_on_data(cluster)) as node:
        asyncio.run(main(node.address))


def test_one_client_serves_several_loops_one_after_the_other_and_at_a_time(cluster):
    async def work(client, name):
        for number in range(20):
            await client.put(f"{name}-{number}", number)
            assert (await client.get(f"{name}-{number}")).value == number

    with ScriptedNode(cluster) as node:
        client = AsyncClient(node.address)
        threads = [threading.Thread(target=asyncio.run, args=[work(client, name)]) for name in "abc"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        asyncio.run(work(client, "d"))
        asyncio.run(client.close())

    assert len(cluster.values) == 80


def test_a_loop_that_is_closed_with_calls_in_flight_hinders_nobody(cluster):
    async def leave(client):
        client.submit_get("held")

    with ScriptedNode(cluster) as node:
        client = AsyncClient(node.address)
        node.holds = lambda request: isinstance(request, Get) and request.key == b"held" and not cluster.values
        loop = asyncio.new_event_loop()
        loop.run_until_complete(leave(client))
        loop.close()

        asyncio.run(client.put("k", 1))
        assert asyncio.run(client.get("k")).value == 1
        asyncio.run(client.close())


def test_closing_fails_the_calls_in_flight_and_later_ones(cluster):
    async def main(node):
        client = AsyncClient(node.address)
        getting = asyncio.ensure_future(client.get("k"))
        many = asyncio.ensure_future(client.get_many(["l", "m"]))
        await until(lambda: len(node.data_requests()) == 3)

        await client.close()
        await client.close()

        for call in (getting, many, client.get("k"), client.get_many(["k"])):
            with pytest.raises(errors.RequestError, match="closed"):
                await call

    with ScriptedNode(cluster, silent_on_data(cluster)) as node:
        asyncio.run(main(node))

    assert client_threads() == []


def test_a_client_that_is_dropped_leaves_no_thread(cluster):
    async def main(address):
        await AsyncClient(address).get("k")

    with ScriptedNode(cluster) as node:
        asyncio.run(main(node.address))
        gc.collect()

    assert client_threads() == []
