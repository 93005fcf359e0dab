"""Safety checkers look at pictures beside the loop, and say what they say alone."""

from __future__ import annotations

import contextvars
import threading
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from darkroom.engine.call import Call, HostCall
from darkroom.engine.engine import Engine
from darkroom.engine.fiber import Cancelled, Fiber
from darkroom.engine.hook import HookedMethod
from darkroom.engine.spec_table import find
from tests.parity import company, plain
from tests.parity.families import LAKE, NIGHT, SKY, Family, ask, quiet, sd_parts
from tests.parity.tiny_text import seeded

pytestmark = [pytest.mark.parity, pytest.mark.slow]
THRESHOLD = 0.32  # far from every score of these pictures, of which two are above
REQUESTS = (
    ask("checked", 81, SKY, 3, 4.0),
    ask("checked", 82, LAKE, 4, 3.0, num_images_per_prompt=2),
    ask("checked", 83, NIGHT, 5, 1.0),
    ask("checked", 84, [LAKE, NIGHT], 2, 6.0),
)


def checker() -> StableDiffusionSafetyChecker:
    """Its thresholds are such that it finds fault with some pictures and not with others."""
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**tower, "image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=tower, vision_config=vision, projection_dim=16)
    module = seeded(90, lambda: StableDiffusionSafetyChecker(config))
    generator = torch.Generator().manual_seed(91)
    for embeds in (module.concept_embeds, module.special_care_embeds):
        embeds.data = torch.randn(embeds.shape, generator=generator)
    for weights in (module.concept_embeds_weights, module.special_care_embeds_weights):
        weights.data = torch.full(weights.shape, THRESHOLD)
    return module


@cache
def checked() -> dict[str, Any]:
    extractor = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})
    parts = sd_parts(safety_checker=checker(), feature_extractor=extractor, requires_safety_checker=True)
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
    assert not any("safety" in name for name in stats["modules"])
    assert all(handle.metrics["host_s"] > 0 for handle in handles)


def test_a_slow_checker_keeps_nobody_waiting() -> None:
    pipe = checked()["checked"]
    go, threads = threading.Event(), []

    def wait(*_: Any) -> None:
        threads.append(threading.current_thread().name)
        assert go.wait(30)

    hook = pipe.safety_checker.vision_model.register_forward_pre_hook(wait)
    try:
        with Engine(pipe) as engine:
            call = plain.arguments(FAMILY, REQUESTS[0])
            slow = engine.submit(seed=1, **call)
            other = engine.submit(seed=2, **{**call, "output_type": "latent"})
            assert other.result(60).images.shape[0] == 1
            assert not slow.done()
            go.set()
            slow.result(60)
    finally:
        hook.remove()
    assert all(name.startswith("darkroom-host") for name in threads)


@dataclass
class Owner:
    """What a hook asks of a fiber's owner."""

    fixed_rows: int = 0


@pytest.mark.parametrize(("device", "parked"), [("cpu", HostCall), ("meta", Call)])
def test_a_checker_on_an_accelerator_runs_in_the_tick(device: str, parked: type) -> None:
    """No accelerator is needed to see it: the meta device is not the host either."""
    module = checker().to(device)
    (spec,) = find(type(module)) or ()
    hook = HookedMethod(module, "forward", spec, "safety_checker")
    pixels = torch.zeros(1, 3, 16, 16, device=device)
    fiber = Fiber(lambda: hook(pixels, [None]), seed=0, owner=Owner(), context=contextvars.copy_context())
    call = fiber.resume()
    assert type(call) is parked
    assert not isinstance(call, Call) or not call.is_stackable
    with pytest.raises(Cancelled):
        fiber.throw_in(Cancelled())
