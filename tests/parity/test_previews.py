"""Pictures on the way show something where the latents are one picture, and change nothing anywhere."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from diffusers import FluxPipeline, StableDiffusionPipeline
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback, SDCFGCutoffCallback

from darkroom.engine.engine import Engine
from tests.parity import company, plain
from tests.parity import tiny_modules as modules
from tests.parity.families import FAMILIES, LANDSCAPES, SIDE, SKY, ask, quiet, sd_parts

pytestmark = [pytest.mark.parity, pytest.mark.slow]


def previews_of(handle: Any) -> list[Any]:
    """As they come: of those that have been, only the latest is kept."""
    return [event.data for event in handle.events() if event.type == "preview"]


@pytest.mark.parametrize(
    ("name", "is_a_picture"), [("flux", True), ("sdxl", True), ("sd3", True), ("wan", False), ("ltx", False)]
)
def test_previews_change_nothing_and_are_left_out_where_latents_are_no_picture(name: str, is_a_picture: bool) -> None:
    """Flux keeps its latents packed; a video's are many pictures."""
    family = FAMILIES[name]
    request = family.requests[0]
    with company.open_engine(family, preview_every=1) as engine:
        handle = company.submit(engine, family, request)
        last = previews_of(handle)[-1:]
        image = plain.pixels(handle.result(0))
    company.hold_against_plain(name, {family.requests.index(request): image}, "with previews")
    assert bool(last) == is_a_picture
    for preview in last:
        assert preview["step"] == request.call["num_inference_steps"]
        assert preview["image"].mode == "RGB"
        assert np.ptp(np.asarray(preview["image"])) > 10


def real_flux() -> dict[str, Any]:
    """With the scaling of its real autoencoder, but four channels, for which no map is known: they are decoded."""
    parts = FAMILIES["flux"].pipes()["flow-euler"].components
    vae = modules.vae(37, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1159, scaling_factor=0.3611)
    return quiet({"flow-euler": FluxPipeline(**{**parts, "vae": vae})})


def test_a_flux_preview_of_the_last_step_is_the_picture() -> None:
    """Or its latents were unpacked, scaled or shifted in another way than its pipeline does it."""
    pipes, (request, *_) = real_flux(), FAMILIES["flux"].requests
    family = replace(FAMILIES["flux"], name="flux-previews", pipes=lambda: pipes)
    with company.open_engine(family, preview_every=request.call["num_inference_steps"]) as engine:
        handle = company.submit(engine, family, request)
        (preview,) = previews_of(handle)
        image = plain.pixels(handle.result(0))[0]
    assert np.abs(np.asarray(preview["image"]) / 255 - image).max() < 0.01


class EditingPipeline(FluxPipeline):
    """Makes pictures of a size of its own, as those do that edit one."""

    @functools.wraps(FluxPipeline.__call__)
    def __call__(self, *args: Any, height: int | None = None, width: int | None = None, **kwargs: Any) -> Any:
        return super().__call__(*args, height=2 * SIDE, width=2 * SIDE, **kwargs)


def without_previews() -> dict[str, Any]:
    """Pipelines whose latents make no picture: of another size, of one channel, and not for this autoencoder."""
    flux = FAMILIES["flux"].pipes()["flow-euler"].components
    one = modules.vae(39, in_channels=1, out_channels=1, scaling_factor=1.0)
    eight = modules.vae(40, latent_channels=8, scaling_factor=1.0)
    return quiet(
        {
            "editing": EditingPipeline(**flux),
            "one channel": StableDiffusionPipeline(**sd_parts(vae=one)),
            "misfit": StableDiffusionPipeline(**sd_parts(vae=eight)),
        }
    )


@pytest.mark.parametrize("name", ["editing", "one channel", "misfit"])
def test_a_preview_that_cannot_be_made_is_left_out_and_fails_nobody(name: str) -> None:
    pipe = without_previews()[name]
    with Engine(pipe, preview_every=1) as engine:
        call = {"prompt": SKY, "num_inference_steps": 2, "height": SIDE, "width": SIDE, "output_type": "latent"}
        handle = engine.submit(**call, seed=3)
        assert previews_of(handle) == []
        assert handle.result(60).images.isfinite().all()


def test_the_bundled_models_previews_show_the_picture_and_decode_nothing() -> None:
    request, steps = LANDSCAPES.requests[0], LANDSCAPES.requests[0].call["num_inference_steps"]
    with company.open_engine(LANDSCAPES, preview_every=steps) as engine:
        handle = company.submit(engine, LANDSCAPES, request)
        (preview,) = previews_of(handle)
        image = handle.result(0).images[0]
        assert engine.stats()["modules"]["vae.decode"]["calls"] == 1
    small = np.asarray(preview["image"]) / 255
    pooled = image.reshape(16, 16, 16, 16, 3).mean(axis=(1, 3))
    assert np.corrcoef(small.ravel(), pooled.ravel())[0, 1] > 0.97
    assert np.abs(small - pooled).mean() < 0.05


def cutoff() -> PipelineCallback:
    return SDCFGCutoffCallback(cutoff_step_ratio=0.5)


@pytest.mark.parametrize("make", [cutoff, lambda: MultiPipelineCallbacks([cutoff()])])
def test_a_callback_object_of_diffusers_works_beside_previews(make: Any) -> None:
    family = FAMILIES["sd-solvers"]
    request = ask("euler", 91, SKY, 6, 9.0)
    call = plain.arguments(family, request)
    pipe = family.pipes()[request.pipe]
    without = plain.run(family, request)
    expected = pipe(**call, generator=plain.generators(request.seed, 1), callback_on_step_end=make()).images
    assert plain.largest_difference(expected, without) > 10 * company.FLOOR, "the callback does nothing"
    with company.open_engine(family, preview_every=1) as engine:
        handle = company.submit(engine, family, request, callback_on_step_end=make())
        assert previews_of(handle)
        company.hold(family, request, plain.pixels(handle.result(0)), expected, "diffusers' callback")
