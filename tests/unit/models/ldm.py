"""A Stable Diffusion pipeline's weights under the names of the original single-file checkpoints."""

from __future__ import annotations

import re
from typing import Any

import torch

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def single_file(pipe: Any) -> dict[str, torch.Tensor]:
    """Every weight of the pipeline, as one checkpoint."""
    layers = pipe.unet.config.layers_per_block
    found = {f"model.diffusion_model.{_unet(name, layers)}": w for name, w in pipe.unet.state_dict().items()}
    blocks = len(pipe.vae.config.block_out_channels)
    for name, weight in pipe.vae.state_dict().items():
        is_linear = ".attentions." in name and weight.dim() == 2
        found[f"first_stage_model.{_vae(name, blocks)}"] = weight[:, :, None, None] if is_linear else weight
    for name, weight in pipe.text_encoder.state_dict().items():
        found[f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}"] = weight
    return {name: weight.clone().contiguous() for name, weight in found.items()}


def _unet(name: str, layers: int) -> str:
    for ours, theirs in UNET_ENDS.items():
        if name.startswith(ours + "."):
            return _resnet(theirs + name.removeprefix(ours))
    way, block, kind, number, rest = re.fullmatch(r"(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.*)", name).groups()  # type: ignore[union-attr]
    first = int(block) * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers + 1}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.2.{rest}"  # after resnet and attention
    place = f"input_blocks.{first + int(number) + 1}" if way == "down" else f"output_blocks.{first + int(number)}"
    return _resnet(f"{place}.{0 if kind == 'resnets' else 1}.{rest}")


def _resnet(name: str) -> str:
    if "transformer_blocks" in name:
        return name
    for ours, theirs in RESNET.items():
        name = re.sub(rf"(?<=\.){ours}(?=\.)", theirs, name)
    return name


def _vae(name: str, blocks: int) -> str:
    name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{blocks - 1 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{blocks - 1 - int(m[1])}.upsample.", name)
    name = re.sub(r"mid_block\.resnets\.(\d)\.", lambda m: f"mid.block_{int(m[1]) + 1}.", name)
    for ours, theirs in ATTENTION.items():
        name = name.replace(f"mid_block.attentions.0.{ours}.", f"mid.attn_1.{theirs}.")
    return name
