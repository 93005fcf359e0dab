"""On CUDA: models rest in page-locked host memory, parts lie elsewhere, and the loop never waits for the device."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from darkroom import Engine
from darkroom.config import ModelSettings
from darkroom.engine.options import Options
from darkroom.models.catalogue import BUNDLED, BUNDLED_FOLDER, Entry
from darkroom.models.loading import Loaded, load
from darkroom.models.shelf import Shelf

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore"),  # the libraries' own, as under the command line
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]
CALL = {"prompt": "night, full moon over a lake", "num_inference_steps": 4, "output_type": "np", "seed": 7}


def loaded_with(home: Path, **said: Any) -> Loaded:
    settings = ModelSettings(path=BUNDLED_FOLDER / "landscapes", dtype="float32", **said)
    return load(Entry("landscapes", BUNDLED, settings, home), is_offline=True)


def picture(pipe: Any) -> np.ndarray:
    with Engine(pipe) as engine:
        return np.asarray(engine.submit(**CALL).result(300).images[0])


def test_a_model_that_rests_frees_the_device_and_comes_back_the_same(tmp_path: Path) -> None:
    loaded, shelf = loaded_with(tmp_path), Shelf(2**32)
    before = picture(loaded.pipe)
    held = torch.cuda.memory_allocated()
    assert shelf.put("it", loaded)
    assert loaded.pipe.unet.device.type == "cpu"
    assert next(loaded.pipe.unet.parameters()).is_pinned()
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() < held / 2
    assert shelf.take("it") is loaded
    assert loaded.pipe.unet.device.type == "cuda"
    assert np.array_equal(before, picture(loaded.pipe))


def test_decodes_on_a_stream_of_their_own_change_no_picture(tmp_path: Path) -> None:
    pipe = loaded_with(tmp_path).pipe
    made: dict[bool, list[np.ndarray]] = {}
    for is_aside in (False, True):
        with Engine(pipe, reproducible=True, options=Options(decode_aside=is_aside)) as engine:
            handles = [engine.submit(**{**CALL, "seed": seed, "num_inference_steps": 2 + seed}) for seed in range(12)]
            made[is_aside] = [np.asarray(handle.result(300).images[0]) for handle in handles]
    assert all(np.array_equal(one, other) for one, other in zip(made[False], made[True], strict=True))


@pytest.mark.parametrize(
    "said",
    [{"devices": {"text_encoder": "cpu"}}, {"devices": {"vae": "cpu"}}, {"offload": "model"}, {"offload": "blocks"}],
    ids=["text encoder on the CPU", "VAE on the CPU", "offload model", "offload blocks"],
)
def test_where_parts_lie_changes_no_picture(said: dict[str, Any], tmp_path: Path) -> None:
    usual = picture(loaded_with(tmp_path).pipe)
    assert np.abs(usual - picture(loaded_with(tmp_path, **said).pipe)).max() < 2e-3


def test_offloaded_parts_take_no_more_of_the_device_than_the_largest(tmp_path: Path) -> None:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    loaded = loaded_with(tmp_path, offload="model")
    assert torch.cuda.memory_allocated() - before < 2**20
    picture(loaded.pipe)
    sizes = [sum(weight.nbytes for weight in part.parameters()) for part in loaded.modules]
    assert torch.cuda.memory_allocated() - before < max(sizes) * 1.1 + 2**24


def test_more_steps_are_no_more_waits_for_the_device(tmp_path: Path) -> None:
    pipe = loaded_with(tmp_path).pipe
    counts = []
    with Engine(pipe) as engine:
        engine.submit(**CALL).result(300)
        for steps in (4, 12):
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                torch.cuda.set_sync_debug_mode("warn")
                try:
                    engine.submit(**{**CALL, "num_inference_steps": steps}).result(300)
                finally:
                    torch.cuda.set_sync_debug_mode("default")
            counts.append(sum("synchroniz" in str(each.message) for each in heard))
    assert counts[0] == counts[1]
