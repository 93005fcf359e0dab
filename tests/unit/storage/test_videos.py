"""A video is written frame for frame, in its colours and at its rate, and carries what it was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from darkroom.errors import BadInput, UnreadableImage
from darkroom.storage.encoding import encode, format_for, shape_of
from darkroom.storage.images import read_settings
from darkroom.storage.videos import Video, encode_mp4
from tests.media_files import frames_of, need_av

SETTINGS: dict[str, Any] = {
    "input": {"prompt": "a “red” fox,\nrunning", "seed": 3, "num_frames": 12},
    "model": "m",
    "revision": "abc",
    "versions": {"darkroom": "0"},
}


@pytest.fixture(scope="module", autouse=True)
def _av() -> None:
    need_av()


def moving(frames: int = 12, width: int = 64, height: int = 48) -> Video:
    """A soft wave of colours that goes from left to right."""
    at = np.arange(width)[None, None, :] / width * 2 * np.pi - np.arange(frames)[:, None, None] / 4
    down = np.arange(height)[None, :, None] / height
    waves = [127 + 110 * np.sin(at + shift) * (0.5 + 0.5 * down) for shift in (0.0, 2.0, 4.0)]
    return Video(np.stack(waves, axis=-1).astype(np.uint8), 24.0)


def test_every_frame_comes_back_in_its_colours_and_at_its_rate() -> None:
    video = moving()
    frames, rate = frames_of(encode_mp4(video, SETTINGS))
    assert rate == 24.0
    assert frames.shape == video.frames.shape
    assert np.abs(frames.astype(int) - video.frames).mean() < 5
    assert np.abs(frames[1:].astype(int) - video.frames[:-1]).mean() > 8  # not one frame late


@pytest.mark.parametrize("rate", [1.0, 12.5, 30000 / 1001, 60.0])
def test_any_rate_is_kept(rate: float) -> None:
    assert frames_of(encode_mp4(Video(moving(3).frames, rate), None))[1] == pytest.approx(rate)


def test_the_same_video_and_settings_give_the_same_bytes_with_the_index_first() -> None:
    data = encode_mp4(moving(), SETTINGS)
    assert data == encode_mp4(moving(), SETTINGS)
    assert data.index(b"moov") < data.index(b"mdat")


def test_noise_gives_the_same_bytes_each_time() -> None:
    """What the encoder decides by looking ahead must not hang on anything but the frames."""
    blocks = np.random.default_rng(0).integers(0, 255, (16, 12, 12, 3), dtype=np.uint8)
    noise = Video(np.kron(blocks, np.ones((1, 16, 16, 1), dtype=np.uint8)), 16.0)
    assert len({encode_mp4(noise, None) for _ in range(8)}) == 1


def test_it_carries_its_settings_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "fox.mp4"
    data, content_type, suffix = encode(moving(), SETTINGS)
    path.write_bytes(data)
    assert (content_type, suffix) == ("video/mp4", ".mp4")
    assert read_settings(path) == SETTINGS
    bare, _, _ = encode(moving(), SETTINGS, keep_metadata=False)
    path.write_bytes(bare)
    assert b"fox" not in bare
    with pytest.raises(BadInput, match="carries no settings"):
        read_settings(path)


def test_what_is_no_video_is_refused_by_name(tmp_path: Path) -> None:
    for name, data in (("cut.mp4", encode_mp4(moving(), SETTINGS)[:60]), ("text.mp4", b"words"), ("none.mp4", None)):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(UnreadableImage, match=f"{name} cannot be read as a video"):
            read_settings(tmp_path / name)


def test_an_artifact_tells_frames_and_rate() -> None:
    assert shape_of(moving()) == {"width": 64, "height": 48, "frames": 12, "fps": 24.0}


def test_a_format_that_does_not_fit_is_refused_with_those_that_do() -> None:
    assert format_for("videos", None, None, "m") == "mp4"
    assert format_for("pictures", None, None, "m") == "png"
    for kind, said in (("videos", "png"), ("pictures", "mp4")):
        with pytest.raises(BadInput, match=f"m makes {kind}, in") as caught:
            format_for(kind, said, None, "m")
        assert caught.value.field == "output.format"
    with pytest.raises(BadInput, match=r"output\.quality is for jpeg, webp"):
        format_for("videos", "mp4", 80, "m")
