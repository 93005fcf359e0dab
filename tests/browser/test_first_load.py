"""What a first visit costs: bytes on the wire, how they are packed and kept, and what Lighthouse says of the pages."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Response, expect

from tests.integration.service import Service, served
from tests.missing import need, need_file

from .browser import settle, visit
from .filling import fill

WEB = Path(__file__).parents[2] / "web"
SCRIPTS_KIB, STYLES_KIB = 220, 16  # of a first visit, as they come over the wire
ROOMS = {"CreateRoom": "", "CompareRoom": "compare", "LibraryRoom": "library", "FleetRoom": "fleet"}
BLOCKING = ("theme.js", ".css")  # what may hold back the first paint: small, and without it the page would flash
MADE, LISTED = 30, 24
SOONER, FIRST = 6, 3  # as in web/src/features/create/Stage.tsx
# How many cards there were each time that the page had changed, and whether something stood below them.
COUNT = """
window.cards = [];
new MutationObserver(() => {
    const cards = document.querySelectorAll("[data-job]").length;
    const isFollowed = [...document.querySelectorAll("button")].some((one) => one.textContent === "Show more");
    if (cards !== window.cards.at(-1)?.[0]) window.cards.push([cards, isFollowed]);
}).observe(document, { childList: true, subtree: true });
"""


@dataclass(frozen=True)
class Sent:
    """A file of the UI as it came: its name, its bytes on the wire, its headers."""

    name: str
    size: int
    headers: dict[str, str]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home: Path = tmp_path_factory.mktemp("first")
    fill(home, MADE)
    with served(home) as service:
        yield service


def first_visit(browser: Browser, url: str, room: str) -> list[Sent]:
    """All files of the UI that one room needs in a browser that was never here."""
    answers: list[Response] = []
    with visit(browser, url) as visitor:
        visitor.page.on("response", lambda answer: answers.append(answer))
        settle(visitor.go(room))
        return [sent_by(answer) for answer in answers if answer.url.startswith(f"{url}/ui/")]


def sent_by(answer: Response) -> Sent:
    name, size = answer.url.rsplit("/", 1)[1], answer.request.sizes()["responseBodySize"]
    return Sent(name, size, answer.all_headers())


def kib(files: list[Sent], ending: str) -> float:
    return sum(file.size for file in files if file.name.endswith(ending)) / 1024


@pytest.mark.parametrize("module", ROOMS)
def test_a_first_visit_fetches_one_room_and_little_else(browser: Browser, service: Service, module: str) -> None:
    files = first_visit(browser, service.url, ROOMS[module])
    scripts, styles = kib(files, ".js"), kib(files, ".css")
    print(f"{module}: scripts {scripts:.1f} KiB, styles {styles:.1f} KiB, {len(files)} files")
    assert 40 < scripts < SCRIPTS_KIB
    assert 0 < styles < STYLES_KIB
    assert {file.name.split("-")[0] for file in files if "Room-" in file.name} == {module}


def test_files_come_packed_and_those_with_a_hash_are_kept_for_ever(browser: Browser, service: Service) -> None:
    files = first_visit(browser, service.url, "")
    for file in files:
        if file.name.endswith((".js", ".css")) and file.size > 1024:
            assert file.headers["content-encoding"] == "gzip", file.name
        is_named_after_its_contents = "-" in file.name
        kept = "max-age=31536000, immutable" if is_named_after_its_contents else "no-cache"
        assert kept in file.headers["cache-control"], file.name
    assert {file.name for file in files} >= {"", "theme.js"}


def test_create_asks_for_everything_once(browser: Browser, service: Service) -> None:
    asked: list[str] = []
    with visit(browser, service.url) as visitor:
        visitor.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
        entered(visitor.go())
    answers = [path for path in asked if path.startswith(("/v1/", "/auth/")) and not path.endswith("/events")]
    assert {"/auth/me", "/v1/jobs", "/v1/models"} <= set(answers)
    assert sorted(answers) == sorted(set(answers))


def test_the_first_cards_are_drawn_before_the_rest_and_all_at_once_for_who_returns(
    browser: Browser, service: Service
) -> None:
    with visit(browser, service.url) as visitor:
        visitor.page.add_init_script(COUNT)
        page = entered(visitor.go())
        assert page.evaluate("window.cards") == [[0, False], [SOONER, False], [LISTED, True]]
        page.get_by_role("link", name="Fleet").click()
        expect(page.locator("[data-job]")).to_have_count(0)
        page.evaluate("window.cards = []")
        page.get_by_role("link", name="Create", exact=True).click()
        expect(page.locator("[data-job]")).to_have_count(LISTED)
        assert [seen for seen in page.evaluate("window.cards") if seen[0]] == [[LISTED, True]]


def test_pictures_that_are_seen_first_are_fetched_first(browser: Browser, service: Service) -> None:
    with visit(browser, service.url) as visitor:
        pictures = entered(visitor.go()).locator("[data-job] img")
        ways = pictures.evaluate_all("all => all.map((one) => [one.loading, one.fetchPriority])")
    assert ways == [["eager", "high"]] * FIRST + [["lazy", "auto"]] * (LISTED - FIRST)


def test_what_opens_at_a_control_is_made_when_that_is_used(browser: Browser, service: Service) -> None:
    """Tips and menus of all cards at once would hold up the page when it is entered."""
    with visit(browser, service.url) as visitor:
        page = entered(visitor.go())
        expect(page.locator("[data-job] [data-state]")).to_have_count(0)  # what Radix has made says so
        card = page.locator("[data-job]").first
        card.get_by_role("button", name="Download").hover()
        expect(page.get_by_role("tooltip")).to_have_text("Download")
        card.get_by_role("button", name="Use as input").focus()
        page.keyboard.press("Tab")
        expect(page.get_by_role("tooltip")).to_have_count(0)
        expect(card.get_by_role("button", name="More")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("menuitem", name="Repeat exactly")).to_be_focused()
        page.keyboard.press("Escape")
        expect(card.get_by_role("button", name="More")).to_be_focused()
        expect(page.locator("[data-job] [data-state]")).to_have_count(3)
        assert visitor.violations() == []


def entered(page: Page) -> Page:
    """Create, with its form and all of its cards."""
    expect(page.get_by_role("form", name="Composer")).to_be_visible()
    expect(page.locator("[data-job]")).to_have_count(LISTED)
    return settle(page)


def test_lighthouse_finds_the_pages_accessible_and_lean(service: Service) -> None:
    """Times depend on what else the machine does: `make bench-web` asks them of a quiet one."""
    is_quiet = os.environ.get("LIGHTHOUSE") == "full"
    pages = judged([f"{service.url}/ui/", f"{service.url}/ui/library"], runs=3 if is_quiet else 1)
    print(json.dumps(pages, indent=1))
    for page in pages:
        assert not is_quiet or page["scores"]["performance"] >= 0.95, page["short"]["performance"]
        assert page["scores"]["accessibility"] >= 0.95, page["short"]["accessibility"]
        assert page["scores"]["best-practices"] >= 0.9, page["short"]["best-practices"]
        assert page["times"]["cumulative-layout-shift"] < 0.05
        assert page["checks"]["uses-long-cache-ttl"] == 1
        assert page["checks"]["total-byte-weight"] == 1
        assert all(name.endswith(BLOCKING) for name in page["blocking"]), page["blocking"]


def judged(urls: list[str], runs: int) -> list[dict[str, Any]]:
    """What Lighthouse says of the pages."""
    need_file(WEB / "node_modules/lighthouse", "lighthouse (`npm ci` in web/)")
    command = [need("node"), str(WEB / "lighthouse.mjs"), *urls, "--runs", str(runs), "--chromium", need("chromium")]
    ran = subprocess.run(command, cwd=WEB, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stderr
    found: list[dict[str, Any]] = json.loads(ran.stdout)
    return found
