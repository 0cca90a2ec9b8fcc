"""The keys of a bucket, page by page: which page is wanted next, and the cursor that goes on behind the last key."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque

import xxhash

from zdynamo.client.events import Outcome
from zdynamo.client.outcomes import answer_of
from zdynamo.client.requests import UNSENT, check_bucket, check_copies, check_prefix
from zdynamo.errors import Malformed, Refused
from zdynamo.messages import DescribeCluster, KeysListed, ListKeys, Topology

PAGE_KEYS = 1_000
VERSION = b"\x01"


class Listing:
    """Partition by partition, each in order. Invariant: the cursor stands behind the last key taken, and no further."""

    def __init__(self, bucket: str, prefix: str | bytes, after: str | None, r: int | None) -> None:
        """Raises: Refused if `after` is no cursor."""
        self._bucket = check_bucket(bucket)
        self._prefix = check_prefix(prefix)
        self._r = check_copies("r", r)
        self._given = after or ""
        self._scope, self._partition, self._after = _decoded(self._given) if self._given else (b"", 0, b"")
        self._partitions = 0  # not known yet
        self._keys: deque[bytes] = deque()
        self._page: KeysListed | None = None  # where the keys are from

    @property
    def wanted(self) -> ListKeys | DescribeCluster | None:
        """What to ask for; None: nothing, look at `next_key`."""
        if not self._partitions:
            return DescribeCluster(UNSENT, "")
        if self._keys or self._partition >= self._partitions:
            return None
        return ListKeys(
            UNSENT, "", 0, self._bucket, self._partition, self._prefix, self._after, limit=PAGE_KEYS, r=self._r
        )

    def take(self, outcome: Outcome) -> None:
        """The answer to what was wanted. After an error the same is wanted again. Raises: RequestError, Malformed."""
        if not self._partitions:
            self._begin(answer_of(outcome, Topology))
            return
        page = answer_of(outcome, KeysListed)
        if page.more and page.last <= self._after:
            raise Malformed("a node listed keys and got no further")
        self._keys.extend(page.keys)
        self._page = page
        if not self._keys:
            self._turn(page)

    def next_key(self) -> bytes | None:
        """None: there is no more."""
        if not self._keys:
            return None
        key = self._after = self._keys.popleft()
        if not self._keys and self._page is not None:
            self._turn(self._page)
        return key

    @property
    def cursor(self) -> str:
        if not self._partitions:
            return self._given
        body = self._scope + self._partition.to_bytes(2, "big") + self._after
        return urlsafe_b64encode(VERSION + xxhash.xxh32_digest(body) + body).decode().rstrip("=")

    def _begin(self, topology: Topology) -> None:
        named = (topology.cluster.encode(), self._bucket.encode(), self._prefix)
        scope = xxhash.xxh3_64_digest(b"".join(len(part).to_bytes(4, "big") + part for part in named))
        if self._given and scope != self._scope:
            raise Refused("the cursor is of another bucket, prefix or cluster: give it the keys() call that it is from")
        self._scope = scope
        self._partitions = topology.constants.partitions

    def _turn(self, page: KeysListed) -> None:
        """To the next page, or the next partition."""
        self._after = page.last if page.more else b""
        self._partition += not page.more


def _decoded(cursor: str) -> tuple[bytes, int, bytes]:
    """Scope, partition and last key."""
    if not isinstance(cursor, str):
        raise TypeError(f"a cursor is the str that .cursor gave, not {type(cursor).__name__}")
    try:
        token = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError:
        token = b""
    body = token[5:]
    if token[:1] != VERSION or len(body) < 10 or xxhash.xxh32_digest(body) != token[1:5]:
        raise Refused("this is no cursor of keys(), or part of it is missing")
    return body[:8], int.from_bytes(body[8:10], "big"), body[10:]
