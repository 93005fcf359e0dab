"""Videos out, as MP4 (H.264, which every browser plays), with the settings that made them inside. Needs PyAV.

PyAV is an extra and no plain dependency: it brings FFmpeg, 35 MB packed, with GPL parts (x264) that not everybody may
hand on.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotSupported, UnreadableImage
from .images import CHUNK, PARAMETERS, parameters_of

if TYPE_CHECKING:
    import numpy as np

NEEDS = "an MP4 is written and read by the package av: pip install 'darkroom-server[video]'"
# A fixed number of threads, for x264's bytes follow from it. CRF 17 is about where no loss is seen. That the colours
# are those of BT.709 is said, or players would guess by the size. With mbtree (x264 165 in PyAV 18, vector code) the
# same frames gave other bytes nearly every time.
CODEC: Mapping[str, str] = {
    "crf": "17",
    "preset": "medium",
    "threads": "4",
    "x264-params": "mbtree=0:colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv",
}
# The index goes first, so that a browser begins to play before it has all; tags may have names of our own.
CONTAINER: Mapping[str, str] = {"movflags": "+faststart+use_metadata_tags", "fflags": "+bitexact"}
FINEST = 1001  # of a rate's denominator: 24000/1001 and its kin stay as they are


@dataclass(frozen=True, eq=False)
class Video:
    """`frames` are bytes of [frame, height, width, RGB], `rate` is frames a second; both sides are even."""

    frames: np.ndarray
    rate: float

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.frames.shape[2], self.frames.shape[1]


def is_here() -> bool:
    """Whether videos can be written."""
    return importlib.util.find_spec("av") is not None


def check_here() -> None:
    """Raise `NotSupported` where they cannot."""
    if not is_here():
        raise NotSupported(NEEDS, field="model")


def encode_mp4(video: Video, settings: Mapping[str, Any] | None) -> bytes:
    """The video with its settings inside, None for nothing but frames; raises `NotSupported` where PyAV is missing."""
    check_here()
    import av

    with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:  # to put the index first, FFmpeg reads it again
        path = Path(folder) / "video.mp4"
        with av.open(str(path), "w", options=dict(CONTAINER)) as container:
            _write(container, video, settings)
        return path.read_bytes()


def carried(path: Path) -> str | None:
    """The JSON inside; raises `UnreadableImage`, or `NotSupported` where PyAV is missing."""
    check_here()
    import av

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise ValueError("it holds no video")
            said: str | None = container.metadata.get(CHUNK)
            return said
    except (OSError, ValueError, av.FFmpegError) as error:
        raise UnreadableImage(f"{path} cannot be read as a video: {error}", field="like") from error


def _write(container: Any, video: Video, settings: Mapping[str, Any] | None) -> None:
    from av import VideoFrame

    if settings is not None:
        container.metadata[CHUNK] = json.dumps(settings, sort_keys=True)
        container.metadata[PARAMETERS] = parameters_of(settings)
    stream = container.add_stream("libx264", Fraction(video.rate).limit_denominator(FINEST), options=dict(CODEC))
    stream.width, stream.height = video.size
    stream.pix_fmt = "yuv420p"
    for pixels in video.frames:
        frame = VideoFrame.from_ndarray(pixels, format="rgb24")
        container.mux(stream.encode(frame.reformat(format="yuv420p", dst_colorspace="itu709")))
    container.mux(stream.encode())
