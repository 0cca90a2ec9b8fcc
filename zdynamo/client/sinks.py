"""Where outcomes go: to a future that a thread waits for, or into the list of a batch; `doors` has event loops.

The I/O thread hands them over at the end of a round.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from zdynamo.client.events import Outcome

if TYPE_CHECKING:
    from zdynamo.client.doors import Door

Read = Callable[[Any], Any]  # an outcome as its caller wants to see it; raises


class Sink(Protocol):
    """Takes what became of the call of this number; returns the door to ring once the round is over."""

    def take(self, number: int, outcome: Any) -> "Door | None": ...

    def fail(self, error: BaseException) -> None: ...


def as_it_is(outcome: Any) -> Any:
    """The reading of who reads elsewhere."""
    return outcome


class ForThread:
    """A future that any thread may wait for. It cannot be cancelled: what is asked is asked."""

    __slots__ = ("_read", "future")

    def __init__(self, read: Read, future: "Future[Any] | None" = None) -> None:
        self.future: Future[Any] = Future() if future is None else future
        self.future.set_running_or_notify_cancel()
        self._read = read

    def take(self, number: int, outcome: Any) -> None:
        try:
            value = self._read(outcome)
        except Exception as error:
            self.future.set_exception(error)
        else:
            self.future.set_result(value)

    def fail(self, error: BaseException) -> None:
        self.future.set_exception(error)


class Batch:
    """Collects the outcomes of many calls, in the order of their numbers, for one sink."""

    __slots__ = ("_first", "_left", "_outcomes", "_whole")

    def __init__(self, first: int, count: int, whole: Sink) -> None:
        self._first = first
        self._left = count
        self._outcomes: list[Outcome | None] = [None] * count
        self._whole = whole

    def take(self, number: int, outcome: Any) -> "Door | None":
        self._outcomes[number - self._first] = outcome
        self._left -= 1
        return None if self._left else self._whole.take(self._first, self._outcomes)

    def fail(self, error: BaseException) -> None:
        """Once for each call that is left; the first time counts."""
        if self._left:
            self._left = 0
            self._whole.fail(error)
