"""How a call ended, in the terms of its caller: an answer of the type asked for, or the error that says why not."""

from typing import NoReturn, TypeVar

from zdynamo import errors, messages
from zdynamo.client.events import DeadlinePassed, NoNodeReached, Outcome
from zdynamo.client.values import Resolver, Value, decode_value

T = TypeVar("T")


def value_of(outcome: Outcome, resolver: Resolver | None = None) -> Value:
    """Raises: RequestError, Malformed."""
    if isinstance(outcome, messages.Absent):
        return Value([], outcome.context)
    found = answer_of(outcome, messages.Found)
    siblings = [decode_value(sibling.content_type, sibling.value) for sibling in found.siblings]
    return Value(siblings, found.context, resolver if len(siblings) > 1 else None)


def context_of(outcome: Outcome) -> bytes:
    """Of a write. Raises: RequestError, Malformed."""
    return answer_of(outcome, messages.Done).context


def changed_by(outcome: Outcome) -> bool:
    """Whether a write changed anything. Raises: RequestError, Malformed."""
    return answer_of(outcome, messages.Done).changed


def answer_of(outcome: Outcome, wanted: type[T]) -> T:
    """Raises: RequestError, Malformed."""
    if isinstance(outcome, wanted):
        return outcome
    fail(outcome)


def fail(outcome: Outcome) -> NoReturn:
    match outcome:
        case messages.QuorumNotMet(needed=needed, got=got, reason=reason):
            raise errors.QuorumNotMet(needed, got, reason)
        case messages.ConditionFailed(context=context):
            raise errors.ConditionFailed(context)
        case messages.OutcomeUnknown(needed=needed, got=got):
            raise errors.OutcomeUnknown(needed, got)
        case messages.Overloaded(retry_after_ms=retry_after_ms):
            raise errors.Overloaded(retry_after_ms)
        case messages.Refused(reason=reason, retry=retry):
            raise errors.Refused(reason, retry=retry)
        case DeadlinePassed(deadline_ms=deadline_ms, attempts=0):
            raise errors.DeadlineExceeded(
                f"nothing was sent within {deadline_ms} ms: the client was still connecting, give it more time"
            )
        case DeadlinePassed(deadline_ms=deadline_ms, attempts=attempts, last=last):
            said = f"; the last answer was: {last}" if last else ""
            tries = f"{attempts} attempt{'s' * (attempts != 1)}"
            raise errors.DeadlineExceeded(f"no final answer within {deadline_ms} ms in {tries}{said}")
        case NoNodeReached(addresses=addresses):
            places = ", ".join(address.removeprefix("tcp://") for address in addresses)
            raise errors.Unreachable(f"no node could be reached at {places}: is one running there?")
        case other:
            raise errors.Malformed(f"a node answered with {type(other).__name__}, which was not asked for")
