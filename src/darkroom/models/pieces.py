"""Inputs that only a model with a certain piece takes: a ControlNet or T2I-Adapter, an IP-Adapter, a refiner.

Each piece is named in `[models.NAME]` of darkroom.toml. No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import BadInput, NotSupported
from .offer import TEXT_TO_IMAGE, Offer
from .values import number

MAX_CONTROL_SCALE = MAX_PROMPT_SCALE = 2.0
DEFAULT_CONTROL_SCALE = DEFAULT_PROMPT_SCALE = 1.0  # diffusers' own
LEAST_SHARE = 0.01  # of the steps, that a base model or a refiner is left with
# Which input needs which piece of an offer, and what it is called in words and in darkroom.toml.
NEEDS = {
    "control_image": ("has_controlnet", "ControlNet to read a control image", "controlnet"),
    "ip_adapter_image": ("has_ip_adapter", "IP-Adapter to be prompted by a picture", "ip_adapter"),
    "denoising_end": ("has_refiner", "refiner to hand over to", "refiner"),
}


def check_pieces(inputs: Mapping[str, Any], offer: Offer) -> None:
    """Raise `NotSupported` where something is asked for that the model has no piece for."""
    for name, (has, what, key) in NEEDS.items():
        if inputs.get(name) is not None and not getattr(offer, has):
            said = f"{offer.model} has no {what}: `{key}` in [models.{offer.model}] of darkroom.toml names one"
            raise NotSupported(said, field=name)
    if offer.has_t2i_adapter and all(inputs.get(name) is not None for name in ("control_image", "ip_adapter_image")):
        said = f"{offer.model} follows a control image by a T2I-Adapter, which goes with no image prompt"
        raise NotSupported(said, field="ip_adapter_image")


def control_scale(given: Mapping[str, Any]) -> float | None:
    """How closely a control image is followed; None without one."""
    return _scale(given, "controlnet_conditioning_scale", "control_image", DEFAULT_CONTROL_SCALE, MAX_CONTROL_SCALE)


def prompt_scale(given: Mapping[str, Any]) -> float | None:
    """How much an image prompt counts; None without one."""
    return _scale(given, "ip_adapter_scale", "ip_adapter_image", DEFAULT_PROMPT_SCALE, MAX_PROMPT_SCALE)


def _scale(given: Mapping[str, Any], name: str, picture: str, default: float, most: float) -> float | None:
    if name not in given:
        return default if picture in given else None
    if picture not in given:
        raise BadInput(f"{name} needs {'an' if picture[0] in 'aeiou' else 'a'} {picture} to follow", field=picture)
    return number(given, name, 0.0, most)


def hand_over(given: Mapping[str, Any], task: str, steps: int, adapters: Mapping[str, float]) -> float | None:
    """The share of the steps that the base model takes, before its refiner takes the rest; None without one."""
    if "denoising_end" not in given:
        return None
    if given.get("prompt_style") == "weighted":
        raise NotSupported(
            "denoising_end goes with no weighted prompt: a refiner reads it as it stands", field="denoising_end"
        )
    if adapters:
        raise NotSupported("denoising_end goes with no adapters: they are the base model's", field="denoising_end")
    for name in ("control_image", "ip_adapter_image"):
        if name in given:
            raise NotSupported(f"denoising_end goes with no {name}: the refiner reads none", field="denoising_end")
    if task != TEXT_TO_IMAGE:
        raise NotSupported(f"denoising_end is for {TEXT_TO_IMAGE}, not {task}", field="denoising_end")
    share = number(given, "denoising_end", LEAST_SHARE, 1 - LEAST_SHARE)
    if not 1 <= round(share * steps) < steps:
        said = f"denoising_end {share:g} leaves the base model or the refiner none of {steps} steps"
        raise BadInput(said, field="denoising_end")
    return share
