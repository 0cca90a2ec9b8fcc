"""What happens to messages between simulated machines: delayed, lost, doubled, held up, cut off.

A connection is TCP: one that stands still keeps what is sent, and delivers it late, or loses it if the silence was so
long that the other end has closed it; one that is cut loses it at once. Each message has a delay of its own, so that
messages overtake each other.
"""

from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from zdynamo.testing.agenda import Agenda

QUEUE_MAX = 1_000  # messages that a connection that stands still keeps; beyond, its sender is told that it is full
KEPT_MS = 4_000  # and for so long: nodes close a connection whose heartbeats (each second) are missing for three

Link = tuple[str, str]  # from, to: one way
Span = tuple[int, int]  # milliseconds, from and to
USUAL_MS: Span = (1, 5)  # that a message takes


class Network:
    """All links. Chances are of each message."""

    def __init__(self, agenda: Agenda, random: Random) -> None:
        self._agenda = agenda
        self._random = random
        self.delay_ms = USUAL_MS
        self.loss = 0.0
        self.duplication = 0.0
        self.cut: set[Link] = set()
        self.slow: dict[Link, Span] = {}  # links with a delay of their own
        self._held: dict[Link, list[tuple[int, Callable[..., None], tuple[Any, ...]]]] = {}  # when sent
        self.carried = 0  # messages that were put on their way

    def carry(self, sender: str, target: str, deliver: Callable[..., None], *arguments: Any) -> bool:
        """Put a message on its way; false: the queue of the connection is full."""
        link = (sender, target)
        self.carried += 1
        held = self._held.get(link)
        if held is not None:
            if len(held) >= QUEUE_MAX:
                return False
            held.append((self._agenda.time_ms, deliver, arguments))
            return True
        if link in self.cut or (self.loss and self._random.random() < self.loss):
            return True
        self._agenda.at(self._arrival_ms(link), deliver, *arguments)
        if self.duplication and self._random.random() < self.duplication:
            self._agenda.at(self._arrival_ms(link), deliver, *arguments)
        return True

    def isolate(self, name: str, others: Iterable[str]) -> None:
        """Cut all links between one and the others."""
        for other in others:
            self.cut |= {(name, other), (other, name)}

    def stall(self, links: Iterable[Link]) -> None:
        """Messages wait until `resume`."""
        for link in links:
            self._held.setdefault(link, [])

    def resume(self, links: Iterable[Link]) -> None:
        """What has waited is delivered late, unless that is too late."""
        oldest_ms = self._agenda.time_ms - KEPT_MS
        for link in sorted(links):  # a set has another order in every process
            for sent_ms, deliver, arguments in self._held.pop(link, ()):
                if sent_ms >= oldest_ms:
                    self._agenda.at(self._arrival_ms(link), deliver, *arguments)

    def heal(self) -> None:
        """All links are as fast and as safe as by default."""
        self.cut.clear()
        self.slow.clear()
        self.resume(list(self._held))
        self.loss = self.duplication = 0.0
        self.delay_ms = USUAL_MS

    def delayed_ms(self) -> int:
        """When what is sent now to or by a client arrives."""
        return self._agenda.time_ms + self._drawn(self.delay_ms)

    def _arrival_ms(self, link: Link) -> int:
        return self._agenda.time_ms + self._drawn(self.slow.get(link, self.delay_ms) if self.slow else self.delay_ms)

    def _drawn(self, span: Span) -> int:
        low, high = span
        return low + int(self._random.random() * (high - low + 1))
