"""Logs: constant event names, data as keys, `node` bound once; people's format on a terminal, JSON lines otherwise."""

import sys
import time
from typing import Any

import structlog

from zdynamo.config import LogSettings

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
REPEAT_S = 1.0  # of one event name that strangers can cause; what is left out is counted in `repeated`


def configure(settings: LogSettings) -> None:
    """Set up logging of the whole process, to standard error."""
    human = settings.format == "human" or (settings.format == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if human else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=not human),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[settings.level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


class Log:
    """The log of one thread."""

    def __init__(self, node: str) -> None:
        self._log: Any = structlog.get_logger().bind(node=node)
        self._said_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def note(self, level: str, name: str, fields: dict[str, object]) -> None:
        getattr(self._log, level)(name, **fields)

    def seldom(self, level: str, name: str, fields: dict[str, object]) -> None:
        """At most once in a while, however often it happens."""
        now = time.monotonic()
        if now - self._said_at.get(name, -REPEAT_S) < REPEAT_S:
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return
        self._said_at[name] = now
        repeated = self._left_out.pop(name, 0)
        self.note(level, name, {**fields, "repeated": repeated} if repeated else fields)
