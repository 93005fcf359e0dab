"""Create with models that take what others do not: frames, seconds, image prompts, margins, refiners."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from diffusers import StableDiffusionPipeline
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.control_files import LANDSCAPES
from tests.integration.service import Service, served
from tests.media_files import frames_of, need_av, samples_of, save_audio_model, save_video_model
from tests.parity.wider_families import refined
from tests.piece_files import save_ip_adapter

from .browser import DESK, PHONE, Visit, visit
from .composing import bytes_of, cards, drop, finished, job_of, make, more, number_of, png_of

pytestmark = pytest.mark.filterwarnings("ignore")

MODELS = """
[models.waves]
path = "{waves}"
[models.sea]
path = "{sea}"
[models.prompted]
path = "{landscapes}"
ip_adapter = "{ip}"
[models.base]
path = "{base}"
refiner = "refiner"
default_size = [64, 64]
[models.refiner]
path = "{refiner}"
default_size = [64, 64]
"""
START = Image.linear_gradient("L").resize((192, 192)).convert("RGB")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    need_av()
    home, files = tmp_path_factory.mktemp("kinds"), tmp_path_factory.mktemp("models")
    save_ip_adapter(StableDiffusionPipeline.from_pretrained(LANDSCAPES, local_files_only=True).unet, files / "ip")
    parts = refined()
    parts["text"].save_pretrained(files / "base")
    parts["drawn-over"].save_pretrained(files / "refiner")
    folders: dict[str, Path] = {
        "waves": save_video_model(files / "waves", "wan"),
        "sea": save_audio_model(files / "sea"),
        "landscapes": LANDSCAPES,
        **{name: files / name for name in ("ip", "base", "refiner")},
    }
    (home / "darkroom.toml").write_text(MODELS.format(**folders))
    with served(home) as service:
        yield service


def enter(visitor: Visit, model: str, prompt: str) -> Page:
    """Create with that model and those words."""
    page = visitor.go()
    page.get_by_label("Model", exact=True).select_option(model)
    page.get_by_label("Prompt", exact=True).fill(prompt)
    return page


def played(card: Locator, service: Service) -> dict[str, Any]:
    """The job of a card once it can be saved."""
    expect(card.get_by_role("button", name="Download")).to_be_visible()
    return job_of(card, service)


def test_a_video_has_the_frames_that_were_asked_for_and_is_played(visitor: Visit, service: Service) -> None:
    page, prompt = enter(visitor, "waves", "waves at night"), "waves at night"
    frames, rate = number_of(page, "Frames"), number_of(page, "Frames a second")
    expect(frames).to_have_value("81")
    frames.fill("10")
    frames.press("Tab")
    expect(frames).to_have_value("9")  # one more than a multiple of 4
    rate.fill("12")
    page.get_by_label("Reproducible").check()
    expect(page.get_by_text("0.8\u00a0s of video.")).to_be_visible()
    expect(page.get_by_label("Seconds", exact=True)).to_have_count(0)
    expect(page.get_by_role("group", name="Format")).to_have_count(0)
    visitor.shoot("create-video")
    make(page)
    card = cards(page, prompt)
    job = played(card, service)
    assert [job["input"][name] for name in ("num_frames", "frame_rate")] == [9, 12]
    shown, shown_rate = frames_of(bytes_of(job, service))
    assert (len(shown), shown_rate) == (9, 12)
    card.get_by_role("button", name=prompt).click()
    video = page.get_by_role("dialog").locator("video[controls]")
    expect(video).to_have_js_property("error", None)
    box = video.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= DESK["height"]  # its controls are seen
    visitor.shoot("create-video-open", is_whole=False)
    page.keyboard.press("Escape")
    frames.fill("5")
    more(card, "Use these settings")
    expect(frames).to_have_value("9")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    more(card, "Copy settings as JSON")
    expect(page.get_by_text("Settings copied")).to_be_visible()
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))["input"]
    assert (copied["num_frames"], copied["frame_rate"]) == (9, 12)
    more(card, "Repeat exactly")
    expect(cards(page, prompt)).to_have_count(2)
    assert bytes_of(played(cards(page, prompt).first, service), service) == bytes_of(job, service)


def test_a_sound_is_as_long_as_was_asked_for_and_is_played(visitor: Visit, service: Service) -> None:
    page, prompt = enter(visitor, "sea", "a dog barks twice"), "a dog barks twice"
    seconds = number_of(page, "Seconds")
    expect(seconds).to_have_value("4")
    seconds.fill("2.5")
    expect(page.get_by_label("Frames", exact=True)).to_have_count(0)
    expect(page.get_by_role("group", name="Number of sounds")).to_be_visible()
    make(page)
    card = cards(page, prompt)
    job = played(card, service)
    assert job["input"]["audio_end_in_s"] == 2.5
    samples, rate = samples_of(bytes_of(job, service))
    assert len(samples) / rate == pytest.approx(2.5, abs=0.05)
    expect(card).not_to_contain_text("×")  # what is heard has no size
    visitor.shoot("create-sound")
    card.get_by_role("button", name=prompt).click()
    expect(page.get_by_role("dialog").locator("audio[controls]")).to_be_visible()


def test_a_picture_prompts_and_another_is_painted_on(visitor: Visit, service: Service) -> None:
    page, prompt = enter(visitor, "prompted", "a lake"), "a lake"
    number_of(page, "Steps").fill("2")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Prompt with a picture").click()
    chosen.value.set_files({"name": "own.png", "mimeType": "image/png", "buffer": png_of(START)})
    page.get_by_role("spinbutton", name="Image prompt scale").fill("0.6")
    drop(page, "start.png", png_of(START))
    page.get_by_role("radio", name="320 by 192 pixels").click()
    right = page.get_by_role("group", name="Paint beyond its edges").get_by_label("Right", exact=True)
    right.fill("64")
    right.press("Tab")
    expect(page.get_by_text("The picture is 256 × 192 of 320 × 192.")).to_be_visible()
    expect(page.get_by_role("button", name="Paint a part anew")).to_have_count(0)
    visitor.shoot("create-outpaint")
    assert visitor.violations() == []
    right.fill("128")
    right.press("Enter")  # makes it with what has just been written
    expect(right).to_be_focused()
    job = finished(cards(page, prompt), service)
    margins = {"left": 0, "right": 128, "top": 0, "bottom": 0}
    assert (job["task"], job["input"]["outpaint"], job["input"]["ip_adapter_scale"]) == ("inpaint", margins, 0.6)
    assert Image.open(io.BytesIO(bytes_of(job, service))).size == (320, 192)
    page.get_by_role("button", name="Without the image prompt").click()
    right.fill("0")
    right.press("Tab")
    more(cards(page, prompt), "Use these settings")
    expect(right).to_have_value("128")
    expect(page.get_by_role("spinbutton", name="Image prompt scale")).to_have_value("0.6")
    page.reload()
    expect(right).to_have_value("128")
    expect(page.get_by_role("spinbutton", name="Image prompt scale")).to_have_value("0.6")


def test_a_refiner_takes_the_last_steps_and_a_dropped_png_says_so(browser: Browser, service: Service) -> None:
    with visit(browser, service.url, size=PHONE) as visitor:
        page, prompt = enter(visitor, "base", "a red barn"), "a red barn"
        number_of(page, "Steps").fill("4")
        page.get_by_label("With refiner").check()
        number_of(page, "Refiner").fill("0.5")
        expect(page.get_by_text("The model takes 2 of 4 steps, the refiner the last 2.")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        visitor.shoot("create-refiner-phone")
        make(page)
        job = finished(cards(page, prompt), service)
        assert job["input"]["denoising_end"] == 0.5
        page.get_by_label("With refiner").uncheck()
        drop(page, "barn.png", bytes_of(job, service))
        expect(page.get_by_text("Its settings are back")).to_be_visible()
        expect(number_of(page, "Refiner")).to_have_value("0.5")
