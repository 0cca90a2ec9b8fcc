"""The member table: one record a member, the newer replaces the older, everywhere alike (paper 4.8.1)."""

from collections.abc import Iterable

import msgspec
import xxhash

from zdynamo.messages import MemberRecord, NodeId

MEMBERS_MAX = 1_000  # records kept, removed ones too; beyond, nobody new is taken in
FIGURE_MAX = 2**53  # of versions and epochs, which their owner must be able to raise, and of times
WEIGHT_MAX = 1_000


class MemberTable:
    """Records by id, removed ones too: nobody comes back by gossip."""

    def __init__(self, records: Iterable[MemberRecord] = ()) -> None:
        self._records: dict[NodeId, MemberRecord] = {record.id: record for record in records}
        self._earlier: dict[NodeId, MemberRecord] = {}  # of processes that those known now cannot have come after
        self.digest = self._digest()

    def merge(self, records: Iterable[MemberRecord]) -> list[MemberRecord]:
        """The records that were news."""
        news: dict[NodeId, MemberRecord] = {}
        for record in records:
            if self._is_news(record):
                self._look_back(record)
                self._records[record.id] = news[record.id] = record
        if news:
            self.digest = self._digest()
        return list(news.values())

    def get(self, node: NodeId) -> MemberRecord | None:
        return self._records.get(node)

    def told_to(self, node: NodeId) -> tuple[MemberRecord, ...]:
        """All, and what a node has to hear of itself beside that."""
        return (*self.all, self._earlier[node]) if node in self._earlier else self.all

    def has_to_hear(self, node: NodeId) -> bool:
        """Whether it may be older than what others remember of it."""
        return node in self._earlier

    @property
    def all(self) -> tuple[MemberRecord, ...]:
        """Sorted by id."""
        return tuple(self._records[node] for node in sorted(self._records))

    @property
    def members(self) -> tuple[MemberRecord, ...]:
        """Without the removed, sorted by id."""
        return tuple(record for record in self.all if record.status == "member")

    def at(self, public_address: str) -> MemberRecord | None:
        """The member with this public address."""
        return next((record for record in self.members if record.addresses.client == public_address), None)

    def _is_news(self, record: MemberRecord) -> bool:
        known = self._records.get(record.id)
        if known is None:
            return is_sound(record) and len(self._records) < MEMBERS_MAX
        return _rank(record) > _rank(known) and is_sound(record)

    def _look_back(self, record: MemberRecord) -> None:
        """Each start has a greater epoch than those before: a process that has not goes on from an old copy."""
        known = self._earlier.get(record.id) or self._records.get(record.id)
        if known is None or record.epoch > known.epoch:
            self._earlier.pop(record.id, None)
        elif record.boot != known.boot:
            self._earlier[record.id] = known

    def _digest(self) -> int:
        return xxhash.xxh3_64_intdigest(msgspec.msgpack.encode([_rank(record) for record in self.all]))


def is_sound(record: MemberRecord) -> bool:
    """Whether a member can say this of itself; anything else is not believed."""
    figures = 0 < record.version < FIGURE_MAX and 0 < record.epoch < FIGURE_MAX
    return figures and 0 <= record.started_ms < FIGURE_MAX and 0 < record.weight <= WEIGHT_MAX


def _rank(record: MemberRecord) -> tuple[bool, int, int, int, str, str]:
    """A total order of the records of one id; removal is for ever.

    Of two processes that say the same version the earlier is believed: the later hears of it, and that its data folder
    is an old copy.
    """
    return (record.status == "removed", record.version, record.epoch, -record.started_ms, record.boot, record.id)
