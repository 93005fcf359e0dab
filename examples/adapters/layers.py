"""Low-rank layers on the bundled denoiser: which modules carry them, their weights, and diffusers' files of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig, get_peft_model_state_dict
from torch import nn

from ..landscapes.export_stage import BUNDLED

ADAPTERS = BUNDLED.parent / "adapters"
ATTENTION = r"(to_q|to_k|to_v|to_out\.0|ff\.net\.0\.proj|ff\.net\.2)"
FINEST = r"(conv_in|conv_out|(down_blocks\.0|up_blocks\.3)\.resnets\.\d\.conv[12])"
EVERYWHERE = r"(conv\d?|conv_in|conv_out|conv_shortcut|proj_in|proj_out|time_emb_proj)"
STYLE_LAYERS = rf"(.*\.{ATTENTION}|{FINEST})"
TURBO_LAYERS = rf"(.*\.{ATTENTION}|(.*\.)?{EVERYWHERE})"


@dataclass(frozen=True)
class Layers:
    """A rank and the modules it applies to, as one regular expression over whole module names."""

    rank: int
    modules: str

    def config(self) -> LoraConfig:
        """Peft's configuration; alpha is the rank, so a reader that knows no alpha scales by the same 1."""
        return LoraConfig(r=self.rank, lora_alpha=self.rank, target_modules=self.modules)


def load_bundled() -> StableDiffusionPipeline:
    """The bundled model in full precision, quiet and frozen."""
    pipeline = StableDiffusionPipeline.from_pretrained(BUNDLED, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False)
    return pipeline


def add_layers(model: UNet2DConditionModel, layers: Layers) -> nn.ParameterList:
    """Put fresh layers, which change nothing yet, on the frozen denoiser; returns their weights in a fixed order."""
    model.requires_grad_(False)
    model.add_adapter(layers.config())
    return nn.ParameterList([weight for weight in model.parameters() if weight.requires_grad])


def save_layers(model: UNet2DConditionModel, layers: Layers, folder: Path) -> Path:
    """Write the layers' present weights as diffusers does, in half precision with peft's settings in the metadata."""
    weights = {name: value.detach().half().contiguous() for name, value in get_peft_model_state_dict(model).items()}
    settings = layers.config().to_dict()
    StableDiffusionPipeline.save_lora_weights(
        folder, unet_lora_layers=weights, unet_lora_adapter_metadata=settings, safe_serialization=True
    )
    file = folder / "pytorch_lora_weights.safetensors"
    file.chmod(0o644)
    return file
