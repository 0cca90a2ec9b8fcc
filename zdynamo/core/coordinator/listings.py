"""Listing the keys of a bucket, a partition at a time, as R owners agree on them.

Every owner is asked for a stretch of what it shows, and R that are settled are compared; the page ends where the first
of them has more. Where all of them show the same record the key is listed; where they differ, it is read from R owners.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol, TypeVar

from zdynamo.core.coordinator.admission import DISK_FULL, RETRY_AFTER_MS
from zdynamo.core.coordinator.forming import Forming
from zdynamo.core.coordinator.listed import Stretch, is_of, look, stretch_of
from zdynamo.core.coordinator.pending import Handler, Pending, answer
from zdynamo.core.coordinator.questions import LIMIT_MAX, NO_LAYOUT, admitted
from zdynamo.core.coordinator.tally import Tally
from zdynamo.core.events import Effect, Now, Send
from zdynamo.core.owners.placement import Placement
from zdynamo.core.records.record import EMPTY, Record, decode_record, merge, shown
from zdynamo.core.state import State
from zdynamo.errors import Malformed
from zdynamo.messages import (
    FetchReplica,
    KeysListed,
    ListKeys,
    ListReplica,
    NodeId,
    Overloaded,
    QuorumNotMet,
    Refused,
    ReplicaFetched,
    ReplicaListed,
    ReplicaRefused,
)
from zdynamo.partition import PREFIX_BYTES, partition_of_storage_key, split_storage_key

LISTINGS_MAX = 64  # in progress on a node, which holds R pages for each; beyond, overloaded
READS_MAX = 100  # keys of a page on which replicas differ; it ends before the next

Fetch = Callable[[int, bytes, Placement], ReplicaFetched]  # what this node tells of a storage key


class Dated(Protocol):
    """What an owner told under one of its reaping rounds."""

    @property
    def round(self) -> int: ...


Heard = TypeVar("Heard", bound=Dated)


class Held(NamedTuple):
    """What an owner holds under a key."""

    round: int
    record: Record


class Listing:
    """A page in progress."""

    __slots__ = (
        "answered",
        "began_ms",
        "client",
        "due_ms",
        "handler",
        "held",
        "keys",
        "last",
        "more",
        "needed",
        "number",
        "reads",
        "request",
        "size",
        "stretch",
        "tally",
        "unknown",
    )

    def __init__(self, number: int, client: bytes, request: ListKeys, stretch: Stretch, due_ms: int) -> None:
        self.handler: Handler
        self.number = number
        self.client = client
        self.request = request
        self.stretch = stretch
        self.due_ms = due_ms
        self.size = 0
        self.answered = False
        self.began_ms = 0
        self.needed = 0
        self.tally = Tally(0, ())
        self.held: dict[NodeId, ReplicaListed] = {}  # of owners that know
        self.unknown = 0  # owners that don't
        self.keys: list[bytes] = []  # storage keys for the page, in no order
        self.reads: list[KeyRead] = []  # in progress
        self.last = b""  # storage key up to which the page reaches; b"": to no key at all
        self.more = False

    @property
    def lost(self) -> bool:
        """Whether R owners that know cannot be reached any more."""
        return len(self.held) + len(self.tally.waiting) < self.needed


class KeyRead:
    """A key on which the replicas differ, being read. Its listing waits for it, no client."""

    __slots__ = ("answered", "began_ms", "due_ms", "handler", "held", "key", "listing", "number", "size", "tally")

    def __init__(self, number: int, listing: Listing, key: bytes, asked: Iterable[NodeId]) -> None:
        self.handler: Handler
        self.number = number
        self.listing = listing
        self.key = key
        self.due_ms = listing.due_ms
        self.size = 0
        self.answered = False
        self.began_ms = 0
        self.tally = Tally(listing.needed, asked)
        self.held: dict[NodeId, Held] = {}  # of owners that know

    @property
    def lost(self) -> bool:
        """Whether R owners that know cannot be reached any more."""
        return len(self.held) + len(self.tally.waiting) < self.listing.needed


class Listings:
    """The listings that this node coordinates, and its part in those of others."""

    def __init__(self, state: State, pending: Pending, forming: Forming, *, fetch: Fetch) -> None:
        self._state = state
        self._pending = pending
        self._forming = forming
        self._fetch = fetch
        self._in_progress = 0

    def begin(
        self,
        client: bytes,
        request: ListKeys,
        placement: Placement,
        now: Now,
        *,
        deadline_ms: int,
    ) -> list[Effect]:
        """`deadline_ms`: what is left of it here and now."""
        due_ms = admitted(request, placement, self._state, self._pending, now, deadline_ms=deadline_ms)
        if not isinstance(due_ms, int):
            return [answer(client, due_ms)] if due_ms else []
        bucket = request.bucket.encode()
        stretch = stretch_of(bucket, request.partition, prefix=request.prefix, after=request.after)
        if unready := self._forming.unready(placement):
            return [answer(client, Refused(request.request, unready, retry=True))]
        if self._forming.surely_empty(placement) or stretch.start >= stretch.end:
            return [answer(client, KeysListed(request.request, (), request.after, more=False))]
        if not placement.owners:
            return [answer(client, Refused(request.request, NO_LAYOUT, retry=True))]
        if self._in_progress >= LISTINGS_MAX:
            self._state.counters["requests.overloaded"] += 1
            return [answer(client, Overloaded(request.request, RETRY_AFTER_MS))]
        self._state.counters["listings"] += 1
        operation = Listing(self._pending.next_number(), client, request, stretch, due_ms)
        return self._ask(operation, placement, now)

    def list_replica(self, sender: NodeId, message: ListReplica, placement: Placement, now: Now) -> list[Effect]:
        """A peer asks for what this node shows."""
        try:
            partition, bucket, _ = split_storage_key(message.start)
        except ValueError:
            partition, bucket = -1, b""
        if not bucket or not 0 <= partition < len(placement.owners) or not 1 <= message.limit <= LIMIT_MAX:
            return [Send(sender, ReplicaRefused(message.request, "malformed"))]
        stretch = Stretch(message.start, min(message.end, stretch_of(bucket, partition).end))
        listed = self._local(message.request, stretch, message.limit, placement, now)
        return [Send(sender, listed)]

    def replica_listed(self, sender: NodeId, message: ReplicaListed, placement: Placement, now: Now) -> list[Effect]:
        operation = self._pending.get(message.request)
        if not isinstance(operation, Listing) or sender not in operation.tally.waiting:
            return []
        if not is_of(message, operation.stretch, operation.request.limit):
            return self.missed(sender, operation, placement, now)
        return self._listed(sender, message, operation, placement, now)

    def fetched(self, replica: NodeId, message: ReplicaFetched, placement: Placement, now: Now) -> list[Effect]:
        read = self._pending.get(message.request)
        return self._fetched(replica, message, read, placement, now) if isinstance(read, KeyRead) else []

    def missed(
        self, replica: NodeId, operation: Listing | KeyRead, placement: Placement, now: Now, *, gone: bool = False
    ) -> list[Effect]:
        """The replica will not answer."""
        listing = operation if isinstance(operation, Listing) else operation.listing
        operation.tally.no(replica)
        return self._give_up(listing) if operation.lost and not listing.answered else []

    def expired(self, operation: Listing | KeyRead, placement: Placement, now: Now) -> list[Effect]:
        """The deadline has passed."""
        listing = operation if isinstance(operation, Listing) else operation.listing
        return [] if listing.answered else self._give_up(listing)

    def abandon(self) -> list[Effect]:
        """The commit failed: what is being read may have been staged, and is gone."""
        effects: list[Effect] = []
        for listing in self._pending.of_kind(Listing):
            effects += self._finish(listing, Refused(listing.request.request, DISK_FULL, retry=True))
        return effects

    def _ask(self, listing: Listing, placement: Placement, now: Now) -> list[Effect]:
        """Ask all owners that are up; what this node has itself is counted first."""
        request, stretch = listing.request, listing.stretch
        owners, others, me = placement.owners_of(stretch.start), placement.others_up(stretch.start), placement.me
        listing.needed = min(request.r or self._state.buckets.of(request.bucket).r, len(owners))
        listing.tally = Tally(listing.needed, (me, *others) if me in owners else others)
        asked = len(listing.tally.waiting)
        if asked < listing.needed:
            reason = f"down: {placement.down_of(stretch.start)}"
            return [answer(listing.client, QuorumNotMet(request.request, listing.needed, asked, reason))]
        listing.handler = self
        self._pending.add(listing)
        self._in_progress += 1
        effects: list[Effect] = []
        if me in owners:
            local = self._local(listing.number, stretch, request.limit, placement, now)
            effects = self._listed(me, local, listing, placement, now)
            if listing.answered:
                return effects
        left_ms = listing.due_ms - now.monotonic_ms
        message = ListReplica(listing.number, left_ms, stretch.start, stretch.end, request.limit)
        return [*effects, *(Send(owner, message) for owner in others)]

    def _local(self, number: int, stretch: Stretch, limit: int, placement: Placement, now: Now) -> ReplicaListed:
        """What this node shows of a stretch, if it knows."""
        start, wall_ms = stretch.start, self._state.clock.wall_ms(now)
        round, partition = self._state.rounds.of_key(start), partition_of_storage_key(start)
        if placement.me not in placement.owners[partition] or not self._state.partitions.knows_scanned(partition):
            return ReplicaListed(number, False, round, (), b"", last=True)
        looked = look(self._state.store, stretch, limit, wall_ms, lww=self._state.buckets.is_lww(start))
        return ReplicaListed(number, True, round, *looked)

    def _listed(
        self, replica: NodeId, message: ReplicaListed, listing: Listing, placement: Placement, now: Now
    ) -> list[Effect]:
        """Count a list; compare at the R-th of an owner that knows."""
        listing.tally.no(replica)
        if message.settled:
            listing.held[replica] = message
            listing.unknown += _drop_old_copies(listing.held)
        else:
            listing.unknown += 1
        if len(listing.held) < listing.needed:
            return self._give_up(listing) if listing.lost else []
        listing.tally.waiting.clear()
        differing = _compare(listing)
        return self._read(listing, differing, placement, now) if differing else self._conclude(listing)

    def _read(self, listing: Listing, keys: list[bytes], placement: Placement, now: Now) -> list[Effect]:
        """Read what the replicas differ on, from all owners that are up."""
        me, left_ms = placement.me, listing.due_ms - now.monotonic_ms
        effects: list[Effect] = []
        for key in keys:
            others = placement.others_up(key)
            mine = me in placement.owners_of(key)
            read = KeyRead(self._pending.next_number(), listing, key, (me, *others) if mine else others)
            read.handler = self
            listing.reads.append(read)
            self._pending.add(read)
            self._pending.mark_answered(read)  # no client waits for it
            message = FetchReplica(read.number, left_ms, placement.layouts, key)
            effects += [Send(owner, message) for owner in others]
        for read in listing.reads[:]:
            if me in read.tally.waiting:
                effects += self._fetched(me, self._fetch(read.number, read.key, placement), read, placement, now)
            elif read.lost and not listing.answered:
                effects += self._give_up(listing)
        return effects

    def _fetched(
        self, replica: NodeId, message: ReplicaFetched, read: KeyRead, placement: Placement, now: Now
    ) -> list[Effect]:
        """Count what an owner holds of a key on which they differ; it is known at the R-th that knows."""
        listing = read.listing
        if listing.answered or replica not in read.tally.waiting:
            return []
        read.tally.no(replica)
        if message.settled:
            try:
                record = decode_record(message.record) if message.record else EMPTY
            except Malformed:
                return self.missed(replica, read, placement, now)
            read.held[replica] = Held(message.round, record)
            _drop_old_copies(read.held)
        if len(read.held) < listing.needed:
            return self._give_up(listing) if read.lost else []
        self._pending.drop(read)
        listing.reads.remove(read)
        merged = EMPTY
        for held in read.held.values():
            merged = merge(merged, held.record)
        if shown(merged, self._state.clock.wall_ms(now), lww=self._state.buckets.is_lww(read.key)):
            listing.keys.append(read.key)
        return [] if listing.reads else self._conclude(listing)

    def _conclude(self, listing: Listing) -> list[Effect]:
        named = PREFIX_BYTES + 1 + len(listing.request.bucket.encode())
        keys = tuple(key[named:] for key in sorted(listing.keys))
        last = listing.last[named:] if listing.last else listing.request.after
        return self._finish(listing, KeysListed(listing.request.request, keys, last, listing.more))

    def _give_up(self, listing: Listing) -> list[Effect]:
        got = min((len(read.held) for read in listing.reads), default=len(listing.held))
        reason = f"{listing.unknown} replicas have lost their copies and do not know" if listing.unknown else ""
        return self._finish(listing, QuorumNotMet(listing.request.request, listing.needed, got, reason))

    def _finish(self, listing: Listing, told: KeysListed | QuorumNotMet | Refused) -> list[Effect]:
        self._in_progress -= 1
        self._pending.drop(listing)
        for read in listing.reads:
            self._pending.drop(read)
        return [answer(listing.client, told)]


def _compare(listing: Listing) -> list[bytes]:
    """Settle how far the page reaches and which keys it has for sure. Returns: those on which the replicas differ."""
    lists = listing.held.values()
    differing: list[bytes] = []
    digests: dict[bytes, list[int]] = {}
    for listed in lists:
        for key, digest in listed.entries:
            digests.setdefault(key, []).append(digest)
    end = min((listed.reached for listed in lists if not listed.last), default=None)
    for key in sorted(digests):
        if end is not None and key > end:
            break
        found = digests[key]
        agreed = len(found) == len(lists) and len(set(found)) == 1
        if len(listing.keys) + len(differing) == listing.request.limit or (not agreed and len(differing) == READS_MAX):
            listing.more = True  # up to the key before this one
            return differing
        (listing.keys if agreed else differing).append(key)
        listing.last = key
    if end is not None:
        listing.last, listing.more = end, True
    return differing


def _drop_old_copies(held: dict[NodeId, Heard]) -> int:
    """Leave out what comes from owners who missed a whole reaping round: they may show what was removed since."""
    newest = max(answer.round for answer in held.values())
    old = [replica for replica, answer in held.items() if answer.round + 1 < newest]
    for replica in old:
        del held[replica]
    return len(old)
