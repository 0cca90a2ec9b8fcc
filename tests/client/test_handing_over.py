"""Outcomes on their way to who waits for them, and requests on their way into frames."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted_node import ScriptedCluster, ScriptedNode

from zdynamo import Client, errors
from zdynamo.client.doors import Door, ForLoop
from zdynamo.client.sinks import as_it_is
from zdynamo.client.sockets import FRAME_BYTES, REQUEST_BYTES, cut
from zdynamo.messages import Delete, Get, Put


def test_an_answer_that_comes_after_its_call_was_cancelled_does_not_hinder_the_next_one():
    async def main():
        door = Door(asyncio.get_running_loop())
        cancelled, waiting = ForLoop(door, as_it_is), ForLoop(door, as_it_is)
        cancelled.future.cancel()

        cancelled.take(1, "late")
        waiting.take(2, "in time").ring()

        assert await asyncio.wait_for(waiting.future, 5) == "in time"

    asyncio.run(main())


def test_closing_fails_a_call_of_many_keys_in_another_thread():
    cluster = ScriptedCluster()
    with ScriptedNode(cluster, lambda _: None) as node, ThreadPoolExecutor(1) as pool:
        client = Client(node.address)
        getting = pool.submit(client.get_many, ["k", "l", "m"])
        with pytest.raises(errors.DeadlineExceeded):
            client.get("n", deadline_ms=50)

        client.close()

        with pytest.raises(errors.RequestError, match="closed"):
            getting.result()


@pytest.mark.parametrize(
    "request_of",
    [
        lambda size: Put(bytes(16), "", 0, "b", b"k", bytes(size), ""),
        lambda size: Put(bytes(16), "", 0, "b", bytes(size), b"", ""),
        lambda size: Put(bytes(16), "", 0, "b", b"k", b"", "", context=bytes(size)),
        lambda size: Get(bytes(16), "", 0, "b", bytes(size)),
        lambda size: Delete(bytes(16), "", 0, "b", bytes(size)),
        lambda size: Delete(bytes(16), "", 0, "b", b"k", context=bytes(size)),
    ],
)
def test_a_frame_holds_about_a_mebibyte_or_one_request(request_of):
    half, whole = request_of(FRAME_BYTES // 2 - 2 * REQUEST_BYTES), request_of(2 * FRAME_BYTES)

    assert [len(frame) for frame in cut([half, half, half, whole, half])] == [2, 1, 1, 1]
