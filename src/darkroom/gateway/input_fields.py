"""Inputs that some models take: of videos, of sounds, of words that weigh; as the schema of a job's input has them."""

from __future__ import annotations

from typing import Any

from ..models.media import MOST_FRAMES, RATES, SHORTEST_S
from ..models.weighting import PLAIN, STYLES

FIELDS: dict[str, dict[str, Any]] = {
    "prompt_style": {
        "type": "string",
        "enum": [*STYLES],
        "default": PLAIN,
        "description": "weighted: `(word:1.3)` weighs words, and texts of any length are read to their end",
    },
    "num_frames": {
        "type": "integer",
        "minimum": 1,
        "maximum": MOST_FRAMES,
        "description": "of a video; one more than a multiple of the model's step",
    },
    "frame_rate": {
        "type": "number",
        "minimum": RATES[0],
        "maximum": RATES[1],
        "description": "of a video: frames a second",
    },
    "audio_end_in_s": {
        "type": "number",
        "minimum": SHORTEST_S,
        "description": "of a sound: where it ends, in seconds; at most as long as its model makes them",
    },
}
