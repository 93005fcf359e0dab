"""The Fleet with two workers: jobs seen batch by batch, a worker that dies, one that is drained; and signing in."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from darkroom.core import Allowance
from darkroom.jobs.opening import open_store
from tests.integration.callers import add_key
from tests.integration.service import QUICK, Service, served, wait_until

from .browser import PHONE, Visit, visit

WORKERS = 2
MANY_STEPS = 60
LEFT = re.compile(r"^left \d+\ss ago$")
# How many pixels of a small copy of a canvas have a colour that is no grey. A large one takes seconds to read, in which
# the page could not ask for batches.
COLOURED = """canvas => {
    const pen = new OffscreenCanvas(120, 24).getContext("2d", {willReadFrequently: true});
    pen.drawImage(canvas, 0, 0, 120, 24);
    const {data} = pen.getImageData(0, 0, 120, 24);
    let found = 0;
    for (let at = 0; at < data.length; at += 4) {
        const [red, green, blue] = [data[at], data[at + 1], data[at + 2]];
        if (data[at + 3] > 100 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) found += 1;
    }
    return found;
}"""


@dataclass(frozen=True)
class Guarded:
    """A service that asks for keys, and two keys that it knows."""

    service: Service
    operator: str
    user: str

    def ask(self, method: str, path: str, *, key: str = "", **what: Any) -> Any:
        headers = {"Authorization": f"Bearer {key or self.operator}", "Idempotency-Key": uuid4().hex}
        answer = self.service.ask(method, path, headers=headers, **what)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def submit(self, prompt: str, steps: int, *, key: str = "", **said: Any) -> str:
        body = {"input": {**QUICK, "prompt": prompt, "num_inference_steps": steps}, **said}
        return str(self.ask("POST", "/jobs", key=key, json=body)["id"])

    def workers(self) -> list[str]:
        return [str(worker["id"]) for worker in self.ask("GET", "/workers")["data"] if worker["state"] == "ready"]

    def cancel_all(self) -> None:
        for job in self.ask("GET", "/jobs", params={"limit": 200})["data"]:
            if job["state"] in ("scheduled", "queued", "running"):
                self.ask("POST", f"/jobs/{job['id']}/cancel")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    home: Path = tmp_path_factory.mktemp("fleet")
    (home / "darkroom.toml").write_text(f"[serve]\nworkers = {WORKERS}\n")
    store = open_store(f"sqlite:///{home / 'jobs.sqlite3'}")
    try:
        operator, user = add_key(store, "boss", "operator"), add_key(store, "owl", allowance=Allowance(live_jobs=4))
    finally:
        store.close()
    with served(home, OMP_NUM_THREADS="1") as service:
        guarded = Guarded(service, operator.shown, user.shown)
        wait_until(lambda: len(guarded.workers()) == WORKERS)
        yield guarded


@pytest.fixture
def visitor(browser: Browser, guarded: Guarded) -> Iterator[Visit]:
    with visit(browser, guarded.service.url) as visitor:
        yield visitor
    guarded.cancel_all()


def sign_in(page: Page, key: str) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Sign in").click()


def enter(visitor: Visit, key: str) -> Page:
    """The room, signed in with the key."""
    page = visitor.go("fleet")
    sign_in(page, key)
    expect(page.get_by_role("heading", name="Fleet", level=1)).to_be_visible()
    return page


def lanes(page: Page) -> Locator:
    return page.get_by_role("slider", name="Batches of")


def coloured(page: Page) -> int:
    return sum(int(canvas.evaluate(COLOURED)) for canvas in lanes(page).locator("canvas").all())


def drawn(page: Page, at_least: int = 40) -> None:
    """Wait until that many coloured pixels stand in the lanes."""
    wait_until(lambda: coloured(page) >= at_least, 60)


def test_a_wrong_key_is_refused_in_words_and_the_right_one_opens(visitor: Visit, guarded: Guarded) -> None:
    page = visitor.go()
    sign_in(page, guarded.user[:-3] + "abc")
    expect(page.get_by_role("alert")).to_contain_text("That key opens nothing here")
    expect(page.get_by_label("API key")).to_be_focused()
    assert visitor.violations() == []
    sign_in(page, guarded.user)
    expect(page.get_by_role("navigation", name="Rooms")).to_be_visible()
    page.get_by_role("button", name="owl: your account").click()
    expect(page.get_by_role("dialog")).to_contain_text("Jobs under way")
    expect(page.get_by_role("dialog")).to_contain_text("0 of 4")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_the_room_is_for_operators_and_says_so_to_others(visitor: Visit, guarded: Guarded) -> None:
    page = enter(visitor, guarded.user)
    expect(page.get_by_text("This room is for operators")).to_be_visible()
    assert lanes(page).count() == 0


def test_jobs_are_seen_batch_by_batch_and_can_be_followed_by_keys(visitor: Visit, guarded: Guarded) -> None:
    page = enter(visitor, guarded.operator)
    expect(lanes(page)).to_have_count(WORKERS)
    assert coloured(page) == 0
    prompts = [f"a lighthouse, number {number}" for number in range(4)]
    for prompt in prompts:
        guarded.submit(prompt, MANY_STEPS)
    drawn(page)
    legend = page.get_by_role("list", name="Jobs in these batches")
    for prompt in prompts:
        expect(legend.get_by_role("button", name=prompt)).to_be_visible()
    expect(page.get_by_role("progressbar")).to_have_count(len(prompts))
    page.get_by_role("button", name="Pause").click()
    lane = next(lane for lane in lanes(page).all() if lane.locator("canvas").evaluate(COLOURED))
    lane.press("End")
    newest = int(lane.get_attribute("aria-valuenow") or 0)
    lane.press("ArrowLeft")
    assert int(lane.get_attribute("aria-valuenow") or 0) < newest
    assert f"Batch {lane.get_attribute('aria-valuenow')}" in (lane.get_attribute("aria-valuetext") or "")
    lane.press("Enter")
    expect(legend.locator("[aria-pressed=true]")).to_have_count(1)
    before = coloured(page)
    time.sleep(0.5)
    assert coloured(page) == before  # it stands still
    visitor.shoot("fleet-light")
    assert visitor.violations() == []


def test_others_steps_are_heard_as_they_run_with_the_key_in_a_header(visitor: Visit, guarded: Guarded) -> None:
    page, asked = enter(visitor, guarded.operator), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    guarded.submit("somebody else's bay", 1000, key=guarded.user)
    step = page.get_by_text(re.compile(r"^step \d+ of 1000$"))
    expect(step).to_be_visible()
    page.route("**/v1/jobs?*", lambda route: None)  # lists come no more
    with page.expect_request("**/v1/jobs?*"):
        pass
    before = step.inner_text()
    expect(step).not_to_have_text(before)
    expect(page.get_by_role("listitem").filter(has_text="somebody").locator("img[src^='data:image/']")).to_be_visible()
    assert not [url for url in asked if "all=true" in url and "token=" in url]
    page.unroute("**/v1/jobs?*")


def test_a_waiting_job_is_moved_and_cancelled_once_that_is_confirmed(visitor: Visit, guarded: Guarded) -> None:
    job = guarded.submit("a bay tomorrow", 4, run_at=time.time() + 3600)
    page = enter(visitor, guarded.operator)
    page.get_by_role("radio", name="Scheduled").click()
    page.get_by_role("button", name="Priority of “a bay tomorrow”").click()
    page.get_by_label("Priority", exact=True).fill("200")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("from -100 to 100")
    page.get_by_label("Priority", exact=True).fill("7")
    page.get_by_role("button", name="Change", exact=True).click()
    expect(page.get_by_text("priority 7")).to_be_visible()
    assert guarded.ask("GET", f"/jobs/{job}")["priority"] == 7
    page.get_by_role("button", name="Cancel “a bay tomorrow”").click()
    page.get_by_role("button", name="Keep as it is").click()
    assert guarded.ask("GET", f"/jobs/{job}")["state"] == "scheduled"
    page.get_by_role("button", name="Cancel “a bay tomorrow”").click()
    page.get_by_role("button", name="Cancel the job").click()
    wait_until(lambda: guarded.ask("GET", f"/jobs/{job}")["state"] == "cancelled")
    expect(page.get_by_text("a bay tomorrow")).to_have_count(0)


def test_a_worker_is_drained_once_that_is_confirmed(visitor: Visit, guarded: Guarded) -> None:
    page = enter(visitor, guarded.operator)
    chosen = guarded.workers()[0]
    page.get_by_role("button", name=f"Drain {chosen}").click()
    page.get_by_role("button", name="Keep as it is").click()
    assert chosen in guarded.workers()
    page.get_by_role("button", name=f"Drain {chosen}").click()
    page.get_by_role("button", name="Drain", exact=True).click()
    expect(page.get_by_text("takes no more jobs, and ends")).to_be_visible()
    wait_until(lambda: chosen not in guarded.workers())
    expect(page.get_by_role("button", name=f"Drain {chosen}")).to_be_disabled()
    expect(page.get_by_text(LEFT).first).to_be_visible()
    expect(page.get_by_text("lost, heard")).to_have_count(0)
    visitor.shoot("fleet-left")
    expect(page.get_by_role("button", name=f"Drain {chosen}")).to_have_count(0, timeout=60_000)


def test_a_worker_that_dies_is_shown_as_lost(browser: Browser, guarded: Guarded) -> None:
    with visit(browser, guarded.service.url, theme="dark", size=PHONE) as visitor:
        page = enter(visitor, guarded.operator)
        ids = guarded.workers()
        for number in range(4):
            guarded.submit(f"a harbour, number {number}", MANY_STEPS)
        drawn(page)
        visitor.shoot("fleet-phone-dark")
        guarded.service.kill("worker")
        expect(page.get_by_text("lost, heard").first).to_be_visible()
        visitor.shoot("fleet-lost")
        wait_until(lambda: set(guarded.workers()) - set(ids) != set())
        assert visitor.violations() == []
    guarded.cancel_all()
