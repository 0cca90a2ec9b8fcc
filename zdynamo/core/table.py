"""The member table: one record a member, the newer replaces the older, everywhere alike (paper 4.8.1)."""

from collections.abc import Iterable

import msgspec
import xxhash

from zdynamo.messages import MemberRecord, NodeId


class MemberTable:
    """Records by id, removed ones too: nobody comes back by gossip."""

    def __init__(self, records: Iterable[MemberRecord] = ()) -> None:
        self._records: dict[NodeId, MemberRecord] = {record.id: record for record in records}
        self.digest = self._digest()

    def merge(self, records: Iterable[MemberRecord]) -> list[MemberRecord]:
        """The records that were news."""
        news = [record for record in records if self._is_news(record)]
        for record in news:
            self._records[record.id] = record
        if news:
            self.digest = self._digest()
        return news

    def get(self, node: NodeId) -> MemberRecord | None:
        return self._records.get(node)

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
        return known is None or _rank(record) > _rank(known)

    def _digest(self) -> int:
        return xxhash.xxh3_64_intdigest(msgspec.msgpack.encode([_rank(record) for record in self.all]))


def _rank(record: MemberRecord) -> tuple[bool, int, int, str, str]:
    """A total order of the records of one id; removal is for ever."""
    return (record.status == "removed", record.version, record.epoch, record.boot, record.id)
