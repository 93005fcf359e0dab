"""Folders of tiny models that make videos or sounds, and what is in the files that are made."""

from __future__ import annotations

import io
import json
import wave
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


def save_audio_model(folder: Path, *, is_stock: bool = False) -> Path:
    """The family stable-audio as a folder: 128 samples a second, at most 4 s; with the scheduler that Stable Audio Open
    brings, where it `is_stock`."""
    from tests.parity.families import FAMILIES

    pipe = FAMILIES["stable-audio"].pipes()["edm"]
    if is_stock:
        from diffusers import CosineDPMSolverMultistepScheduler, StableAudioPipeline

        pipe = StableAudioPipeline(**{**pipe.components, "scheduler": CosineDPMSolverMultistepScheduler()})
    pipe.save_pretrained(folder)
    (folder / "presets.json").write_text(json.dumps(PRESETS))
    return folder


def need_av() -> Any:
    """PyAV."""
    try:
        import av
    except ImportError:
        skip_or_fail("av is not installed")
    return av


def samples_of(data: bytes) -> tuple[np.ndarray, int]:
    """Every sample of a WAV as 16 bits of [sample, channel], and how many are played a second."""
    import numpy as np

    with wave.open(io.BytesIO(data)) as file:
        assert file.getsampwidth() == 2
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return samples.reshape(-1, file.getnchannels()), file.getframerate()


def frames_of(data: bytes) -> tuple[np.ndarray, float]:
    """Every frame of an MP4 as bytes of [frame, height, width, RGB], and how many are shown a second."""
    import numpy as np

    with need_av().open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate)
