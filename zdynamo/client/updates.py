"""Read, change, write back, until one value is left: the steps of an update, without sockets and clocks.

With a resolver an update writes over what it has read, and what others wrote meanwhile stays as siblings. Those are
read, merged and written again until one value is left. So nothing acknowledged is lost, however many write at a time.
Without one it writes only if nothing was written meanwhile, and begins again if something was. Two such writes of the
same moment may both stay, as siblings that nobody can merge; then it says so.

The function is applied anew only where its last result surely was not written.
"""

from collections.abc import Callable, Generator
from enum import Enum
from typing import Any

from msgspec import Struct

from zdynamo import errors
from zdynamo.client.events import Outcome
from zdynamo.client.outcomes import context_of, value_of
from zdynamo.client.requests import check_copies, check_ttl, make_delete, make_get, make_put
from zdynamo.client.values import Resolver, Value, encode_value
from zdynamo.merging import check_plain
from zdynamo.messages import ClientRequest, Get, Put

PAUSE_MS = 10.0  # at most, before the first time that something is tried again; twice as long each time
PAUSE_MAX_MS = 320.0
UNWRITTEN = (errors.ConditionFailed, errors.QuorumNotMet, errors.Overloaded)  # surely not written: to be done again

Function = Callable[[Any], Any]


class Sentinel(Enum):
    """What the function of an update returns instead of a value."""

    DELETE = "delete"


DELETE = Sentinel.DELETE  # the key is to be deleted


class Pause(Struct, frozen=True):
    """Wait so long before going on."""

    ms: float


class Reply(Struct, frozen=True):
    """What became of a request (None: a pause is over), and how much time is left."""

    outcome: Outcome | None
    left_ms: int


Steps = Generator[ClientRequest | Pause, Reply, Any]


class Update:
    """One update of one key. `steps` yields requests and pauses, takes a reply for each, and returns the new value."""

    def __init__(
        self,
        key: str | bytes,
        function: Function,
        *,
        bucket: str,
        resolver: Resolver,
        merges: Callable[[], bool],
        chance: Callable[[], float],
        r: int | None = None,
        w: int | None = None,
        ttl_ms: int | None = None,
    ) -> None:
        """`merges`: whether the resolver can merge, asked once something has been read, and before a put is sent; it
        raises if the one that there is cannot be used. `chance`: of 0 to below 1.
        """
        check_plain("the function", function)
        check_plain("the resolver", resolver)
        self._key = key
        self._bucket = bucket
        self._function = function
        self._resolver = resolver
        self._merges = merges
        self._chance = chance
        self._get: Get = make_get(key, bucket, r=r)
        self._r, self._w, self._ttl_ms = r, w, ttl_ms
        check_copies("w", w)
        if ttl_ms is not None:
            check_ttl(ttl_ms)
        self._pauses = 0

    def steps(self) -> Steps:
        """Raises: RequestError, SiblingsFound, MergeFunctionError, TypeError, and whatever the function raises."""
        while True:
            try:
                reply = yield self._get
                found = value_of(_outcome(reply), self._resolver)
                changed = self._changed(found.value)
                reply = yield self._write(changed, found)
                context_of(_outcome(reply))
            except UNWRITTEN as error:
                pause = self._pause()
                if reply.left_ms <= pause.ms:
                    raise _in_words(error) from None
                yield pause
            else:
                return None if changed is DELETE else (yield from self._settle(changed, reply.left_ms))

    def _changed(self, value: Any) -> Any:
        changed = self._function(value)
        if changed is None:
            raise TypeError("the function returned None: return the new value, or zdynamo.DELETE to delete the key")
        return changed

    def _write(self, changed: Any, found: Value) -> ClientRequest:
        if changed is DELETE:
            return make_delete(self._key, self._bucket, context=found.context or None, r=self._r, w=self._w)
        if not found.context:  # nothing at all is known of the key
            return self._put(changed, if_absent=True)
        return (
            self._put(changed, context=found.context)
            if self._merges()
            else self._put(changed, if_context=found.context)
        )

    def _put(self, value: Any, **condition: Any) -> Put:
        return make_put(self._key, encode_value(value), self._bucket, w=self._w, ttl_ms=self._ttl_ms, **condition)

    def _settle(self, written: Any, left_ms: int) -> Steps:
        """The write is acknowledged: merge it with what else was written, as far as time and nodes allow."""
        self._pauses = 0
        while left_ms > 0:
            try:
                reply = yield self._get
                found = value_of(_outcome(reply), self._resolver)
                if len(found.siblings) < 2:
                    return found.value if found.exists else written
                if not self._merges():
                    raise errors.SiblingsFound(_beside(found))
                written, put = self._merged(found)
                if self._pauses:  # the first time another may be about to do it
                    reply = yield put
                    context_of(_outcome(reply))
            except (errors.QuorumNotMet, errors.Overloaded):
                pass
            except errors.RequestError:
                break
            except errors.Malformed as error:
                raise errors.Malformed(
                    f"the update is written, but what is there now cannot be read: {error}"
                ) from error
            left_ms = (yield self._pause()).left_ms
        return written

    def _merged(self, found: Value) -> tuple[Any, Put]:
        """The one value, and the put that makes it so."""
        try:
            merged = found.value
            return merged, self._put(merged, context=found.context)
        except Exception as error:  # of the program's own functions
            why = str(error) if isinstance(error, errors.ZdynamoError) else f"{type(error).__name__}: {error}"
            raise errors.MergeFunctionError(f"the update is written, but merging failed: {why}") from error

    def _pause(self) -> Pause:
        longest_ms = min(PAUSE_MAX_MS, PAUSE_MS * 2**self._pauses)
        self._pauses += 1
        return Pause(self._chance() * longest_ms)


def _outcome(reply: Reply) -> Outcome:
    assert reply.outcome is not None, "a request has an outcome"
    return reply.outcome


def _in_words(error: errors.RequestError) -> errors.RequestError:
    if isinstance(error, errors.ConditionFailed):
        return errors.DeadlineExceeded("others wrote the key again and again: nothing was written before the deadline")
    return error


def _beside(found: Value) -> str:
    return (
        f"the update is written, beside {len(found.siblings) - 1} others of the same moment: look at .siblings of a "
        "get and put the value that settles it with its context, or give a resolver"
    )
