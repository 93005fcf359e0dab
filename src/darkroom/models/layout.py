"""What a model says of itself in its configuration files (diffusers layout), read without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import CorruptWeights, MissingWeights
from . import media

FLOW, DIFFUSION = "flow", "diffusion"
SCHEDULER_CONFIG = "scheduler_config.json"


@dataclass(frozen=True)
class Layout:
    """The facts that bound a request; `native_size` is [width, height] in pixels, `scheduler` its configuration.

    A video has one frame more than a multiple of `frame_step`. `longest_s` is of sounds; of these there is no size.
    """

    pipeline: str
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    size_multiple: int = 8
    native_size: tuple[int, int] = (512, 512)
    frame_step: int = 1
    longest_s: float | None = None

    @property
    def family(self) -> str:
        """Flow matching or diffusion: each takes solvers of its own."""
        return family_of(self.scheduler)


def family_of(scheduler: Mapping[str, Any]) -> str:
    """The family a scheduler's configuration belongs to."""
    is_flow = str(scheduler.get("_class_name", "")).startswith("FlowMatch")
    is_flow = is_flow or scheduler.get("prediction_type") == "flow_prediction" or bool(scheduler.get("use_flow_sigmas"))
    return FLOW if is_flow else DIFFUSION


def read_layout(folder: Path) -> Layout:
    """The layout of a diffusers folder; raises `MissingWeights` or `CorruptWeights`."""
    index = read_json(folder / "model_index.json")
    scheduler = folder / "scheduler" / SCHEDULER_CONFIG
    denoiser, vae = config_of(folder, "unet", "transformer", "prior"), config_of(folder, "vae", "vqvae", "movq")
    return layout_from(pipeline_of(index), read_json(scheduler) if scheduler.exists() else {}, denoiser, vae)


def layout_from(
    pipeline: str, scheduler: Mapping[str, Any], denoiser: Mapping[str, Any], vae: Mapping[str, Any]
) -> Layout:
    """The layout that follows from the configurations of a pipeline's parts."""
    scale = vae_scale(vae)
    multiple = media.side_multiple(pipeline, _multiple(pipeline, scale, denoiser))
    if pipeline in media.VIDEOS:
        return Layout(pipeline, dict(scheduler), multiple, media.VIDEOS[pipeline].size, media.frame_step(vae))
    if pipeline in media.SOUNDS:
        return Layout(pipeline, dict(scheduler), longest_s=media.longest_s(pipeline, denoiser, vae))
    side = denoiser.get("sample_size") or (64 if "down_block_types" in denoiser else 128)
    height, width = side if isinstance(side, list | tuple) else (side, side)
    return Layout(pipeline, dict(scheduler), multiple, (int(width) * scale, int(height) * scale))


def pipeline_of(index: Mapping[str, Any]) -> str:
    """The pipeline's class name; custom pipelines write [file, class]."""
    name = index.get("_class_name", "")
    return str(name[-1] if isinstance(name, list) and name else name)


def read_json(path: Path) -> dict[str, Any]:
    """One configuration file; raises `MissingWeights` where there is none, `CorruptWeights` where it is no JSON."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingWeights(
            f"{path} is missing: a model folder is what save_pretrained writes", field="model"
        ) from error
    except (OSError, ValueError) as error:
        raise CorruptWeights(f"{path} cannot be read: {error}", field="model") from error
    if not isinstance(said, dict):
        raise CorruptWeights(f"{path} holds no JSON object", field="model")
    return said


def config_of(folder: Path, *names: str) -> dict[str, Any]:
    """The configuration of the first of these components that is there; empty where none is."""
    for name in names:
        path = folder / name / "config.json"
        if path.exists():
            return read_json(path)
    return {}


def vae_scale(vae: Mapping[str, Any]) -> int:
    """Pixels per latent, along one side."""
    scale = media.spatial_scale(vae)
    if scale is not None:
        return scale
    blocks = vae.get("encoder_block_out_channels") or vae.get("block_out_channels") or [0] * 4
    return 1 << max(0, len(blocks) - 1)


def _multiple(pipeline: str, scale: int, denoiser: Mapping[str, Any]) -> int:
    """Pixels that a side must be a multiple of: UNet pipelines insist on 8, Flux packs 2x2 latents into a token."""
    if "down_block_types" in denoiser:
        return math.lcm(8, scale)
    said = denoiser.get("patch_size") or denoiser.get("all_patch_size") or 1
    patch = int(max(said) if isinstance(said, list | tuple) else said)
    return scale * (2 * patch if "Flux" in pipeline else patch)
