"""A sound is written sample for sample, and carries what it was made with where programs pass over it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.errors import BadInput, UnreadableImage
from darkroom.storage.encoding import encode, format_for, shape_of
from darkroom.storage.images import read_settings
from darkroom.storage.sounds import Sound, encode_wav
from tests.media_files import samples_of

SETTINGS: dict[str, Any] = {"input": {"prompt": "a “dog” barks", "seed": 3}, "model": "m"}


def chirp(seconds: float = 0.5, rate: int = 8000, channels: int = 2) -> Sound:
    at = np.arange(int(seconds * rate)) / rate
    waves = [np.sin(2 * np.pi * (200 + 300 * at * (k + 1)) * at) for k in range(channels)]
    return Sound(np.round(np.stack(waves, axis=1) * 32767).astype(np.int16), rate)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("settings", [None, SETTINGS, {**SETTINGS, "odd": "x"}])
def test_every_sample_comes_back(channels: int, settings: dict[str, Any] | None) -> None:
    sound = chirp(channels=channels)
    samples, rate = samples_of(encode_wav(sound, settings))
    assert rate == 8000
    assert np.array_equal(samples, sound.samples)
    assert sound.seconds == 0.5


@pytest.mark.parametrize("more", ["", "x"])  # chunks of an odd length are padded
def test_it_carries_its_settings_or_nothing(tmp_path: Path, more: str) -> None:
    path, settings = tmp_path / "dog.wav", {**SETTINGS, "more": more}
    data, content_type, suffix = encode(chirp(), settings)
    assert (content_type, suffix) == ("audio/wav", ".wav")
    assert data == encode(chirp(), settings)[0]
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    path.write_bytes(data)
    assert read_settings(path) == settings
    bare, _, _ = encode(chirp(), settings, keep_metadata=False)
    path.write_bytes(bare)
    assert b"dog" not in bare
    with pytest.raises(BadInput, match="carries no settings"):
        read_settings(path)


def test_what_is_no_sound_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_bytes(b"words")
    for name in ("text.wav", "none.wav"):
        with pytest.raises(UnreadableImage, match=f"{name} cannot be read as a sound"):
            read_settings(tmp_path / name)
    (tmp_path / "cut.wav").write_bytes(encode_wav(chirp(), SETTINGS)[:-20])
    with pytest.raises(UnreadableImage, match="damaged"):
        read_settings(tmp_path / "cut.wav")


def test_a_sound_has_a_format_and_no_shape() -> None:
    assert shape_of(chirp()) == {}
    assert format_for("sounds", None, None, "m") == "wav"
    with pytest.raises(BadInput, match="m makes sounds, in wav"):
        format_for("sounds", "mp4", None, "m")
