"""The client for programs with threads: every method blocks until the answer is there or the deadline has passed."""

import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any

from zdynamo.client.base import DEFAULT_BUCKET, BaseClient, check_address
from zdynamo.client.events import Outcome
from zdynamo.client.listing import Listing
from zdynamo.client.many import K, Many, putting
from zdynamo.client.outcomes import answer_of, changed_by, context_of, value_of
from zdynamo.client.requests import UNSENT, make_delete, make_explain, make_get, make_put
from zdynamo.client.sinks import ForThread, Read, as_it_is
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


class Client(BaseClient):
    """A connection to a cluster, safe to share between threads and to use on in a fork.

    Knows which nodes own a key and asks one of them; tries others when it fails, within the deadline. Nothing is
    connected before the first call.

    A call that does not end well raises a `RequestError` that says what became of it: `QuorumNotMet` (too few replicas;
    nothing was written), `ConditionFailed` (nothing was written), `OutcomeUnknown` and `DeadlineExceeded` (a write may
    or may not have been kept), `Overloaded` and `Refused` (nothing was done), `Unreachable` (never sent).

    What is found can be no use either: `Malformed` (bytes that cannot be read), `SiblingsFound` (several values, and
    nobody to merge them) and `MergeFunctionError`; these are no RequestErrors, all are `ZdynamoError`s. A wrong type is
    a TypeError. Keys are str or bytes: "a" and b"a" are the same key.
    """

    def get(
        self,
        key: str | bytes,
        *,
        bucket: str = DEFAULT_BUCKET,
        r: int | None = None,
        pr: int | None = None,
        resolver: Resolver | None = None,
        deadline_ms: int | None = None,
    ) -> Value:
        """What R replicas hold; the `Value` is false in a condition if they agree that there is nothing.

        `r` and `pr` replace the bucket's defaults. `resolver` makes one value of a list of siblings, when `.value` is
        asked for; without it the merge function of the bucket does, if it has one.
        """
        outcome = self._ask(make_get(key, bucket, r=r, pr=pr), deadline_ms)
        return value_of(outcome, self._resolver(bucket, resolver))

    def put(
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
        """Store bytes, str or plain data (`client.values`). Returns the context of what was written.

        With the `context` of a get it replaces what that get saw, and what was written meanwhile stays as a sibling.
        `ttl_ms` after the write the value expires; 0: never, None: as the bucket says. `if_absent` writes only if R
        replicas hold no value, `if_context` only if they hold nothing that this context has not seen; both are
        optimistic: while nodes come and go, of two at the same moment both may be written. Raises: ConditionFailed,
        with the `context` of what is there; ValueError for conditions that do not go together.
        """
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
        return context_of(self._ask(request, deadline_ms))

    def delete(
        self,
        key: str | bytes,
        *,
        bucket: str = DEFAULT_BUCKET,
        context: bytes | None = None,
        r: int | None = None,
        w: int | None = None,
        deadline_ms: int | None = None,
    ) -> bool:
        """Whether there was something to delete. With a `context`, only what it has seen goes."""
        return changed_by(self._ask(make_delete(key, bucket, context=context, r=r, w=w), deadline_ms))

    def update(
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
        """Read the value, store what `function` makes of it, and merge it with what others stored meanwhile.

        `function` gets the value (None if there is none; siblings as the resolver or the bucket merges them) and
        returns the new one, or `zdynamo.DELETE`. It may be called several times. Returns the value that is left, or
        None after a delete. `deadline_ms` is for all of it; a write that is acknowledged by then is a success. The
        value expires `ttl_ms` after it; None: as the bucket says.

        With a resolver or a bucket that merges nothing acknowledged is lost. Otherwise it is written only if nothing
        else was. After `OutcomeUnknown` the change may or may not be stored: call again if making it twice does no
        harm. Raises: SiblingsFound for siblings that nobody can merge; MergeFunctionError if merging failed; both say
        so when the update itself *is written*.
        """
        return self._drive(self._update(key, function, bucket, resolver, r=r, w=w, ttl_ms=ttl_ms), deadline_ms)

    def get_many(
        self,
        keys: Iterable[K],
        *,
        bucket: str = DEFAULT_BUCKET,
        r: int | None = None,
        pr: int | None = None,
        resolver: Resolver | None = None,
        deadline_ms: int | None = None,
    ) -> dict[K, Value | ZdynamoError]:
        """As `get`, for each key at once: its value, or the error that a get would raise."""
        many = Many(keys, lambda key: make_get(key, bucket, r=r, pr=pr))
        settle = self._resolver(bucket, resolver)
        return many.answers(self._ask_many(many, deadline_ms), lambda outcome: value_of(outcome, settle))

    def put_many(
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
        """As `put`, for each key at once: the context of what was written, or the error that a put would raise.

        `contexts` may have those of some or all keys; ValueError for others. It is no transaction: each key is written
        or not.
        """
        many = putting(values, bucket, contexts, w=w, pw=pw, ttl_ms=ttl_ms)
        return many.answers(self._ask_many(many, deadline_ms), context_of)

    def delete_many(
        self,
        keys: Iterable[K],
        *,
        bucket: str = DEFAULT_BUCKET,
        r: int | None = None,
        w: int | None = None,
        deadline_ms: int | None = None,
    ) -> dict[K, bool | ZdynamoError]:
        """As `delete`, for each key at once: whether there was something, or the error that a delete would raise."""
        many = Many(keys, lambda key: make_delete(key, bucket, r=r, w=w))
        return many.answers(self._ask_many(many, deadline_ms), changed_by)

    def keys(
        self,
        bucket: str = DEFAULT_BUCKET,
        *,
        prefix: str | bytes = b"",
        after: str | None = None,
        r: int | None = None,
        deadline_ms: int | None = None,
    ) -> "Keys":
        """The keys that have a value, as bytes: partition by partition, in order within each; fetched as needed.

        `after` is the `.cursor` of an earlier iterator over the same: goes on behind the last key that it gave.
        `deadline_ms` is for each page. Raises: Refused if `after` is no cursor; `next` raises what a get would, and may
        be called again.
        """
        return Keys(self, Listing(bucket, prefix, after, r), deadline_ms)

    def submit_get(
        self,
        key: str | bytes,
        *,
        bucket: str = DEFAULT_BUCKET,
        r: int | None = None,
        pr: int | None = None,
        resolver: Resolver | None = None,
        deadline_ms: int | None = None,
    ) -> Future[Value]:
        """As `get`, without waiting. Callbacks of the future run on the I/O thread: keep them short."""
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
    ) -> Future[bytes]:
        """As `put`, without waiting for the answer."""
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
    ) -> Future[bool]:
        """As `delete`, without waiting for the answer."""
        return self._submit(make_delete(key, bucket, context=context, r=r, w=w), deadline_ms, changed_by)

    def explain(self, key: str | bytes, bucket: str = DEFAULT_BUCKET, *, deadline_ms: int | None = None) -> Explained:
        """Where a key belongs, and what each of its owners holds."""
        return answer_of(self._ask(make_explain(key, bucket), deadline_ms), Explained)

    def topology(self, *, deadline_ms: int | None = None) -> Topology:
        """The cluster as one of its nodes sees it now."""
        return answer_of(self._ask(DescribeCluster(UNSENT, ""), deadline_ms), Topology)

    def members(self, *, deadline_ms: int | None = None) -> tuple[MemberView, ...]:
        """All members with their states, as one node sees them now."""
        return self.topology(deadline_ms=deadline_ms).members

    def node_status(self, address: str, *, deadline_ms: int | None = None) -> NodeDescription:
        """The figures of the node at this public address; `Unreachable` as soon as connecting to it fails."""
        check_address(address)
        return answer_of(self._ask(DescribeNode(UNSENT, ""), deadline_ms, only_at=address), NodeDescription)

    def close(self) -> None:
        """Calls in flight in other threads fail; later ones raise. Safe to repeat."""
        self._shut()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, request: ClientRequest, deadline_ms: int | None, only_at: str = "") -> Outcome:
        outcome: Outcome = self._submit(request, deadline_ms, as_it_is, only_at).result()
        return outcome

    def _submit(self, request: ClientRequest, deadline_ms: int | None, read: Read, only_at: str = "") -> Future[Any]:
        sink = self._sink(read)
        self._running().submit(request, self._within_ms(deadline_ms), sink, only_at)
        return sink.future

    def _ask_many(self, many: Many[K], deadline_ms: int | None) -> list[Outcome]:
        within_ms, io = self._within_ms(deadline_ms), self._running()
        if not many.requests:
            return []
        sink = self._sink(as_it_is)
        io.submit_many(many.requests, within_ms, sink)
        outcomes: list[Outcome] = sink.future.result()
        return outcomes

    def _sink(self, read: Read) -> ForThread:
        return ForThread(read)

    def _now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def _sleep(self, for_ms: float) -> None:
        time.sleep(for_ms / 1000)

    def _drive(self, steps: Steps, deadline_ms: int | None) -> Any:
        end_ms = self._now_ms() + self._within_ms(deadline_ms)
        try:
            step = next(steps)
            while True:
                left_ms = max(1, end_ms - self._now_ms())
                outcome = None
                if isinstance(step, Pause):
                    self._sleep(min(step.ms, left_ms))
                else:
                    outcome = self._ask(step, left_ms)
                step = steps.send(Reply(outcome, end_ms - self._now_ms()))
        except StopIteration as ended:
            return ended.value


class Keys(Iterator[bytes]):
    """The keys of a listing. For one thread at a time."""

    def __init__(self, client: Client, listing: Listing, deadline_ms: int | None) -> None:
        self._client = client
        self._listing = listing
        self._deadline_ms = deadline_ms

    def __next__(self) -> bytes:
        """Raises: RequestError; then the iterator can be asked again."""
        while (wanted := self._listing.wanted) is not None:
            self._listing.take(self._client._ask(wanted, self._deadline_ms))
        key = self._listing.next_key()
        if key is None:
            raise StopIteration
        return key

    @property
    def cursor(self) -> str:
        """Text that goes on behind the last key, as `keys(after=...)`, in any process."""
        return self._listing.cursor
