"""Every further solver that SDXL and the model that ships take, and inpainting, as plain diffusers makes them."""

from __future__ import annotations

import pytest

from tests.parity import company
from tests.parity.more_families import LANDSCAPES_MORE, MORE, landscapes_more

pytestmark = [pytest.mark.parity, pytest.mark.slow]


@pytest.mark.parametrize("name", list(MORE))
def test_mixed_requests_come_out_as_plain_calls_do(name: str) -> None:
    family = MORE[name]
    served = company.serve(family, family.requests)
    assert served.unbatched == {}
    assert served.stats["modules"]["unet"]["batches"] < served.stats["modules"]["unet"]["calls"]
    company.hold_against_plain(name, served.images)


def test_every_solver_that_the_model_that_ships_takes_has_a_request() -> None:
    assert {request.pipe for request in LANDSCAPES_MORE.requests} == landscapes_more().keys()
