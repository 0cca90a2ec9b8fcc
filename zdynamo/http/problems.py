"""What went wrong, as an answer: one shape for all errors, and one table from errors to statuses.

A status says what is known of a write. 4xx and 503: nothing was written. 504: it may or may not be kept.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.responses import Response

from zdynamo import errors
from zdynamo.plain import encode_context

JSON = "application/json"
CONTEXT = "zdynamo-context"
BUSY_RETRY_MS = 1_000  # when this process has too much to do, or the cluster does not say how long it takes


class Problem(Exception):
    """An answer that is not what was asked for; the message is one line that says what to do."""

    def __init__(self, status: int, code: str, message: str, *, headers: dict[str, str] | None = None, **more: Any):
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.error = {"code": code, "message": " ".join(message.split()), **more}

    def response(self) -> Response:
        return Response(msgspec.json.encode({"error": self.error}), self.status, self.headers, JSON)


def malformed(message: str) -> Problem:
    return Problem(400, "malformed", message)


def absent(context: bytes) -> Problem:
    """The context covers a tombstone where there is one."""
    message, word = "there is no value under this key", encode_context(context)
    if not word:  # a delete that found nothing has none
        return Problem(404, "absent", message)
    return Problem(404, "absent", message, headers={CONTEXT: word}, context=word)


def busy(message: str, retry_after_ms: int = BUSY_RETRY_MS) -> Problem:
    return _later(429, "overloaded", message, retry_after_ms)


def cut_off(*, reading: bool) -> Problem:
    """The process ends before the request does."""
    if reading:
        return Problem(503, "stopping", "this process is ending: ask again, or another node")
    message = (
        "this process is ending before the outcome is known: the write may or may not be kept, read before you retry"
    )
    return Problem(504, "outcome_unknown", message)


def _later(status: int, code: str, message: str, retry_after_ms: int) -> Problem:
    seconds = str(-(-retry_after_ms // 1000) or 1)
    return Problem(status, code, message, headers={"retry-after": seconds}, retry_after_ms=retry_after_ms)


def _refused(error: errors.Refused) -> Problem:
    """For good, or in a state that passes, such as of a cluster that is forming."""
    if error.retry:
        return _later(503, "refused_for_now", str(error), BUSY_RETRY_MS)
    return Problem(400, "refused", str(error))


def _failed_condition(error: errors.ConditionFailed) -> Problem:
    word = encode_context(error.context)
    return Problem(412, "condition_failed", str(error), headers={CONTEXT: word}, context=word)


TABLE: dict[type[Exception], Callable[[Any], Problem]] = {
    errors.QuorumNotMet: lambda error: Problem(
        503, "quorum_not_met", str(error), needed=error.needed, got=error.got, reason=error.reason
    ),
    errors.OutcomeUnknown: lambda error: Problem(
        504, "outcome_unknown", str(error), needed=error.needed, got=error.got
    ),
    errors.DeadlineExceeded: lambda error: Problem(504, "deadline_exceeded", str(error)),
    errors.ConditionFailed: _failed_condition,
    errors.Overloaded: lambda error: busy(str(error), error.retry_after_ms),
    errors.Refused: _refused,
    errors.Unreachable: lambda error: Problem(503, "unreachable", str(error)),
    errors.MergeFunctionError: lambda error: Problem(500, "merge_function", str(error)),
    errors.Malformed: lambda error: Problem(500, "stored_malformed", str(error)),
    errors.RequestError: lambda error: Problem(503, "stopping", str(error)),
}


def problem_of(error: errors.ZdynamoError) -> Problem:
    """The most exact entry of the table."""
    return next(TABLE[kind](error) for kind in type(error).__mro__ if kind in TABLE)
