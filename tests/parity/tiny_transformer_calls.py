"""Calls of transformers that no family makes in this form."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from tests.parity import tiny_modules as modules
from tests.parity.tiny_inputs import Made, both, flux_call, joint, randn
from tests.parity.tiny_text import WIDTH, seeded


def flux() -> Made:
    residuals = lambda n: {"controlnet_block_samples": [randn(n, 16, WIDTH)]}  # noqa: E731
    return modules.flux(), "forward", both(lambda n: {**flux_call(n), **residuals(n)})


def chroma() -> Made:
    module = seeded(
        76,
        lambda: diffusers.ChromaTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 4, 8),
            approximator_num_channels=64,
            approximator_hidden_dim=16,
            approximator_layers=1,
        ),
    )
    kept = {"hidden_states", "encoder_hidden_states", "timestep", "img_ids", "txt_ids"}

    def call(n: int) -> dict[str, Any]:
        mask = torch.ones(n, 23, dtype=torch.bool)
        mask[0, 3:7] = False
        return {**{k: v for k, v in flux_call(n).items() if k in kept}, "attention_mask": mask}

    return module, "forward", both(call)


def aura_flow() -> Made:
    module = seeded(
        77,
        lambda: diffusers.AuraFlowTransformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=WIDTH,
            joint_attention_dim=WIDTH,
            out_channels=4,
            pos_embed_max_size=64,
        ),
    )
    for parameter in module.joint_transformer_blocks.parameters():
        parameter.mul_(3.0)  # its random blocks pass little of the text on
    return module, "forward", both(lambda n: {**joint(n, 0.3), "hidden_states": randn(n, 4, 8, 8)})


def dit() -> Made:
    module = seeded(
        78,
        lambda: diffusers.DiTTransformer2DModel(
            sample_size=8,
            num_layers=1,
            num_attention_heads=2,
            attention_head_dim=8,
            in_channels=4,
            out_channels=8,
            num_embeds_ada_norm=1000,
        ),
    )
    calls = both(
        lambda n: {
            "hidden_states": randn(n, 4, 8, 8),
            "timestep": torch.full((n,), 100 * n),
            "class_labels": torch.arange(n) + n,
        }
    )
    return module, "forward", calls


def lumina2() -> Made:
    module = seeded(
        79,
        lambda: diffusers.Lumina2Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            hidden_size=24,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=3,
            num_kv_heads=1,
            multiple_of=2,
            axes_dim_rope=(4, 2, 2),
            axes_lens=(128, 128, 128),
            cap_feat_dim=WIDTH,
        ),
    )

    def call(n: int) -> dict[str, Any]:
        mask = torch.ones(n, 7, dtype=torch.bool)
        mask[0, 8 - 3 * n :] = False
        return {**joint(n), "hidden_states": randn(n, 4, 8, 8), "encoder_attention_mask": mask}

    return module, "forward", both(call)


def qwen_image() -> Made:
    module = seeded(
        80,
        lambda: diffusers.QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(8, 4, 4),
        ),
    )

    def call(n: int) -> dict[str, Any]:
        mask = torch.ones(n, 7, dtype=torch.long)
        mask[0, 4 + n :] = 0
        return {
            **joint(n),
            "hidden_states": randn(n, 16, 16),
            "encoder_hidden_states_mask": mask,
            "img_shapes": [[(1, 4, 4)]] * n,
        }

    return module, "forward", both(call)


def z_image() -> Made:
    calls = both(
        lambda n: {
            "x": [randn(4, 1, 8, 8) * (k + 1) for k in range(n)],
            "t": torch.full((n,), 0.3 * n),
            "cap_feats": [randn(9 + 5 * n + k, WIDTH) * (k + 1) for k in range(n)],
        }
    )
    return modules.z_image(), "forward", calls


def wan() -> Made:
    """Two image embeddings a row, as first-and-last-frame models take them."""
    module = seeded(
        82,
        lambda: diffusers.WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=4,
            out_channels=4,
            text_dim=WIDTH,
            freq_dim=32,
            ffn_dim=WIDTH,
            num_layers=1,
            rope_max_seq_len=32,
            image_dim=WIDTH,
            added_kv_proj_dim=24,
            pos_embed_seq_len=2 * 5,
        ),
    )
    calls = both(
        lambda n: {
            **joint(n),
            "hidden_states": randn(n, 4, 3, 8, 8),
            "encoder_hidden_states_image": randn(2 * n, 5, WIDTH),
        }
    )
    return module, "forward", calls


def cogvideox() -> Made:
    module = seeded(
        83,
        lambda: diffusers.CogVideoXTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=16,
            in_channels=4,
            out_channels=4,
            time_embed_dim=8,
            text_embed_dim=WIDTH,
            num_layers=1,
            sample_width=8,
            sample_height=8,
            sample_frames=9,
            max_text_seq_length=7,
            use_rotary_positional_embeddings=True,
        ),
    )
    angles = randn(48, 16)
    calls = both(
        lambda n: {
            **joint(n),
            "hidden_states": randn(n, 3, 4, 8, 8),
            "image_rotary_emb": (angles.cos(), angles.sin()),
        }
    )
    return module, "forward", calls
