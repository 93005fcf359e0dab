"""A tiny safety checker with random weights, and what makes pictures ready for it."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import CLIPConfig, CLIPImageProcessor

from tests.parity.tiny_text import seeded

ALWAYS, NEVER = -2.0, 2.0  # beyond every cosine: fault is found with each picture, or with none


def checker(threshold: float) -> StableDiffusionSafetyChecker:
    """One that finds fault with a picture of which some score is above the threshold."""
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**tower, "image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=tower, vision_config=vision, projection_dim=16)
    module = seeded(90, lambda: StableDiffusionSafetyChecker(config))
    generator = torch.Generator().manual_seed(91)
    for embeds in (module.concept_embeds, module.special_care_embeds):
        embeds.data = torch.randn(embeds.shape, generator=generator)
    for weights in (module.concept_embeds_weights, module.special_care_embeds_weights):
        weights.data = torch.full(weights.shape, threshold)
    return module


def extractor() -> CLIPImageProcessor:
    """Pictures of 16 pixels a side."""
    return CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16})


def save(folder: Path, threshold: float) -> Path:
    """A folder that an entry can name, as diffusers lays it out."""
    checker(threshold).save_pretrained(folder / "safety_checker", safe_serialization=True)
    extractor().save_pretrained(folder / "feature_extractor")
    return folder
