"""Steps and previews on their way out: bounded, lossy, and never in the engine's way."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

from PIL import Image

from darkroom.core import Job, Lease
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Limits, Store
from darkroom.storage.encoding import preview_data_url
from darkroom.worker.events import StoreFailed, WorkerEvent
from darkroom.worker.step_box import MOST, StepBox

WAIT_S = 120.0


def box_of(store: Store, heard: list[WorkerEvent]) -> tuple[StepBox, threading.Thread]:
    step_box = StepBox(store, preview_data_url, heard.append)
    return step_box, threading.Thread(target=step_box.run)


def lease_of(job: Job) -> Lease:
    return Lease(job.id, job.fence)


def until_step(store: Store, job_id: str, step: int) -> None:
    end = time.monotonic() + WAIT_S
    while (job := store.get(job_id)) is None or job.step < step:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_only_the_latest_step_is_told_and_a_preview_that_nobody_has_seen_is_kept(store: Store, claimed: Job) -> None:
    step_box, thread = box_of(store, [])
    for step in range(1, 4):
        step_box.put(lease_of(claimed), step, 9, Image.new("RGB", (24, 24)) if step == 2 else None)
    thread.start()
    until_step(store, claimed.id, 3)
    step_box.close()
    thread.join(WAIT_S)
    events = store.events(claimed.id, 0)
    assert [event.data["step"] for event in events if event.type == "progress"] == [3]
    assert [event.data["image"][:23] for event in events if event.type == "preview"] == ["data:image/jpeg;base64,"]


def test_a_step_is_told_with_the_time_at_which_it_happened(store: Store, claimed: Job) -> None:
    step_box, thread = box_of(store, [])
    step_box.put(lease_of(claimed), 1, 9)
    happened_at = time.time()
    time.sleep(0.2)
    thread.start()
    until_step(store, claimed.id, 1)
    step_box.close()
    thread.join(WAIT_S)
    (told,) = [event for event in store.events(claimed.id, 0) if event.type == "progress"]
    assert told.at <= happened_at


def test_a_store_that_is_locked_holds_up_nobody_who_reports(tmp_path: Path, claimed: Job, store: Store) -> None:
    step_box, thread = box_of(store, [])
    with sqlite3.connect(tmp_path / "jobs.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        thread.start()
        for step in range(1, 1000):
            step_box.put(lease_of(claimed), step, 2000)
        other.execute("COMMIT")
    step_box.put(lease_of(claimed), 1500, 2000)
    until_step(store, claimed.id, 1500)
    step_box.close()
    thread.join(WAIT_S)
    assert len([event for event in store.events(claimed.id, 0) if event.type == "progress"]) < 10


def test_a_lost_lease_stops_no_other_report(store: Store, claimed: Job) -> None:
    step_box, thread = box_of(store, [])
    step_box.put(Lease("no such job", 1), 1, 2)
    step_box.put(lease_of(claimed), 1, 2)
    thread.start()
    until_step(store, claimed.id, 1)
    step_box.close()
    thread.join(WAIT_S)


def test_what_is_forgotten_is_not_told(store: Store, claimed: Job) -> None:
    step_box, thread = box_of(store, [])
    step_box.put(lease_of(claimed), 7, 9)
    step_box.forget(lease_of(claimed))
    step_box.put(lease_of(claimed), 8, 9)
    thread.start()
    until_step(store, claimed.id, 8)
    step_box.close()
    thread.join(WAIT_S)
    assert [e.data["step"] for e in store.events(claimed.id, 0) if e.type == "progress"] == [8]


def test_the_box_has_a_bound(store: Store) -> None:
    step_box, _ = box_of(store, [])
    for number in range(MOST + 10):
        step_box.put(Lease(f"j{number}", 1), 1, 2)
    assert len(step_box._notes) == MOST


def test_without_a_store_steps_are_dropped_and_the_loss_is_told(tmp_path: Path) -> None:
    heard: list[WorkerEvent] = []
    store = open_store(f"sqlite:///{tmp_path / 'gone.sqlite3'}", Limits())
    step_box, thread = box_of(store, heard)
    store.close()
    step_box.put(Lease("j1", 1), 1, 2)
    thread.start()
    end = time.monotonic() + WAIT_S
    while not heard:
        assert time.monotonic() < end
        time.sleep(0.01)
    step_box.close()
    thread.join(WAIT_S)
    assert heard == [StoreFailed("reporting a step")]
