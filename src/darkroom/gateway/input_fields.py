"""Inputs of models that make videos or sounds, as the schema of a job's input tells them."""

from __future__ import annotations

from typing import Any

from ..models.media import MOST_FRAMES, RATES, SHORTEST_S

FIELDS: dict[str, dict[str, Any]] = {
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
