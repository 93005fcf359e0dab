"""The three networks and the noise schedule, as diffusers and transformers build them."""

from __future__ import annotations

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS = 12
DOWNSAMPLING = 16
TEXT_WIDTH = 128
TEXT_LENGTH = 48
SIZES = ((256, 256), (192, 192), (320, 192), (192, 320))


def build_autoencoder() -> AutoencoderKL:
    """Sixteen-fold down-sampling, narrow at full size because that is where decoding spends its time.

    One normalisation group: groups of two channels would forget how bright a plain sky is.
    """
    return AutoencoderKL(
        block_out_channels=(16, 16, 32, 96, 128),
        down_block_types=("DownEncoderBlock2D",) * 5,
        up_block_types=("UpDecoderBlock2D",) * 5,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=1,
        sample_size=256,
        scaling_factor=1.0,
    )


def build_denoiser() -> UNet2DConditionModel:
    """Four levels over 16x16 latents, attending to the caption at the two middle ones."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(48, 96, 192, 256),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=4,
        use_linear_projection=True,
    )


def build_text_encoder(vocabulary: int, bos: int, eos: int) -> CLIPTextModel:
    """A four-layer CLIP text model; captions are short, so 48 positions are enough."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            projection_dim=TEXT_WIDTH,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=eos,
        )
    )


def build_schedule() -> DDIMScheduler:
    """Cosine noise with velocity targets: it ends near pure noise, so night skies may come out dark."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        timestep_spacing="trailing",
    )
