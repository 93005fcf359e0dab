"""A product shot: generate, mask, inpaint, upscale. The model that ships knows landscapes; a cottage is the product.

Nothing of torch or diffusers here: what models do, `run` asks of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from PIL import Image, ImageDraw, ImageFilter
from pydantic import Field

import darkroom

SIDE = 256  # pixels, a size that the model knows
USUAL: dict[str, Any] = {"height": SIDE, "width": SIDE, "guidance_scale": 4.0, "solver": "dpm++2m"}


@darkroom.pipeline(models=["landscapes"], calls=2)
def product_shot(
    run: darkroom.Run,
    prompt: str,
    background: str = "a starry night sky over mountains",
    keep: Annotated[float, Field(ge=0.2, le=0.9, description="the part that stays, from below")] = 0.5,
    strength: Annotated[float, Field(ge=0.1, le=1)] = 0.9,
    num_inference_steps: Annotated[int, Field(ge=4, le=100)] = 16,
    finish: Literal["sharp", "soft"] = "sharp",
    seed: int = 0,
) -> Image.Image:
    """The lower part of one picture before another background, at twice the size."""
    usual = {**USUAL, "num_inference_steps": num_inference_steps, "seed": seed}
    subject = run("landscapes", prompt=prompt, **usual).images[0]
    mask = run.host(mask_above, subject, keep)
    shot = run("landscapes", prompt=background, image=subject, mask_image=mask, strength=strength, **usual).images[0]
    return run.host(upscale, shot, finish)


def mask_above(picture: Image.Image, keep: float) -> Image.Image:
    """White where it is painted anew: all above a line, which is soft."""
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).rectangle((0, 0, picture.width, int(picture.height * (1 - keep))), fill=255)
    return mask.filter(ImageFilter.GaussianBlur(4))


def upscale(picture: Image.Image, finish: str) -> Image.Image:
    """Twice the size."""
    large = picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.LANCZOS)
    return large.filter(ImageFilter.UnsharpMask(2, 80)) if finish == "sharp" else large
