"""A real browser on a real service: pages that are watched for errors, and what accessibility checks find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.missing import need

SHOTS = Path("out/browser")  # screenshots, to be looked at
AXE = Path("web/node_modules/axe-core/axe.min.js")
PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 832}
PATIENCE_MS = 120_000
# Pictures below the fold are fetched when one gets there.
DRAWN = "[...document.images].every((one) => one.complete || one.getBoundingClientRect().top > window.innerHeight)"
# What a browser says when a server is away, which tests arrange.
EXPECTED = ("Failed to load resource", "WebSocket connection to", "net::ERR_")

expect.set_options(timeout=60_000)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's own Chromium, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=need("chromium"), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One page; `faults` are errors that its scripts raised or wrote on the console."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.url = url
        self.faults: list[str] = []
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", lambda said: self._hear(said.type, said.text))

    def _hear(self, kind: str, text: str) -> None:
        if kind == "error" and not any(words in text for words in EXPECTED):
            self.faults.append(text)

    def go(self, room: str = "") -> Page:
        self.page.goto(f"{self.url}/ui/{room}")
        return self.page

    def shoot(self, name: str, *, is_whole: bool = True) -> Path:
        """A screenshot of the whole page, or of what a person sees at once; kept as test output."""
        SHOTS.mkdir(parents=True, exist_ok=True)
        path = SHOTS / f"{name}.png"
        self.page.screenshot(path=path, full_page=is_whole)
        return path

    def violations(self) -> list[str]:
        """What axe finds that is serious or worse: rule, and the elements."""
        self.page.add_script_tag(path=AXE)
        found: list[dict[str, Any]] = self.page.evaluate("async () => (await axe.run(document)).violations")
        grave = [one for one in found if one["impact"] in ("serious", "critical")]
        return [f"{one['id']}: {[node['target'] for node in one['nodes']][:5]}" for one in grave]


def settle(page: Page) -> Page:
    """The room once its figures and the pictures in view are there; the network may stay busy with a stream."""
    expect(page.get_by_role("main").get_by_role("heading").first).to_be_attached()
    expect(page.get_by_role("status", name="Loading")).to_have_count(0)
    page.wait_for_function(DRAWN)
    return page


@contextmanager
def visit(browser: Browser, url: str, *, theme: str = "light", size: dict[str, int] | None = None) -> Iterator[Visit]:
    """A fresh visitor; raises where its scripts had faults."""
    context = browser.new_context(viewport=size or DESK, color_scheme=theme, bypass_csp=True)  # type: ignore[arg-type]
    try:
        visitor = Visit(context, url)
        yield visitor
        assert visitor.faults == [], visitor.faults
    finally:
        context.close()
