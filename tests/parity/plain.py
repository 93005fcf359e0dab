"""The plain call that every served result is held against, and how far plain diffusers is from itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from tests.parity.families import Family, Request


def generators(seed: int, images: int) -> torch.Generator | list[torch.Generator]:
    """One generator an image, seeded `seed + k`."""
    made = [torch.Generator("cpu").manual_seed(seed + k) for k in range(images)]
    return made if images > 1 else made[0]


def arguments(family: Family, request: Request, output_type: str = "np") -> dict[str, Any]:
    """Keyword arguments of the pipeline's call; image tasks take their size from the image."""
    size = {} if "image" in request.call else family.size
    return {**size, **request.call, "output_type": output_type}


def pixels(output: Any) -> np.ndarray:
    """Images, frames or samples, rows first, as the pipeline gave them."""
    images = next(getattr(output, name) for name in ("images", "frames", "audios") if hasattr(output, name))
    return images.float().numpy() if isinstance(images, torch.Tensor) else np.asarray(images)


def run(family: Family, request: Request, output_type: str = "np") -> np.ndarray:
    """The pipeline called as its own documentation says, alone."""
    torch.manual_seed(request.seed)
    call = arguments(family, request, output_type)
    return pixels(family.pipes()[request.pipe](**call, generator=generators(request.seed, request.images)))


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_a_list(request: Request) -> Request:
    """The same request with two more images behind it; image tasks repeat their image by themselves."""
    prompt = request.call["prompt"]
    if isinstance(prompt, list):
        return replace(request, call={**request.call, "prompt": [*prompt, prompt[0], prompt[-1]]})
    return replace(request, call={**request.call, "prompt": [prompt] * 3, **_in_lists(request.call, 3)})


def _in_lists(call: dict[str, Any], count: int) -> dict[str, Any]:
    return {name: [call[name]] * count for name in ("negative_prompt", "prompt_2") if name in call}


def own_noise(family: Family, request: Request, reference: np.ndarray, output_type: str = "np") -> float:
    """Largest difference of plain diffusers to itself: one and two threads, alone and in a list."""
    with threads(3 - torch.get_num_threads()):
        differences = [largest_difference(run(family, request, output_type), reference)]
    if request.call.get("num_images_per_prompt", 1) == 1 and not isinstance(request.call.get("image"), list):
        company = run(family, in_a_list(request), output_type)
        differences.append(largest_difference(company[: len(reference)], reference))
    return max(differences)


def largest_difference(left: np.ndarray, right: np.ndarray) -> float:
    assert left.shape == right.shape
    return float(np.abs(left.astype(np.float64) - right.astype(np.float64)).max())
