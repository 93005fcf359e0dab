"""Requests that differ in everything, served in one engine at once, come out as plain diffusers makes them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from darkroom.engine.engine import Options
from tests.parity import company, plain
from tests.parity.families import FAMILIES

pytestmark = [pytest.mark.parity, pytest.mark.slow]
# The shadow check repeats calls one by one, which the engine's counters leave out and a hook on the module would not.
_UNCHECKED = Options(shadow_check=False)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_mixed_requests_come_out_as_plain_calls_do(name: str) -> None:
    family = FAMILIES[name]
    served = company.serve(family, family.requests)
    assert served.unbatched == {}
    company.hold_against_plain(name, served.images)


@pytest.mark.parametrize("name", list(FAMILIES))
def test_calls_of_different_requests_share_forwards_and_no_row_is_lost(name: str) -> None:
    family = FAMILIES[name]
    _, plain_rows = company.plain_results(name)
    counted = company.serve(family, family.requests, options=_UNCHECKED).stats["modules"][family.denoiser]
    assert counted["batches"] < 0.7 * counted["calls"]
    assert counted["rows"] == plain_rows


@pytest.mark.parametrize("name", list(FAMILIES))
def test_requests_of_a_family_ask_for_different_pictures(name: str) -> None:
    """Or a mix-up of rows would not show."""
    pictures = [company.reference(name, index)[0] for index in range(len(FAMILIES[name].requests))]
    for index, picture in enumerate(pictures):
        assert np.ptp(picture) > 0.1
        for other in pictures[:index]:
            assert picture.shape != other.shape or np.abs(picture - other).max() > 1e-3


def test_batching_switched_off_gives_the_same_pictures() -> None:
    family = FAMILIES["sd2-v"]
    served = company.serve(family, family.requests, batching=False)
    counted = served.stats["modules"]["unet"]
    assert counted["batches"] == counted["calls"]
    company.hold_against_plain("sd2-v", served.images, "batching off")


def test_a_larger_thread_count_gives_the_same_pictures() -> None:
    family = FAMILIES["sd2-v"]
    with plain.threads(2):
        served = company.serve(family, family.requests)
    company.hold_against_plain("sd2-v", served.images, "two threads")


def test_latents_come_back_as_ordinary_tensors() -> None:
    family = FAMILIES["sd2-v"]
    request = family.requests[2]
    with company.open_engine(family) as engine:
        call = plain.arguments(family, request, "latent")
        latents = engine.submit(model=request.pipe, seed=request.seed, **call).result(timeout=60).images
    latents.mul_(1.0)
    latents.requires_grad_(True).sum().backward()
    assert not latents.is_inference()
    assert torch.allclose(latents, torch.from_numpy(plain.run(family, request, "latent")), atol=1e-4)
