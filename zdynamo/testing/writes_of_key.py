"""Which write of a key may have replaced which, as far as its clients can know.

Sets of puts are the bits of an integer, so that histories of thousands of writes are checked in moments.
"""

from collections.abc import Iterable, Iterator

from zdynamo.testing.history import Operation


class WritesOfKey:
    """The puts of a key, numbered in the order in which they began, and what covers them."""

    def __init__(self, operations: list[Operation]) -> None:
        """`operations`: all of one key, in the order in which they began."""
        self.puts = [operation for operation in operations if operation.kind == "put"]
        self.deletes = [operation for operation in operations if operation.kind == "delete" and operation.has_written]
        self._number = {put.value: number for number, put in enumerate(self.puts)}
        self._seen: dict[bytes, int] = {}  # by request
        self._surely: dict[bytes, int] = {}
        for operation in operations:
            if operation.is_write:
                self._see(operation)
        self._possibly = [self._may_cover(put) for put in self.puts]
        self._blind = self.bits(put.value for put in self.puts if put.seen is None)
        self._deleted = [(delete.begin_ms, self._may_cover(delete)) for delete in self.deletes]

    def bits(self, values: Iterable[bytes]) -> int:
        """The puts that wrote these values; what nobody has put is left out."""
        found = 0
        for value in values:
            number = self._number.get(value)
            if number is not None:
                found |= 1 << number
        return found

    def named(self, bits: int) -> list[Operation]:
        """The puts that the bits stand for."""
        found = []
        while bits:
            lowest = bits & -bits
            found.append(self.puts[lowest.bit_length() - 1])
            bits ^= lowest
        return found

    def put_of(self, value: bytes) -> Operation | None:
        number = self._number.get(value)
        return None if number is None else self.puts[number]

    def surely_covered(self, write: Operation) -> int:
        """The puts that the write has seen or must have met, that those have seen, and so on.

        A put that was still under way when it was seen may be written once more, over what has replaced it meanwhile;
        one that several coordinators have written may come to light late.
        """
        return self._surely[write.request]

    def expired(self, by_ms: int, clocks_off_ms: int) -> int:
        """The puts whose values may have expired by then."""
        return self.bits(
            put.value
            for put in self.puts
            if put.ttl_ms and put.has_written and put.begin_ms + put.ttl_ms - clocks_off_ms <= by_ms
        )

    def accounted(self, there: int, until_ms: int) -> int:
        """The puts that are there, or may have been replaced by one that is, or by a delete begun by then, and so on.

        The least such set: two writes that have replaced each other, and are both gone, are not in it.
        """
        found = there
        for begin_ms, covered in self._deleted:
            if begin_ms <= until_ms:
                found |= covered
        ahead, done = found, 0
        while ahead:
            highest = ahead.bit_length() - 1
            done |= 1 << highest
            found |= self._possibly[highest]
            # what was seen has been followed to its end; what was met without being seen has not
            ahead = (ahead | self._possibly[highest] & self._blind) & ~done
        return found

    def _met_by(self, write: Operation) -> Iterator[bytes]:
        """A strict delete without a context reads first what strict puts were acknowledged before; a put does not."""
        if write.kind == "delete" and write.strict and write.vouched:
            for put in self.puts:
                if put.begin_ms >= write.begin_ms:
                    break
                if put.strict and put.outcome == "ok" and put.end_ms < write.begin_ms:
                    yield put.value

    def _see(self, write: Operation) -> None:
        """What was seen has begun earlier, so that its own is known."""
        seen = surely = 0
        known = self._met_by(write) if write.seen is None else write.seen
        for put in self.named(self.bits(known)):
            own = self.bits((put.value,))
            seen |= own | self._seen.get(put.request, 0)
            surely |= self._surely.get(put.request, 0)
            if write.looked_ms >= put.at_work_until_ms and not put.twins:
                surely |= own
        self._seen[write.request], self._surely[write.request] = seen, surely

    def _may_cover(self, write: Operation) -> int:
        """What it has seen; without a context, whatever its coordinators or replicas knew while it was at work."""
        if not write.has_written:
            return 0
        covered = self._seen[write.request]
        if write.seen is None:
            until_ms = write.at_work_until_ms
            for number, put in enumerate(self.puts):
                if put.begin_ms > until_ms:
                    break
                if put is not write:
                    covered |= 1 << number
        return covered
