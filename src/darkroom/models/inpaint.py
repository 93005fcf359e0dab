"""Inpainting for Stable Diffusion models whose latents have other than four channels.

Diffusers' pipeline takes `in_channels == 4` as the sign of a UNet that sees no mask, and blends the known part in after
each step; nothing in that depends on the number. So the pipeline is told four, and the UNet is left as it is.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from diffusers import StableDiffusionControlNetInpaintPipeline, StableDiffusionInpaintPipeline

PLAIN = 4  # what diffusers looks for


class _WidePlain:
    @property
    def unet(self) -> Any:
        """The UNet, with a configuration that says four channels; the module itself stays in `__dict__`."""
        return _Plain(self.__dict__["unet"])


class PlainInpaintPipeline(_WidePlain, StableDiffusionInpaintPipeline):  # type: ignore[misc]
    """`StableDiffusionInpaintPipeline` for a UNet without a mask input, whatever the width of its latents."""


class PlainControlInpaintPipeline(_WidePlain, StableDiffusionControlNetInpaintPipeline):  # type: ignore[misc]
    """The same for `StableDiffusionControlNetInpaintPipeline`."""


WIDE = {
    StableDiffusionInpaintPipeline: PlainInpaintPipeline,
    StableDiffusionControlNetInpaintPipeline: PlainControlInpaintPipeline,
}


class _Plain:
    def __init__(self, unet: Any) -> None:
        self._unet = unet
        self.config = SimpleNamespace(**{**unet.config, "in_channels": PLAIN})

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._unet(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._unet, name)


def widened(pipe: Any) -> Any:
    """The pipeline itself, or as one of `WIDE` where diffusers would refuse its UNet for the number alone."""
    if type(pipe) in WIDE:
        channels = pipe.unet.config.in_channels
        if channels == pipe.vae.config.latent_channels != PLAIN:
            pipe.__class__ = WIDE[type(pipe)]
    return pipe
