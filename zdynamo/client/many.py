"""One call for many keys: a request for each, and an answer for each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar

from zdynamo.client.events import Outcome
from zdynamo.client.requests import check_key, contexts_by_key, make_put
from zdynamo.client.values import encode_value
from zdynamo.errors import Refused, ZdynamoError
from zdynamo.messages import ClientRequest, Put

K = TypeVar("K", bound=str | bytes)
T = TypeVar("T")


class Many(Generic[K]):
    """The requests of one call; a key that is refused for its form has none."""

    def __init__(self, keys: Iterable[K], make: Callable[[K], ClientRequest]) -> None:
        """Raises: TypeError for a key or value of the wrong type, and then nothing is sent."""
        self.requests: list[ClientRequest] = []
        self._refused: dict[K, ZdynamoError | None] = {}  # all keys in their order; None: there is a request
        if isinstance(keys, str | bytes):
            raise TypeError(f"give the keys as a list, not one {type(keys).__name__}")
        for key in keys:
            if key in self._refused:
                continue
            try:
                self.requests.append(make(key))
            except Refused as refused:
                self._refused[key] = refused
            else:
                self._refused[key] = None

    def answers(self, outcomes: Sequence[Outcome], read: Callable[[Outcome], T]) -> dict[K, T | ZdynamoError]:
        """What was read of the outcome of each request, or the error that it raised."""
        following = iter(outcomes)
        answers: dict[K, T | ZdynamoError] = {}
        for key, refused in self._refused.items():
            answers[key] = _read(next(following), read) if refused is None else refused
        return answers


def putting(
    values: Mapping[K, object],
    bucket: str,
    contexts: Mapping[K, bytes] | None,
    *,
    w: int | None,
    pw: int | None,
    ttl_ms: int | None,
) -> Many[K]:
    """Raises: ValueError for contexts that do not go with the values; else as `Many`."""
    seen = contexts_by_key(values, contexts)

    def put(key: K) -> Put:
        context = seen.get(check_key(key)) if seen else None
        return make_put(key, encode_value(values[key]), bucket, context=context, w=w, pw=pw, ttl_ms=ttl_ms)

    return Many(values, put)


def _read(outcome: Outcome, read: Callable[[Outcome], T]) -> T | ZdynamoError:
    try:
        return read(outcome)
    except ZdynamoError as error:
        return error
