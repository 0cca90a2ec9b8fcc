"""Debian's Chromium without a window, and pages in it that remember what went wrong."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

WITHIN_MS = 20_000
MISSING = "needs Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"
NOT_LOADED = "Failed to load resource"  # an answer of 4xx or 5xx, which is what was asked for, or none


class Opened:
    """A page that has been opened; `problems`: what its scripts or the browser complained about."""

    def __init__(self, page: Page, url: str, clock: bool = False) -> None:
        self.page = page
        self.problems: list[str] = []
        self.requested: set[str] = set()
        page.set_default_timeout(WITHIN_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._request)
        if clock:
            page.clock.install()
        page.goto(url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(NOT_LOADED):
            self.problems.append(message.text)

    def _request(self, request: Request) -> None:
        self.requested.add(request.url)


def executable() -> str:
    """Skips where there is none, and fails in CI."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if not found:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(MISSING)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])  # root has no other
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    width: int = 1280,
    scheme: str = "light",
    events: str | None = None,
    clock: bool = False,
) -> Iterator[Opened]:
    """`events`: what the page is told in the place of what the cluster says; `clock`: the test may turn it."""
    with browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        if events is not None:
            page.route("**/v1/events", lambda route: route.fulfill(content_type="text/event-stream", body=events))
        yield Opened(page, url, clock)
