"""Whom not to wait for: lost connections, and peers that are silent for longer than they usually are (paper 4.6).

A peer that does not answer within its replica timeout is treated as absent for that request. The timeout is the
configured one, or twice the slowest that the peer has been lately, and more for large records. Several timeouts in a
row, without any answer between them, are a reason to find out whether the peer is there at all.
"""

from collections.abc import Iterable, Mapping

from zdynamo.messages import NodeId, PeerMessage, ReplicaFetched, ReplicaRefused, ReplicaStored

SLOWEST = 10  # configured timeouts that a slow peer is waited for at most
FORGET = 0.01  # of the slowest answer of a peer, with each quicker one: about a hundred back
BYTES_PER_MS = 64 * 2**10  # of a record, that a slow link still moves
SHARE = 0.1  # of the requests for which a peer that nobody suspects may be replaced
REQUESTS = ("gets", "puts", "deletes", "requests.forwarded")
SAVED_MAX = 50.0  # replacements that may come at once after a while without any
TIMEOUTS = 5  # one after the other, that are evidence against a peer: a pause of half a second is not
ANSWERS = (ReplicaStored, ReplicaFetched, ReplicaRefused)


class Patience:
    """How long each peer is waited for, and whether it is at all."""

    def __init__(self, replica_timeout_ms: int, counters: Mapping[str, int]) -> None:
        """`counters`: of the requests that this node has coordinated."""
        self.lost: set[NodeId] = set()  # whose connection broke, until they are heard again
        self._timeout_ms = replica_timeout_ms
        self._counters = counters
        self._slowest_ms: dict[NodeId, float] = {}  # lately, of peers that need more than the configured timeout
        self.quick_ms = replica_timeout_ms // 2  # quicker answers change nothing now
        self._silences: dict[NodeId, tuple[int, int]] = {}  # timeouts since the last answer, and when the last was
        self._saved = SAVED_MAX  # replacements that were allowed
        self._counted = 0  # requests, when that was worked out

    def heard(self, peer: NodeId, messages: Iterable[PeerMessage]) -> None:
        """Its connection is there; and if answers are among these, data gets through to it."""
        self.lost.discard(peer)
        if peer in self._silences and any(isinstance(message, ANSWERS) for message in messages):
            del self._silences[peer]

    def timed_out(self, peer: NodeId, began_ms: int, now_ms: int) -> bool:
        """A request has waited for a peer since then, in vain. Whether that is evidence: the last of many in a row."""
        count, at_ms = self._silences.get(peer, (0, began_ms))
        if began_ms < at_ms:  # it has waited at the same time as the one before
            return False
        if count + 1 < TIMEOUTS:
            self._silences[peer] = count + 1, now_ms
            return False
        self._silences.pop(peer, None)
        return True

    def answered(self, peer: NodeId, took_ms: int) -> None:
        """A peer has answered after that time. To be told if it is above `quick_ms`."""
        before_ms = self._slowest_ms.pop(peer, 0.0)
        slowest_ms = took_ms if took_ms > before_ms else before_ms - (before_ms - took_ms) * FORGET
        if 2 * slowest_ms > self._timeout_ms:
            self._slowest_ms[peer] = slowest_ms
        self.quick_ms = -1 if self._slowest_ms else self._timeout_ms // 2

    def timeout_ms(self, peers: Iterable[NodeId], size: int) -> int:
        """How long to wait for all of these with a record of that size."""
        timeout_ms = self._timeout_ms
        if self._slowest_ms:
            slowest_ms = max((self._slowest_ms.get(peer, 0.0) for peer in peers), default=0.0)
            timeout_ms = max(timeout_ms, min(2 * int(slowest_ms), SLOWEST * timeout_ms))
        return timeout_ms + size // BYTES_PER_MS

    def may_replace(self, *, suspect: bool) -> bool:
        """Whether to have a silent peer replaced. Under overload all are silent, and replacing them makes it worse."""
        if suspect:
            return True
        requests = sum(self._counters[kind] for kind in REQUESTS)
        self._saved = min(SAVED_MAX, self._saved + SHARE * (requests - self._counted))
        self._counted = requests
        if self._saved < 1:
            return False
        self._saved -= 1
        return True
