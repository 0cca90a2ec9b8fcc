"""Siblings made into one value as the bucket says, by a merge function that its author has marked as such."""

from functools import partial, reduce
from typing import Any, Protocol

from zdynamo.client.values import Resolver, several
from zdynamo.merging import load_merge_function
from zdynamo.messages import Topology

MERGE = "merge:"


class Informed(Protocol):
    """Whoever knows the cluster."""

    @property
    def topology(self) -> Topology | None: ...


def bucket_resolver(informed: Informed, bucket: str) -> Resolver:
    """Looks at the rules of the bucket when it is called, and imports the function then; raises where there is none."""
    return partial(_merged, informed, bucket)


def is_merged(informed: Informed, bucket: str) -> bool:
    """Whether the bucket is known to have a merge function."""
    return _conflict(informed, bucket).startswith(MERGE)


def _merged(informed: Informed, bucket: str, siblings: list[Any]) -> Any:
    conflict = _conflict(informed, bucket)
    if not conflict.startswith(MERGE):
        several(siblings)
    return reduce(load_merge_function(conflict.removeprefix(MERGE)), siblings)


def _conflict(informed: Informed, bucket: str) -> str:
    topology = informed.topology
    rules = topology.buckets if topology else ()
    return next((rule.conflict for rule in rules if rule.name == bucket), "")
