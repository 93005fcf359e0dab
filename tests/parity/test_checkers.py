"""Safety checkers share forwards as everybody does, and say what they say alone."""

from __future__ import annotations

import contextvars
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from darkroom.engine.call import Call
from darkroom.engine.engine import Engine
from darkroom.engine.fiber import Cancelled, Fiber
from darkroom.engine.hook import HookedMethod
from darkroom.engine.spec_table import find, heavy_part_of
from tests.parity import company, plain
from tests.parity.families import LAKE, NIGHT, SKY, Family, ask, quiet, sd_parts
from tests.parity.tiny_checker import checker, extractor

pytestmark = [pytest.mark.parity, pytest.mark.slow]
THRESHOLD = 0.32  # far from every score of these pictures, of which two are above
REQUESTS = (
    ask("checked", 81, SKY, 3, 4.0),
    ask("checked", 82, LAKE, 4, 3.0, num_images_per_prompt=2),
    ask("checked", 83, NIGHT, 5, 1.0),
    ask("checked", 84, [LAKE, NIGHT], 2, 6.0),
)


@cache
def checked() -> dict[str, Any]:
    parts = sd_parts(safety_checker=checker(THRESHOLD), feature_extractor=extractor(), requires_safety_checker=True)
    return quiet({"checked": StableDiffusionPipeline(**parts)})


FAMILY = Family("sd-checked", checked, REQUESTS, "unet")


def plain_verdicts(request: Any) -> list[bool]:
    call = plain.arguments(FAMILY, request)
    pipe = checked()["checked"]
    return list(pipe(**call, generator=plain.generators(request.seed, request.images)).nsfw_content_detected)


def test_pictures_and_verdicts_are_those_of_plain_calls() -> None:
    references = [plain.run(FAMILY, request) for request in REQUESTS]
    verdicts = [plain_verdicts(request) for request in REQUESTS]
    assert {True, False} == {verdict for some in verdicts for verdict in some}, "the tiny checker tells nothing apart"
    with company.open_engine(FAMILY) as engine:
        handles = [company.submit(engine, FAMILY, request) for request in REQUESTS]
        outputs = [handle.result(60) for handle in handles]
        stats = engine.stats()
    assert [list(output.nsfw_content_detected) for output in outputs] == verdicts
    for request, output, reference in zip(REQUESTS, outputs, references, strict=True):
        company.hold(FAMILY, request, plain.pixels(output), reference, "checked")
    assert stats["modules"]["safety_checker.vision_model"]["calls"] == len(REQUESTS)
    assert "safety_checker" not in stats["modules"]
    assert all(handle.metrics["host_s"] > 0 for handle in handles)


def test_the_checks_of_requests_that_end_together_share_a_forward() -> None:
    """A long request keeps the engine busy, so that what ends in pairs is checked in pairs."""
    pipe = checked()["checked"]
    slow = pipe.unet.register_forward_pre_hook(lambda *_: time.sleep(0.05))
    call = plain.arguments(FAMILY, REQUESTS[0])
    try:
        with Engine(pipe) as engine:
            engine.submit(seed=9, **{**call, "num_inference_steps": 30})
            for seed in range(6):
                engine.submit(seed=seed, **{**call, "num_inference_steps": 2})
        checks = engine.stats()["modules"]["safety_checker.vision_model"]
    finally:
        slow.remove()
    assert (checks["calls"], checks["rows"]) == (7, 7)
    assert checks["batches"] < checks["calls"]


@dataclass
class Owner:
    """What a hook asks of a fiber's owner."""

    fixed_rows: int = 0


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_the_heavy_part_of_a_check_parks_and_can_share(device: str) -> None:
    """On an accelerator as on a CPU; no accelerator is needed to see it: the meta device is not the host either."""
    module = checker(THRESHOLD).to(device)
    assert heavy_part_of(type(module)) == "vision_model"
    (spec,) = find(type(module.vision_model)) or ()
    hook = HookedMethod(module.vision_model, "forward", spec, "safety_checker.vision_model")
    pixels = torch.zeros(2, 3, 16, 16, device=device)
    with torch.no_grad():
        fiber = Fiber(lambda: hook(pixels), seed=0, owner=Owner(), context=contextvars.copy_context())
        call = fiber.resume()
        assert isinstance(call, Call)
        assert (call.is_stackable, call.rows) == (True, 2)
        with pytest.raises(Cancelled):
            fiber.throw_in(Cancelled())


def test_hooks_come_off_the_inner_module_as_well() -> None:
    pipe = checked()["checked"]
    with Engine(pipe):
        assert "forward" in pipe.safety_checker.vision_model.__dict__
        assert "forward" not in pipe.safety_checker.__dict__
    assert "forward" not in pipe.safety_checker.vision_model.__dict__
