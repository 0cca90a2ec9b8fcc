"""The client for asyncio: the same calls as coroutines, over the same I/O thread and core as the blocking client."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import zmq

from zdynamo.client.base import DEADLINE_MS, DEFAULT_BUCKET, BaseClient, Driver, check_address
from zdynamo.client.doors import Door, ForLoop
from zdynamo.client.events import Outcome
from zdynamo.client.listing import Listing
from zdynamo.client.many import K, Many, putting
from zdynamo.client.outcomes import answer_of, changed_by, context_of, value_of
from zdynamo.client.requests import UNSENT, make_delete, make_explain, make_get, make_put
from zdynamo.client.sinks import Read, as_it_is
from zdynamo.client.updates import Function, Pause, Reply, Steps
from zdynamo.client.values import Resolver, Value, encode_value
from zdynamo.errors import ZdynamoError
from zdynamo.messages import (
    ClientRequest,
    DescribeCluster,
    DescribeNode,
    Explained,
    MemberView,
    NodeDescription,
    Topology,
)

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider


class AsyncClient(BaseClient):
    """A connection to a cluster for coroutines, of any number of event loops. Use it with `async with`.

    What the calls do is said at `zdynamo.Client`; a cancelled call is forgotten, and a write among them may or may not
    be kept.
    """

    def __init__(
        self,
        *addresses: str,
        deadline_ms: int = DEADLINE_MS,
        cluster: str = "",
        context: "zmq.Context[Any] | None" = None,
        tracing: "bool | TracerProvider" = False,
    ) -> None:
        """As `Client`."""
        super().__init__(*addresses, deadline_ms=deadline_ms, cluster=cluster, context=context, tracing=tracing)
        self._doors = threading.local()

    async def get(
        self,
        key: str | bytes,
        *,
        bucket: str = DEFAULT_BUCKET,
        r: int | None = None,
        pr: int | None = None,
        resolver: Resolver | None = None,
        deadline_ms: int | None = None,
    ) -> Value:
        """As `Client.get`."""
        outcome = await self._ask(make_get(key, bucket, r=r, pr=pr), deadline_ms)
        return value_of(outcome, self._resolver(bucket, resolver))

    async def put(
        self,
        key: str | bytes,
        value: object,
        *,
        bucket: str = DEFAULT_BUCKET,
        context: bytes | None = None,
        w: int | None = None,
        pw: int | None = None,
        ttl_ms: int | None = None,
        if_absent: bool = False,
        if_context: bytes | None = None,
        deadline_ms: int | None = None,
    ) -> bytes:
        """As `Client.put`."""
        request = make_put(
            key,
            encode_value(value),
            bucket,
            context=context,
            w=w,
            pw=pw,
            ttl_ms=ttl_ms,
            if_absent=if_absent,
            if_context=if_context,
        )
        return context_of(await self._ask(request, deadline_ms))

    async def delete(
        self,
        key: str | bytes,
        *,
        bucket: str = DEFAULT_BUCKET,
        context: bytes | None = None,
        r: int | None = None,
        w: int | None = None,
        deadline_ms: int | None = None,
    ) -> bool:
        """As `Client.delete`."""
        return changed_by(await self._ask(make_delete(key, bucket, context=context, r=r, w=w), deadline_ms))

    async def update(
        self,
        key: str | bytes,
        function: Function,
        *,
        bucket: str = DEFAULT_BUCKET,
        resolver: Resolver | None = None,
        r: int | None = None,
        w: int | None = None,
        ttl_ms: int | None = None,
        deadline_ms: int | None = None,
    ) -> Any:
        """As `Client.update`."""
        return await self._drive(self._update(key, function, bucket, resolver, r=r, w=w, ttl_ms=ttl_ms), deadline_ms)

    async def get_many(
        self,
        keys: Iterable[K],
        *,
        bucket: str = DEFAULT_BUCKET,
        r: int | None = None,
        pr: int | None = None,
        resolver: Resolver | None = None,
        deadline_ms: int | None = None,
    ) -> dict[K, Value | ZdynamoError]:
        """As `Client.get_many`."""
        many = Many(keys, lambda key: make_get(key, bucket, r=r, pr=pr))
        settle = self._resolver(bucket, resolver)
        return many.answers(await self._ask_many(many, deadline_ms), lambda outcome: value_of(outcome, settle))

    async def put_many(
        self,
        values: Mapping[K, object],
        *,
        bucket: str = DEFAULT_BUCKET,
        contexts: Mapping[K, bytes] | None = None,
        w: int | None = None,
        pw: int | None = None,
        ttl_ms: int | None = None,
        deadline_ms: int | None = None,
    ) -> dict[K, bytes | ZdynamoError]:
        """As `Client.put_many`."""
        many = putting(values, bucket, contexts, w=w, pw=pw, ttl_ms=ttl_ms)
        return many.answers(await self._ask_many(many, deadline_ms), context_of)

    async def delete_many(
        self,
        keys: Iterable[K],
        *,
        bucket: str = DEFAULT_BUCKET,
        r: int | None = None,
        w: int | None = None,
        deadline_ms: int | None = None,
    ) -> dict[K, bool | ZdynamoError]:
        """As `Client.delete_many`."""
        many = Many(keys, lambda key: make_delete(key, bucket, r=r, w=w))
        return many.answers(await self._ask_many(many, deadline_ms), changed_by)

    def keys(
        self,
        bucket: str = DEFAULT_BUCKET,
        *,
        prefix: str | bytes = b"",
        after: str | None = None,
        r: int | None = None,
        deadline_ms: int | None = None,
    ) -> "AsyncKeys":
        """As `Client.keys`."""
        return AsyncKeys(self, Listing(bucket, prefix, after, r), deadline_ms)

    def submit_get(
        self,
        key: str | bytes,
        *,
        bucket: str = DEFAULT_BUCKET,
        r: int | None = None,
        pr: int | None = None,
        resolver: Resolver | None = None,
        deadline_ms: int | None = None,
    ) -> asyncio.Future[Value]:
        """As `Client.submit_get`."""
        request, settle = make_get(key, bucket, r=r, pr=pr), self._resolver(bucket, resolver)
        return self._submit(request, deadline_ms, lambda outcome: value_of(outcome, settle))

    def submit_put(
        self,
        key: str | bytes,
        value: object,
        *,
        bucket: str = DEFAULT_BUCKET,
        context: bytes | None = None,
        w: int | None = None,
        pw: int | None = None,
        ttl_ms: int | None = None,
        if_absent: bool = False,
        if_context: bytes | None = None,
        deadline_ms: int | None = None,
    ) -> asyncio.Future[bytes]:
        """As `Client.submit_put`."""
        request = make_put(
            key,
            encode_value(value),
            bucket,
            context=context,
            w=w,
            pw=pw,
            ttl_ms=ttl_ms,
            if_absent=if_absent,
            if_context=if_context,
        )
        return self._submit(request, deadline_ms, context_of)

    def submit_delete(
        self,
        key: str | bytes,
        *,
        bucket: str = DEFAULT_BUCKET,
        context: bytes | None = None,
        r: int | None = None,
        w: int | None = None,
        deadline_ms: int | None = None,
    ) -> asyncio.Future[bool]:
        """As `Client.submit_delete`."""
        return self._submit(make_delete(key, bucket, context=context, r=r, w=w), deadline_ms, changed_by)

    async def explain(
        self, key: str | bytes, bucket: str = DEFAULT_BUCKET, *, deadline_ms: int | None = None
    ) -> Explained:
        """As `Client.explain`."""
        return answer_of(await self._ask(make_explain(key, bucket), deadline_ms), Explained)

    async def topology(self, *, deadline_ms: int | None = None) -> Topology:
        """As `Client.topology`."""
        return answer_of(await self._ask(DescribeCluster(UNSENT, ""), deadline_ms), Topology)

    async def members(self, *, deadline_ms: int | None = None) -> tuple[MemberView, ...]:
        """As `Client.members`."""
        return (await self.topology(deadline_ms=deadline_ms)).members

    async def node_status(self, address: str, *, deadline_ms: int | None = None) -> NodeDescription:
        """As `Client.node_status`."""
        check_address(address)
        return answer_of(await self._ask(DescribeNode(UNSENT, ""), deadline_ms, only_at=address), NodeDescription)

    async def close(self) -> None:
        """Calls in flight fail, in other loops too; later ones raise. Safe to repeat."""
        self._closed = True
        if self._finalizer is not None:
            await asyncio.to_thread(self._finalizer)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _ask(self, request: ClientRequest, deadline_ms: int | None, only_at: str = "") -> Outcome:
        within_ms, io, sink = self._within_ms(deadline_ms), self._running(), ForLoop(self._door(), as_it_is)
        outcome: Outcome = await awaited(io, io.submit(request, within_ms, sink, only_at), sink)
        return outcome

    async def _ask_many(self, many: Many[K], deadline_ms: int | None) -> list[Outcome]:
        within_ms, io, sink = self._within_ms(deadline_ms), self._running(), ForLoop(self._door(), as_it_is)
        if not many.requests:
            return []
        outcomes: list[Outcome] = await awaited(io, io.submit_many(many.requests, within_ms, sink), sink)
        return outcomes

    def _submit(self, request: ClientRequest, deadline_ms: int | None, read: Read) -> "asyncio.Future[Any]":
        within_ms, io, sink = self._within_ms(deadline_ms), self._running(), ForLoop(self._door(), read)
        submitted = io.submit(request, within_ms, sink)
        sink.future.add_done_callback(lambda future: io.withdraw(submitted) if future.cancelled() else None)
        return sink.future

    def _door(self) -> Door:
        """The one of the running loop; each thread runs one at a time."""
        loop = asyncio.get_running_loop()
        door: Door | None = getattr(self._doors, "door", None)
        if door is None or door.loop is not loop:
            door = self._doors.door = Door(loop)
        return door

    async def _drive(self, steps: Steps, deadline_ms: int | None) -> Any:
        end_ms = _now_ms() + self._within_ms(deadline_ms)
        try:
            step = next(steps)
            while True:
                left_ms = max(1, end_ms - _now_ms())
                outcome = None
                if isinstance(step, Pause):
                    await asyncio.sleep(min(step.ms, left_ms) / 1000)
                else:
                    outcome = await self._ask(step, left_ms)
                step = steps.send(Reply(outcome, end_ms - _now_ms()))
        except StopIteration as ended:
            return ended.value


class AsyncKeys(AsyncIterator[bytes]):
    """The keys of a listing. For one task at a time."""

    def __init__(self, client: AsyncClient, listing: Listing, deadline_ms: int | None) -> None:
        self._client = client
        self._listing = listing
        self._deadline_ms = deadline_ms

    async def __anext__(self) -> bytes:
        """Raises: RequestError; then the iterator can be asked again."""
        while (wanted := self._listing.wanted) is not None:
            self._listing.take(await self._client._ask(wanted, self._deadline_ms))
        key = self._listing.next_key()
        if key is None:
            raise StopAsyncIteration
        return key

    @property
    def cursor(self) -> str:
        """Text that goes on behind the last key, as `keys(after=...)`, in any process."""
        return self._listing.cursor


async def awaited(io: Driver, submitted: Any, sink: ForLoop) -> Any:
    """What comes of it; if nobody waits for that any more, the driver is told."""
    try:
        return await sink.future
    except asyncio.CancelledError:
        io.withdraw(submitted)
        raise


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000
