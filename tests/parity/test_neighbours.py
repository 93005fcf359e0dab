"""Whatever one request does to itself, nobody else's picture changes, and the modules are left as they were."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPAGPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPAGPipeline,
    StableDiffusionXLPipeline,
)

from darkroom.engine import view
from darkroom.engine.engine import Engine
from darkroom.engine.served import settled_stand_in
from darkroom.errors import JobCancelled, NotFinite
from tests.parity import company, plain
from tests.parity.families import (
    FAMILIES,
    LAKE,
    NIGHT,
    SIDE,
    SKY,
    Family,
    ask,
    picture,
    quiet,
    sd_parts,
    sd_solvers,
    sdxl_parts,
)
from tests.parity.tiny_modules import vae

pytestmark = [pytest.mark.parity, pytest.mark.slow]
FAMILY = FAMILIES["sd-solvers"]
VICTIMS = (0, 2, 5, 7, 11)
Handles = list[Any]


class FreeUPipeline(StableDiffusionPipeline):
    """Switches FreeU on for its own call, on a UNet that others use."""

    @functools.wraps(StableDiffusionPipeline.__call__)
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.enable_freeu(s1=0.9, s2=0.2, b1=1.5, b2=1.6)
        try:
            return super().__call__(*args, **kwargs)
        finally:
            self.disable_freeu()


@cache
def mutating() -> dict[str, Any]:
    return quiet(
        {
            "pag": StableDiffusionPAGPipeline(**sd_parts(), pag_applied_layers="mid"),
            "freeu": FreeUPipeline(**sd_parts()),
        }
    )


MUTATING = Family(
    "neighbours",
    mutating,
    (
        ask("pag", 61, SKY, 4, 5.0, pag_scale=4.0),
        ask("pag", 62, LAKE, 3, 1.0, pag_scale=2.0, num_images_per_prompt=2),
        ask("freeu", 63, NIGHT, 4, 6.0),
        ask("freeu", 64, LAKE, 3, 3.0),
    ),
    "unet",
)


def victims_beside(misbehave: Callable[[Engine], Handles], **options: Any) -> tuple[dict[int, np.ndarray], Handles]:
    """The victims' pictures when a misbehaving request runs before and beside them, in shared forwards."""
    with company.open_engine(FAMILY, **options) as engine:
        handles = misbehave(engine)
        victims = {index: company.submit(engine, FAMILY, FAMILY.requests[index]) for index in VICTIMS}
        handles += misbehave(engine)
        images = {index: plain.pixels(handle.result(timeout=120)) for index, handle in victims.items()}
        for handle in handles:
            list(handle.events())
        counters = engine.stats()["modules"]
    assert not any(each["unbatched_because"] for each in counters.values())
    assert counters["unet"]["batches"] < counters["unet"]["calls"], "nobody shared a forward with anybody"
    return images, handles


def assert_unharmed(images: dict[int, np.ndarray], what: str) -> None:
    company.hold_against_plain("sd-solvers", images, f"beside {what}")
    again = plain.run(FAMILY, FAMILY.requests[VICTIMS[0]])
    assert np.array_equal(again, company.reference("sd-solvers", VICTIMS[0])), "something was left on the modules"


def villain(engine: Engine, callback: Callable[..., Any] | None = None, **call: Any) -> Any:
    extra = {} if callback is None else {"callback_on_step_end": callback}
    asked = {"num_inference_steps": 6, "height": 16, "width": 16, "output_type": "np", **extra, **call}
    return engine.submit(model="euler", seed=9, **asked)


def test_a_neighbour_that_cancels_midway_changes_nobodys_picture() -> None:
    def cancel_midway(engine: Engine) -> Handles:
        known, handles = threading.Event(), []

        def callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            known.wait(30)
            if step == 2:
                handles[0].cancel()
            return tensors

        handles.append(villain(engine, callback, prompt=LAKE))
        known.set()
        return handles

    images, handles = victims_beside(cancel_midway)
    assert_unharmed(images, "cancelled")
    for handle in handles:
        with pytest.raises(JobCancelled):
            handle.result(0)


def test_a_neighbour_whose_callback_raises_changes_nobodys_picture() -> None:
    def callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if step == 1:
            raise ZeroDivisionError("the caller's own")
        return tensors

    images, handles = victims_beside(lambda engine: [villain(engine, callback, prompt=NIGHT)])
    assert_unharmed(images, "raising callback")
    for handle in handles:
        with pytest.raises(ZeroDivisionError, match="the caller's own"):
            handle.result(0)


def test_a_neighbour_with_embeddings_of_a_wrong_shape_changes_nobodys_picture() -> None:
    embeds = {"prompt_embeds": torch.randn(1, 77, 24), "negative_prompt_embeds": torch.randn(1, 77, 24)}
    images, handles = victims_beside(lambda engine: [villain(engine, **embeds)])
    assert_unharmed(images, "wrong shape")
    for handle in handles:
        with pytest.raises(RuntimeError):
            handle.result(0)


def test_a_neighbour_full_of_nan_changes_nobodys_picture() -> None:
    """Its rows go through the same forwards as the victims' rows."""
    nan = torch.full((1, 77, 32), float("nan"))
    images, handles = victims_beside(
        lambda engine: [villain(engine, prompt_embeds=nan, negative_prompt_embeds=nan.clone())]
    )
    assert_unharmed(images, "NaN")
    for handle in handles:
        with pytest.raises(NotFinite):
            handle.result(0)


def test_a_neighbour_that_meddles_with_torchs_thread_state_changes_nobodys_picture() -> None:
    def callback(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        torch.manual_seed(0)
        torch.randn(3)
        torch.set_grad_enabled(True)
        return tensors

    images, handles = victims_beside(lambda engine: [villain(engine, callback, prompt=SKY)])
    assert_unharmed(images, "meddling")
    assert all(handle.result(0).images.shape == (1, 16, 16, 3) for handle in handles)


@pytest.mark.parametrize("kind", ["pag", "freeu"])
@pytest.mark.parametrize("reproducible", [False, True])
def test_a_neighbour_that_writes_on_the_unet_changes_nobodys_picture(kind: str, reproducible: bool) -> None:
    requests = [request for request in MUTATING.requests if request.pipe == kind]

    def mutate(engine: Engine) -> Handles:
        if kind not in engine._models:
            engine.add(mutating()[kind], name=kind)
        return [company.submit(engine, MUTATING, request) for request in requests]

    references = [plain.run(MUTATING, request) for request in requests]
    images, handles = victims_beside(mutate, reproducible=reproducible)
    assert_unharmed(images, f"{kind}{', reproducible' if reproducible else ''}")
    for handle, request, reference in zip(handles, requests * 2, references * 2, strict=True):
        company.hold(MUTATING, request, plain.pixels(handle.result(0)), reference, f"{kind} itself")


class AutocastPipeline(StableDiffusionPipeline):
    """Runs its whole call under autocast."""

    @functools.wraps(StableDiffusionPipeline.__call__)
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return super().__call__(*args, **kwargs)


class InferencePipeline(StableDiffusionPipeline):
    """Runs its whole call in inference mode, and writes in place on what it made there."""

    @functools.wraps(StableDiffusionPipeline.__call__)
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with torch.inference_mode():
            output = super().__call__(*args, **{**kwargs, "output_type": "pt"})
            output.images.mul_(1.0)
        output.images = output.images.permute(0, 2, 3, 1).cpu().numpy()
        return output


@pytest.mark.parametrize("kind", [AutocastPipeline, InferencePipeline])
def test_neighbours_in_other_modes_of_torch_change_nobodys_picture(kind: Any) -> None:
    pipe = quiet({"modal": kind(**sd_parts())})
    requests = (ask("modal", 65, SKY, 3, 4.0), ask("modal", 66, LAKE, 5, 4.0))
    family = Family("neighbours", lambda: pipe, requests, "unet")

    def interleave(engine: Engine) -> Handles:
        if "modal" not in engine._models:
            engine.add(pipe["modal"], name="modal")
        return [company.submit(engine, family, request) for request in requests]

    references = [plain.run(family, request) for request in requests]
    images, handles = victims_beside(interleave)
    assert_unharmed(images, kind.__name__)
    for handle, request, reference in zip(handles, requests * 2, references * 2, strict=True):
        company.hold(family, request, plain.pixels(handle.result(0)), reference, f"{kind.__name__} itself")


def half_precision_sdxl() -> dict[str, Any]:
    """A float16 autoencoder that overflows, which its pipelines cast up and down around every use."""
    half = copy.deepcopy(vae(35, force_upcast=False)).half()
    half.register_to_config(force_upcast=True)
    parts = sdxl_parts(vae=half)
    return quiet(
        {
            "half": StableDiffusionXLPipeline(**parts),
            "half-image": StableDiffusionXLImg2ImgPipeline(**parts),
            "half-pag": StableDiffusionXLPAGPipeline(**parts, pag_applied_layers="mid"),
        }
    )


def test_a_half_precision_sdxl_autoencoder_changes_nobodys_picture() -> None:
    """Nor does it where requests write on the UNet beside it, and so run on module views that share its stand-in."""
    family = FAMILIES["sdxl"]
    requests = (
        ask("half", 71, SKY, 3, 5.0),
        ask("half-image", 72, LAKE, 4, 4.0, image=picture(1), strength=0.7),
        ask("half", 73, [NIGHT, LAKE], 5, 3.0),
        ask("half-pag", 74, SKY, 3, 5.0, pag_scale=3.0),
        ask("half-pag", 75, NIGHT, 4, 1.0, pag_scale=2.0, num_images_per_prompt=2),
    )
    alone = Family("sdxl-fp16-vae", half_precision_sdxl, requests, "unet")  # fresh modules for every plain call
    references = [plain.run(alone, request) for request in requests]
    pipes = half_precision_sdxl()
    with company.open_engine(family) as engine:
        for name, pipe in pipes.items():
            engine.add(pipe, name=name)
        handles = [company.submit(engine, alone, request) for request in requests]
        victims = [company.submit(engine, family, request) for request in family.requests]
        images = {index: plain.pixels(handle.result(timeout=120)) for index, handle in enumerate(victims)}
        halves = [plain.pixels(handle.result(timeout=120)) for handle in handles]
    company.hold_against_plain("sdxl", images, "beside fp16 autoencoder")
    assert {parameter.dtype for parameter in pipes["half"].vae.parameters()} == {torch.float16}
    for request, image, reference in zip(requests, halves, references, strict=True):
        company.hold(alone, request, image, reference, request.pipe)


@pytest.mark.parametrize("kind", [StableDiffusionPipeline, StableDiffusionImg2ImgPipeline])
def test_in_half_precision_a_pipeline_that_casts_nothing_up_decodes_as_it_does_alone(kind: Any) -> None:
    """Stable Diffusion 1's: its VAE says `force_upcast` as well, since that is the default."""
    parts = {name: copy.deepcopy(part) for name, part in sd_solvers()["ddim"].components.items()}
    pipe = kind(**parts, requires_safety_checker=False).to(torch.float16)
    pipe.vae.register_to_config(force_upcast=True)
    pipe.set_progress_bar_config(disable=True)
    call = {"prompt": SKY, "num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "np"}
    call |= {"image": picture(1)} if kind is StableDiffusionImg2ImgPipeline else {"height": SIDE, "width": SIDE}
    alone = pipe(**call, generator=torch.Generator().manual_seed(7)).images
    with Engine(pipe) as engine:
        handles = [engine.submit(**call, seed=seed) for seed in (7, 8)]
        made = [handle.result(60).images for handle in handles]
    assert np.isfinite(made[0]).all()
    assert np.abs(made[0] - alone).max() < 2e-2  # float16 has three digits


def test_a_function_over_two_pipelines_in_half_precision_changes_neither() -> None:
    """One casts its VAE up and one does not: only the first's has a stand-in, and that one takes either dtype."""
    plain_parts = {name: copy.deepcopy(part) for name, part in sd_solvers()["ddim"].components.items()}
    one = StableDiffusionPipeline(**plain_parts, requires_safety_checker=False).to(torch.float16)
    one.vae.register_to_config(force_upcast=True)
    other = half_precision_sdxl()["half"]
    both = SimpleNamespace(one=one, other=other)
    assert view.overflowing(both) == [other.vae]
    own = settled_stand_in(other.vae)
    latents = torch.randn(1, other.vae.config.latent_channels, 4, 4, generator=torch.Generator().manual_seed(1))
    upcast, half = own.decode(latents).sample, own.decode(latents.half()).sample
    assert (upcast.dtype, half.dtype) == (torch.float32, torch.float16)
    assert (upcast - half).abs().max() < 1e-2
    assert own.encode(upcast.half()).latent_dist.mean.dtype == torch.float16
