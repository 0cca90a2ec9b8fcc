"""Logs: constant event names, data as keys, `node` bound once; people's format on a terminal, JSON lines otherwise."""

import sys
import time
from collections.abc import Callable
from typing import Any

import structlog

from zdynamo.config import LogSettings

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
REPEAT_S = 1.0  # until one more may be said under a name that has been said too often
CHANGES_MAX = 64  # under one name in a row: a large cluster that starts says them all, a flood is cut short


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


class Budget:
    """What may be said under one name: so many in a row, then one in a while."""

    __slots__ = ("at", "last", "left_out", "most", "room")

    def __init__(self, most: int, at: float) -> None:
        self.most = most
        self.room = float(most)
        self.at = at
        self.left_out = 0
        self.last: tuple[str, dict[str, object]] = ("", {})  # of those, with its level

    def has_room(self, now: float) -> bool:
        self.room = min(self.most, self.room + (now - self.at) / REPEAT_S)
        self.at = now
        return self.room >= 1


class Log:
    """The log of one thread. What is left out is counted in `repeated` of what is said next under that name."""

    def __init__(self, node: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log: Any = structlog.get_logger().bind(node=node)
        self._clock = clock
        self._budgets: dict[str, Budget] = {}
        self._lost = 0  # lines that could not be written

    def note(self, level: str, name: str, fields: dict[str, object]) -> None:
        """A line that cannot be written (nobody reads, the disk is full) is counted in `lost` of the next that can."""
        try:
            getattr(self._log, level)(name, **({**fields, "lost": self._lost} if self._lost else fields))
        except (OSError, ValueError):  # ValueError: standard error is closed
            self._lost += 1
        else:
            self._lost = 0

    def seldom(self, level: str, name: str, fields: dict[str, object]) -> None:
        """What strangers can cause: at most one in a while, however often it happens."""
        self._limited(level, name, fields, 1)

    def change(self, level: str, name: str, fields: dict[str, object]) -> None:
        """A change of state, such as of a member: all of them, unless there is a flood."""
        self._limited(level, name, fields, CHANGES_MAX)

    def catch_up(self) -> None:
        """Say the last of what was left out where nothing has followed. Call now and then."""
        now = self._clock()
        for name, budget in self._budgets.items():
            if budget.left_out and budget.has_room(now):
                level, fields = budget.last
                budget.left_out -= 1  # this one is said
                self._say(level, name, fields, budget)

    def _limited(self, level: str, name: str, fields: dict[str, object], most: int) -> None:
        now = self._clock()
        budget = self._budgets.get(name)
        if budget is None:
            budget = self._budgets[name] = Budget(most, now)
        if budget.has_room(now):
            self._say(level, name, fields, budget)
        else:
            budget.left_out += 1
            budget.last = level, fields

    def _say(self, level: str, name: str, fields: dict[str, object], budget: Budget) -> None:
        repeated, budget.left_out = budget.left_out, 0
        budget.room -= 1
        self.note(level, name, {**fields, "repeated": repeated} if repeated else fields)
