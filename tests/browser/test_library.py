"""The Library with a thousand pictures: found by word, walked by keyboard, packed and deleted in bulk."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.integration.service import Service, served

from .browser import PATIENCE_MS, PHONE, Visit, visit
from .filling import FIRST_SEED, fill

COUNT = 1000
MOST_DRAWN = 120  # tiles at once, whatever there is: some rows more than a window holds


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home: Path = tmp_path_factory.mktemp("library")
    fill(home, COUNT)
    with served(home) as service:
        yield service


def enter(visitor: Visit, address: str = "library") -> Page:
    """The room once all is loaded."""
    page = visitor.go(address)
    expect(count_of(page)).to_have_text(re.compile(r"[\d,]+ pictures$"), timeout=PATIENCE_MS)
    return page


def count_of(page: Page) -> Locator:
    return page.get_by_role("status").filter(has_text="picture")


def at_hand(page: Page) -> int:
    """The number of the picture that has the focus, counted from the oldest, as its prompt says."""
    alt = str(page.evaluate("document.activeElement.querySelector('img')?.alt"))
    found = re.search(r"number (\d+), seed (\d+)$", alt)
    assert found, alt
    assert int(found[2]) == int(found[1]) + FIRST_SEED
    return int(found[1])


def test_a_thousand_pictures_are_drawn_only_where_one_looks(visitor: Visit) -> None:
    page, tiles = enter(visitor), "[role=gridcell]"
    expect(count_of(page)).to_have_text("1,000 pictures")
    assert 10 <= page.locator(tiles).count() <= MOST_DRAWN
    page.locator(tiles).first.focus()
    page.keyboard.press("Control+End")
    expect(page.get_by_alt_text("number 0, seed 1000")).to_be_in_viewport()
    assert at_hand(page) == 0
    assert page.locator(tiles).count() <= MOST_DRAWN
    rows = int(page.get_by_role("grid").get_attribute("aria-rowcount") or 0)
    assert rows > COUNT / 20
    assert visitor.violations() == []
    visitor.shoot("library")


def test_words_find_pictures_as_they_are_typed_and_stay_in_the_address(visitor: Visit) -> None:
    page = enter(visitor)
    page.keyboard.press("/")
    page.keyboard.type("Harbour morning 10")  # of the seeds those that begin so, of the prompts those that have it
    wanted = [k for k in range(COUNT) if k % 24 == 3 and (k < 100 or "10" in str(k))]
    expect(count_of(page)).to_have_text(f"{len(wanted)} of 1,000 pictures")
    page.get_by_role("searchbox").fill("fog people neon")
    wanted = [k for k in range(COUNT) if k % 6 == 4 and k % 10 == 0 and k % 7 == 0]
    expect(count_of(page)).to_have_text(f"{len(wanted)} of 1,000 pictures")
    page.wait_for_url("**/library?q=fog+people+neon")
    page.reload()
    expect(count_of(page)).to_have_text(f"{len(wanted)} of 1,000 pictures")
    page.get_by_role("searchbox").fill("no such thing")
    expect(page.get_by_role("heading", name="Nothing like that")).to_be_visible()
    page.get_by_role("button", name="Show everything").click()
    expect(count_of(page)).to_have_text("1,000 pictures")


def test_filters_and_order_hold_together(visitor: Visit) -> None:
    page = enter(visitor, "library?size=192x320&sort=oldest&with=adapter%3Aneon")
    wanted = [k for k in range(COUNT) if k % 5 == 2 and k % 7 == 0]
    expect(count_of(page)).to_have_text(f"{len(wanted)} of 1,000 pictures")
    page.get_by_role("searchbox").press("ArrowDown")
    assert at_hand(page) == wanted[0]
    page.get_by_label("Made with").select_option(label="preset fast")
    expect(count_of(page)).not_to_have_text(f"{len(wanted)} of 1,000 pictures")
    page.get_by_role("button", name="Clear filters").click()
    expect(count_of(page)).to_have_text("1,000 pictures")


def test_the_keyboard_walks_opens_and_selects(visitor: Visit) -> None:
    page = enter(visitor)
    page.get_by_role("searchbox").press("ArrowDown")
    first = at_hand(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert at_hand(page) == first - 2
    page.keyboard.press("ArrowDown")
    below = at_hand(page)
    assert below < first - 3
    page.keyboard.press("ArrowUp")
    assert below < at_hand(page) <= first
    page.keyboard.press("Home")
    assert at_hand(page) == first
    page.keyboard.press("Enter")
    viewer = page.get_by_role("dialog")
    expect(viewer).to_contain_text(f"number {first}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("i")
    expect(viewer.get_by_role("complementary")).to_contain_text(str(FIRST_SEED + first - 1))
    visitor.shoot("library-open")
    assert visitor.violations() == []
    page.keyboard.press("Escape")
    expect(viewer).to_have_count(0)
    page.wait_for_function("document.activeElement.role === 'gridcell'")
    assert at_hand(page) == first - 1
    page.keyboard.press("Space")
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowLeft")
    selection = page.get_by_role("region", name="Selection")
    expect(selection).to_contain_text("3 selected")
    page.keyboard.press("Control+a")
    expect(selection).to_contain_text("1,000 selected")
    page.keyboard.press("Escape")
    expect(selection).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("select a range")


def test_the_selected_come_as_one_file(visitor: Visit) -> None:
    page = enter(visitor, "library?q=lake+number+sunset")
    page.keyboard.press("Control+a")
    wanted = [k for k in range(COUNT) if k % 24 == 0]
    with page.expect_download() as got:
        page.get_by_role("button", name="Download").click()
    packed = zipfile.ZipFile(io.BytesIO(Path(got.value.path()).read_bytes()))
    assert packed.testzip() is None
    names = sorted(packed.namelist())
    assert len(set(names)) == len(names) == len(wanted)
    assert {int(name.split("-")[-2]) for name in names} == {FIRST_SEED + k for k in wanted}
    assert names[0].startswith("lake-under-a-sunset-number-")
    assert packed.read(names[0]).startswith(b"\x89PNG")


def test_what_is_selected_is_deleted_once_confirmed_and_nothing_else(visitor: Visit, service: Service) -> None:
    page = enter(visitor, "library?q=island+sunset")
    doomed = [k for k in range(COUNT) if k % 8 == 6 and k % 6 == 0]
    expect(count_of(page)).to_have_text(f"{len(doomed)} of 1,000 pictures")
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    sheet = page.get_by_role("dialog")
    expect(sheet).to_contain_text("cannot be undone")
    sheet.get_by_role("button", name="Keep as it is").click()
    page.keyboard.press("Delete")
    sheet.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text(f"{len(doomed)} deleted")).to_be_visible()
    left = COUNT - len(doomed)
    page.get_by_role("button", name="Show everything").click()
    expect(count_of(page)).to_have_text(f"{left} pictures")
    page.wait_for_url("**/library")
    page.reload()
    expect(count_of(page)).to_have_text(f"{left} pictures")
    assert seeds_in(service) == {FIRST_SEED + k for k in range(COUNT) if k not in doomed}


def seeds_in(service: Service) -> set[int]:
    """The seeds of all jobs that the service still has."""
    seeds: set[int] = set()
    cursor: str | None = ""
    while cursor is not None:
        page = service.ask("GET", "/jobs", params={"limit": 200, **({"cursor": cursor} if cursor else {})}).json()
        seeds |= {job["input"]["seed"] for job in page["data"]}
        cursor = page["next_cursor"]
    return seeds


def test_what_is_made_meanwhile_joins(visitor: Visit, service: Service) -> None:
    page = enter(visitor)
    before = count_of(page).inner_text()
    [job] = service.wait_all([service.submit("join", prompt="a comet of our own", seed=99, num_inference_steps=1)])
    expect(count_of(page)).not_to_have_text(before)
    page.get_by_role("searchbox").fill("comet")
    expect(page.get_by_alt_text("a comet of our own, seed 99")).to_be_visible()
    service.ask("DELETE", f"/jobs/{job['id']}")


def test_a_phone_selects_by_tapping(browser: Browser, service: Service) -> None:
    with visit(browser, service.url, theme="dark", size=PHONE) as visitor:
        page = enter(visitor)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        page.get_by_role("button", name="Select").click()
        for number in range(2):
            page.get_by_role("gridcell").nth(number).click()
        expect(page.get_by_role("region", name="Selection")).to_contain_text("2 selected")
        visitor.shoot("library-phone-dark")
        assert visitor.violations() == []
