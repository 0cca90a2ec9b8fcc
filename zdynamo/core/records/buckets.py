"""The rules of each bucket: how many answers, how long values live, how conflicts end."""

from collections.abc import Iterable

import xxhash
from msgspec import msgpack

from zdynamo.core.settings import NodeLimits
from zdynamo.messages import Bucket
from zdynamo.partition import split_storage_key

SIBLINGS, LWW = "siblings", "lww"


class Buckets:
    """The bucket table of this node, with the cluster's defaults filled in."""

    def __init__(self, table: Iterable[Bucket], limits: NodeLimits) -> None:
        self.table = tuple(sorted(table, key=lambda bucket: bucket.name))
        self._limits = limits
        self._rules = {bucket.name: self._filled(bucket) for bucket in self.table}
        self._default = self._filled(Bucket(""))
        self._lww = frozenset(bucket.name.encode() for bucket in self.table if bucket.conflict == LWW)

    def of(self, name: str) -> Bucket:
        """The rules of a bucket; r and w are never 0."""
        return self._rules.get(name, self._default)

    def of_key(self, key: bytes) -> Bucket:
        """The rules of a storage key's bucket."""
        return self.of(split_storage_key(key)[1].decode(errors="replace"))

    def is_lww(self, key: bytes) -> bool:
        """Whether the bucket of a storage key shows only what was written last."""
        return bool(self._lww) and split_storage_key(key)[1] in self._lww

    @property
    def rules(self) -> tuple[Bucket, ...]:
        """Of every bucket in the table, and of all others, under no name."""
        return (self._default, *self._rules.values())

    @property
    def w_min(self) -> int:
        """The fewest replicas that an acknowledged write has, unless its request asked for fewer."""
        return min(rules.w for rules in self.rules)

    def _filled(self, bucket: Bucket) -> Bucket:
        limits = self._limits
        return Bucket(
            bucket.name,
            max(bucket.r or limits.r, bucket.pr),
            max(bucket.w or limits.w, bucket.pw),
            bucket.pr,
            bucket.pw,
            bucket.expiry_ms,
            bucket.conflict,
        )


def table_digest(table: Iterable[Bucket]) -> int:
    """64 bits that differ when two nodes' tables do."""
    return xxhash.xxh3_64_intdigest(msgpack.encode(sorted(table, key=lambda bucket: bucket.name)))
