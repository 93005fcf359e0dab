"""More of diffusers through the same seam: editing by a reference, captions as lists."""

from __future__ import annotations

from functools import cache
from typing import Any

from diffusers import FluxKontextPipeline, FluxPipeline, ZImageImg2ImgPipeline, ZImagePipeline

from tests.parity import tiny_modules as modules
from tests.parity import tiny_text as text
from tests.parity.families import FAMILIES, LAKE, NIGHT, SERVED, SIDE, SKY, Family, Request, ask, picture, quiet
from tests.parity.solvers import FLOW

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


WIDER = {
    family.name: family
    for family in (
        Family("kontext", kontext, _kontext_requests()),
        Family("z-image", z_image, _z_image_requests()),
    )
}
SERVED.update(WIDER)  # where comparisons look families up
