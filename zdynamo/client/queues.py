"""Requests that were submitted many at once and have not begun yet: in order, until their time is over."""

from collections import deque

from msgspec import Struct

from zdynamo.client.calls import Call, patience_ms
from zdynamo.client.events import SubmittedMany
from zdynamo.messages import ClientRequest


class Queue(Struct, eq=False):
    """What was submitted at once. Its timer goes by `wake_at_ms`, as that of a call does."""

    number: int  # below 0, and so apart from the numbers of calls
    first: int  # the number of the call of the first request
    requests: list[ClientRequest]
    submitted_at_ms: int
    due_ms: int
    patience_ms: int
    begun: int = 0  # so many requests have become calls
    wake_at_ms: int = -1


class Queues:
    """The oldest first. Invariant: each has a request left that has not begun."""

    def __init__(self) -> None:
        self._queues: deque[Queue] = deque()

    def __bool__(self) -> bool:
        return bool(self._queues)

    def add(self, event: SubmittedMany, now_ms: int) -> Queue:
        """Of at least one request."""
        due_ms, patience = now_ms + event.deadline_ms, patience_ms(event.deadline_ms)
        queue = Queue(-1 - event.call, event.call, event.requests, now_ms, due_ms, patience)
        self._queues.append(queue)
        return queue

    @property
    def next_request(self) -> ClientRequest | None:
        if not self._queues:
            return None
        queue = self._queues[0]
        return queue.requests[queue.begun]

    def begin(self, client: bytes) -> Call:
        """The next request as a call."""
        queue = self._queues[0]
        number, request = queue.first + queue.begun, queue.requests[queue.begun]
        queue.begun += 1
        if queue.begun == len(queue.requests):
            self._remove(queue)
        id = client + number.to_bytes(8, "big")
        return Call(number, id, request, queue.submitted_at_ms, queue.due_ms, queue.patience_ms)

    def expire(self, queue: Queue) -> range:
        """The numbers of the calls that now never begin."""
        self._remove(queue)
        return range(queue.first + queue.begun, queue.first + len(queue.requests))

    def withdraw(self, first: int) -> None:
        """Forget what is left of what was submitted from this number on."""
        for queue in [queue for queue in self._queues if queue.first == first]:
            self._remove(queue)

    def _remove(self, queue: Queue) -> None:
        queue.wake_at_ms = -1
        self._queues.remove(queue)
