"""Tiny denoisers, ControlNets and autoencoders with random weights: two levels, widths around 32."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import torch
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    AutoencoderKLLTXVideo,
    AutoencoderKLWan,
    AutoencoderOobleck,
    AutoencoderTiny,
    ControlNetModel,
    FluxTransformer2DModel,
    LTXVideoTransformer3DModel,
    PixArtTransformer2DModel,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableAudioDiTModel,
    StableAudioProjectionModel,
    UNet2DConditionModel,
    WanTransformer3DModel,
    ZImageTransformer2DModel,
)

from tests.parity.tiny_text import WIDTH, seeded

LATENT = 8  # latent pixels a side; an image has twice as many
_UNET_BLOCKS: dict[str, Any] = {
    "block_out_channels": (16, 32),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
}


_SDXL: dict[str, Any] = {
    "cross_attention_dim": 2 * WIDTH,
    "attention_head_dim": (2, 4),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "transformer_layers_per_block": (1, 2),
    "projection_class_embeddings_input_dim": 6 * 8 + WIDTH,
}


def _louder(module: torch.nn.Module, *names: str, factor: float) -> torch.nn.Module:
    """Random layers shrink their input: without more volume every picture would be the same grey."""
    for name in names:
        module.get_submodule(name).weight.mul_(factor)
    return module


@cache
def unet(in_channels: int = 4, seed: int = 10, **more: Any) -> UNet2DConditionModel:
    settings: dict[str, Any] = {"cross_attention_dim": WIDTH, "attention_head_dim": 4, **_UNET_BLOCKS, **more}
    module = seeded(
        seed,
        lambda: UNet2DConditionModel(
            sample_size=LATENT,
            in_channels=in_channels,
            out_channels=4,
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            **settings,
        ),
    )
    return _louder(module, "conv_out", factor=3.0)


@cache
def sdxl_unet(in_channels: int = 4, seed: int = 11) -> UNet2DConditionModel:
    return unet(in_channels, seed, **_SDXL)


@cache
def refiner_unet(seed: int = 15) -> UNet2DConditionModel:
    """It reads one text encoder's words, and a score among the sizes."""
    settings = {**_SDXL, "cross_attention_dim": WIDTH, "projection_class_embeddings_input_dim": 5 * 8 + WIDTH}
    return unet(4, seed, **settings)


@cache
def controlnet(seed: int = 20, **more: Any) -> ControlNetModel:
    """Its zero convolutions are drawn too, or it would add nothing."""
    settings: dict[str, Any] = {"cross_attention_dim": WIDTH, "attention_head_dim": 4, **_UNET_BLOCKS, **more}

    def make() -> ControlNetModel:
        module = ControlNetModel(in_channels=4, conditioning_embedding_out_channels=(16, 32), **settings)
        for layer in (*module.controlnet_down_blocks, module.controlnet_mid_block):
            torch.nn.init.normal_(layer.weight, std=0.1)
        torch.nn.init.normal_(module.controlnet_cond_embedding.conv_out.weight, std=0.1)
        return module

    return seeded(seed, make)


@cache
def sdxl_controlnet(seed: int = 22) -> ControlNetModel:
    return controlnet(seed, **_SDXL)


@cache
def vae(seed: int = 30, latent_channels: int = 4, **more: Any) -> AutoencoderKL:
    settings: dict[str, Any] = {"block_out_channels": (16, 32), "norm_num_groups": 8, **more}
    module = seeded(
        seed,
        lambda: AutoencoderKL(
            latent_channels=latent_channels,
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            sample_size=2 * LATENT,
            **settings,
        ),
    )
    return _louder(module, "decoder.conv_out", factor=1.5)


@cache
def tiny_vae(seed: int = 31) -> AutoencoderTiny:
    return seeded(
        seed,
        lambda: AutoencoderTiny(
            encoder_block_out_channels=(16, 16),
            decoder_block_out_channels=(16, 16),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
        ),
    )


@cache
def dc_vae(seed: int = 32) -> AutoencoderDC:
    blocks = ("ResBlock", "EfficientViTBlock")
    return seeded(
        seed,
        lambda: AutoencoderDC(
            latent_channels=4,
            attention_head_dim=4,
            encoder_block_types=blocks,
            decoder_block_types=blocks,
            encoder_block_out_channels=(16, 16),
            decoder_block_out_channels=(16, 16),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            scaling_factor=0.41407,
        ),
    )


@cache
def ltx_vae(seed: int = 33, is_noisy: bool = False) -> AutoencoderKLLTXVideo:
    """A noisy one draws from the default generator inside its decoder, as that of LTX 0.9.1 does."""
    four, five = (8, 8, 8, 8), (1, 1, 1, 1, 1)
    module = seeded(
        seed,
        lambda: AutoencoderKLLTXVideo(
            latent_channels=8,
            block_out_channels=four,
            decoder_block_out_channels=four,
            layers_per_block=five,
            decoder_layers_per_block=five,
            spatio_temporal_scaling=(True, True, False, False),
            decoder_spatio_temporal_scaling=(True, True, False, False),
            decoder_inject_noise=(is_noisy,) * 5,
            upsample_residual=(False,) * 4,
            upsample_factor=(1,) * 4,
            timestep_conditioning=is_noisy,
            patch_size=1,
            patch_size_t=1,
            encoder_causal=True,
            decoder_causal=False,
        ),
    )
    for name, parameter in module.named_parameters():
        if "per_channel_scale" in name:
            parameter.fill_(0.3)  # how loud the noise is; zero when fresh
    return module


@cache
def wan_vae(seed: int = 34) -> AutoencoderKLWan:
    return seeded(
        seed,
        lambda: AutoencoderKLWan(
            base_dim=3,
            z_dim=16,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            temperal_downsample=[False, True, True],
        ),
    )


@cache
def oobleck(seed: int = 35) -> AutoencoderOobleck:
    """Eight samples a latent, 128 a second."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # diffusers normalises weights in torch's older way
        return seeded(
            seed,
            lambda: AutoencoderOobleck(
                encoder_hidden_size=8,
                downsampling_ratios=[2, 4],
                channel_multiples=[1, 2],
                decoder_channels=8,
                decoder_input_channels=8,
                sampling_rate=128,
            ),
        )


@cache
def stable_audio(seed: int = 46) -> StableAudioDiTModel:
    return seeded(
        seed,
        lambda: StableAudioDiTModel(
            sample_size=64,
            in_channels=8,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_attention_heads=2,
            out_channels=8,
            cross_attention_dim=WIDTH,
            time_proj_dim=8,
            global_states_input_dim=2 * WIDTH,
            cross_attention_input_dim=WIDTH,
        ),
    )


@cache
def audio_projection(seed: int = 47) -> StableAudioProjectionModel:
    return seeded(
        seed,
        lambda: StableAudioProjectionModel(text_encoder_dim=WIDTH, conditioning_dim=WIDTH, min_value=0, max_value=32),
    )


@cache
def sd3(seed: int = 40) -> SD3Transformer2DModel:
    return seeded(
        seed,
        lambda: SD3Transformer2DModel(
            sample_size=LATENT,
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=WIDTH,
            caption_projection_dim=WIDTH,
            pooled_projection_dim=2 * WIDTH,
        ),
    )


@cache
def flux(seed: int = 41) -> FluxTransformer2DModel:
    return seeded(
        seed,
        lambda: FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
    )


@cache
def pixart(seed: int = 42) -> PixArtTransformer2DModel:
    """A sample size of 128 is what makes PixArt-alpha pass resolution and aspect ratio."""
    return seeded(
        seed,
        lambda: PixArtTransformer2DModel(
            sample_size=128,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=WIDTH,
            in_channels=4,
            cross_attention_dim=24,
            out_channels=8,
            use_additional_conditions=True,
        ),
    )


@cache
def sana(seed: int = 43) -> SanaTransformer2DModel:
    return seeded(
        seed,
        lambda: SanaTransformer2DModel(
            patch_size=1,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            num_attention_heads=2,
            attention_head_dim=8,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=WIDTH,
            sample_size=LATENT,
        ),
    )


@cache
def ltx(seed: int = 44) -> LTXVideoTransformer3DModel:
    return seeded(
        seed,
        lambda: LTXVideoTransformer3DModel(
            in_channels=8,
            out_channels=8,
            num_attention_heads=4,
            attention_head_dim=8,
            cross_attention_dim=WIDTH,
            num_layers=2,
            caption_channels=WIDTH,
        ),
    )


@cache
def wan(seed: int = 45) -> WanTransformer3DModel:
    return seeded(
        seed,
        lambda: WanTransformer3DModel(
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=WIDTH,
            freq_dim=32,
            ffn_dim=WIDTH,
            num_layers=2,
            rope_max_seq_len=32,
        ),
    )


@cache
def z_image(seed: int = 46) -> ZImageTransformer2DModel:
    """Its padding has an embedding, which is not zero as a fresh one's is."""
    module = seeded(
        seed,
        lambda: ZImageTransformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=WIDTH,
            axes_dims=[8, 4, 4],
            axes_lens=[256, 32, 32],
        ),
    )
    for name, parameter in module.named_parameters():
        if "pad_token" in name:
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    return module
