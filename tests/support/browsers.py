"""A browser for tests of the live page: Debian's Chromium, driven by Playwright.

A `Visitor` is one browser window with its own cookies and key. What the page throws, and what its
policy of content forbids, is an error of the test.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium")
REASON = "there is no chromium"
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason=REASON)
DESK, PHONE = (1280, 800), (390, 844)
PATIENCE_MS = 60_000  # a busy machine takes its time
expect.set_options(timeout=PATIENCE_MS)
# What Chromium itself writes about an answer that the page expects: no session, no connection.
_EXPECTED = ("Failed to load resource", "net::ERR_")


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """A browser without windows; `more` are arguments of Chromium."""
    # A container can have little shared memory, and the files of tests may lie there.
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*arguments, *more])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """One window at the page of a server."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.faults.append(f"thrown: {error}"))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not message.text.startswith(_EXPECTED):
            self.faults.append(message.text)

    def go(self, place: str = "") -> None:
        """Go to a place of the page, such as `#/machines`."""
        self.page.goto(f"{self.url}/{place}")

    def log_in(self, place: str = "") -> None:
        """Open a place, and sign in by the identity provider."""
        self.go(place)
        self.page.get_by_role("button", name="Sign in with").click()
        self.page.get_by_text("live ·").first.wait_for()

    @property
    def tree(self) -> Locator:
        return self.page.get_by_role("treegrid")

    def row(self, text: str) -> Locator:
        """The row of the tree with a text."""
        return self.tree.get_by_role("row").filter(has_text=text)

    def names(self) -> list[str]:
        """The role, or the crew, of each row that is drawn."""
        return self.tree.locator(".row .role").all_inner_texts()


@contextmanager
def visitor(
    browser: Browser,
    url: str,
    size: tuple[int, int] = DESK,
    theme: str = "light",
    **options: Any,
) -> Iterator[Visitor]:
    """A window with cookies of its own; at its end, the page must have had no fault."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        **options,
    )
    try:
        found = Visitor(context.new_page(), url)
        yield found
        assert not found.faults
    finally:
        context.close()


def sign_in(page: Page, place: str, person: str) -> None:
    """Open a place of the page, and sign in at the provider of `oidc_provider`."""
    page.goto(place)
    page.get_by_role("button", name="Sign in with").click()
    page.locator("input[name=sub]").fill(person)
    page.get_by_role("button", name="Authorize").click()
