"""`--like`: the settings a picture carries, and what is no longer as it was when it was made."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ..config import PowerOfTwo, PresetSettings
from ..errors import BadInput, UnreadableImage
from ..models.offer import PIPELINE
from ..models.revision import short
from ..storage import images
from ..wording import problem_said

KEPT = (
    *("prompt", "negative_prompt", "width", "height", "seed"),
    *("strength", "controlnet_conditioning_scale", "ip_adapter_scale", "outpaint", "denoising_end", "adapters"),
    *("num_frames", "frame_rate", "audio_end_in_s", "prompt_style"),
)
BASE = ("num_inference_steps", "guidance_scale", "solver")
# What must be the same for the same pixels, and what to call it.
CONDITIONS = {
    "revision": "model revision",
    "device": "device",
    "device_name": "device's name",
    "dtype": "dtype",
    "threads": "thread count",
    "fixed_rows": "fixed rows",
    "vae_tiling": "tiled VAE",
    "tuning": "tuning",
    "image_sha256": "picture to start from",
    "mask_sha256": "mask",
    "control_sha256": "control image",
    "ip_adapter_sha256": "image prompt",
}
# What says that a picture was there, which input gave it, and how it is asked for.
PICTURES = {
    "image_sha256": ("image", "was made from another picture: give that one too"),
    "mask_sha256": ("mask_image", "was made with a mask: give that one too"),
    "control_sha256": ("control_image", "was made with a control image: give that one too"),
    "ip_adapter_sha256": ("ip_adapter_image", "was prompted by a picture: give that one too"),
}

IN_COMPANY = "it was made outside of reproducible mode, as a service does unless asked: the pixels may differ slightly"
UNSTEADY = "where it was made, company changed the model's bits, and it ran alone from then on: the pixels may differ"


@dataclass(frozen=True)
class Recalled:
    """What a picture was made with; `base` holds its steps, guidance and solver, `None` meaning the pipeline's own.

    One of a plain pipeline has no base: whatever it takes is among its inputs.
    """

    model: str
    inputs: Mapping[str, Any]
    base: PresetSettings | None
    fixed_rows: int
    settings: Mapping[str, Any]

    @property
    def known_as(self) -> str:
        """What to look the model up by: its name, or the path that it was given by."""
        return str(self.settings.get("origin") or self.model)

    def differences(self, now: Mapping[str, Any]) -> list[str]:
        """One sentence for each condition that has changed since, with which the pixels may differ."""
        then = self.settings
        changed = {what: (then.get(name), now.get(name)) for name, what in CONDITIONS.items()}
        versions = now["versions"]
        for name in ("torch", "diffusers"):
            changed[name] = (_mapping(then, "versions").get(name), versions[name])
        was, is_ = _mapping(then, "adapter_digests"), _mapping(now, "adapter_digests")
        changed |= {f"adapter {name}": (was[name], is_[name]) for name in was if name in is_}
        company = [] if then.get("reproducible", True) else [IN_COMPANY]
        company += [UNSTEADY] if then.get("unsteady") else []
        return company + [
            f"{what} was {_brief(before)} and is {_brief(after)}: the pixels may differ"
            for what, (before, after) in changed.items()
            if before != after
        ]


def recall(path: Path, given: Collection[str]) -> Recalled:
    """What a PNG of ours says of itself, beside the pictures that are given; raises `UnreadableImage`, `BadInput`."""
    said = images.read_settings(path)
    asked = said["input"]
    for digest, (name, why) in PICTURES.items():
        if digest in said and name not in given:
            raise BadInput(f"{path} {why}", field=name)
    is_plain = said.get("task") == PIPELINE
    try:
        own = {name: asked[name] for name in BASE if name in asked}
        base = None if is_plain else PresetSettings.model_validate(own, strict=True)
        rows = TypeAdapter(PowerOfTwo).validate_python(said.get("fixed_rows"), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "fixed_rows"
        raise UnreadableImage(
            f"{path}: its settings are damaged: {place}: {problem_said(first)}", field="like"
        ) from error
    inputs = dict(asked) if is_plain else {name: asked[name] for name in KEPT if name in asked}
    return Recalled(str(said.get("model")), inputs, base, rows, said)


def _mapping(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    said = settings.get(name)
    return said if isinstance(said, dict) else {}


def _brief(value: Any) -> str:
    text = (
        " and ".join(f"{name} {_brief(each)}" for name, each in value.items())
        if isinstance(value, dict)
        else str(value)
    )
    return short(text) if len(text) == 64 else text
