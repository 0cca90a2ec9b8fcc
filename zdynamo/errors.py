"""Every error that users of zdynamo can meet, by whose fault it is."""


class ZdynamoError(Exception):
    """The root of them all."""


class ConfigError(ZdynamoError):
    """A setting is wrong; the message names it and says what to do."""


class StoreError(ZdynamoError):
    """The storage engine cannot do what was asked."""


class StoreFull(StoreError):
    """Surely nothing of the commit was written: the disk is full."""


class StoreFailed(StoreError):
    """Part of the commit may be written; after a failed fsync the node has to stop."""


class StoreDamaged(StoreError):
    """The data folder cannot be opened as it is; the message says what is damaged and how to rebuild it."""


class Malformed(ZdynamoError):
    """Bytes that are not what they should be."""


class MergeFunctionError(ZdynamoError):
    """A merge function cannot be found, may not be called, or failed; the message names it and says what to do."""


class RequestError(ZdynamoError):
    """A request to the cluster did not end well."""


class QuorumNotMet(RequestError):
    """Too few replicas answered; a write surely left nothing behind."""

    def __init__(self, needed: int, got: int, reason: str = "") -> None:
        super().__init__(f"quorum not met: needed {needed}, got {got}" + (f" ({reason})" if reason else ""))
        self.needed = needed
        self.got = got
        self.reason = reason


class ConditionFailed(RequestError):
    """R replicas hold what the condition of a put ruled out; nothing was written. `context` covers what is there."""

    def __init__(self, context: bytes) -> None:
        super().__init__("the condition does not hold: read the key and decide anew; nothing was written")
        self.context = context


class OutcomeUnknown(RequestError):
    """A write may or may not have been kept: fewer than W replicas confirmed it (`got` of `needed`) in time."""

    def __init__(self, needed: int, got: int) -> None:
        super().__init__(
            f"outcome unknown: {got} of {needed} replicas confirmed the write in time; read before retrying"
        )
        self.needed = needed
        self.got = got


class DeadlineExceeded(RequestError):
    """No node answered before the deadline; a write may or may not have been kept, unless the message rules it out."""


class Overloaded(RequestError):
    """The cluster sheds load; nothing was done."""

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"overloaded: try again in {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class Refused(RequestError):
    """The request cannot be served as it is; nothing was done. `retry`: it may be served later as it is."""

    def __init__(self, reason: str, *, retry: bool = False) -> None:
        super().__init__(reason)
        self.retry = retry


class Unreachable(RequestError):
    """None of the nodes given could be reached."""


class SiblingsFound(ZdynamoError):
    """`.value` was asked for, but concurrent writes left several: look at `.siblings`."""
