"""Pipelines whose guidance keeps the state of its loop on a component: each request has one of its own."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from diffusers import (
    AdaptiveProjectedMixGuidance,
    AutoencoderKLHunyuanImage,
    HunyuanImagePipeline,
    HunyuanImageTransformer2DModel,
)

from tests.parity import company, plain
from tests.parity import tiny_text as text
from tests.parity.families import LAKE, NIGHT, SKY, Family, Request, quiet
from tests.parity.solvers import FLOW

pytestmark = [pytest.mark.parity, pytest.mark.slow]


def transformer() -> HunyuanImageTransformer2DModel:
    module = text.seeded(
        46,
        lambda: HunyuanImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            text_embed_dim=text.WIDTH,
            text_embed_2_dim=text.WIDTH,
            rope_axes_dim=(8, 8),
        ),
    )
    module.proj_out.weight.mul_(8.0)  # random layers shrink their input
    return module


def autoencoder() -> AutoencoderKLHunyuanImage:
    return text.seeded(
        38,
        lambda: AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(32, 32),
            layers_per_block=1,
            spatial_compression_ratio=2,
            sample_size=16,
            scaling_factor=0.5,
        ),
    )


@cache
def hunyuan_image() -> dict[str, Any]:
    """The momentum of a loop decides its next steps here, from the second one on."""
    guider = AdaptiveProjectedMixGuidance(guidance_scale=4.0, adaptive_projected_guidance_start_step=1)
    pipe = HunyuanImagePipeline(
        scheduler=FLOW["flow-euler"](),
        vae=autoencoder(),
        text_encoder=text.gemma(),
        tokenizer=text.gemma_tokenizer(),
        text_encoder_2=text.t5(),
        tokenizer_2=text.t5_tokenizer(),
        transformer=transformer(),
        guider=guider,
    )
    pipe.tokenizer_max_length = pipe.tokenizer_2_max_length = 24
    pipe.prompt_template_encode, pipe.prompt_template_encode_start_idx = "{}", 0  # the real one is longer than that
    return quiet({"guided": pipe})


def request(seed: int, prompt: str, steps: int, negative: str) -> Request:
    return Request("guided", seed, {"prompt": prompt, "num_inference_steps": steps, "negative_prompt": negative})


FAMILY = Family(
    "hunyuan-image",
    hunyuan_image,
    (request(81, SKY, 6, "rain"), request(82, LAKE, 4, "people"), request(83, NIGHT, 5, "a house")),
)


def test_requests_that_share_a_guider_keep_their_own_momentum() -> None:
    references = [plain.run(FAMILY, request) for request in FAMILY.requests]
    assert all(np.abs(references[0] - other).max() > 1e-3 for other in references[1:])
    served = company.serve(FAMILY, FAMILY.requests)
    for index, image in served.images.items():
        company.hold(FAMILY, FAMILY.requests[index], image, references[index], "guided")
