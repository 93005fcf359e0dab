"""More of diffusers through the same seam: references, captions as lists, image prompts, T2I-Adapters, refiners."""

from __future__ import annotations

import copy
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from diffusers import (
    FluxKontextPipeline,
    FluxPipeline,
    StableDiffusionAdapterPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    ZImageImg2ImgPipeline,
    ZImagePipeline,
)

from darkroom.models.image_prompts import prompted
from darkroom.models.ip_adapter import IpAdapter
from darkroom.models.refined import RefinedPipeline
from tests.parity import tiny_modules as modules
from tests.parity import tiny_text as text
from tests.parity.families import (
    FAMILIES,
    LAKE,
    NIGHT,
    SERVED,
    SIDE,
    SKY,
    Family,
    Request,
    ask,
    picture,
    quiet,
    sd_parts,
    sdxl_parts,
)
from tests.parity.solvers import DIFFUSION, FLOW
from tests.piece_files import save_ip_adapter, t2i_adapter

_SHORT = {"max_sequence_length": 32}
# Tiny pictures would be blown up to the megapixel that the pipeline was trained on.
_SMALL = {"height": SIDE, "width": SIDE, "max_area": SIDE * SIDE, "_auto_resize": False, **_SHORT}


@cache
def kontext() -> dict[str, Any]:
    parts = FAMILIES["flux"].pipes()["flow-euler"].components
    return quiet({"edit": FluxKontextPipeline(**parts), "text": FluxPipeline(**parts)})


def _kontext_requests() -> tuple[Request, ...]:
    """References of two sizes, none at all, and true guidance, which asks the transformer twice a step."""
    wide = picture(4, 2 * SIDE)
    return (
        ask("edit", 61, SKY, 3, 3.5, image=picture(1), **_SMALL),
        ask("edit", 62, LAKE, 5, 1.5, image=picture(2), num_images_per_prompt=2, **_SMALL),
        ask("edit", 63, NIGHT, 4, 3.0, image=picture(3), true_cfg_scale=4.0, negative_prompt="rain", **_SMALL),
        ask("edit", 64, NIGHT, 3, 2.0, image=wide, **_SMALL),
        ask("edit", 65, LAKE, 4, 2.5, image=wide, **_SMALL),
        ask("edit", 66, LAKE, 3, 4.0, **_SMALL),
        ask("text", 67, SKY, 4, 2.0, **_SHORT),
    )


@cache
def z_image() -> dict[str, Any]:
    parts = {
        "transformer": modules.z_image(),
        "vae": modules.vae(38, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06),
        "text_encoder": text.qwen3(),
        "tokenizer": text.qwen_tokenizer(),
        "scheduler": FLOW["flow-euler"](shift=3.0),
    }
    return quiet({"text": ZImagePipeline(**parts), "image": ZImageImg2ImgPipeline(**parts)})


def _z_image_requests() -> tuple[Request, ...]:
    """Captions of one bucket of tokens and of two, with guidance and without."""
    long = {"max_sequence_length": 64}
    return (
        ask("text", 71, SKY, 3, 4.0, **long),
        ask("text", 72, LAKE, 5, 2.5, negative_prompt="rain", **long),
        ask("text", 73, NIGHT, 4, 3.0, negative_prompt=f"{SKY}, {LAKE}", **long),
        ask("text", 74, "hills", 4, 0.0, num_images_per_prompt=2, **long),
        ask("text", 75, "a lake", 3, 0.0, **long),
        ask("text", 76, f"{NIGHT}, {SKY}", 4, 6.0, **long),
        ask("image", 77, LAKE, 5, 3.0, image=picture(1), strength=0.7, **long),
    )


def prompted_by_pictures(pipe: Any) -> Any:
    """The pipeline with an IP-Adapter, as a model's is made; the files are read at once."""
    with tempfile.TemporaryDirectory() as folder:
        return prompted(pipe, IpAdapter("tiny", save_ip_adapter(pipe.unet, Path(folder))))


def with_solver(pipe: Any, name: str) -> Any:
    own = copy.copy(pipe)
    own.scheduler = DIFFUSION[name]()
    return own


@cache
def ip_adapter() -> dict[str, Any]:
    """Plain pipelines and prompted ones over the same weights, of two solvers."""
    plain = StableDiffusionPipeline(**sd_parts(scheduler=DIFFUSION["euler"]()))
    image = StableDiffusionImg2ImgPipeline(**sd_parts(scheduler=DIFFUSION["ddim"]()))
    own = prompted_by_pictures(plain)
    return quiet(
        {
            "text": plain,
            "image": image,
            "ip": own,
            "ip-dpm": with_solver(own, "dpm++2m"),
            "ip-image": StableDiffusionImg2ImgPipeline.from_pipe(own, requires_safety_checker=False),
        }
    )


@cache
def ip_adapter_xl() -> dict[str, Any]:
    plain = StableDiffusionXLPipeline(**sdxl_parts())
    own = prompted_by_pictures(plain)
    return quiet({"text": plain, "ip": own, "ip-ddim": with_solver(own, "ddim")})


def by(seed: int, scale: float | None = None) -> dict[str, Any]:
    """An image prompt, of another size than the picture; without a scale it counts as it was trained."""
    said = {} if scale is None else {"cross_attention_kwargs": {"ip_adapter_masks": scale}}
    return {"ip_adapter_image": picture(seed, 40), **said}


def _prompted_requests() -> tuple[Request, ...]:
    """Scales that differ within a batch, plain neighbours, no guidance, two images of one prompt."""
    return (
        ask("ip", 81, SKY, 4, 6.0, **by(1, 0.6)),
        ask("ip", 82, LAKE, 5, 3.0, **by(2, 1.3)),
        ask("ip-dpm", 83, NIGHT, 4, 4.0, **by(3, 0.25), num_images_per_prompt=2),
        ask("ip-dpm", 84, SKY, 3, 1.0, **by(4, 0.8)),
        ask("ip", 85, NIGHT, 4, 5.0, **by(5)),
        ask("text", 86, SKY, 4, 6.0),
        ask("text", 87, LAKE, 5, 2.0),
    )


def _with_pictures() -> tuple[Request, ...]:
    start = {"image": picture(6), "strength": 0.7}
    return (
        *_prompted_requests(),
        ask("ip-image", 88, LAKE, 6, 4.0, **by(7, 0.5), **start),
        ask("image", 89, LAKE, 6, 4.0, **start),
    )


@cache
def t2i() -> dict[str, Any]:
    parts = sd_parts(scheduler=DIFFUSION["euler"]())
    adapter = t2i_adapter(parts["unet"], 2)
    return quiet(
        {
            "text": StableDiffusionPipeline(**parts),
            "t2i": StableDiffusionAdapterPipeline(**parts, adapter=adapter),
            "t2i-ddim": StableDiffusionAdapterPipeline(**{**parts, "scheduler": DIFFUSION["ddim"]()}, adapter=adapter),
        }
    )


@cache
def t2i_xl() -> dict[str, Any]:
    parts = sdxl_parts()
    adapter = t2i_adapter(parts["unet"], 2)
    return quiet(
        {
            "text": StableDiffusionXLPipeline(**parts),
            "t2i": StableDiffusionXLAdapterPipeline(**parts, adapter=adapter),
        }
    )


def _adapted_requests(second: str, side: int) -> tuple[Request, ...]:
    """The picture in a list, for diffusers itself cannot take several prompts beside one."""
    size = {"height": side, "width": side}
    return (
        ask("t2i", 91, SKY, 4, 6.0, image=[picture(1, side)], **size),
        ask("t2i", 92, LAKE, 5, 3.0, image=[picture(2, side)], adapter_conditioning_scale=0.4, **size),
        ask(second, 93, NIGHT, 4, 4.0, image=[picture(3, side)], num_images_per_prompt=2, **size),
        ask(second, 94, SKY, 3, 1.0, image=[picture(4, side)], adapter_conditioning_scale=1.5, **size),
        ask("text", 95, SKY, 4, 6.0),
    )


@cache
def refined() -> dict[str, Any]:
    """A refiner with one text encoder and an aesthetic score, as SDXL's has."""
    base = StableDiffusionXLPipeline(**sdxl_parts())
    parts = sdxl_parts(unet=modules.refiner_unet(), text_encoder=None, tokenizer=None)
    refiner = StableDiffusionXLImg2ImgPipeline(**parts, requires_aesthetics_score=True)
    pipes = quiet({"text": base, "drawn-over": refiner})
    return {**pipes, "refined": RefinedPipeline(base, refiner)}


def _refined_requests() -> tuple[Request, ...]:
    return (
        ask("refined", 96, SKY, 5, 5.0, denoising_end=0.8),
        ask("refined", 97, LAKE, 6, 3.0, denoising_end=0.5, negative_prompt="rain"),
        ask("refined", 98, NIGHT, 4, 4.0, denoising_end=0.6, num_images_per_prompt=2),
        ask("text", 99, SKY, 4, 5.0),
        ask("drawn-over", 100, NIGHT, 5, 4.0, image=picture(1), strength=0.6),
    )


def _xl(requests: tuple[Request, ...]) -> tuple[Request, ...]:
    return tuple(replace(request, pipe=request.pipe.replace("dpm", "ddim")) for request in requests)


WIDER = {
    family.name: family
    for family in (
        Family("kontext", kontext, _kontext_requests()),
        Family("z-image", z_image, _z_image_requests()),
        Family("ip-adapter", ip_adapter, _with_pictures(), "unet"),
        Family("ip-adapter-xl", ip_adapter_xl, _xl(_prompted_requests()), "unet"),
        Family("t2i-adapter", t2i, _adapted_requests("t2i-ddim", SIDE), "unet"),
        Family("t2i-adapter-xl", t2i_xl, _adapted_requests("t2i", SIDE), "unet"),
        Family("refiner", refined, _refined_requests(), "unet"),
    )
}
SERVED.update(WIDER)  # where comparisons look families up
