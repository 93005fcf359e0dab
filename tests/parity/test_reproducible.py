"""In reproducible mode an image's bytes depend on its own request alone."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from tests.parity import company, plain
from tests.parity.families import FAMILIES, LAKE, NIGHT, SKY, Family, Request, ask, quiet

pytestmark = [pytest.mark.parity, pytest.mark.slow]
# Here diffusers itself draws the latents of the one masked image once, from the first image's generator.
_FIRST_GENERATOR_ONLY = {"sd-inpaint9"}
# Here the pipeline projects a list's texts in one go, by a module that no spec is for: rows of another count.
_PROJECTED_TOGETHER = {"stable-audio"}
_LONGER_THAN_A_FORWARD = {"sd2-v", "sd2-v:bf16", "sd3"}  # ten rows with guidance, where a forward has eight


@cache
def _in_bfloat16(name: str) -> dict[str, Any]:
    """The family's pipelines over bfloat16 copies of their modules, shared as the originals are."""
    memo: dict[int, Any] = {}
    pipes = {key: copy.copy(pipe) for key, pipe in FAMILIES[name].pipes().items()}
    for pipe in pipes.values():
        for part, value in list(pipe.__dict__.items()):
            if isinstance(value, torch.nn.Module):
                setattr(pipe, part, copy.deepcopy(value, memo).to(torch.bfloat16))
    return quiet(pipes)


def _family(name: str) -> Family:
    base, _, dtype = name.partition(":")
    family = FAMILIES[base]
    if not dtype:
        return family
    return Family(name, lambda: _in_bfloat16(base), family.requests, family.denoiser, family.size)


@pytest.mark.parametrize("name", [*FAMILIES, "sd2-v:bf16", "flux:bf16"])
def test_bytes_are_the_same_alone_and_at_any_place_in_company(name: str) -> None:
    family = _family(name)
    together = company.hold_alone_and_in_company(family, family.requests)
    if family is FAMILIES.get(name):
        company.hold_against_plain(name, together, "reproducible, to plain")


@pytest.mark.parametrize("name", [*FAMILIES, "sd2-v:bf16", "flux:bf16"])
def test_image_k_of_a_list_has_the_bytes_of_itself_alone(name: str) -> None:
    family = _family(name)
    template = next(request for request in family.requests if not isinstance(request.call["prompt"], list))
    keep = {k: v for k, v in template.call.items() if k not in ("prompt", "num_images_per_prompt", "negative_prompt")}
    prompts = [NIGHT, SKY, LAKE, SKY, NIGHT] if name in _LONGER_THAN_A_FORWARD else [NIGHT, SKY, LAKE]
    alone = [Request(template.pipe, 500 + k, {**keep, "prompt": prompt}) for k, prompt in enumerate(prompts)]
    images = company.one_after_another(family, [*alone, Request(template.pipe, 500, {**keep, "prompt": prompts})])
    for k in range(1 if name in _FIRST_GENERATOR_ONLY else len(prompts)):
        if name in _PROJECTED_TOGETHER:
            np.testing.assert_allclose(images[k][0], images[len(prompts)][k], atol=5e-6)
        else:
            company.hold_bytes(family, "reproducible", images[k][0], images[len(prompts)][k])


def test_a_neighbour_full_of_nan_moves_no_byte() -> None:
    """It must not make the engine find the forward's rows unsteady, and so run everybody's in another regime."""
    family = FAMILIES["sd2-v"]
    nan = torch.full((1, 77, 32), float("nan"))
    call = {**ask("ddim", 9, "", 4, 5.0).call, "prompt": None, "prompt_embeds": nan, "negative_prompt_embeds": nan}
    alone = company.one_after_another(family, family.requests[:2])
    with company.open_engine(family, reproducible=True) as engine:
        engine.submit(model="ddim", seed=9, height=16, width=16, output_type="np", **call)
        handles = [company.submit(engine, family, request) for request in family.requests[:2]]
        images = [plain.pixels(handle.result(timeout=60)) for handle in handles]
    for index, image in enumerate(images):
        company.hold_bytes(family, "reproducible", image, alone[index])


def test_a_reproducible_request_keeps_its_bytes_among_requests_that_are_not() -> None:
    family = FAMILIES["sd2-v"]
    alone = company.one_after_another(family, family.requests[:1])[0]
    with company.open_engine(family) as engine:
        handles = [company.submit(engine, family, request) for request in family.requests]
        handle = company.submit(engine, family, family.requests[0], reproducible=True)
        handles += [company.submit(engine, family, request) for request in family.requests]
        image = plain.pixels(handle.result(timeout=60))
    company.hold_bytes(family, "reproducible", image, alone)
