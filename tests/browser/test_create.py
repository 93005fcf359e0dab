"""Create, from an empty box to pictures: live, cancelled, over a restart, with a mask, again and varied."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageFilter, ImageStat
from playwright.sync_api import Browser, Page, expect

from tests.integration.service import Service, kinds_of, served, wait_until

from .browser import DESK, PHONE, Visit, visit
from .composing import bytes_of, cards, compose, drop, finished, id_of, job_of, make, more, number_of, pixels_of, png_of

SERVE = """[serve]
lease_s = 3.0  # what a killed worker had comes back soon
heartbeat_s = 0.5
price_per_hour_usd = 36.0
"""
LATENT = 8  # pixels of one, across
LONG = 100  # steps: there is time to look, to cancel, to pull the plug
SAID = "(element) => document.getElementById(element.getAttribute('aria-describedby'))?.textContent"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home: Path = tmp_path_factory.mktemp("create")
    (home / "darkroom.toml").write_text(SERVE)
    with served(home) as service:
        yield service


def enter(visitor: Visit) -> Page:
    page = visitor.go()
    expect(page.get_by_label("Prompt", exact=True)).to_be_visible()
    return page


def asked(service: Service, name: str, **inputs: Any) -> dict[str, Any]:
    """A finished job that the API was asked for."""
    [job] = service.wait_all([service.submit(name.replace(" ", "-"), prompt=name, **inputs)])
    assert job["state"] == "succeeded", job
    return job


def test_a_prompt_develops_into_a_picture_with_its_settings_in_small_print(visitor: Visit, service: Service) -> None:
    page, prompt = enter(visitor), "a lake under a full moon"
    expect(page.get_by_role("heading", name="Nothing made yet")).to_be_visible()
    visitor.shoot("create-empty")
    compose(page, prompt, steps=60)
    page.get_by_label("Prompt", exact=True).press("Control+Enter")
    card = cards(page, prompt)
    expect(card).to_contain_text(re.compile(r"Step \d+ of 60"))
    preview = card.get_by_role("img", name="As far as it has developed")
    expect(preview).to_have_attribute("src", re.compile("^data:image/"))
    visitor.shoot("create-live")
    job = finished(card, service)
    expect(card.get_by_role("img", name=prompt)).to_be_visible()
    expect(card).to_contain_text("192 × 192")
    expect(card).to_contain_text(f"seed {job['input']['seed']}")
    expect(card).to_contain_text("device seconds · $")
    assert job["input"]["num_inference_steps"] == 60
    assert [job["outputs"][0][side] for side in ("width", "height")] == [192, 192]
    visitor.shoot("create-done")


def test_what_is_cancelled_in_the_middle_stops_there(visitor: Visit, service: Service) -> None:
    page, prompt = enter(visitor), "a valley nobody waits for"
    compose(page, prompt, steps=1000)
    make(page)
    card = cards(page, prompt)
    expect(card).to_contain_text(re.compile(r"Step \d+ of 1000"))
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_contain_text("Cancelled")
    expect(card.get_by_role("button", name="Try again")).to_be_visible()
    job = job_of(card, service)
    assert (job["state"], job["outputs"]) == ("cancelled", [])
    assert 0 < job["step"] < 900
    card.get_by_role("button", name="Remove").click()
    expect(card).to_have_count(0)


def test_a_killed_service_that_comes_back_loses_no_job(visitor: Visit, service: Service) -> None:
    page, port = enter(visitor), service.port
    compose(page, "begun before the power went", steps=LONG)
    make(page)
    begun = cards(page, "begun before the power went")
    expect(begun).to_contain_text(re.compile(rf"Step \d+ of {LONG}"))
    service.abandon()
    expect(page.get_by_role("button", name="Reconnecting")).to_be_visible()
    compose(page, "asked for in the dark")
    make(page)
    dark = cards(page, "asked for in the dark")
    expect(dark).to_contain_text("Darkroom does not answer")
    visitor.shoot("create-away")
    service.start(port)
    expect(page.get_by_role("button", name="Reconnecting")).to_have_count(0)
    jobs = [finished(card, service) for card in (begun, dark)]
    assert [job["state"] for job in jobs] == ["succeeded", "succeeded"]
    for job in jobs:
        assert pixels_of(job, service).size == (192, 192)
        assert kinds_of(service, job["id"]).count("succeeded") == 1
    listed = [job["id"] for job in service.ask("GET", "/jobs", params={"limit": 100}).json()["data"]]
    shown = page.locator("[data-job]").evaluate_all("all => all.map((card) => card.dataset.job)")
    assert shown == listed


def test_what_is_painted_is_made_anew_and_the_rest_stays(visitor: Visit, service: Service) -> None:
    start = pixels_of(asked(service, "a green meadow on a clear morning", seed=4, num_inference_steps=10), service)
    page, prompt = enter(visitor), "night, northern lights"
    drop(page, "own.png", png_of(start))
    page.get_by_role("button", name="Paint a part anew").click()
    draw_square(page)
    visitor.shoot("create-mask", is_whole=False)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("button", name="Undo")).to_be_disabled()
    page.get_by_role("button", name="Redo").click()
    page.get_by_role("button", name="Done").click()
    compose(page, prompt, steps=8)
    page.get_by_role("spinbutton", name="Strength").fill("1")
    make(page)
    job = finished(cards(page, prompt), service)
    assert job["task"] == "inpaint"
    mask, changed = mask_of(job, service), ImageChops.difference(pixels_of(job, service), start).convert("L")
    assert 0.05 < ImageStat.Stat(mask).mean[0] / 255 < 0.5
    near = mask.filter(ImageFilter.MaxFilter(2 * LATENT + 1))  # a latent that is painted anew reaches so far
    assert ImageStat.Stat(changed, mask).mean[0] > 20
    assert ImageStat.Stat(changed, ImageChops.invert(near)).mean[0] < 4  # it went through the VAE and back


def draw_square(page: Page) -> None:
    """Paint over the middle of the picture, to and fro."""
    board = page.get_by_role("application").bounding_box()
    assert board is not None
    places = [(0.35 + 0.3 * (row % 2), 0.35 + 0.06 * row) for row in range(6)]
    x, y, width, height = (board[part] for part in ("x", "y", "width", "height"))
    page.mouse.move(x + width * places[0][0], y + height * places[0][1])
    page.mouse.down()
    for right, down in places[1:]:
        page.mouse.move(x + width * right, y + height * down, steps=4)
    page.mouse.up()


def mask_of(job: dict[str, Any], service: Service) -> Image.Image:
    """What the page sent as the mask: white where it is painted anew."""
    answer = service.ask("GET", f"/artifacts/{job['input']['mask_image']}")
    return Image.open(io.BytesIO(answer.content)).convert("L")


def test_a_picture_of_darkrooms_brings_its_settings_back(visitor: Visit, service: Service) -> None:
    job = asked(service, "a harbour in fog", seed=77, num_inference_steps=7, guidance_scale=5.5, solver="euler")
    page = enter(visitor)
    page.get_by_label("Prompt", exact=True).fill("something else")
    drop(page, "harbour.png", bytes_of(job, service))
    expect(page.get_by_text("Its settings are back")).to_be_visible()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("a harbour in fog")
    expect(number_of(page, "Steps")).to_have_value("7")
    expect(number_of(page, "Guidance")).to_have_value("5.5")
    expect(page.get_by_label("Solver")).to_have_value("euler")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("77")
    expect(page.get_by_role("button", name="Lock the seed")).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("radio", name="192 by 192 pixels")).to_be_checked()
    page.get_by_role("button", name="Undo", exact=True).click()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("something else")
    drop(page, "notes.png", b"no picture at all")
    expect(page.get_by_text("cannot be read as a picture")).to_be_visible()


def test_varied_it_is_another_and_repeated_it_is_the_same_bytes(visitor: Visit, service: Service) -> None:
    first = asked(service, "an island at dawn", seed=5, reproducible=True)
    page, prompt = enter(visitor), "an island at dawn"
    card = page.locator(f"[data-job='{first['id']}']")
    card.get_by_role("button", name="Vary").click()
    expect(cards(page, prompt)).to_have_count(2)
    varied = finished(cards(page, prompt).first, service)
    assert varied["input"]["seed"] != 5
    more(card, "Repeat exactly")
    expect(cards(page, prompt)).to_have_count(3)
    repeated = finished(cards(page, prompt).first, service)
    assert repeated["id"] not in (first["id"], varied["id"])
    assert bytes_of(repeated, service) == bytes_of(first, service)
    assert bytes_of(varied, service) != bytes_of(first, service)


def test_a_picture_is_opened_saved_copied_used_and_deleted(visitor: Visit, service: Service) -> None:
    job = asked(service, "a meadow after rain", seed=11)
    page = enter(visitor)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card = page.locator(f"[data-job='{job['id']}']")
    with page.expect_download() as saved:
        card.get_by_role("button", name="Download").click()
    assert saved.value.suggested_filename == "a-meadow-after-rain-11.png"
    assert Path(saved.value.path()).read_bytes() == bytes_of(job, service)
    more(card, "Copy settings as JSON")
    expect(page.get_by_text("Settings copied")).to_be_visible()
    assert json.loads(page.evaluate("navigator.clipboard.readText()"))["input"]["seed"] == 11
    card.get_by_role("button", name="a meadow after rain").click()
    expect(page.get_by_role("dialog")).to_contain_text("a meadow after rain")
    visitor.shoot("create-open", is_whole=False)
    page.keyboard.press("Escape")
    card.get_by_role("button", name="Use as input").click()
    expect(page.get_by_role("spinbutton", name="Strength")).to_be_visible()
    more(card, "Delete")
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)
    assert service.ask("GET", f"/jobs/{job['id']}").status_code == 404


def test_a_refusal_is_said_in_the_apis_words_at_its_field(visitor: Visit) -> None:
    page = enter(visitor)
    make(page)
    box = page.get_by_label("Prompt", exact=True)
    assert box.evaluate(SAID) == "Say what to draw."
    keep_draft(page, num_steps=5000)  # as an earlier page left it, when the model took so many
    compose_prompt = page.get_by_label("Prompt", exact=True)
    compose_prompt.fill("too much of it")
    make(page)
    steps = page.get_by_role("spinbutton", name="Steps")
    expect(steps).to_be_visible()  # its fold opens
    said = str(steps.evaluate(SAID))
    assert "1000" in said
    expect(page.get_by_text(said)).to_have_attribute("role", "alert")
    steps.fill("4")
    expect(page.get_by_text(said)).to_have_count(0)


def keep_draft(page: Page, num_steps: int) -> None:
    """Change what this browser keeps of the draft, and load the page again."""
    page.get_by_label("Prompt", exact=True).fill("kept")
    page.wait_for_function("JSON.parse(localStorage['darkroom.create.draft'] ?? '{}').prompt === 'kept'")
    page.add_init_script(
        "const draft = JSON.parse(localStorage['darkroom.create.draft'] ?? '{}');"
        f"localStorage['darkroom.create.draft'] = JSON.stringify({{...draft, steps: {num_steps}}});"
    )
    page.reload()


def test_a_draft_with_its_picture_and_mask_survives_a_reload(visitor: Visit) -> None:
    page = enter(visitor)
    compose(page, "half a thought", steps=9)
    page.get_by_label("Seed", exact=True).fill("123")
    drop(page, "own.png", png_of(Image.new("RGB", (192, 192), (90, 140, 200))))
    page.get_by_role("button", name="Paint a part anew").click()
    draw_square(page)
    page.get_by_role("button", name="Done").click()
    page.reload()
    expect(page.get_by_label("Prompt", exact=True)).to_have_value("half a thought")
    expect(number_of(page, "Steps")).to_have_value("9")
    expect(page.get_by_label("Seed", exact=True)).to_have_value("123")
    expect(page.get_by_role("button", name="Change the mask")).to_be_visible()


@pytest.mark.parametrize(("theme", "size"), [("dark", DESK), ("light", PHONE), ("dark", PHONE)])
def test_the_room_looks_the_same_in_every_light(
    browser: Browser, service: Service, theme: str, size: dict[str, int]
) -> None:
    job = asked(service, f"a forest, {theme} {size['width']}", seed=3)
    with visit(browser, service.url, theme=theme, size=size) as visitor:
        page = enter(visitor)
        finished(page.locator(f"[data-job='{job['id']}']"), service)
        assert id_of(page.locator("[data-job]").first) == job["id"]
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        visitor.shoot(f"create-made-{theme}-{size['width']}", is_whole=False)


def test_several_jobs_run_at_once(visitor: Visit, service: Service) -> None:
    page, prompts = enter(visitor), [f"one of several, {number}" for number in range(3)]
    for prompt in prompts:
        compose(page, prompt, steps=30)
        make(page)
    for prompt in prompts:
        finished(cards(page, prompt), service)
    wait_until(lambda: len({id_of(cards(page, prompt)) for prompt in prompts}) == 3)
