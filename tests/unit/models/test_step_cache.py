"""A cache of steps is what diffusers makes of it, for the request that has it and nobody else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FirstBlockCacheConfig

from darkroom.config import ModelSettings
from darkroom.engine.engine import Engine
from darkroom.errors import InvalidConfig, NotSupported
from darkroom.models.refined import RefinedPipeline
from darkroom.models.step_cache import can_cache, with_step_cache
from darkroom.models.tuning import tune
from tests.parity.families import SIDE, flux, sd_solvers

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own
CALL = {"prompt": "a red sky", "num_inference_steps": 6, "height": SIDE, "width": SIDE, "output_type": "np"}


def image_of(pipe: Any, seed: int) -> np.ndarray:
    return np.asarray(pipe(**CALL, generator=torch.Generator().manual_seed(seed)).images[0])


@pytest.mark.parametrize("threshold", [1e-9, 0.5])
def test_each_request_has_what_diffusers_makes_with_its_cache_and_neighbours_have_none(threshold: float) -> None:
    pipe = copy.deepcopy(flux()["flow-euler"])
    usual = [image_of(pipe, seed) for seed in (1, 2)]
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=threshold))
    cached = [image_of(pipe, seed) for seed in (1, 2)]
    pipe.transformer.disable_cache()
    assert (np.abs(usual[0] - cached[0]).max() > 1e-4) == (threshold > 0.1)  # or it would show nothing
    with Engine() as engine:
        engine.add(pipe, "plain")
        engine.add(with_step_cache(pipe, threshold), "cached")
        handles = {
            (model, k): engine.submit(model=model, seed=k + 1, **CALL) for k in (0, 1) for model in ("cached", "plain")
        }
        found = {key: handle.result(120).images[0] for key, handle in handles.items()}
        again = engine.submit(model="cached", seed=1, **CALL).result(120).images[0]  # on a view that another one used
    for k in (0, 1):
        assert np.abs(found["cached", k] - cached[k]).max() < 5e-6
        assert np.abs(found["plain", k] - usual[k]).max() < 5e-6
    assert np.abs(again - cached[0]).max() < 5e-6


def test_a_request_for_copies_of_modules_whose_weights_are_cast_is_refused_by_name() -> None:
    pipe = copy.deepcopy(flux()["flow-euler"])
    pipe.transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.float32)
    with Engine() as engine:
        engine.add(pipe, "plain")
        engine.add(with_step_cache(pipe, 0.5), "cached")
        with pytest.raises(NotSupported, match="'cached': FluxPipeline writes on its modules"):
            engine.submit(model="cached", seed=1, **CALL).result(120)
        assert engine.submit(model="plain", seed=1, **CALL).result(120).images[0].shape == (SIDE, SIDE, 3)


def test_a_model_whose_pipeline_has_no_cache_is_not_loaded_with_one() -> None:
    with pytest.raises(InvalidConfig, match="StableDiffusionPipeline has no cache of steps; leave it out") as refused:
        tune(sd_solvers()["ddim"], ModelSettings(path=Path(), step_cache=0.1), "mine", torch.float32, {})
    assert refused.value.field == "models.mine.step_cache"
    tune(flux()["flow-euler"], ModelSettings(path=Path(), step_cache=0.1), "mine", torch.float32, {})


def test_a_pipeline_of_two_runs_without_a_cache() -> None:
    one = flux()["flow-euler"]
    assert can_cache(one)
    assert not can_cache(RefinedPipeline(one, one))


def test_what_has_no_cache_is_refused_one() -> None:
    with pytest.raises(NotSupported, match="StableDiffusionPipeline has no cache of steps"):
        with_step_cache(sd_solvers()["ddim"], 0.1)
