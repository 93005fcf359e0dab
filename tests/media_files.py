"""Folders of tiny models that make videos, and what is in the files that are made."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.missing import skip_or_fail

if TYPE_CHECKING:
    import numpy as np

PRESETS = {"presets": {"quality": {"num_inference_steps": 2, "guidance_scale": 4.0}}}


def save_video_model(folder: Path, family: str) -> Path:
    """One of tests/parity's families, wan or ltx, as a folder of 32 by 32 pixels."""
    from tests.parity.families import FAMILIES

    pipe = FAMILIES[family].pipes()["flow-euler"]
    pipe.save_pretrained(folder)
    said = {**PRESETS, "sizes": [[32, 32], [64, 32]], "default_size": [32, 32]}
    (folder / "presets.json").write_text(json.dumps(said))
    return folder


def need_av() -> Any:
    """PyAV."""
    try:
        import av
    except ImportError:
        skip_or_fail("av is not installed")
    return av


def frames_of(data: bytes) -> tuple[np.ndarray, float]:
    """Every frame of an MP4 as bytes of [frame, height, width, RGB], and how many are shown a second."""
    import numpy as np

    with need_av().open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)
