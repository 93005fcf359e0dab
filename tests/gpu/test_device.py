"""On an accelerator: the model that ships makes the picture there, and the same twice in reproducible mode."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import torch

from darkroom import Engine
from darkroom.config import ModelSettings
from darkroom.models.catalogue import BUNDLED, BUNDLED_FOLDER, Entry
from darkroom.models.device import devices
from darkroom.models.loading import load

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore"),  # the libraries' own, as under the command line
    pytest.mark.skipif(devices()[0] == "cpu", reason="there is no accelerator here"),
]


def test_the_bundled_model_runs_on_the_accelerator_in_its_precision(tmp_path: Path) -> None:
    entry = Entry("landscapes", BUNDLED, ModelSettings(path=BUNDLED_FOLDER / "landscapes"), tmp_path)
    loaded = load(entry, is_offline=True)
    assert loaded.placement.kind == devices()[0]
    weights = next(loaded.pipe.unet.parameters())
    assert (weights.device.type, weights.dtype) == (loaded.placement.kind, loaded.placement.torch_dtype)
    pictures = []
    with Engine(loaded.pipe, reproducible=True) as engine:
        for company in (0, 3):
            call = {"prompt": "night, full moon over a lake", "num_inference_steps": 4, "output_type": "np"}
            handle = engine.submit(**call, seed=7)
            others = [engine.submit(**call, seed=100 + k) for k in range(company)]
            pictures.append(numpy.asarray(handle.result(300).images[0]))
            assert all(other.result(300).images is not None for other in others)
    assert numpy.isfinite(pictures[0]).all()
    assert pictures[0].std() > 0.01
    assert numpy.array_equal(*pictures)
    assert torch.isfinite(weights).all()
