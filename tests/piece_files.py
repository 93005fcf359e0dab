"""IP-Adapters and T2I-Adapters with random weights, in diffusers' layout, that fit a given UNet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SEEN = 32  # pixels a side that the image encoder reads
CLIP = 16  # numbers that it makes of a picture


def image_encoder(seed: int = 90) -> torch.nn.Module:
    """A tiny CLIP vision model."""
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=32,
        projection_dim=CLIP,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SEEN,
        patch_size=8,
        initializer_factor=5.0,
    )
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    made = CLIPVisionModelWithProjection(config).eval()
    torch.set_rng_state(state)
    return made


def ip_adapter_weights(unet: Any, seed: int = 91, loudness: float = 0.3) -> dict[str, torch.Tensor]:
    """The tensors of a plain one: four tokens a picture, keys and values of each cross-attention."""
    import torch

    generator, text = torch.Generator().manual_seed(seed), unet.config.cross_attention_dim
    drawn = lambda *shape: loudness * torch.randn(shape, generator=generator)  # noqa: E731
    made = {
        "image_proj.proj.weight": drawn(4 * text, CLIP),
        "image_proj.proj.bias": drawn(4 * text),
        "image_proj.norm.weight": torch.ones(text),
        "image_proj.norm.bias": torch.zeros(text),
    }
    for number, name in enumerate(name for name in unet.attn_processors if name.endswith("attn2.processor")):
        width = unet.get_submodule(name.removesuffix(".processor")).to_k.out_features
        for kind in ("to_k_ip", "to_v_ip"):
            made[f"ip_adapter.{2 * number + 1}.{kind}.weight"] = drawn(width, text)
    return made


def save_ip_adapter(unet: Any, folder: Path, seed: int = 91) -> Path:
    """The weights' file, with the image encoder's folder beside it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    save_file(ip_adapter_weights(unet, seed), folder / "ip-adapter.safetensors")
    image_encoder().save_pretrained(folder / "image_encoder")
    return folder / "ip-adapter.safetensors"


def t2i_adapter(unet: Any, scale: int, seed: int = 92) -> torch.nn.Module:
    """One for a UNet whose latents are `scale` times smaller than pictures.

    Where the first block has no cross-attention, as SDXL's, what is added comes behind its halving of the latents.
    """
    import torch
    from diffusers import T2IAdapter

    state = torch.get_rng_state()
    torch.manual_seed(seed)
    is_crossed = "CrossAttn" in unet.config.down_block_types[0]
    kind, factor = ("full_adapter", scale) if is_crossed else ("full_adapter_xl", 2 * scale)
    channels = list(unet.config.block_out_channels)[: None if is_crossed else 3]
    made = T2IAdapter(channels=channels, num_res_blocks=1, downscale_factor=factor, adapter_type=kind).eval()
    torch.set_rng_state(state)
    for parameter in made.parameters():
        parameter.data.mul_(2.0)  # random ones whisper
    return made
