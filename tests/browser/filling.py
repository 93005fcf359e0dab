"""A store with many finished jobs and their pictures, made without a model: what the Library is looked at with."""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from PIL import Image

from darkroom.core import Artifact, Job, Lease, NewJob
from darkroom.jobs.opening import open_store
from darkroom.jobs.store import Claimant, Store
from darkroom.storage.objects import key_for_output

TENANT, MODEL = "local", "landscapes"
PLACES = ("lake", "forest", "desert", "harbour", "valley", "meadow", "island", "glacier")
SKIES = ("sunset", "full moon", "thunderstorm", "clear morning", "fog", "northern lights")
SIZES = ((256, 256), (320, 192), (192, 320))
FIRST_SEED = 1000
PART = 50  # jobs that are accepted at one moment
INTERVAL_S = 200.0  # between two jobs, on the average
COLOURS = 47


@dataclass(frozen=True)
class Made:
    """A job to put into the store: the `number` of it says all of it."""

    number: int

    @property
    def size(self) -> tuple[int, int]:
        return SIZES[self.number % 5 % len(SIZES)]

    @property
    def prompt(self) -> str:
        place, sky = PLACES[self.number % len(PLACES)], SKIES[self.number % len(SKIES)]
        return f"{place} under a {sky}, number {self.number}"

    def job(self) -> NewJob:
        (width, height), steps = self.size, 10 if self.number % 2 else 30
        said: dict[str, Any] = {
            "prompt": self.prompt,
            "negative_prompt": "people" if self.number % 10 == 0 else "",
            "num_inference_steps": steps,
            "guidance_scale": 4.0,
            "width": width,
            "height": height,
            "num_images_per_prompt": 1,
            "seed": FIRST_SEED + self.number,
            "solver": "dpm++2m",
            "adapters": {"neon": 0.8} if self.number % 7 == 0 else {},
        }
        return NewJob(f"job-{uuid4().hex}", TENANT, MODEL, "text-to-image", said, steps=steps)


def fill(home: Path, count: int) -> list[str]:
    """Put `count` succeeded jobs of one picture each into the store and the storage at `home`; ids, oldest first.

    Job k has the prompt "PLACE under a SKY, number k" and the seed 1000 + k. No service may be there yet.
    """
    home.mkdir(parents=True, exist_ok=True)
    store, begin, ids = open_store(f"sqlite:///{home / 'jobs.sqlite3'}"), time.time() - (count + 1) * INTERVAL_S, []
    pictures = {(size, tint): _picture(size, tint) for size in SIZES for tint in range(COLOURS)}
    try:
        for start in range(0, count, PART):
            numbers = range(start, min(start + PART, count))
            for job in _claimed(store, numbers, begin + start * INTERVAL_S):
                made = Made(job.input["seed"] - FIRST_SEED)
                _finish(store, home, job, pictures[made.size, made.number % COLOURS])
                ids.append(job.id)
    finally:
        store.close()
    return ids


def _claimed(store: Store, numbers: range, now: float) -> list[Job]:
    store.insert([Made(number).job() for number in numbers], now)
    jobs = store.claim(Claimant("filler", (MODEL,), (MODEL,)), len(numbers), now + 1)
    assert len(jobs) == len(numbers), f"{len(jobs)} of {len(numbers)} jobs were given out"
    return jobs


def _finish(store: Store, home: Path, job: Job, picture: bytes) -> None:
    key = key_for_output(job.id, job.fence, 0, ".png")
    path = home / "artifacts" / key
    path.parent.mkdir(parents=True)
    path.write_bytes(picture)  # not the durable way: nobody minds what a power cut would leave of this
    ended, what = job.times["created"] + 3.0, {name: job.input[name] for name in ("width", "height", "seed")}
    output = Artifact(uuid4().hex, TENANT, key, "image/png", len(picture), ended, job.id, **what)
    metrics = {"queued_s": 1.0, "denoise_s": 1.8, "decode_s": 0.1, "device_s": 1.9, "cost_usd": 0.0004}
    store.complete(Lease(job.id, job.fence), [output], metrics, ended)


def _picture(size: tuple[int, int], tint: int) -> bytes:
    """A PNG with a sky and a ground whose colours tell pictures apart."""
    picture, buffer = Image.new("HSV", size, (tint * 255 // COLOURS, 110, 215)), io.BytesIO()
    picture.paste((tint * 97 % 255, 150, 95), (0, size[1] * 3 // 5, *size))
    picture.convert("RGB").save(buffer, "png")
    return buffer.getvalue()
