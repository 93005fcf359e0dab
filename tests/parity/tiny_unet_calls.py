"""Calls of UNets, ControlNets and adapters that no family makes in this form."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers.models.controlnets import ControlNetUnionModel

from darkroom.engine.spec_table import IMAGE_PROMPT_SCALE
from darkroom.models.image_prompts import prompted
from darkroom.models.ip_adapter import IpAdapter
from tests.parity.families import sd_parts
from tests.parity.tiny_inputs import Made, both, drawn, flux_call, joint, randn
from tests.parity.tiny_modules import unet
from tests.parity.tiny_text import WIDTH, seeded
from tests.piece_files import CLIP, save_ip_adapter


def unet_calls() -> list[dict[str, Any]]:
    """Integers and floats, of no dimension, of one entry, of one a row: what different solvers pass as timestep."""
    times = (torch.tensor([321]), torch.tensor(17), torch.tensor([3.5, 800.0]))
    return [
        {"sample": randn(rows, 4, 8, 8), "timestep": time, "encoder_hidden_states": randn(rows, 7, WIDTH)}
        for rows, time in zip((1, 2, 2), times, strict=True)
    ]


def controlnet_calls() -> list[dict[str, Any]]:
    return [
        {**call, "controlnet_cond": randn(len(call["sample"]), 3, 16, 16), "conditioning_scale": scale}
        for call, scale in zip(unet_calls(), (0.3, 1.0, 1.7), strict=True)
    ]


def adapted_unet_calls() -> list[dict[str, Any]]:
    """Residuals of a T2I-Adapter, as a list that the forward empties."""
    return [
        {**call, "down_intrablock_additional_residuals": [randn(n, 16, 4, 4), randn(n, 32, 4, 4)]}
        for call, n in ((call, len(call["sample"])) for call in unet_calls())
    ]


def prompted_unet() -> Made:
    """An image prompt a row, each call with a scale of its own."""
    with tempfile.TemporaryDirectory() as folder:
        adapter = IpAdapter("tiny", save_ip_adapter(unet(), Path(folder)))
        module = prompted(diffusers.StableDiffusionPipeline(**sd_parts()), adapter).unet
    calls = [
        {
            **call,
            "added_cond_kwargs": {"image_embeds": [randn(len(call["sample"]), 1, CLIP)]},
            "cross_attention_kwargs": {IMAGE_PROMPT_SCALE: scale},
        }
        for call, scale in zip(unet_calls(), (0.3, 1.0, 1.7), strict=True)
    ]
    return module, "forward", calls


def unconditional() -> Made:
    module = seeded(
        70,
        lambda: diffusers.UNet2DModel(
            sample_size=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            num_class_embeds=5,
        ),
    )
    calls = both(lambda n: {"sample": randn(n, 3, 8, 8), "timestep": 10 * n, "class_labels": torch.arange(n)})
    return module, "forward", calls


def motion() -> Made:
    module = seeded(
        71,
        lambda: diffusers.UNetMotionModel(
            sample_size=8,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("CrossAttnDownBlockMotion", "DownBlockMotion"),
            up_block_types=("UpBlockMotion", "CrossAttnUpBlockMotion"),
            cross_attention_dim=WIDTH,
            num_attention_heads=4,
            motion_num_attention_heads=4,
            motion_max_seq_length=8,
        ),
    )
    calls = both(
        lambda n: {
            "sample": randn(n, 4, 3, 8, 8),
            "timestep": torch.tensor(100 * n),
            "encoder_hidden_states": randn(3 * n, 7, WIDTH),
        }
    )
    return module, "forward", calls


def control_union() -> Made:
    def make() -> torch.nn.Module:
        module = ControlNetUnionModel(
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            cross_attention_dim=WIDTH,
            attention_head_dim=4,
            conditioning_embedding_out_channels=(16, 32),
            addition_time_embed_dim=8,
            num_control_type=2,
            num_trans_channel=16,
            num_proj_channel=16,
            num_trans_head=4,
            num_trans_layer=1,
        )
        blocks = [*module.controlnet_down_blocks, module.controlnet_mid_block, module.spatial_ch_projs]
        return drawn(module, [*blocks, module.controlnet_cond_embedding.conv_out])

    calls = [
        {
            **call,
            "controlnet_cond": [randn(len(call["sample"]), 3, 16, 16)],
            "control_type": torch.tensor([[0.0, 1.0]]).repeat(len(call["sample"]), 1),
            "control_type_idx": [1],
            "conditioning_scale": [0.5],
        }
        for call in unet_calls()
    ]
    return seeded(72, make), "forward", calls


def sd3_control() -> Made:
    def make() -> torch.nn.Module:
        module = diffusers.SD3ControlNetModel(
            sample_size=8,
            patch_size=1,
            in_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=WIDTH,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            out_channels=4,
        )
        return drawn(module, [*module.controlnet_blocks, module.pos_embed_input.proj])

    calls = both(
        lambda n: {
            **joint(n),
            "hidden_states": randn(n, 4, 8, 8),
            "controlnet_cond": randn(n, 4, 8, 8),
            "conditioning_scale": 0.4 * n,
            "pooled_projections": randn(n, WIDTH),
        }
    )
    return seeded(73, make), "forward", calls


def flux_control() -> Made:
    def make() -> torch.nn.Module:
        module = diffusers.FluxControlNetModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=[4, 4, 8],
            num_mode=3,
        )
        blocks = [*module.controlnet_blocks, *module.controlnet_single_blocks, module.controlnet_x_embedder]
        return drawn(module, blocks)

    calls = both(
        lambda n: {
            **flux_call(n),
            "controlnet_cond": randn(n, 16, 16),
            "controlnet_mode": torch.full((n, 1), n),
            "conditioning_scale": 0.7 / n,
        }
    )
    return seeded(74, make), "forward", calls


def t2i_adapter() -> Made:
    module = seeded(75, lambda: diffusers.T2IAdapter(channels=[16, 32], num_res_blocks=1, downscale_factor=2))
    return module, "forward", both(lambda n: {"x": randn(n, 3, 16, 16)})
