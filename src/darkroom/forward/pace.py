"""What jobs take over there, learned from those that ended: for the gateway's forecast of the next ones. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core import Job

LEARN = 0.2  # how much the latest job counts


@dataclass(frozen=True)
class Pace:
    """Seconds: of one step in the company it had, of the rest of a job, of the device for one row in one step."""

    step_s: float
    rest_s: float
    row_s: float

    @property
    def rows(self) -> float:
        """Rows that shared a step."""
        return max(1.0, self.step_s / self.row_s) if self.row_s > 0 else 1.0


def pace_of(job: Job, metrics: Mapping[str, float], seconds: float) -> Pace | None:
    """Of a job that took `seconds` from its start over there to its pictures here; None where that says nothing.

    So does one that went on from a tape: its last attempt did a part of its steps.
    """
    if "resumed_from_step" in metrics:
        return None
    steps, denoise_s = int(job.input.get("num_inference_steps") or 0), metrics.get("denoise_s", 0.0)
    if steps < 1 or denoise_s <= 0:
        return None
    rows = int(job.input.get("num_images_per_prompt") or 1) * (2 if _is_guided(job) else 1)
    return Pace(denoise_s / steps, max(0.0, seconds - denoise_s), metrics.get("device_s", 0.0) / (steps * rows))


def learned(before: Pace | None, latest: Pace) -> Pace:
    """The latest job among those before it."""
    if before is None:
        return latest
    pairs = zip((before.step_s, before.rest_s, before.row_s), (latest.step_s, latest.rest_s, latest.row_s), strict=True)
    return Pace(*(old + LEARN * (new - old) for old, new in pairs))


def _is_guided(job: Job) -> bool:
    guidance = job.input.get("guidance_scale")
    return guidance is None or float(guidance) > 1.0
