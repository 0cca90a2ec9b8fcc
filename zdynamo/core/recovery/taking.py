"""Taking a page of a partition that a peer has given: its records are merged with what is here."""

from zdynamo.core.anti_entropy.pace import RECORD_BYTES
from zdynamo.core.events import Effect, Noted, Now
from zdynamo.core.owners.placement import Placement
from zdynamo.core.records.record import Clock, decode_record
from zdynamo.core.recovery.partitions import Doubt, Given
from zdynamo.core.state import State
from zdynamo.messages import NodeId, Page
from zdynamo.partition import is_storage_key, partition_of_storage_key, split_storage_key

CLOCKS_MS = 120_000  # that clocks which are not alike have to be set right, before what is from the future is left out


class Taking:
    """What comes of each page. Records from the future are waited for: it may be this node's clock that is behind."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._pace = state.pace
        self._counters = state.counters
        self._ahead_since_ms: int | None = None  # the first of them was met

    def over(self) -> None:
        """There is nothing more to take."""
        self._ahead_since_ms = None

    def take(
        self, sender: NodeId, message: Page, doubt: Doubt, placement: Placement, now: Now
    ) -> tuple[bool, list[Effect]]:
        """Stage the records as far as they are taken. Returns whether the peer is to be asked again, in a while."""
        given = doubt.given.setdefault(sender, Given())
        given.sure = given.sure and message.settled
        peer = placement.name_of(sender)
        self._counters["pulls.pages"] += 1
        if message.round + 1 < self._state.rounds.of(message.partition):
            self._state.partitions.keep(message.partition)
            return True, [Noted("pull.refused", {"peer": peer, "reason": "stale round"}, "warning")]
        since_ms = self._ahead_since_ms
        waits = since_ms is None or now.monotonic_ms - since_ms < CLOCKS_MS  # else one wrong clock would last for ever
        ahead = self._merge(message, given, placement, now, waits=waits)
        again = not (message.last or message.records) or bool(ahead and waits)
        effects: list[Effect] = []
        if ahead and since_ms is None:
            self._ahead_since_ms = now.monotonic_ms
            effects = [Noted("pull.waits", _fields(peer, ahead), "warning")]
        elif ahead and not waits:
            effects = [Noted("pull.skipped", _fields(peer, ahead), "warning")]
            self._counters["pulls.skipped"] += len(ahead)
        if not again:
            given.whole = message.last
        self._state.partitions.keep(message.partition)
        return again, effects

    def _merge(self, message: Page, given: Given, placement: Placement, now: Now, *, waits: bool) -> list[bytes]:
        """Returns the keys of records from the future; who waits for them takes nothing behind the first."""
        latest_ms = self._state.clock.latest_ms(now)
        ahead: list[bytes] = []
        for key, encoded in message.records:
            self._pace.spend(RECORD_BYTES + len(key) + len(encoded))
            if not _is_next(key, message.partition, given, placement):
                given.sure = False
                continue
            merged = self._state.replica.merge(0, key, encoded, message.round, latest_ms)
            if merged.refused is not None and merged.refused.reason == "clock skew":
                ahead.append(key)
                if waits:
                    break
                # Others refuse it too, so that only W=1 can have acknowledged what is new in it.
                given.taken = given.taken and self._state.buckets.of_key(key).w > 1 and _is_first(encoded)
            elif merged.refused is not None:
                given.sure = False
            else:
                self._counters["pulls.records"] += 1
            given.after = key
        return ahead


def _fields(peer: str, keys: list[bytes]) -> dict[str, object]:
    _, bucket, key = split_storage_key(keys[0])
    return {
        "peer": peer,
        "bucket": bucket.decode(errors="backslashreplace"),
        "key": key[:64].decode(errors="backslashreplace"),
        "count": len(keys),
        "reason": "clock skew",
    }


def _is_next(key: bytes, partition: int, given: Given, placement: Placement) -> bool:
    in_place = partition_of_storage_key(key) == partition and key > given.after
    return in_place and is_storage_key(key, placement.view.constants.partitions)


def _is_first(encoded: bytes) -> bool:
    """Whether a record is one write that has seen no other: whoever leaves it out leaves out nothing else."""
    record = decode_record(encoded)
    _, birth, counter = dot = record.siblings[0].dot
    return birth == counter and record.clock == Clock((dot,))
