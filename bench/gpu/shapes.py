"""SDXL, FLUX and SD3.5 by their shapes, with random weights: seconds do not depend on what weights say.

No text encoders: pipelines are given embeddings, as long as the real ones make them. `small` keeps every part and the
order of layers, and cuts widths and depths to what a CPU runs in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)


@dataclass(frozen=True)
class Shape:
    """One model: its pipeline, what a request gives beside steps and guidance, and what an image costs.

    `rows` are those of an image's forward, two with guidance; `denoise` runs one forward of so many rows and pixels.
    """

    name: str
    pipe: Any
    side: int
    steps: int
    guidance: float
    rows: int
    prompt: dict[str, torch.Tensor]
    denoise: Callable[[int, int], dict[str, Any]]

    @property
    def denoiser(self) -> Any:
        return getattr(self.pipe, "unet", None) or self.pipe.transformer

    def call(self, **more: Any) -> dict[str, Any]:
        """A request of this model."""
        asked = {"num_inference_steps": self.steps, "guidance_scale": self.guidance, "output_type": "np"}
        return {**self.prompt, **asked, "height": self.side, "width": self.side, **more}


def build(name: str, device: torch.device, dtype: torch.dtype, *, small: bool) -> Shape:
    """One of `SHAPES`; on `meta` it holds no weights, and can be counted."""
    pipe, side, steps = SHAPES[name](small)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            _fill(part, device, dtype)
    pipe.set_progress_bar_config(disable=True)
    return _described(name, pipe, side, steps, device, dtype)


def _empty(kind: Any, **config: Any) -> Any:
    """Without memory for its weights yet."""
    with torch.device("meta"):
        return kind(**config)


def _fill(part: torch.nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    part.to(dtype).eval().requires_grad_(False)
    if device.type == "meta":
        return
    part.to_empty(device=device)
    chance = torch.Generator(device).manual_seed(0)
    for weight in part.parameters():
        weight.normal_(0, 0.02, generator=chance)
    for buffer in part.buffers():
        buffer.zero_()


def _sdxl(small: bool) -> tuple[Any, int, int]:
    widths, heads, layers = (
        ((32, 64, 64), (2, 4, 4), (1, 1, 2)) if small else ((320, 640, 1280), (5, 10, 20), (1, 2, 10))
    )
    unet = _empty(
        UNet2DConditionModel,
        sample_size=128,
        block_out_channels=widths,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=heads,
        transformer_layers_per_block=layers,
        cross_attention_dim=64 if small else 2048,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8 if small else 256,
        projection_class_embeddings_input_dim=6 * 8 + 32 if small else 2816,
    )
    scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear", timestep_spacing="leading", steps_offset=1)
    rest = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    pipe = StableDiffusionXLPipeline(vae=_vae(4, small), unet=unet, scheduler=scheduler, **rest)
    return pipe, 64 if small else 1024, 4 if small else 30


def _flux(small: bool) -> tuple[Any, int, int]:
    transformer = _empty(
        FluxTransformer2DModel,
        in_channels=64,
        num_layers=2 if small else 19,
        num_single_layers=2 if small else 38,
        attention_head_dim=16 if small else 128,
        num_attention_heads=4 if small else 24,
        joint_attention_dim=32 if small else 4096,
        pooled_projection_dim=32 if small else 768,
        axes_dims_rope=(4, 6, 6) if small else (16, 56, 56),
        guidance_embeds=True,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0, use_dynamic_shifting=True)
    rest = dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"))
    pipe = FluxPipeline(vae=_vae(16, small), transformer=transformer, scheduler=scheduler, **rest)
    return pipe, 64 if small else 1024, 4 if small else 28


def _sd35(small: bool) -> tuple[Any, int, int]:
    transformer = _empty(
        SD3Transformer2DModel,
        sample_size=16 if small else 128,
        in_channels=16,
        num_layers=2 if small else 38,
        attention_head_dim=16 if small else 64,
        num_attention_heads=4 if small else 38,
        caption_projection_dim=64 if small else 2432,
        joint_attention_dim=32 if small else 4096,
        pooled_projection_dim=32 if small else 2048,
        out_channels=16,
        pos_embed_max_size=192,
        qk_norm="rms_norm",
    )
    names = ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    pipe = StableDiffusion3Pipeline(
        vae=_vae(16, small), transformer=transformer, scheduler=scheduler, **dict.fromkeys(names)
    )
    return pipe, 64 if small else 1024, 4 if small else 28


def _vae(channels: int, small: bool) -> Any:
    widths = (16, 16, 32, 32) if small else (128, 256, 512, 512)
    return _empty(
        AutoencoderKL,
        block_out_channels=widths,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1 if small else 2,
        norm_num_groups=8 if small else 32,
        latent_channels=channels,
        force_upcast=False,
        shift_factor=0.06 if channels == 16 else None,
    )


SHAPES: dict[str, Callable[[bool], tuple[Any, int, int]]] = {"sdxl": _sdxl, "flux": _flux, "sd35": _sd35}


def _described(name: str, pipe: Any, side: int, steps: int, device: torch.device, dtype: torch.dtype) -> Shape:
    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(1)).to(device, dtype)

    if name == "sdxl":
        config = pipe.unet.config
        width = config.cross_attention_dim
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        prompt = {"prompt_embeds": noise(1, 77, width), "pooled_prompt_embeds": noise(1, pooled)}

        def denoise(rows: int, pixels: int) -> dict[str, Any]:
            added = {"text_embeds": noise(rows, pooled), "time_ids": torch.zeros(rows, 6, device=device, dtype=dtype)}
            steps_ = torch.full((rows,), 500, device=device)
            latents = noise(rows, 4, pixels // 8, pixels // 8)
            text = noise(rows, 77, width)
            return {"sample": latents, "timestep": steps_, "encoder_hidden_states": text, "added_cond_kwargs": added}

        return Shape(name, pipe, side, steps, 5.0, 2, _with_negative(prompt), denoise)
    config = pipe.transformer.config
    length, width, pooled = (32 if side < 256 else 512), config.joint_attention_dim, config.pooled_projection_dim
    length = length if name == "flux" or side < 256 else 333
    prompt = {"prompt_embeds": noise(1, length, width), "pooled_prompt_embeds": noise(1, pooled)}

    def denoise_tokens(rows: int, pixels: int) -> dict[str, Any]:
        given = {"encoder_hidden_states": noise(rows, length, width), "pooled_projections": noise(rows, pooled)}
        given["timestep"] = torch.full((rows,), 0.5 if name == "flux" else 500.0, device=device, dtype=dtype)
        if name == "sd35":
            return {"hidden_states": noise(rows, 16, pixels // 8, pixels // 8), **given}
        tokens = (pixels // 16) ** 2
        ids = {"img_ids": torch.zeros(tokens, 3, device=device), "txt_ids": torch.zeros(length, 3, device=device)}
        guidance = torch.full((rows,), 3.5, device=device)
        return {"hidden_states": noise(rows, tokens, 64), **given, **ids, "guidance": guidance}

    if name == "flux":
        return Shape(name, pipe, side, steps, 3.5, 1, prompt, denoise_tokens)
    return Shape(name, pipe, side, steps, 4.5, 2, _with_negative(prompt), denoise_tokens)


def _with_negative(prompt: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**prompt, **{f"negative_{name}": -value for name, value in prompt.items()}}
