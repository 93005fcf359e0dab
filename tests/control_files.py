"""ControlNets for the bundled model: a copy of its denoiser's first half, with small random weights for the zeros."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from darkroom.models.catalogue import BUNDLED_FOLDER

if TYPE_CHECKING:
    from diffusers import ControlNetModel

LANDSCAPES = BUNDLED_FOLDER / "landscapes"
CONDITIONING = (16, 16, 32, 32, 48)  # a picture becomes 16 times smaller, as the model's latents are


@cache
def controlnet(seed: int = 5, conditioning: tuple[int, ...] = CONDITIONING) -> ControlNetModel:
    """One that is seen: what it reads from a picture is not multiplied by zero."""
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(LANDSCAPES / "unet", local_files_only=True)
    module = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=conditioning)
    generator = torch.Generator().manual_seed(seed)
    ends = module.controlnet_cond_embedding
    for layer in (
        *module.controlnet_down_blocks,
        module.controlnet_mid_block,
        ends.conv_in,
        *ends.blocks,
        ends.conv_out,
    ):
        layer.weight.data = 0.05 * torch.randn(layer.weight.shape, generator=generator)
    return module.eval()


def save_controlnet(folder: Path, seed: int = 5, conditioning: tuple[int, ...] = CONDITIONING) -> Path:
    """A folder that an entry can name."""
    controlnet(seed, conditioning).save_pretrained(folder)
    return folder


def edges(width: int = 192, height: int = 192) -> Image.Image:
    """A control image: a bright square on black."""
    picture = Image.new("RGB", (width, height))
    picture.paste((255, 255, 255), (width // 4, height // 4, 3 * width // 4, 3 * height // 4))
    return picture
