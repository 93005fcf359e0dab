"""Writing the bundled folder in diffusers layout, half precision on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from .networks import SIZES, build_autoencoder, build_denoiser, build_schedule, build_text_encoder
from .run import cache_folder, load_checkpoint
from .vocabulary import load_vocabulary, write_vocabulary

BUNDLED = Path(__file__).parents[2] / "src/darkroom/models/bundled/landscapes"
PRESETS: dict[str, Any] = {
    "sizes": [list(size) for size in SIZES],
    "default_size": list(SIZES[0]),
    "presets": {
        "fast": {"num_inference_steps": 10, "guidance_scale": 4.0, "solver": "dpm++2m"},
        "quality": {"num_inference_steps": 30, "guidance_scale": 4.0, "solver": "dpm++2m"},
        # offered where that adapter is (examples/adapters)
        "turbo": {"num_inference_steps": 4, "guidance_scale": 1.0, "solver": "ddim", "adapters": {"turbo": 1.0}},
    },
}


def trained(stage: str) -> bool:
    """Whether a stage has left a checkpoint."""
    return (cache_folder() / f"{stage}.pt").exists()


def load_averaged(model: nn.Module, stage: str) -> nn.Module:
    """The model with the averaged weights of its stage's last checkpoint, or as built where there is none."""
    state = load_checkpoint(cache_folder() / f"{stage}.pt", torch.device("cpu"))
    if state is not None:
        weights = state["average"]
        inner = {name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")}
        model.load_state_dict(inner if stage == "text" else weights)
    return model.eval()


def load_pipeline() -> StableDiffusionPipeline:
    """The whole model from the cache folder's checkpoints, in full precision."""
    words = cache_folder() / "tokenizer"
    if not (words / "vocab.json").exists():
        write_vocabulary(words)
    tokenizer = load_vocabulary(words)
    text = build_text_encoder(len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    newest = next(name for name in ("decoder", "frozen", "vae") if trained(name))
    autoencoder = build_autoencoder()
    load_averaged(autoencoder, newest)
    return StableDiffusionPipeline(
        vae=autoencoder,
        text_encoder=load_averaged(text, "text"),
        tokenizer=tokenizer,
        unet=load_averaged(build_denoiser(), "denoiser"),
        scheduler=build_schedule(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export_model(budget_s: float = 0.0, folder: Path = BUNDLED) -> None:
    """Save the averaged weights with the presets beside them; the model card stays as it is."""
    pipeline = load_pipeline().to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    # transformers loads in the precision that its configuration names, diffusers in float32: let both be the same.
    encoder = folder / "text_encoder" / "config.json"
    encoder.write_text(json.dumps(json.loads(encoder.read_text()) | {"dtype": "float32"}, indent=2) + "\n")
    vocabulary = cache_folder() / "tokenizer"
    for name in ("vocab.json", "merges.txt"):
        (folder / "tokenizer" / name).write_bytes((vocabulary / name).read_bytes())
    for file in folder.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)
    (folder / "presets.json").write_text(json.dumps(PRESETS, indent=2) + "\n")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{folder}: {size / 1e6:.1f} MB")
