"""The adapters that ship, in one load of the engine: what diffusers' own make of the same requests."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import pytest

from darkroom.engine.engine import Engine
from examples.adapters import sheet
from tests.parity.families import BUNDLED, landscapes
from tests.parity.plain import generators, largest_difference, pixels
from tests.parity.tiny_adapters import Plain

pytestmark = [pytest.mark.parity, pytest.mark.slow]

TOLERANCE = 1e-5  # of pixels from 0 to 1
FILES = {name: BUNDLED.parent / "adapters" / name for name in ("neon", "woodcut", "turbo")}
MIXES: dict[str, Mapping[str, float]] = {
    "plain": {},
    "neon": {"neon": 1.0},
    "woodcut": {"woodcut": 1.0},
    "both": {"neon": 0.6, "woodcut": 0.6},
    "turbo": {"turbo": 1.0},  # as its preset has it: ddim, four steps, no guidance
}
GUIDED, TURBO = {"num_inference_steps": 2, "guidance_scale": 4.0}, {"num_inference_steps": 4, "guidance_scale": 1.0}
SIZE = {"height": 192, "width": 192, "output_type": "np"}


def call_of(mix: str) -> dict[str, Any]:
    return {"prompt": "a lighthouse by the sea", **SIZE, **(TURBO if mix == "turbo" else GUIDED)}


def model_of(mix: str) -> str:
    return "ddim" if mix == "turbo" else "dpm++2m"


def test_every_mix_in_one_load_is_what_diffusers_makes_of_it() -> None:
    pipes = {name: landscapes()[name] for name in ("ddim", "dpm++2m")}
    with Engine() as engine:
        for name, pipe in pipes.items():
            engine.add(pipe, name=name)
        for name, path in FILES.items():
            engine.add_adapter(name, path, model="ddim")
        handles = {
            mix: engine.submit(model=model_of(mix), **call_of(mix), seed=k, adapters=dict(MIXES[mix]))
            for k, mix in enumerate(MIXES)
        }
        made = {mix: pixels(handle.result(120)) for mix, handle in handles.items()}
        stats = engine.stats()["modules"]
    wanted = plainly(pipes["ddim"], pipes["dpm++2m"].scheduler)
    differences = {mix: largest_difference(made[mix], wanted[mix]) for mix in MIXES}
    print("shipped adapters:", {mix: f"{value:.1e}" for mix, value in differences.items()})
    assert max(differences.values()) <= TOLERANCE
    assert stats["unet"]["batches"] <= stats["unet"]["calls"] / 2
    assert not [name for name, module in stats.items() if module["unbatched_because"]]


def plainly(pipe: Any, solver: Any) -> dict[str, Any]:
    """Each by diffusers alone, after one another, on modules of its own."""
    worn = Plain(pipe, FILES)
    solvers, made = {"ddim": worn.pipe.scheduler, "dpm++2m": copy.deepcopy(solver)}, {}
    for k, (mix, weights) in enumerate(MIXES.items()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of several adapters in one module
            called = worn.with_weights(weights)
        called.scheduler = solvers[model_of(mix)]
        made[mix] = pixels(called(**call_of(mix), generator=generators(k, 1)))
    without = made["plain"]
    assert min(largest_difference(made[mix], without) for mix in MIXES if mix != "plain") > 0.05
    return made


def test_the_sheet_of_the_guide_is_made_in_shared_batches() -> None:
    pictures, denoiser = sheet.make_pictures(("a lake at dusk",), num_inference_steps=1)
    assert len({picture.tobytes() for picture in pictures}) == len(sheet.COLUMNS)
    assert denoiser["batches"] < denoiser["calls"]
