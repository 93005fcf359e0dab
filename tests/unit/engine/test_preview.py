"""The linear maps from latents to colours: those of 16 channels decode nothing and add their bias."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from darkroom.engine.preview import RGB_FACTORS, picture_of


class Config(dict[str, Any]):
    """As diffusers' frozen ones are: both a mapping and attributes."""

    __getattr__ = dict.__getitem__


@pytest.mark.parametrize(("channels", "scaling"), list(RGB_FACTORS))
def test_a_known_map_makes_a_picture_without_decoding(channels: int, scaling: float) -> None:
    pipe = SimpleNamespace(vae=SimpleNamespace(config=Config(scaling_factor=scaling, out_channels=3)))
    picture = picture_of(pipe, torch.randn(2, channels, 6, 4, generator=torch.Generator().manual_seed(1)), {})
    assert picture is not None
    assert picture.size == (4, 6)
    assert np.ptp(np.asarray(picture)) > 20


@pytest.mark.parametrize(("scaling", "colour"), [(1.5305, (158, 155, 152)), (0.3611, (123, 118, 117))])
def test_the_bias_of_sd3_and_flux_is_added_to_every_pixel(scaling: float, colour: tuple[int, int, int]) -> None:
    pipe = SimpleNamespace(vae=SimpleNamespace(config=Config(scaling_factor=scaling, out_channels=3)))
    picture = picture_of(pipe, torch.zeros(1, 16, 2, 2), {})
    assert picture is not None
    assert (np.asarray(picture) == colour).all()
