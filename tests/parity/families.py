"""Every family and task that parity is shown for: tiny pipelines and the requests that meet in one engine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    DPMSolverMultistepScheduler,
    EDMDPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FluxImg2ImgPipeline,
    FluxPipeline,
    LTXPipeline,
    PixArtAlphaPipeline,
    SanaPipeline,
    StableAudioPipeline,
    StableDiffusion3Img2ImgPipeline,
    StableDiffusion3Pipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
    StableDiffusionXLPipeline,
    UniPCMultistepScheduler,
    WanPipeline,
)
from PIL import Image

from tests.parity import tiny_modules as modules
from tests.parity import tiny_text as text
from tests.parity.solvers import DIFFUSION, FLOW

SIDE = 2 * modules.LATENT
SKY, LAKE, NIGHT = "a red sky over hills", "two pines by a lake", "night, full moon, no clouds at all"


@dataclass(frozen=True)
class Request:
    """One call of one pipeline; image k uses a generator of its own seeded `seed + k`."""

    pipe: str
    seed: int
    call: dict[str, Any]

    @property
    def images(self) -> int:
        prompt = self.call["prompt"]
        prompts = len(prompt) if isinstance(prompt, list) else 1
        return prompts * self.call.get("num_images_per_prompt", 1)


@dataclass(frozen=True)
class Family:
    """Pipelines that share their components, and requests that are served together.

    `size` goes into every call that does not take its size from an image.
    """

    name: str
    pipes: Callable[[], dict[str, Any]]
    requests: tuple[Request, ...]
    denoiser: str = "transformer"
    size: dict[str, int] = field(default_factory=lambda: {"height": SIDE, "width": SIDE})


def quiet(pipes: dict[str, Any]) -> dict[str, Any]:
    for pipe in pipes.values():
        pipe.set_progress_bar_config(disable=True)
    return pipes


def ask(pipe: str, seed: int, prompt: str | list[str], steps: int, guidance: float, **more: Any) -> Request:
    call = {"prompt": prompt, "num_inference_steps": steps, "guidance_scale": guidance, **more}
    return Request(pipe, seed, call)


@cache
def picture(seed: int, side: int = SIDE, mode: str = "RGB") -> Image.Image:
    """Smooth random blobs, large enough to survive the tiny encoder; a mask has only black and white."""
    noise = torch.rand((4, 4, 3), generator=torch.Generator().manual_seed(seed)).mul(255).byte().numpy()
    image = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    return image.convert("L").point(lambda value: 255 if value > 120 else 0) if mode == "L" else image


# ---- Stable Diffusion 1.x and 2.x ----


def sd_parts(**replaced: Any) -> dict[str, Any]:
    parts = {
        "vae": modules.vae(),
        "text_encoder": text.clip_text(),
        "tokenizer": text.clip_tokenizer(),
        "unet": modules.unet(),
        "scheduler": DIFFUSION["ddim"](),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }
    return {**parts, **replaced}


@cache
def sd_solvers() -> dict[str, Any]:
    """One text-to-image pipeline a solver, all over the same modules."""
    return quiet({name: StableDiffusionPipeline(**sd_parts(scheduler=make())) for name, make in DIFFUSION.items()})


@cache
def sd_tasks() -> dict[str, Any]:
    one, two = modules.controlnet(20), modules.controlnet(21)
    return quiet(
        {
            "text": StableDiffusionPipeline(**sd_parts(scheduler=DIFFUSION["euler"]())),
            "image": StableDiffusionImg2ImgPipeline(**sd_parts(scheduler=DIFFUSION["dpm++2m-karras"]())),
            "inpaint": StableDiffusionInpaintPipeline(**sd_parts(scheduler=DIFFUSION["euler-ancestral"]())),
            "control": StableDiffusionControlNetPipeline(**sd_parts(controlnet=one, scheduler=DIFFUSION["unipc"]())),
            "controls": StableDiffusionControlNetPipeline(**sd_parts(controlnet=[one, two])),
        }
    )


@cache
def sd_inpaint_unet() -> dict[str, Any]:
    pipe = StableDiffusionInpaintPipeline(**sd_parts(unet=modules.unet(9)))
    return quiet({"inpaint": pipe})


@cache
def sd_v_prediction() -> dict[str, Any]:
    unet = modules.unet(4, 12, use_linear_projection=True, attention_head_dim=(2, 4))
    solvers = {
        name: DIFFUSION[name](prediction_type="v_prediction", rescale_betas_zero_snr=name == "ddim")
        for name in ("ddim", "dpm++2m")
    }
    return quiet({name: StableDiffusionPipeline(**sd_parts(unet=unet, scheduler=s)) for name, s in solvers.items()})


@cache
def sd_distilled() -> dict[str, Any]:
    """A UNet that takes its guidance as an embedding, and the tiny autoencoder."""
    unet = modules.unet(4, 13, time_cond_proj_dim=16)
    parts = sd_parts(unet=unet, vae=modules.tiny_vae(), scheduler=DIFFUSION["lcm"]())
    return quiet({"lcm": StableDiffusionPipeline(**parts)})


def _sd_solver_requests() -> tuple[Request, ...]:
    names = list(DIFFUSION)
    alone = [ask(name, 100 + 7 * i, SKY, 3 + i % 4, 2.0 + 0.7 * i) for i, name in enumerate(names)]
    more = [
        ask("euler", 300, LAKE, 5, 4.5, negative_prompt="people", num_images_per_prompt=2),
        ask("ddim", 301, [SKY, NIGHT], 4, 7.5, eta=0.5),
        ask("dpm++2m", 302, NIGHT, 6, 1.0),
        ask("unipc", 303, "", 3, 9.0, guidance_rescale=0.4),
    ]
    return (*alone, *more)


def _sd_task_requests() -> tuple[Request, ...]:
    image, mask, edges = picture(1), picture(2, mode="L"), picture(3)
    return (
        ask("text", 11, SKY, 4, 6.0),
        ask("text", 12, LAKE, 6, 3.0, num_images_per_prompt=2),
        ask("image", 13, LAKE, 6, 5.0, image=image, strength=0.7),
        ask("image", 14, NIGHT, 8, 2.5, image=picture(4), strength=0.5, num_images_per_prompt=2),
        ask("inpaint", 15, SKY, 5, 4.0, image=image, mask_image=mask, strength=0.9),
        ask("inpaint", 16, NIGHT, 4, 7.0, image=picture(5), mask_image=picture(6, mode="L")),
        ask("control", 17, SKY, 4, 6.0, image=edges),
        ask("control", 18, NIGHT, 5, 3.0, image=picture(7), controlnet_conditioning_scale=0.4, num_images_per_prompt=2),
        ask("control", 19, LAKE, 4, 4.0, image=edges, guess_mode=True, control_guidance_end=0.6),
        ask("controls", 20, LAKE, 4, 5.0, image=[edges, picture(8)], controlnet_conditioning_scale=[0.7, 1.2]),
        ask("controls", 21, SKY, 3, 5.0, image=[picture(9), edges], controlnet_conditioning_scale=[0.3, 0.9]),
    )


# ---- Stable Diffusion XL ----


def sdxl_parts(**replaced: Any) -> dict[str, Any]:
    parts = {
        "vae": modules.vae(35, force_upcast=False),
        "text_encoder": text.clip_text(6),
        "text_encoder_2": text.clip_text_with_projection(),
        "tokenizer": text.clip_tokenizer(),
        "tokenizer_2": text.clip_tokenizer(),
        "unet": modules.sdxl_unet(),
        "scheduler": DIFFUSION["euler"](),
    }
    return {**parts, **replaced}


@cache
def sdxl() -> dict[str, Any]:
    return quiet(
        {
            "text": StableDiffusionXLPipeline(**sdxl_parts()),
            "dpm": StableDiffusionXLPipeline(**sdxl_parts(scheduler=DIFFUSION["dpm++2m-karras"]())),
            "ddim": StableDiffusionXLPipeline(**sdxl_parts(scheduler=DIFFUSION["ddim"]())),
            "image": StableDiffusionXLImg2ImgPipeline(**sdxl_parts(scheduler=DIFFUSION["unipc"]())),
            "inpaint": StableDiffusionXLInpaintPipeline(**sdxl_parts(scheduler=DIFFUSION["euler-ancestral"]())),
            "control": StableDiffusionXLControlNetPipeline(**sdxl_parts(controlnet=modules.sdxl_controlnet())),
        }
    )


def _sdxl_requests() -> tuple[Request, ...]:
    image, mask = picture(1), picture(2, mode="L")
    return (
        ask("text", 21, SKY, 4, 5.0),
        ask("ddim", 22, LAKE, 3, 7.0, negative_prompt="rain", num_images_per_prompt=2, original_size=(64, 32)),
        ask("dpm", 23, NIGHT, 5, 3.0, prompt_2=LAKE),
        ask("dpm", 24, [SKY, LAKE], 4, 1.0),
        ask("image", 25, LAKE, 6, 5.0, image=image, strength=0.6),
        ask("inpaint", 26, NIGHT, 4, 4.0, image=image, mask_image=mask, strength=0.9),
        ask("control", 27, LAKE, 3, 5.0, image=picture(3), controlnet_conditioning_scale=0.6),
    )


# ---- Diffusion transformers ----


@cache
def sd3() -> dict[str, Any]:
    parts = {
        "transformer": modules.sd3(),
        "vae": modules.vae(36, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        "text_encoder": text.clip_text_with_projection(7, 16),
        "text_encoder_2": text.clip_text_with_projection(8, 16),
        "text_encoder_3": text.t5(),
        "tokenizer": text.clip_tokenizer(),
        "tokenizer_2": text.clip_tokenizer(),
        "tokenizer_3": text.t5_tokenizer(),
    }
    names = ("flow-euler", "flow-heun")
    pipes = {name: StableDiffusion3Pipeline(**parts, scheduler=FLOW[name]()) for name in names}
    return quiet({**pipes, "image": StableDiffusion3Img2ImgPipeline(**parts, scheduler=FLOW["flow-euler"]())})


@cache
def flux() -> dict[str, Any]:
    parts = {
        "transformer": modules.flux(),
        "vae": modules.vae(37, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        "text_encoder": text.clip_text(),
        "text_encoder_2": text.t5(),
        "tokenizer": text.clip_tokenizer(),
        "tokenizer_2": text.t5_tokenizer(),
    }
    scheduler = FLOW["flow-euler"](use_dynamic_shifting=True)
    kinds = {"flow-euler": FluxPipeline, "image": FluxImg2ImgPipeline}
    return quiet({name: kind(**parts, scheduler=scheduler) for name, kind in kinds.items()})


@cache
def pixart() -> dict[str, Any]:
    parts = {
        "transformer": modules.pixart(),
        "vae": modules.vae(),
        "text_encoder": text.t5(),
        "tokenizer": text.t5_tokenizer(),
    }
    names = ("dpm++2m", "ddim", "euler")
    return quiet({name: PixArtAlphaPipeline(**parts, scheduler=DIFFUSION[name]()) for name in names})


@cache
def sana() -> dict[str, Any]:
    parts = {
        "transformer": modules.sana(),
        "vae": modules.dc_vae(),
        "text_encoder": text.gemma(),
        "tokenizer": text.gemma_tokenizer(),
    }
    names = ("flow-dpm++2m", "flow-euler")
    return quiet({name: SanaPipeline(**parts, scheduler=FLOW[name]()) for name in names})


def ltx_parts(**replaced: Any) -> dict[str, Any]:
    parts = {
        "transformer": modules.ltx(),
        "vae": modules.ltx_vae(),
        "text_encoder": text.t5(),
        "tokenizer": text.t5_tokenizer(),
    }
    return {**parts, **replaced}


@cache
def ltx() -> dict[str, Any]:
    parts = ltx_parts()
    return quiet({"flow-euler": LTXPipeline(**parts, scheduler=FLOW["flow-euler"](use_dynamic_shifting=True))})


@cache
def wan() -> dict[str, Any]:
    parts = {
        "transformer": modules.wan(),
        "vae": modules.wan_vae(),
        "text_encoder": text.umt5(),
        "tokenizer": text.t5_tokenizer(),
    }
    names = ("flow-unipc", "flow-euler")
    return quiet({name: WanPipeline(**parts, scheduler=FLOW[name]()) for name in names})


@cache
def stable_audio() -> dict[str, Any]:
    parts = {
        "transformer": modules.stable_audio(),
        "vae": modules.oobleck(),
        "text_encoder": text.t5(),
        "projection_model": modules.audio_projection(),
        "tokenizer": text.t5_tokenizer(),
    }
    edm = {"sigma_min": 0.3, "sigma_max": 50.0, "sigma_data": 1.0, "prediction_type": "v_prediction"}
    orders = {"edm": 2, "edm-1": 1}
    return quiet(
        {
            name: StableAudioPipeline(**parts, scheduler=EDMDPMSolverMultistepScheduler(solver_order=order, **edm))
            for name, order in orders.items()
        }
    )


def _mixed(names: tuple[str, ...], *, most: int = 5, **more: Any) -> tuple[Request, ...]:
    """Requests that differ in everything a user may set, over the solvers of one family."""
    first, last = names[0], names[-1]
    return (
        ask(first, 31, SKY, 3, 4.0, **more),
        ask(last, 32, LAKE, most, 2.5, negative_prompt="rain", **more),
        ask(names[len(names) // 2], 33, [NIGHT, SKY], 4, 6.0, **more),
        ask(first, 34, LAKE, 2, 1.0, **more),
        ask(last, 35, NIGHT, 4, 3.0, **more),
    )


_SHORT = {"max_sequence_length": 32}


def _sd3_requests() -> tuple[Request, ...]:
    """The last asks the transformer a third time a step, with a layer left out."""
    skipping = {"skip_guidance_layers": [0], "skip_layer_guidance_start": 0.0, "skip_layer_guidance_stop": 0.9}
    mixed = _mixed(("flow-euler", "flow-heun"), **_SHORT)
    # the picture in a list, for diffusers itself cannot take several prompts beside one
    drawn_over = ask("image", 37, LAKE, 4, 4.0, image=[picture(1)], strength=0.7, **_SHORT)
    return (*mixed, ask("flow-euler", 36, SKY, 4, 5.0, **skipping, **_SHORT), drawn_over)


def _flux_requests() -> tuple[Request, ...]:
    return (
        ask("flow-euler", 41, SKY, 3, 3.5, **_SHORT),
        ask("flow-euler", 42, LAKE, 5, 1.5, num_images_per_prompt=2, **_SHORT),
        ask("flow-euler", 43, NIGHT, 4, 3.0, true_cfg_scale=4.0, negative_prompt="rain", **_SHORT),
        ask("flow-euler", 44, SKY, 2, 2.0, true_cfg_scale=2.0, negative_prompt="", **_SHORT),
        ask("flow-euler", 45, [SKY, LAKE], 4, 5.0, **_SHORT),
        ask("image", 46, NIGHT, 4, 3.0, image=picture(1), strength=0.7, height=SIDE, width=SIDE, **_SHORT),
    )


VIDEO = {"height": 32, "width": 32, "num_frames": 9}

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family("sd-solvers", sd_solvers, _sd_solver_requests(), "unet"),
        Family("sd-tasks", sd_tasks, _sd_task_requests(), "unet"),
        Family(
            "sd-inpaint9",
            sd_inpaint_unet,
            tuple(
                ask(
                    "inpaint",
                    50 + i,
                    (SKY, LAKE, NIGHT)[i],
                    3 + i,
                    3.0 + i,
                    image=picture(1),
                    mask_image=picture(2 + 4 * i, mode="L"),
                )
                for i in range(3)
            ),
            "unet",
        ),
        Family("sd2-v", sd_v_prediction, _mixed(("ddim", "dpm++2m")), "unet"),
        Family("sd-lcm-taesd", sd_distilled, _mixed(("lcm",)), "unet"),
        Family("sdxl", sdxl, _sdxl_requests(), "unet"),
        Family("sd3", sd3, _sd3_requests()),
        Family("flux", flux, _flux_requests()),
        Family(
            "pixart",
            pixart,
            _mixed(("dpm++2m", "ddim", "euler"), use_resolution_binning=False, clean_caption=False, **_SHORT),
        ),
        Family(
            "sana",
            sana,
            _mixed(("flow-dpm++2m", "flow-euler"), use_resolution_binning=False, clean_caption=False, **_SHORT),
            size={"height": 32, "width": 32},
        ),
        Family("ltx", ltx, _mixed(("flow-euler",), most=4, **_SHORT), size=VIDEO),
        Family("wan", wan, _mixed(("flow-unipc", "flow-euler"), most=4, **_SHORT), size=VIDEO),
        Family("stable-audio", stable_audio, _mixed(("edm", "edm-1")), size={"audio_end_in_s": 2.5}),
    )
}


# ---- The model that ships ----

BUNDLED = Path(__file__).parents[2] / "src" / "darkroom" / "models" / "bundled" / "landscapes"


@cache
def landscapes() -> dict[str, Any]:
    own = StableDiffusionPipeline.from_pretrained(BUNDLED, dtype=torch.float32, local_files_only=True)
    solvers = {
        "dpm++2m": DPMSolverMultistepScheduler,
        "euler": EulerDiscreteScheduler,
        "unipc": UniPCMultistepScheduler,
    }
    parts = {**own.components, "requires_safety_checker": False}
    others = {
        name: StableDiffusionPipeline(**{**parts, "scheduler": solver.from_config(own.scheduler.config)})
        for name, solver in solvers.items()
    }
    return quiet({"ddim": own, "image": StableDiffusionImg2ImgPipeline(**parts), **others})


LANDSCAPES = Family(
    "landscapes",
    landscapes,
    (
        ask("dpm++2m", 1, "A beautiful sunset over mountains", 5, 4.0),
        ask("euler", 2, "night, full moon over a lake, two pine trees", 3, 2.0, num_images_per_prompt=2),
        ask("unipc", 3, "a lighthouse by the sea in a storm", 4, 9.0, negative_prompt="snow"),
        ask("ddim", 4, ["dawn over hills", "a house in the snow"], 3, 6.0, height=192, width=192),
        ask("image", 5, "sailboat on a lake at dusk", 4, 5.0, image=picture(1, 256), strength=0.6),
        ask("ddim", 6, "stars over palms", 5, 3.0, height=192, width=192),
    ),
    "unet",
    {"height": 256, "width": 256},
)
SERVED = {**FAMILIES, LANDSCAPES.name: LANDSCAPES}
