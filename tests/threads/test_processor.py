"""The process thread: what it sends goes in frames that are not too large, and its last words are heard."""

import threading
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from threads.clusters import WITHIN_S, own_context
from zdynamo import codec
from zdynamo.core.node import Node
from zdynamo.core.settings import NodeLimits
from zdynamo.messages import ClientAnswer, Done, Found, KeysListed, SiblingValue
from zdynamo.storage.memory import MemoryStore
from zdynamo.threads import processor, router
from zdynamo.threads.channel import CAPACITY, Channels, offer
from zdynamo.threads.clock import now
from zdynamo.threads.log import Log
from zdynamo.threads.processor import END, FRAME_BYTES_MAX, STOP, Processor, cut

ANSWERS = [
    lambda size: Found(bytes(16), b"", (SiblingValue("", bytes(size), 0), SiblingValue("", b"", 0))),
    lambda size: KeysListed(bytes(16), (bytes(size // 2), bytes(size // 2)), b"", more=False),
    lambda size: Done(bytes(16), bytes(size)),
]
SIZES = [0, 1_000, 300_000, FRAME_BYTES_MAX // 2, FRAME_BYTES_MAX, 3 * FRAME_BYTES_MAX]
answers = st.builds(lambda make, size: make(size), st.sampled_from(ANSWERS), st.sampled_from(SIZES))


@settings(max_examples=50, deadline=None)
@given(st.lists(answers, min_size=1, max_size=8))
def test_as_many_messages_as_fit_go_in_a_frame_and_a_larger_one_goes_alone(messages: list[ClientAnswer]) -> None:
    frames = list(cut(messages, codec.encode))

    sizes = [sum(len(codec.encode(message)) for message in together) for together, _ in frames]
    assert [message for together, _ in frames for message in together] == messages
    assert [codec.decode_answers(frame) for _, frame in frames] == [together for together, _ in frames]
    assert all(size <= FRAME_BYTES_MAX or len(together) == 1 for (together, _), size in zip(frames, sizes, strict=True))
    assert all(
        size + len(codec.encode(after[0])) > FRAME_BYTES_MAX
        for size, (after, _) in zip(sizes, frames[1:], strict=False)
    )


def test_the_threads_behind_hear_the_end_though_their_channels_are_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "FAREWELL_MS", 10_000)  # this machine may be slow
    with own_context() as context:
        channels = Channels(context, "a")
        names = ("inbox", "mail", "evidence", "orders", "drained", "outbox", "news")
        sinks, sources = {}, {}
        for name in names:
            sinks[name], sources[name] = channels.pipe(name)
        requests_far, requests = channels.duplex("requests")
        views_sink, views = channels.slot("views")
        store = MemoryStore()
        node = Node(store=store, limits=NodeLimits(), random=Random(1), now=now())
        process = Processor(
            node, store, requests=requests, inbox=sources["inbox"], views=views, mail=sources["mail"],
            evidence=sources["evidence"], orders=sources["orders"], drained=sinks["drained"],
            outbox=sinks["outbox"], news=sinks["news"], flush_interval_ms=1000, log=Log("a"),
        )  # fmt: skip
        for name in ("outbox", "news"):
            while offer(sinks[name], [b"queued"]):
                pass
        thread = threading.Thread(target=process.run)

        for order in (STOP, END):
            offer(sinks["orders"], [order])
        thread.start()
        heard = {name: [] for name in ("outbox", "news")}  # type: ignore[var-annotated]
        for name, last in (("outbox", [b""]), ("news", [router.STOP])):
            while (not heard[name] or heard[name][-1] != last) and sources[name].poll(1_000):
                heard[name].append(sources[name].recv_multipart())
        thread.join(WITHIN_S)
        ours = [sinks[name] for name in ("inbox", "mail", "evidence", "orders")]
        for end in (*ours, sources["drained"], sources["outbox"], sources["news"], requests_far, views_sink):
            end.close(0)

    assert {name: len(messages) for name, messages in heard.items()} == {"outbox": CAPACITY + 1, "news": CAPACITY + 1}
    assert (heard["outbox"][-1], heard["news"][-1]) == ([b""], [router.STOP])
