"""Sounds out, as WAV (16 bits a sample), with the settings that made them inside, in a RIFF chunk of their own.

Programs pass over chunks that they do not know. The standard library writes the rest.
"""

from __future__ import annotations

import io
import json
import struct
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UnreadableImage

if TYPE_CHECKING:
    import numpy as np

HEAD = 12  # bytes: RIFF, the size of what follows, WAVE
SETTINGS = b"drkr"


@dataclass(frozen=True, eq=False)
class Sound:
    """`samples` are 16-bit whole numbers of [sample, channel], `rate` of them a second."""

    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return float(len(self.samples) / self.rate)


def encode_wav(sound: Sound, settings: Mapping[str, Any] | None) -> bytes:
    """The sound with its settings inside, None for nothing but samples; the same gives the same bytes."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(sound.samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(sound.samples.astype("<i2").tobytes())
    plain = buffer.getvalue()
    if settings is None:
        return plain
    text = json.dumps(settings, sort_keys=True).encode("ascii")
    whole = plain + SETTINGS + struct.pack("<I", len(text)) + text + bytes(len(text) % 2)  # chunks begin at even places
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def carried(path: Path) -> str | None:
    """The JSON inside, None where there is none; raises `UnreadableImage`."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableImage(f"{path} cannot be read as a sound: {error.strerror}", field="like") from error
    if data[:4] != b"RIFF" or data[8:HEAD] != b"WAVE":
        raise UnreadableImage(f"{path} cannot be read as a sound: it is no WAV file", field="like")
    found = next((body for name, body in _chunks(data) if name == SETTINGS), None)
    return None if found is None else found.decode("utf-8", "replace")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = HEAD
    while at + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
