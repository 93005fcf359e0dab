"""What a job asks, as a request that the model's pipeline can be called with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..config import PresetSettings
from ..core import Job
from ..models.offer import Offer
from ..models.request import PICTURES, ImageRequest, validate
from .adapting import with_asked

if TYPE_CHECKING:
    from PIL import Image

# Said at the door and settled there: the preset became numbers, the task stands on the job.
SETTLED = ("preset", "task", "reproducible", *PICTURES)
TOLD = ("reproducible", *PICTURES)  # of a plain pipeline, whose inputs may have any other name
BASE = ("num_inference_steps", "guidance_scale", "solver")


def request_of(job: Job, pictures: Mapping[str, Image.Image], offer: Offer) -> ImageRequest:
    """The request, judged once more: the model may have changed since the door took it.

    A job's input is complete. What it leaves out (guidance, solver) is the pipeline's own, not that of a preset which
    the model has by now. Raises `BadInput`.
    """
    if offer.form is not None:
        own = {name: value for name, value in job.input.items() if name not in TOLD}
        return validate({**own, **pictures, "task": job.task}, offer)
    said = {name: value for name, value in job.input.items() if name not in SETTLED and value is not None}
    base = PresetSettings.model_validate({name: said[name] for name in BASE if name in said})
    return validate({**said, **pictures, "task": job.task}, with_asked(offer, job), base)


def is_reproducible(job: Job) -> bool:
    """Whether the same request is to give the same pixels in any company."""
    said: Any = job.input.get("reproducible", False)
    return bool(said)
