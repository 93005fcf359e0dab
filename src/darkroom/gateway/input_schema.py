"""The JSON schema of a job's input, of any model; routes/models.py narrows it to one."""

from __future__ import annotations

from typing import Any

from ..model_settings import MAX_ADAPTERS, MAX_WEIGHT
from ..models.outpaint import MOST, SIDES
from ..models.pieces import DEFAULT_CONTROL_SCALE, DEFAULT_PROMPT_SCALE, MAX_CONTROL_SCALE, MAX_PROMPT_SCALE
from ..models.request import MAX_GUIDANCE, MAX_IMAGES, MAX_PROMPT, MAX_SEED
from .input_fields import FIELDS

WEIGHT = {"type": "number", "minimum": -MAX_WEIGHT, "maximum": MAX_WEIGHT}  # of an adapter
PICTURE = "an upload's artifact id, a data URL, or an https URL"
EXAMPLE_INPUT: dict[str, Any] = {"prompt": "A beautiful sunset over mountains", "preset": "fast", "seed": 7}

INPUT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Names are diffusers'. Sizes, solvers, presets and most steps are the model's: GET /v1/models/{id}.",
    "required": ["prompt"],
    "additionalProperties": False,
    "properties": {
        "prompt": {"type": "string", "minLength": 1, "maxLength": MAX_PROMPT},
        "negative_prompt": {"type": "string", "maxLength": MAX_PROMPT},
        "num_inference_steps": {"type": "integer", "minimum": 1, "maximum": 1000},
        "guidance_scale": {"type": "number", "minimum": 0, "maximum": MAX_GUIDANCE},
        "width": {"type": "integer", "minimum": 1},
        "height": {"type": "integer", "minimum": 1},
        "num_images_per_prompt": {"type": "integer", "minimum": 1, "maximum": MAX_IMAGES, "default": 1},
        "seed": {"type": "integer", "minimum": 0, "maximum": MAX_SEED, "description": "drawn where it is left out"},
        "preset": {"type": "string", "description": "the model's named settings; the fields here override it"},
        "solver": {"type": "string"},
        "image": {"type": "string", "description": f"a picture to start from: {PICTURE}"},
        "mask_image": {"type": "string", "description": f"white is painted anew: {PICTURE}"},
        "strength": {"type": "number", "minimum": 0, "maximum": 1},
        "control_image": {"type": "string", "description": f"what the model is to follow: {PICTURE}"},
        "controlnet_conditioning_scale": {
            "type": "number",
            "minimum": 0,
            "maximum": MAX_CONTROL_SCALE,
            "default": DEFAULT_CONTROL_SCALE,
            "description": "how closely control_image is followed",
        },
        "ip_adapter_image": {"type": "string", "description": f"prompts beside the text: {PICTURE}"},
        "ip_adapter_scale": {
            "type": "number",
            "minimum": 0,
            "maximum": MAX_PROMPT_SCALE,
            "default": DEFAULT_PROMPT_SCALE,
            "description": "how much ip_adapter_image counts",
        },
        "outpaint": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": False,
            "properties": {side: {"type": "integer", "minimum": 0, "maximum": MOST} for side in SIDES},
            "description": "margins in pixels to paint around image, by inpainting",
        },
        "denoising_end": {
            "type": "number",
            "exclusiveMinimum": 0,
            "exclusiveMaximum": 1,
            "description": "the share of the steps after which the model's refiner goes on",
        },
        **FIELDS,
        "adapters": {
            "type": "object",
            "maxProperties": MAX_ADAPTERS,
            "additionalProperties": WEIGHT,
            "description": "LoRAs by name, each with its weight: GET /v1/adapters",
        },
        "adapter_digests": {
            "type": "object",
            "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "description": "which files are meant, by SHA-256; a job's own input tells them",
        },
        "reproducible": {"type": "boolean", "default": False, "description": "the same pixels in any company"},
    },
    "examples": [EXAMPLE_INPUT],
}
