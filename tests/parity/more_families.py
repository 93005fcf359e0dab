"""Solvers of SDXL and of the model that ships that `families.py` has no request for, and the latter's inpainting."""

from __future__ import annotations

from functools import cache
from typing import Any

from diffusers import StableDiffusionInpaintPipeline, StableDiffusionPipeline, StableDiffusionXLPipeline

from darkroom.models import solvers
from darkroom.models.inpaint import widened
from tests.parity.families import (
    LAKE,
    LANDSCAPES,
    NIGHT,
    SERVED,
    SKY,
    Family,
    Request,
    ask,
    landscapes,
    picture,
    quiet,
    sdxl_parts,
)
from tests.parity.solvers import DIFFUSION

SDXL_NAMES = ("ddpm", "dpm++2m", "dpm++2m-sde", "lcm", "pndm", "heun")
SMALL = {"height": 192, "width": 192}


@cache
def sdxl_solvers() -> dict[str, Any]:
    parts = sdxl_parts()
    pipes = {name: StableDiffusionXLPipeline(**{**parts, "scheduler": DIFFUSION[name]()}) for name in SDXL_NAMES}
    return quiet(pipes)


def _bundled_names() -> tuple[str, ...]:
    """All that it takes and that no request of `LANDSCAPES` has."""
    own = landscapes()["ddim"].scheduler
    taken, offered = landscapes().keys(), solvers.offered({"_class_name": type(own).__name__, **own.config})
    return tuple(name for name in offered if name not in taken)


@cache
def landscapes_more() -> dict[str, Any]:
    own = landscapes()["ddim"]
    parts = {**own.components, "requires_safety_checker": False}
    made = {name: solvers.build(name, own.scheduler, "landscapes") for name in _bundled_names()}
    pipes = {name: StableDiffusionPipeline(**{**parts, "scheduler": solver}) for name, solver in made.items()}
    return quiet({**pipes, "inpaint": widened(StableDiffusionInpaintPipeline(**parts))})


def _landscape_requests() -> tuple[Request, ...]:
    asked = [
        ask(name, 80 + k, (SKY, LAKE, NIGHT)[k % 3], 2 + k % 3, 2.0 + k, **SMALL)
        for k, name in enumerate(("ddpm", "lcm", "pndm", "heun"))
    ]
    drawn_over = {"image": picture(1, 256), "mask_image": picture(2, 256, "L")}
    return (
        *asked,
        ask("inpaint", 90, "a lighthouse by the sea", 3, 5.0, **drawn_over, strength=0.9),
        ask("inpaint", 91, "snow", 2, 3.0, image=picture(4, 256), mask_image=picture(6, 256, "L")),
    )


SDXL_SOLVERS = Family(
    "sdxl-solvers",
    sdxl_solvers,
    tuple(ask(name, 60 + k, (SKY, LAKE, NIGHT)[k % 3], 2 + k % 3, 2.0 + k) for k, name in enumerate(SDXL_NAMES)),
    "unet",
)
LANDSCAPES_MORE = Family("landscapes+", landscapes_more, _landscape_requests(), "unet", LANDSCAPES.size)
MORE = {family.name: family for family in (SDXL_SOLVERS, LANDSCAPES_MORE)}
SERVED.update(MORE)  # where comparisons look families up
