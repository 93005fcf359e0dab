"""The call specs of the heavy modules of diffusers and transformers, keyed by class name.

Read from the forward methods of diffusers 0.42 and transformers 5 and checked against them by
`tests/parity/test_spec_table.py`. Nothing here imports either library: a class is found by its name along the method
resolution order of the module's class, if it comes from one of `LIBRARIES` and if the module's own methods are still
that class's. Anything else is served one call at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .specs import CallSpec, Kind

LIBRARIES = ("diffusers", "transformers")

# Wrappers that add up what inner modules return: the list that holds those modules is hooked instead.
CONTAINERS: dict[str, str] = {
    "MultiControlNetModel": "nets",
    "MultiControlNetUnionModel": "nets",
    "SD3MultiControlNetModel": "nets",
    "FluxMultiControlNetModel": "nets",
}

# They hand out lists of verdicts that do not split, but the heavy part of their work is one inner module: that one is
# hooked instead, and what they make of its output is theirs.
CHECKERS: dict[str, str] = {"StableDiffusionSafetyChecker": "vision_model", "IFSafetyChecker": "vision_model"}

# A timestep becomes one value a row. An integer one and a float one may meet in a batch: every embedding here casts
# to float32 before its sine, where both are exact below 2**24.
_TIMESTEP = ("timestep",)
_TIMESTEP_AND_GUIDANCE = ("timestep", "guidance")


def _guess_mode(arguments: Mapping[str, Any]) -> bool:
    """Guess mode multiplies the scale with one factor a block: it must stay a number."""
    return bool(arguments.get("guess_mode"))


def _denoise(rows: str, *stacked: str, scalars: tuple[str, ...] = _TIMESTEP, **more: Any) -> tuple[CallSpec, ...]:
    return (CallSpec("forward", Kind.DENOISE, rows, (rows, *stacked), scalars, taped=True, **more),)


def _control(rows: str, *stacked: str, scalars: tuple[str, ...], **more: Any) -> tuple[CallSpec, ...]:
    return (CallSpec("forward", Kind.CONTROL, rows, (rows, *stacked), scalars, **more),)


def _text(*stacked: str, **more: Any) -> tuple[CallSpec, ...]:
    return (CallSpec("forward", Kind.ENCODE, "input_ids", ("input_ids", *stacked), cached=True, **more),)


def _vae(encode: str, decode: str, *decode_stacked: str, alone_where: tuple[str, ...] = ()) -> tuple[CallSpec, ...]:
    """Encode hands out the distribution, which the request samples itself: its generator never comes here.

    `generator` is an argument that `decode` takes and no decoder of these uses.
    """
    return (
        CallSpec("encode", Kind.ENCODE, encode, (encode,), alone_where=alone_where),
        CallSpec(
            "decode",
            Kind.DECODE,
            decode,
            (decode, *decode_stacked),
            ignored=("generator",),
            alone_where=alone_where,
        ),
    )


_UNET_STACKED = (
    "encoder_hidden_states",
    "class_labels",
    "timestep_cond",
    "attention_mask",
    "encoder_attention_mask",
    "added_cond_kwargs",  # SDXL's text_embeds and time_ids, IP-Adapter's image_embeds (a list)
    "down_block_additional_residuals",
    "mid_block_additional_residual",
    "down_intrablock_additional_residuals",
)

# How much an image prompt counts, where models/image_prompts.py has put its attention processors in.
IMAGE_PROMPT_SCALE = "ip_adapter_masks"

_UNETS: dict[str, tuple[CallSpec, ...]] = {
    "UNet2DConditionModel": _denoise(
        "sample", *_UNET_STACKED, options={"cross_attention_kwargs": (IMAGE_PROMPT_SCALE,)}
    ),
    "UNet2DModel": _denoise("sample", "class_labels"),
    # Text and residuals come once a frame, row-major; time and added conditions once a row.
    "UNetMotionModel": _denoise(
        "sample",
        "timestep_cond",
        "added_cond_kwargs",
        times=("encoder_hidden_states", "down_block_additional_residuals", "mid_block_additional_residual"),
    ),
}

_CONTROLNETS: dict[str, tuple[CallSpec, ...]] = {
    "ControlNetModel": _control(
        "sample",
        "encoder_hidden_states",
        "controlnet_cond",
        "class_labels",
        "timestep_cond",
        "attention_mask",
        "added_cond_kwargs",
        scalars=_TIMESTEP,
        factors=("conditioning_scale",),
        alone_if=_guess_mode,
    ),
    # A scale a condition, used at several shapes: compared by value.
    "ControlNetUnionModel": _control(
        "sample",
        "encoder_hidden_states",
        "controlnet_cond",
        "control_type",
        "class_labels",
        "timestep_cond",
        "attention_mask",
        "added_cond_kwargs",
        scalars=_TIMESTEP,
    ),
    "SD3ControlNetModel": _control(
        "hidden_states",
        "controlnet_cond",
        "encoder_hidden_states",
        "pooled_projections",
        scalars=_TIMESTEP,
        factors=("conditioning_scale",),
    ),
    "FluxControlNetModel": _control(
        "hidden_states",
        "controlnet_cond",
        "controlnet_mode",
        "encoder_hidden_states",
        "pooled_projections",
        scalars=_TIMESTEP_AND_GUIDANCE,
        factors=("conditioning_scale",),
        shared=("img_ids", "txt_ids"),
    ),
    "T2IAdapter": (CallSpec("forward", Kind.ENCODE, "x", ("x",)),),
}

_IMAGE_TRANSFORMERS: dict[str, tuple[CallSpec, ...]] = {
    "SD3Transformer2DModel": _denoise(
        "hidden_states", "encoder_hidden_states", "pooled_projections", "block_controlnet_hidden_states"
    ),
    "FluxTransformer2DModel": _denoise(
        "hidden_states",
        "encoder_hidden_states",
        "pooled_projections",
        "controlnet_block_samples",
        "controlnet_single_block_samples",
        scalars=_TIMESTEP_AND_GUIDANCE,
        shared=("img_ids", "txt_ids"),
    ),
    "ChromaTransformer2DModel": _denoise(
        "hidden_states",
        "encoder_hidden_states",
        "attention_mask",
        "controlnet_block_samples",
        "controlnet_single_block_samples",
        shared=("img_ids", "txt_ids"),
    ),
    "PixArtTransformer2DModel": _denoise(
        "hidden_states",
        "encoder_hidden_states",
        "added_cond_kwargs",  # resolution and aspect_ratio, tensors or None
        "attention_mask",
        "encoder_attention_mask",
    ),
    "SanaTransformer2DModel": _denoise(
        "hidden_states",
        "encoder_hidden_states",
        "encoder_attention_mask",
        "attention_mask",
        "controlnet_block_samples",
        scalars=_TIMESTEP_AND_GUIDANCE,
    ),
    "AuraFlowTransformer2DModel": _denoise("hidden_states", "encoder_hidden_states"),
    "DiTTransformer2DModel": _denoise("hidden_states", "class_labels"),
    "Lumina2Transformer2DModel": _denoise("hidden_states", "encoder_hidden_states", "encoder_attention_mask"),
    # Each row's image sizes lay out the rotary table, and the first row's is used for all: they must be equal.
    "QwenImageTransformer2DModel": _denoise(
        "hidden_states",
        "encoder_hidden_states",
        "encoder_hidden_states_mask",
        "controlnet_block_samples",
        "additional_t_cond",
        scalars=_TIMESTEP_AND_GUIDANCE,
        repeated=("img_shapes",),
    ),
    # Lists with one tensor a row, in and out; captions as long as they are.
    "ZImageTransformer2DModel": (
        CallSpec(
            "forward",
            Kind.DENOISE,
            "x",
            scalars=("t",),
            listed=("x", "cap_feats"),
            ragged=("cap_feats",),
            taped=True,
        ),
    ),
}

_VIDEO_TRANSFORMERS: dict[str, tuple[CallSpec, ...]] = {
    # First-and-last-frame models take two image embeddings a row.
    "WanTransformer3DModel": _denoise("hidden_states", "encoder_hidden_states", times=("encoder_hidden_states_image",)),
    "LTXVideoTransformer3DModel": _denoise(
        "hidden_states", "encoder_hidden_states", "encoder_attention_mask", "video_coords"
    ),
    "CogVideoXTransformer3DModel": _denoise(
        "hidden_states",
        "encoder_hidden_states",
        "timestep_cond",
        scalars=("timestep", "ofs"),
        shared=("image_rotary_emb",),
    ),
}

_AUDIO_TRANSFORMERS: dict[str, tuple[CallSpec, ...]] = {
    "StableAudioDiTModel": _denoise(
        "hidden_states",
        "encoder_hidden_states",
        "global_hidden_states",
        "attention_mask",
        "encoder_attention_mask",
        shared=("rotary_embedding",),
    ),
}

# A decoder-only encoder would hand out a key-value cache that no pipeline reads and that does not split.
_NO_CACHE = {"use_cache": False}

_ENCODERS: dict[str, tuple[CallSpec, ...]] = {
    "CLIPTextModel": _text("attention_mask"),
    "CLIPTextModelWithProjection": _text("attention_mask"),
    "T5EncoderModel": _text("attention_mask"),
    "UMT5EncoderModel": _text("attention_mask"),
    "Gemma2Model": _text("attention_mask", fixed=_NO_CACHE),
    "Qwen3Model": _text("attention_mask", fixed=_NO_CACHE),
    "CLIPVisionModel": (CallSpec("forward", Kind.ENCODE, "pixel_values", ("pixel_values",)),),
    "CLIPVisionModelWithProjection": (CallSpec("forward", Kind.ENCODE, "pixel_values", ("pixel_values",)),),
}

_AUTOENCODERS: dict[str, tuple[CallSpec, ...]] = {
    "AutoencoderKL": _vae("x", "z"),
    "AsymmetricAutoencoderKL": _vae("x", "z", "image", "mask"),
    "AutoencoderTiny": _vae("x", "x"),
    "AutoencoderDC": _vae("x", "z"),
    "AutoencoderKLWan": _vae("x", "z"),
    "AutoencoderKLCogVideoX": _vae("x", "z"),
    # LTX 0.9.1 adds noise inside its decoder, from the default generator and one plane for all rows.
    "AutoencoderKLLTXVideo": _vae("x", "z", "temb", alone_where=("decoder_inject_noise",)),
    "AutoencoderKLQwenImage": _vae("x", "z"),
    "AutoencoderOobleck": (CallSpec("decode", Kind.DECODE, "z", ("z",), ignored=("generator",)),),
}

SPECS: dict[str, tuple[CallSpec, ...]] = {
    **_UNETS,
    **_CONTROLNETS,
    **_IMAGE_TRANSFORMERS,
    **_VIDEO_TRANSFORMERS,
    **_AUDIO_TRANSFORMERS,
    **_ENCODERS,
    **_AUTOENCODERS,
}


def heavy_part_of(module_class: type) -> str | None:
    """The attribute with the inner module that is to be hooked in a checker's place; None: it is no checker."""
    for base in module_class.__mro__:
        if base.__module__.partition(".")[0] in LIBRARIES and base.__name__ in CHECKERS:
            return CHECKERS[base.__name__]
    return None


def find(module_class: type) -> tuple[CallSpec, ...] | None:
    """The specs that hold for a module's class; None when none is known or its own methods differ."""
    for base in module_class.__mro__:
        if base.__module__.partition(".")[0] not in LIBRARIES:
            continue
        if base.__name__ in SPECS:
            return (
                tuple(spec for spec in SPECS[base.__name__] if _is_inherited(module_class, base, spec.method)) or None
            )
    return None


def _is_inherited(module_class: type, base: type, method: str) -> bool:
    """A subclass that overrides the method may mean something else by its arguments."""
    return getattr(module_class, method) is getattr(base, method)
