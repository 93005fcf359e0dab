"""Jobs as a store would hand them out."""

from __future__ import annotations

from typing import Any

from darkroom.core import Job, JobState, NewJob

QUICK = {"num_inference_steps": 2, "guidance_scale": 4.0, "width": 192, "height": 192, "solver": "dpm++2m"}


def new_job(job_id: str, *, now: float, task: str = "text-to-image", **said: Any) -> NewJob:
    """A quick request to the bundled model; `said` are inputs, and fields of the job where it has them."""
    fields = {name: said.pop(name) for name in list(said) if name in NewJob.__dataclass_fields__}
    asked = {"prompt": "a red barn", "seed": 7, **QUICK, **said}
    steps = asked["num_inference_steps"] * asked.get("num_images_per_prompt", 1)
    given = {"tenant": "local", "model": "landscapes", "cost_s": 0.5, "steps": steps, **fields}
    return NewJob(id=job_id, task=task, input=asked, **given)


def running_job(**said: Any) -> Job:
    """One that is claimed for the first time."""
    given: dict[str, Any] = {
        "id": "j1",
        "state": JobState.RUNNING,
        "tenant": "local",
        "model": "landscapes",
        "task": "text-to-image",
        "input": {"prompt": "a red barn", "seed": 7, **QUICK},
        "output": {},
        "metadata": {},
        "warnings": (),
        "priority": 0,
        "rank": 0.0,
        "cost_s": 0.5,
        "steps": 2,
        "step": 0,
        "attempt": 1,
        "max_attempts": 3,
        "fence": 1,
        "worker": "w1",
        "is_suspect": False,
        "is_cancelling": False,
        "lease_until": None,
        "deadline_at": None,
        "run_at": None,
        "webhook": None,
        "idempotency_key": None,
        "request_id": "r1",
        "times": {"created": 100.0, "queued": 100.0, "started": 103.0},
        "outputs": (),
        "metrics": {},
        "errors": (),
    }
    return Job(**{**given, **said})
