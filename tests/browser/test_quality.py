"""What holds in every room: accessible, by keyboard alone, on a phone, still when pictures arrive, smooth when busy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.integration.service import Service, served

from .browser import DESK, PHONE, Visit, settle, visit
from .composing import cards, compose, finished, make
from .filling import fill

ROOMS = {"Create": "", "Compare": "compare", "Library": "library", "Fleet": "fleet"}
MOST_SHIFT = 0.05  # of the layout, as Core Web Vitals count it; 0.1 is what they call good
MADE, CROWD = 24, 300
MOST_TIMES, SPARE = 3, 6  # long tasks of a busy page: so many times those of the idle one, and a few
WATCH = """
window.shift = 0;
window.long = 0;
new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: "layout-shift", buffered: true });
new PerformanceObserver((list) => { window.long += list.getEntries().length; }).observe({ type: "longtask" });
"""
NAME_OF_FOCUS = """() => {
    const {activeElement: at} = document;
    const name = at.getAttribute("aria-label") ?? at.labels?.[0]?.textContent ?? at.textContent;
    return [name.trim(), getComputedStyle(at).outlineStyle];
}"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home: Path = tmp_path_factory.mktemp("quality")
    fill(home, MADE)
    with served(home) as service:
        yield service


@pytest.fixture
def visitor(browser: Browser, service: Service) -> Iterator[Visit]:
    with visit(browser, service.url) as visitor:
        visitor.page.add_init_script(WATCH)
        yield visitor


def enter(visitor: Visit, room: str) -> Page:
    """The room once its pictures and figures are there."""
    return settle(visitor.go(ROOMS[room]))


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_rooms_are_accessible_and_fit(browser: Browser, service: Service, theme: str, size: dict[str, int]) -> None:
    with visit(browser, service.url, theme=theme, size=size) as visitor:
        for room in ROOMS:
            page = enter(visitor, room)
            assert visitor.violations() == [], room
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], room
            visitor.shoot(f"{room.lower()}-{theme}-{size['width']}", is_whole=False)


def test_the_door_is_accessible(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "darkroom.toml").write_text('[serve]\nauth = "keys"\n')
    with served(tmp_path) as service:
        for theme, size in product(("light", "dark"), (DESK, PHONE)):
            with visit(browser, service.url, theme=theme, size=size) as visitor:
                page = visitor.go()
                expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
                assert visitor.violations() == []
                assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
                visitor.shoot(f"sign-in-{theme}-{size['width']}", is_whole=False)


def test_the_keyboard_alone_reaches_rooms_and_makes_a_picture(visitor: Visit, service: Service) -> None:
    page = enter(visitor, "Create")
    names = tabbed(page, until="Make")
    assert names[0] == "Skip to the room"
    wanted = [*ROOMS, "Prompt", "Preset", "Advanced"]
    places = [names.index(name) for name in wanted if name in names]
    assert places == sorted(places)
    assert {*ROOMS, "Prompt"} <= set(names)
    page.reload()
    settle(page)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # skips to the room
    tabbed(page, until="Prompt")
    page.keyboard.type("made without a mouse")
    tabbed(page, until="Make")
    page.keyboard.press("Enter")
    finished(cards(page, "made without a mouse"), service)
    page.get_by_role("link", name="Library").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/library")


def tabbed(page: Page, until: str) -> list[str]:
    """Press Tab until something of that name has the focus; the names on the way, each of which shows its focus."""
    names: list[str] = []
    while not names or not names[-1].startswith(until):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(NAME_OF_FOCUS)
        names.append(name)
        assert outline != "none", f"{name} does not show that it has the focus"
        assert len(names) < 80, names
    return names


@pytest.mark.parametrize("room", ["Create", "Library", "Fleet"])
def test_nothing_moves_when_pictures_arrive(visitor: Visit, room: str) -> None:
    page = enter(visitor, room)
    assert page.evaluate("window.shift") < MOST_SHIFT


def test_nothing_moves_while_a_picture_develops(visitor: Visit, service: Service) -> None:
    page = enter(visitor, "Create")
    before = page.evaluate("window.shift")
    compose(page, "it develops in its place", steps=40)
    make(page)
    finished(cards(page, "it develops in its place"), service)
    assert page.evaluate("window.shift") - before < MOST_SHIFT


def test_three_hundred_jobs_in_flight_leave_scrolling_and_typing_smooth(visitor: Visit, service: Service) -> None:
    page = enter(visitor, "Create")
    idle = used(page)
    with ThreadPoolExecutor(8) as pool:
        keys = [f"crowd-{number}" for number in range(CROWD)]
        ids = list(pool.map(lambda key: service.submit(key, num_inference_steps=1000), keys))
    try:
        expect(page.locator("[data-job] [role=progressbar]").first).to_be_visible()
        live = service.ask("GET", "/jobs", params={"limit": 200}).json()["data"]
        assert {job["state"] for job in live[:150]} <= {"queued", "running"}
        busy = used(page)
        visitor.shoot("create-crowd")
    finally:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda job_id: service.ask("POST", f"/jobs/{job_id}/cancel"), ids))
    print(f"long tasks: idle {idle}, with {CROWD} jobs in flight {busy}")
    assert busy <= MOST_TIMES * idle + SPARE


def used(page: Page) -> int:
    """Type and scroll for some seconds; how many tasks took longer than 50 ms meanwhile."""
    page.evaluate("window.long = 0")
    page.evaluate("() => { setTimeout(() => { const end = Date.now() + 90; while (Date.now() < end); }) }")
    page.wait_for_function("window.long > 0")  # they are counted
    page.evaluate("window.long = 0")
    box = page.get_by_label("Prompt", exact=True)
    box.fill("")
    box.press_sequentially("an old lighthouse above a stormy sea, painted with a wide brush", delay=30)
    page.mouse.move(DESK["width"] * 0.7, DESK["height"] * 0.6)
    for step in range(40):
        page.mouse.wheel(0, 240 if step < 20 else -240)
        page.wait_for_timeout(50)
    return int(page.evaluate("window.long"))
