"""The Compare room on a real service: a grid is made, opened again by its address, looked at closely, and exported."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.browser.browser import PHONE, visit
from tests.integration.service import Service

PROMPT = "A lighthouse on the left under a starry night sky"
NUMBERS = re.compile(r"Largest \d+ of 255, mean [\d.]+, .+ of the pixels differ")
LAPTOP = {"width": 1360, "height": 768}
# How far the grid goes beyond its frame, to the right and below.
BEYOND = """({parentElement: frame}) =>
    [frame.scrollWidth - frame.clientWidth, frame.scrollHeight - frame.clientHeight]"""
# 3 x 3 of 192 pixels with gaps of 8, beside labels of 140 and inside margins of 24 (web/src/features/compare/sheet.ts).
SHEET_WIDTH, SHEET_BODY = 24 + 140 + 8 + 3 * 192 + 2 * 8 + 24, 3 * 192 + 2 * 8


def set_values(page: Page, axis: str, old: tuple[str, ...], new: str) -> None:
    """The values of an axis, in place of those that it begins with."""
    group = page.get_by_role("group", name=axis)
    for value in old:
        group.get_by_role("button", name=f"Without {value}", exact=True).click()
    group.get_by_role("textbox").fill(new)
    group.get_by_role("textbox").press("Enter")


def plan(page: Page) -> None:
    """Steps 2, 3, 4 across and guidance 2, 4, 6 down, 192 by 192."""
    page.get_by_role("textbox", name="Prompt", exact=True).fill(PROMPT)
    set_values(page, "Across", ("5", "10", "20"), "2..4")
    set_values(page, "Down", ("2", "4", "7"), "2..6:2")
    page.get_by_text("The same in all").click()
    page.get_by_label("Size").select_option("192x192")


def made(page: Page, all_: int, done: int | None = None) -> None:
    expect(page.get_by_text(f"{all_ if done is None else done} of {all_} made")).to_be_visible(timeout=60_000)


def jobs(service: Service) -> list[dict[str, object]]:
    found: list[dict[str, object]] = service.ask("GET", "/jobs?limit=200").json()["data"]
    return found


def test_a_grid_fills_outlives_its_page_and_leaves_as_a_picture(
    browser: Browser, service: Service, tmp_path: Path
) -> None:
    service.wait_ready()
    with visit(browser, service.url) as visitor:
        page = visitor.go("compare")
        plan(page)
        page.get_by_role("button", name="Make 9 pictures").click()
        made(page, 9)
        page.wait_for_function("location.hash.length > 40 && localStorage['darkroom.compare.saved']")
        visitor.shoot("compare-grid")
        cells_are_the_grid(service)
        add_a_value(page)
        address = page.url
        page.reload()
        made(page, 12)
        look_closely(page)
        visitor.shoot("compare-difference")
        page.keyboard.press("Escape")
        assert visitor.violations() == []
        take_away(page)
        made(page, 9)
        assert export(page, tmp_path / "grid.png") == SHEET_WIDTH
    opened_elsewhere(browser, service, address)


def cells_are_the_grid(service: Service) -> None:
    """Nine jobs of one grid and one seed, each with its place and its own settings."""
    made_of = jobs(service)
    assert sorted(job["metadata"]["cell"] for job in made_of) == [f"{x},{y}" for x in range(3) for y in range(3)]  # type: ignore[index]
    assert len({job["metadata"]["grid"] for job in made_of}) == 1  # type: ignore[index]
    inputs = [job["input"] for job in made_of]
    assert len({one["seed"] for one in inputs}) == 1  # type: ignore[index]
    pairs = {(one["num_inference_steps"], one["guidance_scale"]) for one in inputs}  # type: ignore[index]
    assert pairs == {(steps, guidance) for steps in (2, 3, 4) for guidance in (2, 4, 6)}


def add_a_value(page: Page) -> None:
    """Only what is missing is made."""
    set_values(page, "Down", (), "3")
    page.get_by_role("button", name="Make the 3 missing").click()
    made(page, 12)
    page.wait_for_timeout(500)  # until the address has them


def look_closely(page: Page) -> None:
    """Arrows walk, D compares, and the numbers are those of the two cells."""
    page.locator("[data-at='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    expect(page.locator("[data-at='4']")).to_be_focused()
    page.keyboard.press("d")
    sheet = page.get_by_role("dialog")
    expect(sheet.get_by_text("Steps 2, Guidance 3 and Steps 3, Guidance 3")).to_be_visible()
    expect(sheet.get_by_text(NUMBERS)).to_be_visible()
    before = sheet.get_by_text(NUMBERS).inner_text()
    page.keyboard.press("ArrowRight")
    expect(sheet.get_by_text("Steps 2, Guidance 3 and Steps 4, Guidance 3")).to_be_visible()
    expect(sheet.get_by_text(NUMBERS)).not_to_have_text(before)
    page.keyboard.press("s")
    page.keyboard.press("+")
    shown = sheet.locator("figure img")
    expect(shown).to_have_count(2)
    assert {one.evaluate("one => one.style.transform") for one in shown.all()} == {"translate(0%, 0%) scale(1.5)"}
    page.keyboard.press("d")


def take_away(page: Page) -> None:
    page.get_by_role("group", name="Down").get_by_role("button", name="Without 3", exact=True).click()


def export(page: Page, path: Path) -> int:
    """The width of the picture that is exported; it opens, and holds the grid's rows."""
    page.get_by_role("button", name="Share").click()
    with page.expect_download() as download:
        page.get_by_role("menuitem", name="Save as a picture").click()
    assert download.value.suggested_filename.startswith("grid-a-lighthouse")
    download.value.save_as(path)
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        assert SHEET_BODY + 100 < picture.height < SHEET_BODY + 220
        return picture.width


def opened_elsewhere(browser: Browser, service: Service, address: str) -> None:
    """The address shows the same grid to a fresh visitor and makes nothing; a job that is gone can be made again."""
    before = jobs(service)
    gone = next(job for job in before if job["metadata"]["cell"] == "0,0")  # type: ignore[index]
    assert service.ask("DELETE", f"/jobs/{gone['id']}").status_code == 204
    with visit(browser, service.url, size=PHONE, theme="dark") as visitor:
        page = visitor.page
        page.goto(address)
        made(page, 12, 11)
        expect(page.get_by_text("No longer there")).to_be_visible()
        visitor.shoot("compare-phone")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        assert visitor.violations() == []
        assert len(jobs(service)) == len(before) - 1
        page.get_by_role("button", name="Make 1 again").click()
        made(page, 12)
    assert len(jobs(service)) == len(before)


def test_a_grid_starts_from_a_picture_that_its_address_does_not_hold(
    browser: Browser, service: Service, tmp_path: Path
) -> None:
    Image.linear_gradient("L").resize((400, 300)).convert("RGB").save(tmp_path / "own.png")
    with visit(browser, service.url) as visitor:
        page = visitor.go("compare")
        page.get_by_role("textbox", name="Prompt", exact=True).fill(PROMPT)
        page.locator("input[type=file]").first.set_input_files(tmp_path / "own.png")
        expect(page.get_by_label("Picture to start from")).to_contain_text("400 × 300 cropped and resized")
        page.get_by_role("group", name="Down").get_by_role("combobox").select_option("")
        page.get_by_role("group", name="Across").get_by_role("combobox").select_option("strength")
        page.get_by_text("The same in all").click()
        page.get_by_label("Preset").select_option("turbo")
        page.get_by_label("Size").select_option("192x192")
        page.get_by_role("button", name="Make 3 pictures").click()
        made(page, 3)
        assert started_from(service) == {(0.3, 1), (0.5, 1), (0.7, 1)}
        visitor.shoot("compare-picture")
        page.wait_for_function("location.hash.length > 40 && localStorage['darkroom.compare.saved']")
        address = page.url
        page.reload()
        made(page, 3)
        expect(page.get_by_label("Picture to start from")).to_be_visible()
        page.get_by_role("link", name="Create", exact=True).click()
        expect(page.get_by_text(re.compile(r"of Compare’s grids left out"))).to_be_visible()
    with visit(browser, service.url) as visitor:
        page = visitor.page
        page.goto(address)
        made(page, 3)
        expect(page.get_by_text("not in its address: give it again to make more")).to_be_visible()
        page.locator("input[type=file]").first.set_input_files(tmp_path / "own.png")
        expect(page.get_by_text("not in its address")).to_have_count(0)
        made(page, 3)  # the same cells, found again


def started_from(service: Service) -> set[tuple[object, int]]:
    """Strengths of the jobs that begin with a picture, and from how many pictures they all begin."""
    inputs = [job["input"] for job in jobs(service) if job["task"] == "image-to-image"]
    pictures = {one["image"] for one in inputs}  # type: ignore[index]
    return {(one["strength"], len(pictures)) for one in inputs}  # type: ignore[index]


def test_a_grid_begins_with_what_create_composes_fits_its_room_and_names_one_axis(
    browser: Browser, service: Service
) -> None:
    with visit(browser, service.url, size=LAPTOP) as visitor:
        page = visitor.go()
        page.get_by_label("Prompt", exact=True).fill(PROMPT)
        page.get_by_role("link", name="Compare", exact=True).click()
        expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value(PROMPT)
        expect(page.get_by_role("button", name="Make 9 pictures")).to_be_enabled()
        assert page.get_by_role("grid").evaluate(BEYOND) == [0, 0]
        visitor.shoot("compare-empty", is_whole=False)
        page.get_by_role("group", name="Down").get_by_role("combobox").select_option("")
        expect(page.get_by_role("grid").get_by_text("Steps →")).to_be_visible()
        visitor.shoot("compare-across", is_whole=False)
        page.get_by_role("button", name="Swap").click()
        expect(page.get_by_role("grid").get_by_text("Steps ↓")).to_be_visible()
        visitor.shoot("compare-down", is_whole=False)


def test_a_grid_is_cancelled_as_one_and_made_again(browser: Browser, service: Service) -> None:
    with visit(browser, service.url) as visitor:
        page = visitor.go("compare")
        page.get_by_role("textbox", name="Prompt", exact=True).fill(PROMPT)
        set_values(page, "Across", ("5", "10", "20"), "900, 1000")
        page.get_by_role("button", name="Make 6 pictures").click()
        expect(page.get_by_text(re.compile(r"Step \d+ of 900")).first).to_be_visible()
        page.get_by_role("button", name="Cancel all").click()
        expect(page.get_by_text("0 of 6 made, 6 without a picture")).to_be_visible()
        expect(page.get_by_role("button", name="Make 6 again")).to_be_enabled()


def test_an_address_that_holds_no_grid_says_so(browser: Browser, service: Service) -> None:
    with visit(browser, service.url) as visitor:
        page = visitor.go("compare#g=zBroken")
        expect(page.get_by_text("The address holds no grid")).to_be_visible()
        expect(page.get_by_role("button", name="Make 9 pictures")).to_be_disabled()
