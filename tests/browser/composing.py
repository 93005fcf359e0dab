"""The Create room as somebody at it uses it: the composer, the cards of jobs, pictures dropped on the page."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

from PIL import Image
from playwright.sync_api import Locator, Page, expect

from tests.integration.service import Service, wait_until

DROP = """([name, type, data]) => {
    const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([bytes], name, { type }));
    for (const kind of ["dragover", "drop"])
        document.body.dispatchEvent(new DragEvent(kind, { bubbles: true, cancelable: true, dataTransfer }));
}"""


def compose(page: Page, prompt: str, *, steps: int = 4) -> None:
    """Say what to make, at the smallest size."""
    page.get_by_label("Prompt", exact=True).fill(prompt)
    page.get_by_role("radio", name="192 by 192 pixels").click()
    number_of(page, "Steps").fill(str(steps))


def number_of(page: Page, label: str) -> Locator:
    """The number of a setting that is folded away, unfolded."""
    fold = page.locator("details", has=page.get_by_text("Advanced"))
    if fold.get_attribute("open") is None:
        page.get_by_text("Advanced").click()
    return page.get_by_role("spinbutton", name=label, exact=True)


def make(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Make")).click()


def cards(page: Page, prompt: str) -> Locator:
    return page.get_by_role("article", name=prompt, exact=True)


def job_of(card: Locator, service: Service) -> dict[str, Any]:
    """The job behind a card, as the API has it."""
    return service.job(id_of(card))


def id_of(card: Locator) -> str:
    expect(card).to_have_attribute("data-job", re.compile("^job-"))
    return str(card.get_attribute("data-job"))


def finished(card: Locator, service: Service) -> dict[str, Any]:
    """The job once its card shows the picture."""
    expect(card.get_by_role("button", name="Download")).to_be_visible()
    expect(card.locator("img").first).to_have_js_property("complete", True)
    wait_until(lambda: int(card.locator("img").first.evaluate("img => img.naturalWidth")) > 0)
    return job_of(card, service)


def bytes_of(job: dict[str, Any], service: Service) -> bytes:
    """The first picture of a job."""
    answer = service.ask("GET", f"/artifacts/{job['outputs'][0]['artifact_id']}")
    assert answer.status_code == 200, answer.text
    return answer.content


def pixels_of(job: dict[str, Any], service: Service) -> Image.Image:
    return Image.open(io.BytesIO(bytes_of(job, service))).convert("RGB")


def png_of(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "png")
    return buffer.getvalue()


def drop(page: Page, name: str, contents: bytes, kind: str = "image/png") -> None:
    """Drop a file on the page."""
    page.evaluate(DROP, [name, kind, base64.b64encode(contents).decode()])


def more(card: Locator, item: str) -> None:
    """Choose something of what a card has in its menu."""
    card.get_by_role("button", name="More").click()
    card.page.get_by_role("menuitem", name=re.compile(f"^{item}")).click()
