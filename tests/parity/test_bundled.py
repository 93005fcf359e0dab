"""The model that ships comes out of the engine as plain diffusers makes it, and byte for byte where asked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.missing import need_file
from tests.parity import company, plain
from tests.parity.families import BUNDLED, LANDSCAPES

pytestmark = [pytest.mark.parity, pytest.mark.slow]


@pytest.fixture(autouse=True, params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    need_file(BUNDLED / "model_index.json", "the bundled model")
    with plain.threads(request.param):
        yield request.param


def test_mixed_requests_to_the_bundled_model_come_out_as_plain_calls_do(threads: int) -> None:
    served = company.serve(LANDSCAPES, LANDSCAPES.requests)
    unet = served.stats["modules"]["unet"]
    assert served.unbatched == {}
    assert unet["batches"] < 0.7 * unet["calls"]
    company.hold_against_plain("landscapes", served.images, f"threads: {threads}")


def test_bytes_of_the_bundled_models_images_do_not_depend_on_company() -> None:
    requests = LANDSCAPES.requests[:3]
    company.hold_alone_and_in_company(LANDSCAPES, requests)
