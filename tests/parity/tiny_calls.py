"""A tiny module of every kind, and calls of differing rows that should stack.

Every entry gives the module, the method and at least two calls; the first has one row, the second two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import diffusers
import torch
import transformers

from tests.parity import tiny_modules as modules
from tests.parity import tiny_text as text
from tests.parity import tiny_transformer_calls as dits
from tests.parity import tiny_unet_calls as unets
from tests.parity.tiny_inputs import Made, both, randn
from tests.parity.tiny_text import WIDTH, seeded

# Their calls are made, batched and compared by test_families.
SHOWN_BY_FAMILIES = {
    "SD3Transformer2DModel",
    "PixArtTransformer2DModel",
    "SanaTransformer2DModel",
    "LTXVideoTransformer3DModel",
    "StableAudioDiTModel",
    "CLIPTextModel",
    "CLIPTextModelWithProjection",
    "T5EncoderModel",
    "UMT5EncoderModel",
    "AutoencoderDC",
    "AutoencoderKLLTXVideo",
    "AutoencoderKLWan",
    "AutoencoderOobleck",
}


def _ids(n: int) -> dict[str, Any]:
    """Rows of differing length, padded on the right."""
    ids = torch.arange(9 * n).reshape(n, 9) % 40 + 5
    mask = torch.ones_like(ids)
    mask[0, 4 + n :] = 0
    return {"input_ids": ids, "attention_mask": mask}


def _gemma() -> Made:
    return text.gemma(), "forward", both(_ids)


def _qwen3() -> Made:
    config = transformers.Qwen3Config(
        vocab_size=text.VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
    )
    calls = both(lambda n: {**_ids(n), "output_hidden_states": True})
    return seeded(84, lambda: transformers.Qwen3Model(config)), "forward", calls


def _clip_vision(kind: type[torch.nn.Module]) -> Callable[[], Made]:
    config = transformers.CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        projection_dim=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=16,
        patch_size=8,
    )
    calls = both(lambda n: {"pixel_values": randn(n, 3, 16, 16), "output_hidden_states": True})
    return lambda: (seeded(85, lambda: kind(config)), "forward", calls)


def _encode(make: Callable[[], torch.nn.Module], *shape: int) -> Callable[[], Made]:
    return lambda: (make(), "encode", both(lambda n: {"x": randn(n, *shape)}))


def _decode(make: Callable[[], torch.nn.Module], *shape: int, name: str = "z", **more: Any) -> Callable[[], Made]:
    return lambda: (make(), "decode", both(lambda n: {name: randn(n, *shape), **more}))


def _asymmetric_vae() -> torch.nn.Module:
    return seeded(
        86,
        lambda: diffusers.AsymmetricAutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 2,
            down_block_out_channels=(16, 32),
            up_block_types=("UpDecoderBlock2D",) * 2,
            up_block_out_channels=(16, 32),
            norm_num_groups=8,
        ),
    )


def _asymmetric_decode() -> Made:
    calls = both(
        lambda n: {
            "z": randn(n, 4, 8, 8),
            "image": randn(n, 3, 16, 16),
            "mask": (randn(n, 1, 16, 16) > 0).float(),
        }
    )
    return _asymmetric_vae(), "decode", calls


def _cogvideox_vae() -> torch.nn.Module:
    return seeded(
        87,
        lambda: diffusers.AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 2,
            up_block_types=("CogVideoXUpBlock3D",) * 2,
            block_out_channels=(8, 16),
            latent_channels=4,
            layers_per_block=1,
            norm_num_groups=4,
            temporal_compression_ratio=2,
        ),
    )


def _qwen_image_vae() -> torch.nn.Module:
    return seeded(
        88,
        lambda: diffusers.AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
    )


CALLS: dict[str, Callable[[], Made]] = {
    "UNet2DConditionModel": lambda: (modules.unet(), "forward", unets.unet_calls()),
    "UNet2DConditionModel.adapter": lambda: (modules.unet(), "forward", unets.adapted_unet_calls()),
    "UNet2DConditionModel.prompted": unets.prompted_unet,
    "UNet2DModel": unets.unconditional,
    "UNetMotionModel": unets.motion,
    "ControlNetModel": lambda: (modules.controlnet(), "forward", unets.controlnet_calls()),
    "ControlNetUnionModel": unets.control_union,
    "SD3ControlNetModel": unets.sd3_control,
    "FluxControlNetModel": unets.flux_control,
    "T2IAdapter": unets.t2i_adapter,
    "FluxTransformer2DModel": dits.flux,
    "ChromaTransformer2DModel": dits.chroma,
    "AuraFlowTransformer2DModel": dits.aura_flow,
    "DiTTransformer2DModel": dits.dit,
    "Lumina2Transformer2DModel": dits.lumina2,
    "QwenImageTransformer2DModel": dits.qwen_image,
    "ZImageTransformer2DModel": dits.z_image,
    "WanTransformer3DModel": dits.wan,
    "CogVideoXTransformer3DModel": dits.cogvideox,
    "Gemma2Model": _gemma,
    "Qwen3Model": _qwen3,
    "CLIPVisionModel": _clip_vision(transformers.CLIPVisionModel),
    "CLIPVisionModelWithProjection": _clip_vision(transformers.CLIPVisionModelWithProjection),
    "AutoencoderKL.encode": _encode(modules.vae, 3, 16, 16),
    "AutoencoderKL.decode": _decode(modules.vae, 4, 8, 8, generator=torch.Generator()),
    "AutoencoderTiny.encode": _encode(modules.tiny_vae, 3, 16, 16),
    "AutoencoderTiny.decode": _decode(modules.tiny_vae, 4, 8, 8, name="x"),
    "AsymmetricAutoencoderKL.encode": _encode(_asymmetric_vae, 3, 16, 16),
    "AsymmetricAutoencoderKL.decode": _asymmetric_decode,
    "AutoencoderKLCogVideoX.encode": _encode(_cogvideox_vae, 3, 3, 16, 16),
    "AutoencoderKLCogVideoX.decode": _decode(_cogvideox_vae, 4, 2, 8, 8),
    "AutoencoderKLQwenImage.encode": _encode(_qwen_image_vae, 3, 1, 16, 16),
    "AutoencoderKLQwenImage.decode": _decode(_qwen_image_vae, 4, 1, 2, 2),
}
