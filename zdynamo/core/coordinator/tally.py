"""Has a quorum answered? Distinct answers counted against the number needed (paper 4.5)."""

from collections.abc import Iterable
from typing import NamedTuple

from zdynamo.messages import NodeId


class Quorum(NamedTuple):
    """How many answers a request waits for."""

    needed: int
    primary: int = 0  # so many of them from owners; of a read that names any, all from owners that know


class Tally:
    """Each replica counts once, whatever it repeats; who was not asked does not count."""

    __slots__ = ("got", "needed", "waiting")

    def __init__(self, needed: int, asked: Iterable[NodeId], agreed: int = 0) -> None:
        """`agreed`: so many have already, who are not among those asked."""
        self.needed = needed
        self.waiting = set(asked)  # asked, and not heard from yet
        self.got = agreed

    def yes(self, replica: NodeId) -> bool:
        """Whether this answer counted."""
        if replica not in self.waiting:
            return False
        self.waiting.remove(replica)
        self.got += 1
        return True

    def no(self, replica: NodeId) -> None:
        self.waiting.discard(replica)

    @property
    def won(self) -> bool:
        return self.got >= self.needed

    @property
    def lost(self) -> bool:
        """Whether the number needed cannot be reached any more."""
        return self.got + len(self.waiting) < self.needed
