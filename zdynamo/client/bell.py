"""Wakes a thread that polls: a pipe that holds at most about one byte. ZeroMQ sockets may not be shared, this may."""

import os
import threading

DRAIN_BYTES = 4096


class Bell:
    """Rung by any thread, polled and silenced by one."""

    def __init__(self) -> None:
        self.fd, self._far_end = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(self._far_end, False)
        self._rung = False
        self._open = True
        self._closing = threading.RLock()  # so that nobody writes to a number that is another file by now

    def ring(self) -> None:
        if self._rung:
            return
        with self._closing:
            if self._open:
                self._rung = True
                os.write(self._far_end, b"!")

    def silence(self) -> None:
        """Call it before looking at what was rung for."""
        os.read(self.fd, DRAIN_BYTES)
        self._rung = False

    def close(self) -> None:
        with self._closing:
            if self._open:
                self._open = False
                os.close(self.fd)
                os.close(self._far_end)
