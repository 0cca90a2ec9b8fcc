"""Siblings made into one value as the bucket says, by a merge function that its author has marked as such."""

from functools import partial, reduce
from typing import Any, Protocol

from zdynamo.client.values import Resolver, several
from zdynamo.errors import MergeFunctionError
from zdynamo.merging import MergeFunction, load_merge_function
from zdynamo.messages import Topology

MERGE = "merge:"


class Informed(Protocol):
    """Whoever knows the cluster."""

    @property
    def topology(self) -> Topology | None: ...


def bucket_resolver(informed: Informed, bucket: str) -> Resolver:
    """Looks at the rules of the bucket when it is called, and imports the function then; raises where there is none."""
    return partial(_merged, informed, bucket)


def can_merge(informed: Informed, bucket: str) -> bool:
    """Whether the bucket has a merge function. Raises: MergeFunctionError if it has one that cannot be used."""
    return _function(informed, bucket) is not None


def _merged(informed: Informed, bucket: str, siblings: list[Any]) -> Any:
    function = _function(informed, bucket)
    if function is None:
        several(siblings)
    try:
        return reduce(function, siblings)
    except Exception as error:  # whatever its author's code raises
        why = f"{_conflict(informed, bucket)} raised {type(error).__name__}: {error}"
        raise MergeFunctionError(f"bucket {bucket}: {why}") from error


def _function(informed: Informed, bucket: str) -> MergeFunction | None:
    conflict = _conflict(informed, bucket)
    if not conflict.startswith(MERGE):
        return None
    try:
        return load_merge_function(conflict.removeprefix(MERGE))
    except MergeFunctionError as error:
        raise MergeFunctionError(f"bucket {bucket}: {error}") from error


def _conflict(informed: Informed, bucket: str) -> str:
    topology = informed.topology
    rules = topology.buckets if topology else ()
    return next((rule.conflict for rule in rules if rule.name == bucket), "")
