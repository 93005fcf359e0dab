"""From a job's input to a request that a pipeline can be called with."""

from __future__ import annotations

import pytest
from PIL import Image

from darkroom import errors
from darkroom.config import ModelSettings
from darkroom.models.catalogue import BUNDLED, BUNDLED_FOLDER, Entry
from darkroom.models.layout import read_layout
from darkroom.models.offer import Offer, offer_of
from darkroom.worker.asked import is_reproducible, request_of

from .jobs import QUICK, running_job

LANDSCAPES = BUNDLED_FOLDER / "landscapes"


@pytest.fixture(scope="module")
def offer(tmp_path_factory: pytest.TempPathFactory) -> Offer:
    home = tmp_path_factory.mktemp("home")
    return offer_of(Entry("landscapes", BUNDLED, ModelSettings(path=LANDSCAPES), home), read_layout(LANDSCAPES))


def test_what_an_input_leaves_out_is_the_pipelines_own_and_no_presets(offer: Offer) -> None:
    asked = {name: value for name, value in QUICK.items() if name not in ("guidance_scale", "solver")}
    request = request_of(running_job(input={"prompt": "a barn", "seed": 7, **asked}), {}, offer)
    assert (request.guidance_scale, request.solver, request.num_inference_steps) == (None, None, 2)


def test_what_was_settled_at_the_door_is_not_judged_again(offer: Offer) -> None:
    said = {"prompt": "a barn", "seed": 7, **QUICK, "preset": "no longer there", "reproducible": True}
    assert request_of(running_job(input=said), {}, offer).num_inference_steps == 2


def test_pictures_stand_in_for_the_artifacts_they_were_read_from(offer: Offer) -> None:
    picture = Image.new("RGB", (192, 192))
    job = running_job(input={"prompt": "a barn", "seed": 7, **QUICK, "image": "a1"}, task="image-to-image")
    request = request_of(job, {"image": picture}, offer)
    assert request.image is picture
    assert request.strength == 0.8


def test_a_request_that_no_longer_fits_the_model_is_refused_by_name(offer: Offer) -> None:
    job = running_job(input={"prompt": "a barn", "seed": 7, **QUICK, "width": 200})
    with pytest.raises(errors.SizeNotOffered) as refused:
        request_of(job, {}, offer)
    assert refused.value.field == "width"


def test_a_job_is_reproducible_only_where_it_says_so() -> None:
    assert not is_reproducible(running_job())
    assert is_reproducible(running_job(input={"reproducible": True}))
