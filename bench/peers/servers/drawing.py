"""What every peer makes of a batch, so that they differ in how they gather it alone: plain diffusers, a call for those
that one call can hold.

It runs in the peers' environments, which do not have Darkroom: settings come from the environment as PEER_ and a name.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Settings:
    """`most` requests of a batch, of which the first waits `window_s` seconds at most for the others.

    `instances` of the model run, each with so many `threads`.
    """

    model: str
    threads: int
    most: int
    window_s: float
    port: int
    instances: int


@dataclass(frozen=True)
class Asked:
    """One picture."""

    prompt: str
    steps: int
    guidance: float
    width: int
    height: int
    seed: int

    @property
    def kind(self) -> tuple[int, float, int, int]:
        """What a call of a pipeline can hold only one of."""
        return self.steps, self.guidance, self.width, self.height


def settings() -> Settings:
    """As the bench says them."""
    said = os.environ
    return Settings(
        said["PEER_MODEL"],
        int(said["PEER_THREADS"]),
        int(said["PEER_MOST"]),
        float(said["PEER_WINDOW_S"]),
        int(said["PEER_PORT"]),
        int(said["PEER_INSTANCES"]),
    )


def read(said: Mapping[str, Any]) -> Asked:
    """A request's JSON."""
    return Asked(
        str(said["prompt"]),
        int(said["steps"]),
        float(said["guidance"]),
        int(said["width"]),
        int(said["height"]),
        int(said["seed"]),
    )


def alike(batch: Sequence[Asked]) -> list[list[int]]:
    """The places in a batch of those that one call can hold, in the order of the first of each."""
    groups: dict[Any, list[int]] = {}
    for place, asked in enumerate(batch):
        groups.setdefault(asked.kind, []).append(place)
    return list(groups.values())


class Model:
    """The pipeline in float32, with the solver of Darkroom's default preset."""

    def __init__(self, folder: str, threads: int) -> None:
        import torch
        from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

        torch.set_num_threads(threads)
        self._pipe = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
        self._pipe.scheduler = DPMSolverMultistepScheduler.from_config(self._pipe.scheduler.config)
        self._pipe.set_progress_bar_config(disable=True)

    def draw(self, batch: Sequence[Asked]) -> list[str]:
        """A PNG in base64 for each, in their order; a call for each group of equals."""
        pictures = [""] * len(batch)
        for places in alike(batch):
            for place, picture in zip(places, self._together([batch[place] for place in places]), strict=True):
                pictures[place] = _png(picture)
        return pictures

    def _together(self, asked: Sequence[Asked]) -> Sequence[Any]:
        from torch import Generator

        first = asked[0]
        drawn = self._pipe(
            [each.prompt for each in asked],
            num_inference_steps=first.steps,
            guidance_scale=first.guidance,
            width=first.width,
            height=first.height,
            generator=[Generator("cpu").manual_seed(each.seed) for each in asked],
        )
        pictures: Sequence[Any] = drawn.images
        return pictures


def _png(picture: Any) -> str:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
