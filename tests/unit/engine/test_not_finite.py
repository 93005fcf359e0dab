"""A decoder whose numbers overflow fails its own request by name; no black picture comes out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from darkroom import errors
from darkroom.engine.engine import Engine
from darkroom.engine.rows import is_finite
from tests.parity.plain import largest_difference, pixels

HUGE = 1e30  # in a weight of the first layer: its outputs overflow float32 in the next one


@pytest.fixture
def overflowing(pipe: Any) -> Any:
    """The pipeline over a decoder of its own that overflows on every latent."""
    parts = {**pipe.components, "vae": copy.deepcopy(pipe.vae), "requires_safety_checker": False}
    spoiled = type(pipe)(**parts)
    with torch.no_grad():
        spoiled.vae.decoder.conv_in.weight.mul_(HUGE)
        spoiled.vae.decoder.conv_out.weight.mul_(HUGE)
    spoiled.set_progress_bar_config(disable=True)
    return spoiled


@pytest.mark.parametrize("reproducible", [False, True])
def test_a_decode_that_overflows_fails_by_name_and_disturbs_nobody(
    pipe: Any, overflowing: Any, call: dict[str, Any], reproducible: bool
) -> None:
    more = {**call, "output_type": "pil", "reproducible": reproducible}
    with Engine(overflowing) as engine:
        engine.add(pipe, name="sound")
        bad = [engine.submit(model="default", **more) for _ in range(2)]
        good = engine.submit(model="sound", **more)
        for handle in bad:
            with pytest.raises(errors.NotFinite, match=r"decode made NaN or infinity in decoding: try another dtype"):
                handle.result(60)
        assert good.result(60).images[0].getbbox() is not None
        assert engine.submit(model="default", **{**more, "output_type": "latent"}).result(60).images.isfinite().all()


def test_only_the_request_whose_rows_overflow_fails(pipe: Any, call: dict[str, Any]) -> None:
    """Latents that are numbers still, and none after the decoder's scaling; others share their decode."""

    def enlarge(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        return {"latents": torch.full_like(tensors["latents"], 3e38)} if step == 2 else {}

    with Engine(pipe) as engine:
        alone = engine.submit(**call).result(60)
        bad, good = engine.submit(**call, callback_on_step_end=enlarge), engine.submit(**call)
        with pytest.raises(errors.NotFinite):
            bad.result(60)
        assert largest_difference(pixels(good.result(60)), pixels(alone)) < 1e-5


@pytest.mark.parametrize(("value", "holds"), [(float("nan"), False), (float("-inf"), False), (0.0, True)])
def test_nested_outputs_are_looked_through(value: float, holds: bool) -> None:
    inner = torch.tensor([1.0, value])
    assert is_finite((torch.tensor([1, 2]), None, {"a": [inner]}, "text", object())) is holds
