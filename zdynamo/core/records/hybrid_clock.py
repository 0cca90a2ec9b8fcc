"""Hybrid logical time: near the wall clock, and above all that was seen (Kulkarni et al. 2014)."""

from zdynamo.core.events import Now

DOUBT_MS = 60_000  # until a wall clock that has jumped is taken at its word


class HybridClock:
    """Wall milliseconds << 16 | a logical counter, minted so that peers accept it whatever the wall clock does.

    A time is above all that was seen, but never further ahead of the wall clock than `lead_ms`: half of what peers
    accept, so that whoever learns a time from the future does not pass it on. A wall clock that jumps ahead of the
    monotonic one by more than that is not believed for `DOUBT_MS`: it usually jumps back, and what it minted meanwhile
    would beat all that is written later. A jump back is followed at once.
    """

    def __init__(self, skew_ms: int = 500) -> None:
        """`skew_ms`: how far ahead a peer's time may be."""
        self._lead_ms = skew_ms // 2
        self._last = 0
        self._moment: Now | None = None  # what the four below are of
        self._earliest = 0  # hybrid times that may be minted
        self._latest = 0
        self._wall_ms = 0
        self._latest_ms = 0
        self._offset_ms: int | None = None  # believed, of the wall clock from the monotonic one
        self._ahead_since_ms: int | None = None  # monotonic: a jump ahead that is not believed yet
        self._left_offset_ms = 0  # before the last jump back
        self._left_until_ms = 0

    def next(self, now: Now, above: int = 0) -> int:
        """A time for a write over one that was written at `above`."""
        if now is not self._moment:
            self.look(now)
        time = (self._last if self._last > above else above) + 1
        at_most, at_least = self._latest, self._earliest
        self._last = time = at_least if time < at_least else at_most if time > at_most else time
        return time

    def saw(self, time: int) -> None:
        self._last = max(self._last, time)

    def wall_ms(self, now: Now) -> int:
        """The wall clock as far as it is believed."""
        if now is not self._moment:
            self.look(now)
        return self._wall_ms

    def latest_ms(self, now: Now) -> int:
        """The latest that the wall clock can be taken for: what peers say is held against it."""
        if now is not self._moment:
            self.look(now)
        return self._latest_ms

    def look(self, now: Now) -> None:
        """Compare the two clocks. Whoever asks for a time does; a jump is one since the last look."""
        offset_ms = now.wall_ms - now.monotonic_ms
        believed_ms = offset_ms if self._offset_ms is None else self._offset_ms
        if offset_ms <= believed_ms + self._lead_ms:
            self._ahead_since_ms = None
            if offset_ms < believed_ms - self._lead_ms:
                self._left_offset_ms, self._left_until_ms = believed_ms, now.monotonic_ms + DOUBT_MS
            believed_ms = offset_ms
        elif self._ahead_since_ms is None:
            self._ahead_since_ms = now.monotonic_ms
        elif now.monotonic_ms - self._ahead_since_ms >= DOUBT_MS:
            self._ahead_since_ms = None
            believed_ms = offset_ms
        self._offset_ms = believed_ms
        self._moment = now
        self._earliest = (now.monotonic_ms + believed_ms) << 16
        self._latest = (now.monotonic_ms + believed_ms + self._lead_ms) << 16
        self._wall_ms = now.monotonic_ms + believed_ms
        self._latest_ms = max(now.wall_ms, self._wall_ms)
        if now.monotonic_ms < self._left_until_ms:
            self._latest_ms = max(self._latest_ms, now.monotonic_ms + self._left_offset_ms)


def wall_ms_of(time: int) -> int:
    """The wall clock part of a hybrid time."""
    return time >> 16
